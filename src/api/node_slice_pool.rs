//! PURE: `nodeslicepools`: a range cut into slices, one for each node.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The range and the size of its slices.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "whereabouts.cni.cncf.io",
    version = "v1alpha1",
    kind = "NodeSlicePool",
    plural = "nodeslicepools",
    singular = "nodeslicepool",
    namespaced,
    status = "NodeSlicePoolStatus",
    doc = "A range cut into slices, from each of which one node allocates.",
    printcolumn(name = "Range", type_ = "string", json_path = ".spec.range"),
    printcolumn(name = "Slice", type_ = "string", json_path = ".spec.sliceSize"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlicePoolSpec {
    /// The range in CIDR notation.
    pub range: String,
    /// The prefix length of a slice, such as /28.
    pub slice_size: String,
}

/// Which node has which slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSlicePoolStatus {
    /// All slices, in the order of their addresses.
    pub allocations: Vec<NodeSlice>,
}

/// One slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSlice {
    /// The node; empty while the slice is free.
    pub node_name: String,
    /// The slice in CIDR notation.
    pub slice_range: String,
}
