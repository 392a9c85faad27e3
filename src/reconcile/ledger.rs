//! I/O: where the records are kept, and the few things that are done with them there.
//!
//! What is decided about records is decided elsewhere, once for every ledger.

use serde_json::Value;
use tokio::time::Instant;

use super::apply::{Pending, Standing, entries, memory};
use super::memory::Change;
use super::put;
use super::records::Records;
use super::snapshot::{self, ReadStep};
use crate::client::{CallError, Client};
use crate::record::{ObjectId, Pool, PoolObject, Reservation};

/// A cluster: its pods and nodes, and the records of its addresses.
#[derive(Clone)]
pub struct Cluster {
    /// Tells of pods and nodes.
    pub client: Client,
    /// Has the records.
    pub ledger: Ledger,
}

/// Where the records are.
#[derive(Clone)]
pub enum Ledger {
    /// In custom resources.
    Kubernetes(Client),
}

impl Cluster {
    /// A cluster whose records are custom resources.
    #[must_use]
    pub fn of(client: Client) -> Self {
        let ledger = Ledger::Kubernetes(client.clone());
        Self { client, ledger }
    }

    /// The same with another deadline; calls are counted together.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let client = self.client.until(deadline);
        let ledger = match &self.ledger {
            Ledger::Kubernetes(_) => Ledger::Kubernetes(client.clone()),
        };
        Self { client, ledger }
    }
}

impl Ledger {
    /// Reads all records; of those that are custom resources pools first.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub(super) async fn read_all(
        &self,
        page: u32,
        progress: &impl Fn(ReadStep),
    ) -> Result<(Vec<PoolObject>, Vec<Reservation>), CallError> {
        match self {
            Self::Kubernetes(client) => snapshot::read_records(client, page, progress).await,
        }
    }

    /// Reads some pools and reservations again; those that are gone are left out.
    pub(super) async fn read_again(
        &self,
        pools: impl IntoIterator<Item = ObjectId>,
        reservations: impl IntoIterator<Item = ObjectId>,
    ) -> Result<Records, CallError> {
        match self {
            Self::Kubernetes(client) => snapshot::read_again(client, pools, reservations).await,
        }
    }

    /// Looks at a pool for what is at some keys; `None` when there is no such pool. More of its entries
    /// may come along.
    pub(super) async fn read_entries(
        &self,
        pool: &ObjectId,
        range_text: &str,
        keys: &[&str],
    ) -> Result<Option<PoolObject>, CallError> {
        let _ = (range_text, keys);
        match self {
            Self::Kubernetes(client) => snapshot::read_pool(client, pool).await,
        }
    }

    /// How many entries of a pool are taken out, or put in, by one write.
    pub(super) fn entries_a_write(&self) -> usize {
        match self {
            Self::Kubernetes(_) => entries::MAX_ENTRIES_A_PATCH,
        }
    }

    /// Whether entries that are to go are still what was judged, in their order.
    pub(super) async fn look_again(
        &self,
        pool: &Pool,
        pending: &[Pending],
    ) -> Result<Vec<Standing>, CallError> {
        match self {
            Self::Kubernetes(client) => entries::look_again(client, pool, pending).await,
        }
    }

    /// Takes entries out of a pool, all of them or none: none where one is not what was judged.
    ///
    /// # Errors
    /// A conflict where one of them has changed; anything else where nobody knows.
    pub(super) async fn take_out(&self, pool: &Pool, pending: &[Pending]) -> Result<(), CallError> {
        match self {
            Self::Kubernetes(client) => entries::patch(client, pool, pending).await,
        }
    }

    /// Puts entries into a pool, each at a key that is free, all of them or none.
    ///
    /// # Errors
    /// A conflict where a key is not free any more; anything else where nobody knows.
    pub(super) async fn put_in(
        &self,
        pool: &Pool,
        new: &[(&str, &Value)],
    ) -> Result<(), CallError> {
        match self {
            Self::Kubernetes(client) => put::add(client, pool, new).await,
        }
    }

    /// Writes down what the next run has to know.
    pub(super) async fn remember(
        &self,
        records: &Records,
        change: &Change,
    ) -> Result<(), CallError> {
        match self {
            Self::Kubernetes(client) => memory::write(client, records, change).await,
        }
    }
}
