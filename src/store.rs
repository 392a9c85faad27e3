//! I/O: where the plugin keeps its records: what any store must be able to do.
//!
//! The plugin decides nothing about addresses that a store does not confirm: an address is given out
//! only when the store has recorded it for this very container, and a call that fails takes back
//! what it wrote, or leaves what the reconciler finds.

mod any;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod kubernetes;

pub use any::Any;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::RangeConfig;
use crate::ip::IpRange;

/// For whom an address is allocated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The name of the CNI network, which is not that of its ranges.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// The pod, from `CNI_ARGS`: its namespace, which runtimes without Kubernetes leave empty, a `/`
    /// and its name.
    pub podref: String,
    /// The pod's uid, where the runtime says it.
    pub pod_uid: Option<String>,
    /// The node that this runs on, where it is known.
    pub node: Option<String>,
}

/// What GC is to free.
#[derive(Debug, Clone, Copy)]
pub struct Garbage<'a> {
    /// The name of the CNI network: what is known to be of another is left alone.
    pub network: &'a str,
    /// Only this node's.
    pub node: &'a str,
    /// The containers that are still there. Where there are none nobody said so, and all stay.
    pub valid: &'a BTreeSet<String>,
}

/// Whether addresses are unique across all ranges of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// A claim protects the address in every range of the network for which this is so as well.
    Protected,
    /// Each range stands for itself, whatever ranges for which this is so as well have given. Whether
    /// what is protected elsewhere is given here is up to the store: Kubernetes gives it, as the Go
    /// program does, and etcd does not.
    Ignored,
}

/// One range of a network, as a store files it.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// `network_name`; empty for the unnamed network.
    pub network: &'a str,
    /// The node whose slice this is, if the range is one.
    pub slice_of: Option<&'a str>,
    /// The range, its window and its exclusions.
    pub config: &'a RangeConfig,
    /// Whether other ranges matter.
    pub overlap: Overlap,
}

/// An address that an attachment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The address.
    pub address: IpAddr,
    /// Whether it had it before the call: a container may be running with it.
    pub was_held: bool,
}

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no free address.
    #[error("{0}")]
    Exhausted(String),
    /// The store refused or could not be reached.
    #[error("{0}")]
    Call(#[from] crate::client::CallError),
    /// etcd refused or could not be reached.
    #[error("{0}")]
    Etcd(String),
    /// Others kept taking what was chosen, until the time was over.
    #[error("no address could be recorded in pool {pool} in time: {last}")]
    Contended {
        /// Which pool.
        pool: String,
        /// What stood in the way last.
        last: String,
    },
    /// This node has no slice to allocate from.
    #[error("NodeSlicePool {slices}: {reason}")]
    NoSlice {
        /// The `NodeSlicePool`.
        slices: String,
        /// What is missing.
        reason: String,
    },
    /// What is recorded is not what it should be.
    #[error("{0}")]
    Mismatch(String),
}

/// What the plugin needs of a store.
#[expect(
    async_fn_in_trait,
    reason = "one call, one thread: nothing asks whether futures are Send"
)]
pub trait Store {
    /// Which slice of the range a node has, as the slices of this name say.
    async fn slice_of(&self, slices: &str, node: &str, range: IpRange) -> Result<IpRange, Error>;

    /// Allocates an address of the range, or finds the one that this attachment has already.
    ///
    /// It keeps the address of its pod's container before it, unless that may still be running: the pod
    /// had another uid then, on another node. Where no uid says so, Kubernetes trusts the name of the
    /// pod, which is unique there; etcd does not, and asks for the same node.
    ///
    /// Addresses to `avoid` are those that the same call has from other ranges.
    ///
    /// # Errors
    /// When there is none, or the store fails. Then it has recorded nothing, or takes that back; where
    /// it cannot, the next call of the pod finds the address, and the DEL of the container frees it.
    async fn acquire(
        &self,
        range: &Range<'_>,
        attachment: &Attachment,
        avoid: &BTreeSet<IpAddr>,
    ) -> Result<Acquired, Error>;

    /// Takes back what an ADD that failed was given: as [`Store::release`], and for a little longer
    /// than the call had time.
    async fn undo(&self, range: &Range<'_>, attachment: &Attachment) -> Result<(), Error>;

    /// Frees what a container's interface holds of the range; nothing is a success.
    async fn release(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error>;

    /// Which of these addresses the attachment holds in the range, protected as the range says.
    ///
    /// # Errors
    /// When it holds none, or one of them is not protected.
    async fn verify(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error>;

    /// Frees what containers of this node hold of the range, other than the valid ones.
    async fn collect(&self, range: &Range<'_>, garbage: &Garbage<'_>) -> Result<(), Error>;

    /// Whether an address of the range could be allocated now.
    async fn has_free(&self, range: &Range<'_>) -> Result<bool, Error>;
}
