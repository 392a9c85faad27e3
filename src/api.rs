//! PURE: the custom resources of `whereabouts.cni.cncf.io/v1alpha1`.
//!
//! Kinds, names, fields and required members are those of the Go program, so that either can
//! replace the other in a running cluster. Optional members of ours are ignored there.

mod ip_pool;
mod node_slice_pool;
mod reservation;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use ip_pool::{Allocation, IPPool, IPPoolSpec, Owner};
pub use node_slice_pool::{NodeSlice, NodeSlicePool, NodeSlicePoolSpec, NodeSlicePoolStatus};
pub use reservation::{OverlappingRangeIPReservation, OverlappingRangeIPReservationSpec};

/// The API group of all three resources.
pub const GROUP: &str = "whereabouts.cni.cncf.io";

/// The served and stored version.
pub const VERSION: &str = "v1alpha1";

/// The definitions to install, generated from the types.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    let mut definitions = [
        IPPool::crd(),
        NodeSlicePool::crd(),
        OverlappingRangeIPReservation::crd(),
    ];
    for version in definitions
        .iter_mut()
        .flat_map(|definition| &mut definition.spec.versions)
    {
        // The Go controllers update a whole NodeSlicePool; a status subresource would make the
        // API server drop what they write into its status.
        version.subresources = None;
    }
    definitions
}

/// The label of a reservation that says for which pool it was made.
pub const POOL_LABEL: &str = "whereabouts.cni.cncf.io/pool";
/// The label that says on which node its container runs.
pub const NODE_LABEL: &str = "whereabouts.cni.cncf.io/node";
/// The label that says for which container it was made: the id's first 63 characters.
pub const CONTAINER_LABEL: &str = "whereabouts.cni.cncf.io/container";
/// The label of a reservation with the uid of its pod.
pub const POD_UID_LABEL: &str = "whereabouts.cni.cncf.io/pod-uid";
/// The label that says in which CNI network it was made, for GC: networks can share a range.
pub const NETWORK_LABEL: &str = "whereabouts.cni.cncf.io/network";
/// On a reservation, when it was claimed, in seconds since the epoch and rounded: what is recent can be
/// listed without the rest.
pub const CLAIMED_LABEL: &str = "whereabouts.cni.cncf.io/claimed";
/// The longest value of a label, in characters (Kubernetes, Labels and Selectors).
pub const MAX_LABEL: usize = 63;
