//! Brings the objects of the API server to what they are in the model (I/O).

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::model::{NODES, Objects, PODS, Phase, Pod, Seen};
use crate::support::objects::{Object, node, send};

/// The objects of one history, and the uids that the server gave to its pods.
pub(super) struct Mirror {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) uids: [String; PODS],
}

impl Mirror {
    pub(super) fn node(&self, node: usize) -> String {
        format!("{}-{}", self.prefix, ["a", "b"][node])
    }

    pub(super) fn pod(&self, pod: usize) -> String {
        format!("{}-web-{pod}", self.prefix)
    }

    /// Writes whatever has changed.
    pub(super) async fn write(&mut self, before: &Objects, now: &Objects) {
        for node in 0..NODES {
            if before.nodes[node] != now.nodes[node] {
                self.write_node(node, before.nodes[node], now.nodes[node])
                    .await;
            }
        }
        for pod in 0..PODS {
            let (old, new) = (&before.pods[pod], &now.pods[pod]);
            if old != new {
                self.write_pod(pod, old.as_ref(), new.as_ref()).await;
            }
        }
    }

    /// Makes the nodes with which a history begins.
    pub(super) async fn begin(&self) {
        for name in 0..NODES {
            node(&self.node(name)).create(&self.client).await;
        }
    }

    async fn write_node(&self, at: usize, old: Seen, new: Seen) {
        let name = self.node(at);
        let path = format!("/api/v1/nodes/{name}");
        if new == Seen::Gone {
            self.send(Method::DELETE, &path, None).await;
            return;
        }
        let state = match new {
            Seen::Ready => node(&name),
            // Clocks differ: nothing may depend on what they say.
            _ => node(&name)
                .unreachable()
                .since(50_000 - 25_000 * i64::try_from(at).unwrap() * 4),
        };
        if old == Seen::Gone {
            state.create(&self.client).await;
            return;
        }
        let taint = json!([{"key": "node.kubernetes.io/out-of-service",
            "value": "nodeshutdown", "effect": "NoExecute"}]);
        if (new == Seen::OutOfService) != (old == Seen::OutOfService) {
            let is_off = new == Seen::OutOfService;
            let taints = json!({"spec": {"taints": if is_off { taint } else { Value::Null }}});
            self.send(Method::PATCH, &path, Some(&taints)).await;
        }
        state.report(&self.client).await;
    }

    async fn write_pod(&mut self, pod: usize, old: Option<&Pod>, new: Option<&Pod>) {
        let pods = "/api/v1/namespaces/default/pods";
        let path = format!("{pods}/{}", self.pod(pod));
        let is_another = old.map(|old| old.object) != new.map(|new| new.object);
        if old.is_some() && is_another {
            let now = format!("{path}?gracePeriodSeconds=0");
            self.send(Method::DELETE, &now, None).await;
        }
        let Some(new) = new else { return };
        if is_another {
            let object = self.object(pod, new);
            let made = self.send(Method::POST, pods, Some(&object)).await;
            made["metadata"]["uid"]
                .as_str()
                .unwrap()
                .clone_into(&mut self.uids[pod]);
        }
        let old = old.filter(|_| !is_another);
        if new.shows.is_some() && old.is_none_or(|old| old.shows != new.shows) {
            let annotations = json!({"k8s.v1.cni.cncf.io/network-status": status(new.shows)});
            let change = json!({"metadata": {"annotations": annotations}});
            self.send(Method::PATCH, &path, Some(&change)).await;
        }
        let says = |pod: &Pod| (pod.settled, pod.phase);
        if old.is_none_or(|old| says(old) != says(new)) {
            let change = json!({"status": status_of(new)});
            self.send(Method::PATCH, &format!("{path}/status"), Some(&change))
                .await;
        }
        if new.deleting && old.is_none_or(|old| !old.deleting) {
            let with_grace = format!("{path}?gracePeriodSeconds=3600");
            self.send(Method::DELETE, &with_grace, None).await;
        }
    }

    fn object(&self, pod: usize, new: &Pod) -> Value {
        let name = self.pod(pod);
        let mut object = crate::support::objects::pod("default", &name).node(&self.node(new.node));
        if new.is_mirror {
            object = object.annotation("kubernetes.io/config.mirror", "x");
        }
        object.object()
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let sent = send(&self.client, method, path, body).await;
        sent.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// What Multus writes.
pub(super) fn status(shows: Option<usize>) -> String {
    let Some(last) = shows else {
        return "[]".to_owned();
    };
    let address = format!("10.0.0.{last}");
    json!([{"name": "cbr0", "interface": "eth0", "ips": ["10.244.0.9"], "default": true},
        {"name": "default/lan", "interface": "net1", "ips": [address]}])
    .to_string()
}

/// What a kubelet writes.
pub(super) fn status_of(pod: &Pod) -> Value {
    let phase = match pod.phase {
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    };
    let made = if pod.settled { "True" } else { "False" };
    json!({"phase": phase,
        "conditions": [{"type": "PodReadyToStartContainers", "status": made}]})
}
