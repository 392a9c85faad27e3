//! PURE: what the API shows of a history, and what a run reads of it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use whereabouts::pod::{Finished, PodRef, PodState};
use whereabouts::reconcile::grace::Grace;
use whereabouts::reconcile::nodes::{Nodes, Rules};
use whereabouts::reconcile::pods::Pods;
use whereabouts::reconcile::records::Records;
use whereabouts::reconcile::snapshot::Snapshot;
use whereabouts::record::decode::{self, SeenPod};

use super::super::model::{NODES, PODS, Phase, Pod, Seen};
use super::super::objects::{status, status_of};
use super::{CutOff, Thought, node_name};

impl Thought {
    /// A pod as the API shows it; of a list only its metadata.
    fn pod(&self, pod: usize, whole: bool) -> Option<Value> {
        let object = self.model.objects.pods[pod].as_ref()?;
        let mut annotations = json!({});
        if object.shows.is_some() {
            annotations["k8s.v1.cni.cncf.io/network-status"] = json!(status(object.shows));
        }
        if object.is_mirror {
            annotations["kubernetes.io/config.mirror"] = json!("x");
        }
        let deletion = object.deleting.then_some("2026-01-01T00:00:00Z");
        let mut shown = json!({"metadata": {"name": format!("web-{pod}"), "namespace": "default",
            "uid": format!("u{}", object.object), "deletionTimestamp": deletion,
            "annotations": annotations}});
        if whole {
            shown["spec"] = json!({"nodeName": node_name(object.node)});
            shown["status"] = status_of(object);
        }
        Some(shown)
    }

    pub(super) fn node(&self, node: usize) -> Option<Value> {
        let seen = self.model.objects.nodes[node];
        if seen == Seen::Gone {
            return None;
        }
        let since = self.time(self.model.objects.since[node] + self.skew);
        let ready = if seen == Seen::Ready {
            "True"
        } else {
            "Unknown"
        };
        let taint = json!([{"key": "node.kubernetes.io/out-of-service"}]);
        let taints = (seen == Seen::OutOfService).then_some(taint);
        Some(
            json!({"metadata": {"name": node_name(node)}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready,
                "lastTransitionTime": format!("{since:.0}")}]}}),
        )
    }

    #[expect(clippy::unused_self, reason = "beside its clock")]
    fn time(&self, second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    pub(super) fn read(&mut self) -> Result<Snapshot, CutOff> {
        let bytes = |value: &Value| value.to_string().into_bytes();
        let pool = decode::pool(&bytes(&self.desk.pool())).unwrap();
        self.beside()?;
        let claims = self.desk.reservations();
        let claims = claims
            .iter()
            .map(|it| decode::reservation(&bytes(it)).unwrap());
        let records = Records::new(vec![pool], claims.collect());
        self.beside()?;
        let mut nodes = Nodes::default();
        let (strict, release_after) = (self.is_strict, None);
        nodes.set_rules(Rules {
            strict,
            release_after,
        });
        // Another one is never in trouble.
        let other = json!({"metadata": {"name": "other"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        for node in (0..NODES).filter_map(|node| self.node(node)).chain([other]) {
            let (name, state) = decode::node(&bytes(&node)).unwrap();
            nodes.see(name, state);
        }
        self.beside()?;
        let pods = self.read_pods(&records, &nodes)?;
        let grace = Grace {
            wanted: Duration::from_secs(u64::try_from(self.grace).unwrap()),
            now: self.time(self.model.now),
        };
        Ok(Snapshot {
            records,
            nodes,
            pods,
            grace,
            ..Snapshot::default()
        })
    }

    fn read_pods(&mut self, records: &Records, nodes: &Nodes) -> Result<Pods, CutOff> {
        let mut pods = Pods::asked_by(records);
        for pod in (0..PODS).filter_map(|pod| self.pod(pod, false)) {
            pods.see(records, decode::pod(pod.to_string().as_bytes()).unwrap());
        }
        self.beside()?;
        for node in nodes.not_ready() {
            for seen in self.whole(|pod| *node == node_name(pod.node)) {
                pods.bind(&seen.pod, &seen.state.uid, &node.into());
            }
        }
        for finished in Finished::ALL {
            self.beside()?;
            for seen in self.whole(|pod| pod.phase != Phase::Running) {
                if seen.state.traits.finished == Some(finished) {
                    pods.finish(&seen.pod, &seen.state.uid, finished);
                }
            }
        }
        Ok(pods)
    }

    /// Whole pods, by what is true of them.
    fn whole(&self, wanted: impl Fn(&Pod) -> bool) -> Vec<SeenPod> {
        let is_wanted = |pod: &usize| self.model.objects.pods[*pod].as_ref().is_some_and(&wanted);
        let pods = (0..PODS)
            .filter(is_wanted)
            .filter_map(|pod| self.pod(pod, true));
        pods.map(|pod| decode::pod(pod.to_string().as_bytes()).unwrap())
            .collect()
    }

    pub(super) fn look(&self, pod: &PodRef) -> Option<PodState> {
        let number = pod.name().strip_prefix("web-")?.parse().ok()?;
        let shown = self.pod(number, true)?.to_string();
        Some(decode::pod(shown.as_bytes()).unwrap().state)
    }
}
