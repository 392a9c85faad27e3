//! Pods in every state that matters for their addresses (I/O in `create` only).

use http::Method;
use kube::Client;
use serde_json::{Map, Value, json};

use super::{Object, post, send};

/// Where Multus reports the networks of a pod.
const STATUS_KEY: &str = "k8s.v1.cni.cncf.io/network-status";
/// Where it did until version 3.7.
const OLD_STATUS_KEY: &str = "k8s.v1.cni.cncf.io/networks-status";

/// Starts a pod that is not bound to a node and has no network status.
pub(crate) fn pod(namespace: &str, name: &str) -> PodBuilder {
    PodBuilder {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        annotations: Map::new(),
        labels: Map::new(),
        networks: Vec::new(),
        status_key: STATUS_KEY,
        node: None,
        phase: None,
        fate: Fate::Stays,
    }
}

/// A pod to be.
#[derive(Clone)]
pub(crate) struct PodBuilder {
    namespace: String,
    name: String,
    annotations: Map<String, Value>,
    labels: Map<String, Value>,
    networks: Vec<Value>,
    status_key: &'static str,
    node: Option<String>,
    phase: Option<String>,
    fate: Fate,
}

/// What happens to the pod after its creation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Terminates,
}

impl PodBuilder {
    /// Lets Multus report `addresses` on the interface `net1`, `net2`, ... of the pod.
    pub(crate) fn shows(mut self, interface: &str, addresses: &[&str]) -> Self {
        self.networks.push(json!({
            "name": format!("default/{interface}"),
            "interface": interface,
            "ips": addresses,
            "mac": "b6:1d:5c:0e:00:01",
            "dns": {},
        }));
        self
    }

    /// Sets the report of Multus to any text, for broken ones.
    pub(crate) fn status_annotation(self, text: &str) -> Self {
        let key = self.status_key;
        self.annotation(key, text)
    }

    /// Puts the report where old versions of Multus did; call it first.
    pub(crate) fn old_status_key(mut self) -> Self {
        self.status_key = OLD_STATUS_KEY;
        self
    }

    /// Binds the pod to a node, which need not exist.
    pub(crate) fn node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// Sets the phase: `Running`, `Succeeded`, ... instead of `Pending`.
    pub(crate) fn phase(mut self, phase: &str) -> Self {
        self.phase = Some(phase.to_owned());
        self
    }

    /// Deletes the pod with a grace period: as there is no kubelet, it stays as it is then.
    pub(crate) fn terminating(mut self) -> Self {
        self.fate = Fate::Terminates;
        self.node.get_or_insert_with(|| "node-a".to_owned());
        self
    }

    /// Sets an annotation.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a label.
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }

    /// The pod as it is created.
    pub(crate) fn object(&self) -> Value {
        let mut annotations = self.annotations.clone();
        if !self.networks.is_empty() {
            annotations.insert(self.status_key.to_owned(), self.report().into());
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "annotations": annotations, "labels": self.labels},
            "spec": {
                "nodeName": self.node,
                "containers": [{"name": "main", "image": "example.invalid/main"}],
            },
        })
    }

    /// The report of Multus, laid out as it does: the cluster's default network comes first.
    fn report(&self) -> String {
        let default = json!({
            "name": "cbr0",
            "interface": "eth0",
            "ips": ["10.244.0.9"],
            "mac": "b6:1d:5c:0e:00:00",
            "default": true,
            "dns": {},
        });
        let all: Vec<&Value> = std::iter::once(&default).chain(&self.networks).collect();
        format!("{:#}", json!(all))
    }
}

impl Object for PodBuilder {
    async fn create(&self, client: &Client) {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        post(client, &pods, &self.object()).await;
        let pod = format!("{pods}/{}", self.name);
        // Before the phase: a pod that has ended goes at once, grace or not.
        if self.fate == Fate::Terminates {
            let path = format!("{pod}?gracePeriodSeconds=3600");
            send(client, Method::DELETE, &path, None).await.unwrap();
        }
        if let Some(phase) = &self.phase {
            let status = json!({"status": {"phase": phase}});
            let path = format!("{pod}/status");
            send(client, Method::PATCH, &path, Some(&status))
                .await
                .unwrap();
        }
    }
}
