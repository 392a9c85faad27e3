//! PURE: `overlappingrangeipreservations`: one address, claimed across all ranges of a network.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The claim of one address; the object's name is the address.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "whereabouts.cni.cncf.io",
    version = "v1alpha1",
    kind = "OverlappingRangeIPReservation",
    plural = "overlappingrangeipreservations",
    singular = "overlappingrangeipreservation",
    namespaced,
    doc = "Claims the address in its name, across all ranges of a network that overlap.",
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.podref"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".spec.ifname"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
pub struct OverlappingRangeIPReservationSpec {
    /// The pod, as namespace/name.
    pub podref: String,
    /// The interface inside the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// The container id that the runtime gave to the CNI call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containerid: Option<String>,
}
