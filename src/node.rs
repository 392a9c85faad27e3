//! PURE: what a Node says of the containers that may run on it.

use k8s_openapi::jiff::Timestamp;

/// The taint by which an operator says that a node is powered off (Kubernetes, Nodes: non-graceful
/// node shutdown).
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What is known of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Whether its condition `Ready` is `True`: its kubelet answers.
    pub ready: bool,
    /// When the condition last changed, where that is said.
    pub since: Option<Timestamp>,
    /// Whether it has the taint [`OUT_OF_SERVICE`].
    pub out_of_service: bool,
}
