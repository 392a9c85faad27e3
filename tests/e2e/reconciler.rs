//! `ip-reconciler` as a user starts it: by hand, and by the schedule of the `CronJob` (I/O).

use std::time::Duration;

use crate::world::{World, until};

/// How long a run may take as a pod; three seconds are usual.
const RUN_WITHIN: Duration = Duration::from_mins(1);

impl World {
    /// Has the `CronJob` run once, now; it keeps nothing of a run that succeeded.
    pub(crate) fn reconcile(&self) {
        self.kubectl("--namespace kube-system create job --from=cronjob/ip-reconciler now");
        until("the run has succeeded", RUN_WITHIN, || {
            let failed = "--namespace kube-system get job/now --output jsonpath={.status.failed}";
            let failed = self.try_kubectl(failed);
            assert_ne!(failed.as_deref(), Ok("1"), "{}", self.log("now"));
            failed.is_err().then_some(())
        });
    }

    /// Runs it as a pod, as the README says, and without grace: nothing but the verdicts stands
    /// between an address and its release. Gives the report.
    pub(crate) fn reconcile_at_once(&self) -> String {
        self.kubectl(
            r#"run ip-reconciler-now --namespace kube-system --restart=Never
            --image=whereabouts:0.1.0 --overrides={"spec":{"serviceAccountName":"ip-reconciler"}}
            --command -- /ip-reconciler --output wide"#,
        );
        let pod = "--namespace kube-system pod/ip-reconciler-now";
        self.kubectl(&format!(
            "wait {pod} --timeout=60s --for=jsonpath={{.status.containerStatuses[0].state.terminated}}"
        ));
        let code = "--output jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
        let (code, said) = (
            self.kubectl(&format!("get {pod} {code}")),
            self.kubectl(&format!("logs {pod}")),
        );
        assert_eq!(code, "0", "{said}");
        self.kubectl(&format!("delete {pod}"));
        said
    }

    /// What the run of a job logged.
    pub(crate) fn log(&self, job: &str) -> String {
        self.kubectl(&format!("--namespace kube-system logs job/{job}"))
    }

    /// Lets the `CronJob` run every minute, or not by itself.
    pub(crate) fn schedule(&self, runs: bool) {
        let schedule = r"*/1\u0020*\u0020*\u0020*\u0020*";
        let patch = format!(
            r#"{{"spec":{{"schedule":"{schedule}","suspend":{}}}}}"#,
            !runs
        );
        self.kubectl(&format!(
            "--namespace kube-system patch cronjob/ip-reconciler --patch {patch}"
        ));
    }
}
