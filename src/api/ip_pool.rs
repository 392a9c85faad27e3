//! PURE: `ippools`: one range and the addresses of it that are allocated.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A range and what is allocated of it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "whereabouts.cni.cncf.io",
    version = "v1alpha1",
    kind = "IPPool",
    plural = "ippools",
    singular = "ippool",
    namespaced,
    doc = "The addresses of one range that are allocated, by their offset in the range.",
    printcolumn(name = "Range", type_ = "string", json_path = ".spec.range"),
    printcolumn(
        name = "Allocations",
        type_ = "string",
        json_path = ".spec.allocations",
        priority = 1,
        description = "Offset and owner of each allocated address."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
pub struct IPPoolSpec {
    /// The range in CIDR notation, such as `10.0.0.0/24` or `fd00::/64`.
    pub range: String,
    /// Allocated addresses; the key is the decimal offset from the address in the range.
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub allocations: BTreeMap<String, Allocation>,
}

/// Who holds an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Allocation {
    /// The container id that the runtime gave to the CNI call.
    pub id: String,
    /// The pod, as namespace/name.
    pub podref: String,
    /// The interface inside the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// What else is known of the container; it counts only while its id equals the entry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Which pod object and which node a container belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// The container id that this speaks of.
    pub id: String,
    /// The uid of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poduid: Option<String>,
    /// The name of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodename: Option<String>,
}
