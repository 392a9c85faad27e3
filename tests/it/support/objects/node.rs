//! Nodes without a kubelet: their state is what the test says (I/O in `create` only).

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};

use super::{Object, post, send};

/// Starts a Node whose kubelet answers.
pub(crate) fn node(name: &str) -> NodeBuilder {
    NodeBuilder {
        name: name.to_owned(),
        ready: "True",
        changed: Timestamp::now(),
        taints: Vec::new(),
    }
}

/// A Node to be.
#[derive(Clone)]
pub(crate) struct NodeBuilder {
    name: String,
    ready: &'static str,
    changed: Timestamp,
    taints: Vec<Value>,
}

impl NodeBuilder {
    /// Lets nobody hear of its kubelet any more.
    pub(crate) fn unreachable(mut self) -> Self {
        self.ready = "Unknown";
        self
    }

    /// Lets its condition have changed so long ago.
    pub(crate) fn since(mut self, seconds: i64) -> Self {
        self.changed = Timestamp::now() - SignedDuration::from_secs(seconds);
        self
    }

    /// Taints it as powered off.
    pub(crate) fn out_of_service(mut self) -> Self {
        self.taints
            .push(json!({"key": "node.kubernetes.io/out-of-service",
            "value": "nodeshutdown", "effect": "NoExecute"}));
        self
    }

    /// Sets the condition of a Node that exists.
    pub(crate) async fn report(&self, client: &Client) {
        let now = format!("{:.0}", self.changed);
        let condition = json!({"type": "Ready", "status": self.ready, "reason": "Test",
            "lastTransitionTime": now, "lastHeartbeatTime": now});
        let path = format!("/api/v1/nodes/{}/status", self.name);
        let status = json!({"status": {"conditions": [condition]}});
        send(client, Method::PATCH, &path, Some(&status))
            .await
            .unwrap();
    }
}

impl Object for NodeBuilder {
    async fn create(&self, client: &Client) {
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name},
            "spec": {"taints": self.taints}});
        post(client, "/api/v1/nodes", &object).await;
        self.report(client).await;
    }
}
