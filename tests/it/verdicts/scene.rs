//! One address of one pod, and what a run says of it (I/O).

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, PodBuilder, entries, pod, pool, reservation, reservations, send,
};
use crate::support::run::{Outcome, reconciler};

/// The pool of the record.
pub(crate) const POOL: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-24";
/// Its reservation.
pub(crate) const RESERVATION: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/\
    kube-system/overlappingrangeipreservations/10.0.0.5";
/// The pod.
pub(crate) const WEB: &str = "/api/v1/namespaces/default/pods/web";

/// A cluster in which 10.0.0.5 is, or will be, recorded for the interface `net1` of `default/web`.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    verdict: &'static str,
}

/// A run that gave both records the verdict of the scene, with the consequence that it has.
pub(crate) struct Shown {
    pub(crate) verdict: &'static str,
    pub(crate) run: Outcome,
}

/// The pod, bound to `node-a`.
pub(crate) fn web() -> PodBuilder {
    pod("default", "web").node("node-a")
}

impl Scene {
    /// An empty cluster with a pod that has nothing to do with the record, so that the view is not
    /// one without pods.
    pub(crate) async fn of(verdict: &'static str) -> Scene {
        let cluster = Cluster::lock().await;
        pod("default", "bystander").create(cluster.client()).await;
        Scene { cluster, verdict }
    }

    /// The same from the start.
    pub(crate) async fn anew(self) -> Scene {
        let verdict = self.verdict;
        drop(self);
        Scene::of(verdict).await
    }

    /// In a cluster that is there, for no verdict in particular.
    pub(crate) fn over(cluster: Cluster) -> Scene {
        let verdict = "";
        Scene { cluster, verdict }
    }

    /// Puts something into the cluster.
    pub(crate) async fn has(&self, object: impl Object) {
        object.create(self.cluster.client()).await;
    }

    /// Records the address as our plugin does on `node-a`, for the pod of this uid.
    pub(crate) async fn record(&self, uid: &str) {
        let owner = json!({"id": "c1", "poduid": uid, "nodename": "node-a"});
        let entry = json!({"id": "c1", "podref": "default/web", "ifname": "net1", "owner": owner});
        self.has(pool("kube-system", "10.0.0.0/24").raw_entry("5", entry))
            .await;
        self.reserve().await;
    }

    /// Records it as the Go program does, which says neither pod's uid nor node.
    pub(crate) async fn record_as_go(&self) {
        self.has(pool("kube-system", "10.0.0.0/24").entry(5, "default/web", "net1", "c1"))
            .await;
        self.reserve().await;
    }

    pub(crate) async fn reserve(&self) {
        self.has(reservation("kube-system", "10.0.0.5", "default/web").ifname("net1"))
            .await;
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn change(&self, path: &str, change: Value) {
        let client = self.cluster.client();
        send(client, Method::PATCH, path, Some(&change))
            .await
            .unwrap();
    }

    /// Says what the pod shows now.
    pub(crate) async fn web_shows(&self, status: &Value) {
        let annotations = json!({"k8s.v1.cni.cncf.io/network-status": status.to_string()});
        let change = json!({"metadata": {"annotations": annotations}});
        self.change(WEB, change).await;
    }

    pub(crate) async fn uid_of_web(&self) -> String {
        let web = send(self.cluster.client(), Method::GET, WEB, None).await;
        web.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// A run over the cluster.
    pub(crate) async fn run(&self, args: &[&str]) -> Outcome {
        self.run_through(self.cluster.kubeconfig().to_owned(), args)
            .await
    }

    /// A run that finds the cluster by this kubeconfig.
    pub(crate) async fn run_through(&self, kubeconfig: PathBuf, args: &[&str]) -> Outcome {
        let mut run = reconciler(&kubeconfig).args(["-o", "json"]);
        if !args.contains(&"--settle") {
            run = run.args(["--settle", "100ms"]);
        }
        for argument in args {
            run = run.args([*argument]);
        }
        run.output().await.expect(0)
    }

    /// How many entries and reservations are left.
    pub(crate) async fn left(&self) -> [usize; 2] {
        let client = self.cluster.client();
        let entries = entries(client, "kube-system", "10.0.0.0-24").await.len();
        [entries, reservations(client).await.len()]
    }

    /// Entry and reservation get the verdict of the scene, and stay.
    pub(crate) async fn is_kept(&self) -> Shown {
        self.is_kept_with(&[]).await
    }

    /// The same with arguments.
    pub(crate) async fn is_kept_with(&self, args: &[&str]) -> Shown {
        let verdict = self.verdict;
        let run = self.is_kept_as_with(verdict, args).await;
        Shown { verdict, run }
    }

    /// Entry and reservation get the verdict of the scene, and are gone then.
    pub(crate) async fn is_released(&self) -> Shown {
        self.is_released_with(&[]).await
    }

    /// The same with arguments.
    pub(crate) async fn is_released_with(&self, args: &[&str]) -> Shown {
        let verdict = self.verdict;
        let run = self.run(args).await;
        assert_eq!(verdicts(&run), [verdict; 2], "{run:#?}");
        assert_eq!(self.left().await, [0, 0], "{run:#?}");
        Shown { verdict, run }
    }

    /// Entry and reservation get another verdict, and stay.
    pub(crate) async fn is_kept_as(&self, verdict: &str) -> Outcome {
        self.is_kept_as_with(verdict, &[]).await
    }

    /// The same with arguments.
    pub(crate) async fn is_kept_as_with(&self, verdict: &str, args: &[&str]) -> Outcome {
        let run = self.run(args).await;
        assert_eq!(verdicts(&run), [verdict; 2], "{run:#?}");
        assert_eq!(self.left().await, [1, 1], "{run:#?}");
        run
    }

    /// Entry and reservation get another verdict, and are gone then.
    pub(crate) async fn is_released_as(&self, verdict: &str) {
        let run = self.run(&[]).await;
        assert_eq!(verdicts(&run), [verdict; 2], "{run:#?}");
        assert_eq!(self.left().await, [0, 0], "{run:#?}");
    }
}

/// The verdicts of a run, entries first.
pub(crate) fn verdicts(run: &Outcome) -> Vec<String> {
    let report = run.json();
    let records = report["records"].as_array().unwrap().iter();
    records
        .map(|record| record["verdict"].as_str().unwrap().to_owned())
        .collect()
}
