//! PURE: whether the Go program's reconciler or pod controller runs in the cluster.
//!
//! They free what this program holds: neither looks at nodes or waits for a grace. A pod that may be
//! one of theirs is known by its name; what it runs says which program it is.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::pod::PodRef;

/// Pods of so many workloads, and so many of each, are looked at.
const MAX_WORKLOADS: usize = 8;
const MAX_PODS_OF_EACH: usize = 3;

/// The name of our `CronJob`, and of the Go program's.
pub const CRON_JOB: &str = "ip-reconciler";
/// `cronjobs`, as roles and messages spell it.
pub const CRON_JOBS: &str = "cronjobs.batch";

/// The label by which `cronjob.yaml` marks its pods.
const OWN_LABEL: &str = "/metadata/labels/app.kubernetes.io~1name";

/// Pods that may be those of the Go program, a few of each workload.
#[derive(Debug, Default)]
pub struct Suspects(BTreeMap<String, Vec<PodRef>>);

impl Suspects {
    /// Takes note of a pod, if its name says that it may be one.
    pub fn note(&mut self, pod: &PodRef) {
        if !is_suspect(pod) {
            return;
        }
        let text = pod.to_string();
        let workload = text.rsplit_once('-').map_or("", |(workload, _)| workload);
        if self.0.len() < MAX_WORKLOADS || self.0.contains_key(workload) {
            let pods = self.0.entry(workload.to_owned()).or_default();
            if pods.len() < MAX_PODS_OF_EACH {
                pods.push(pod.clone());
            }
        }
    }

    /// Drops a pod that has ended.
    pub fn forget(&mut self, pod: &PodRef) {
        if is_suspect(pod) {
            self.0.retain(|_, pods| {
                pods.retain(|other| other != pod);
                !pods.is_empty()
            });
        }
    }

    /// One pod of each workload.
    pub fn pods(&self) -> impl Iterator<Item = &PodRef> {
        self.0.values().filter_map(|pods| pods.first())
    }
}

/// Whether a pod of this name may be one of theirs.
#[must_use]
pub fn is_suspect(pod: &PodRef) -> bool {
    pod.name().contains("whereabouts") || pod.name().starts_with(CRON_JOB)
}

/// A part of the Go program that frees addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `ip-control-loop`, which has a reconciler too.
    PodController,
    /// `ip-reconciler`.
    Reconciler,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PodController => "pod controller (ip-control-loop)",
            Self::Reconciler => "reconciler",
        })
    }
}

impl Part {
    /// What the report says of it; `place` is where it was found.
    #[must_use]
    pub fn remark(self, place: &str) -> String {
        format!(
            "{place} runs the Go program's {self}: it frees addresses that this program holds, for \
             nodes that do not answer for example; remove it"
        )
    }
}

/// Which part of the Go program a pod runs, if it runs one.
#[must_use]
pub fn of_pod(pod: &Value) -> Option<Part> {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    of_template(pod)
}

/// Which part of the Go program a `CronJob` starts, if it starts one.
#[must_use]
pub fn of_cron_job(job: &Value) -> Option<Part> {
    if job.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return None;
    }
    of_template(job.pointer("/spec/jobTemplate/spec/template")?)
}

fn of_template(pod: &Value) -> Option<Part> {
    let labelled = pod.pointer(OWN_LABEL).and_then(Value::as_str) == Some(CRON_JOB);
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array)?;
    let part_of = |container: &Value| {
        let words = words(container);
        if words.iter().any(|word| word.contains("ip-control-loop")) {
            return Some(Part::PodController);
        }
        let is_reconciler = words.iter().any(|word| {
            let program = word.split_whitespace().next().unwrap_or_default();
            program.rsplit('/').next() == Some(CRON_JOB)
        });
        let is_ours = labelled || speaks_ours(&words, container);
        (is_reconciler && !is_ours).then_some(Part::Reconciler)
    };
    containers.iter().find_map(part_of)
}

fn words(container: &Value) -> Vec<&str> {
    let lists = ["command", "args"].map(|member| container.get(member).and_then(Value::as_array));
    let values = lists.into_iter().flatten().flatten();
    values.filter_map(Value::as_str).collect()
}

/// Whether the arguments or the environment are those of this program: the Go program's flags have
/// one dash in all its manifests.
fn speaks_ours(words: &[&str], container: &Value) -> bool {
    let variables = container.get("env").and_then(Value::as_array);
    let mut names = variables.into_iter().flatten();
    words.iter().any(|word| word.starts_with("--"))
        || names.any(|variable| {
            let name = variable.get("name").and_then(Value::as_str);
            name.is_some_and(|name| name.starts_with("IP_RECONCILER_"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(container: &Value) -> Value {
        json!({"metadata": {"name": "x"}, "spec": {"containers": [container]}})
    }

    #[test]
    fn what_a_container_runs_says_whose_it_is() {
        let script = "SLEEP=false /install-cni.sh && /ip-control-loop -log-level debug";
        for (expected, container) in [
            (
                Some(Part::PodController),
                json!({"command": ["/bin/sh"], "args": ["-c", script]}),
            ),
            (
                Some(Part::Reconciler),
                json!({"command": ["/ip-reconciler", "-log-level=verbose"]}),
            ),
            (
                Some(Part::Reconciler),
                json!({"command": ["/ip-reconciler"], "args": ["-log-level", "debug"]}),
            ),
            (
                None,
                json!({"command": ["/ip-reconciler"], "args": ["--grace=2m"]}),
            ),
            (
                None,
                json!({"command": ["/ip-reconciler"], "env": [{"name": "IP_RECONCILER_GRACE", "value": "2m"}]}),
            ),
            (None, json!({"command": ["/node-slice-controller"]})),
            (None, json!({"args": ["cat", "/etc/ip-reconciler.conf"]})),
            (None, json!({})),
        ] {
            assert_eq!(of_pod(&pod(&container)), expected, "{container}");
        }
        let mut ours = pod(&json!({"command": ["/ip-reconciler"]}));
        ours["metadata"]["labels"] = json!({"app.kubernetes.io/name": "ip-reconciler"});
        assert_eq!(of_pod(&ours), None);
    }

    #[test]
    fn what_has_ended_or_is_suspended_frees_nothing() {
        let mut pod = pod(&json!({"command": ["/ip-reconciler"]}));
        assert_eq!(of_pod(&pod), Some(Part::Reconciler));
        let mut job = json!({"spec": {"jobTemplate": {"spec": {"template": pod}}}});
        assert_eq!(of_cron_job(&job), Some(Part::Reconciler));
        job["spec"]["suspend"] = json!(true);
        assert_eq!(of_cron_job(&job), None);
        pod["status"] = json!({"phase": "Succeeded"});
        assert_eq!(of_pod(&pod), None);
    }

    #[test]
    fn a_few_pods_of_each_workload_are_kept() {
        let mut suspects = Suspects::default();
        let pod = |text: String| PodRef::parse(&text).unwrap();
        for n in 0..50 {
            suspects.note(&pod(format!("kube-system/whereabouts-{n}")));
            suspects.note(&pod(format!("default/web-{n}")));
        }
        suspects.forget(&pod("kube-system/whereabouts-0".to_owned()));
        let kept: Vec<String> = suspects.pods().map(ToString::to_string).collect();
        assert_eq!(kept, ["kube-system/whereabouts-1"]);
    }
}
