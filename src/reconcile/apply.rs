//! I/O: carries out a plan, each write guarded by what was judged.
//!
//! **Pool first, reservation second**, so that a crash in between leaves waste and never two owners
//! of one address. A guard that fails means that the record changed: it stays for the next run.

pub(super) mod entries;
mod events;
pub(super) mod memory;
mod reservations;

use std::collections::HashMap;

use futures::StreamExt;
use tokio::time::Instant;

use super::ledger::Cluster;
use super::plan::Plan;
use super::records::{RecordId, Records};
use super::snapshot::{Snapshot, read_pod};
use super::stop::Stop;
use crate::client::{CallError, Client};
use crate::pod::PodRef;

pub(super) use entries::{Pending, Standing};
pub use events::tell;
pub use memory::remember;

/// What became of a record that was to be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was released by this run.
    Released,
    /// It was gone already, or a write whose answer was lost had done it.
    AlreadyGone,
    /// It is not what was judged any more, and stays for the next run.
    Changed,
    /// Its entry stays, so it stays too.
    KeptWithEntry,
    /// The release failed.
    Failed(String),
    /// The run was over before its turn.
    NotStarted,
}

impl Outcome {
    /// Its name, as reports print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Released => "Released",
            Self::AlreadyGone => "AlreadyGone",
            Self::Changed => "Changed",
            Self::KeptWithEntry => "KeptWithEntry",
            Self::Failed(_) => "Failed",
            Self::NotStarted => "NotStarted",
        }
    }
}

/// What a run has done.
#[derive(Debug, Default)]
pub struct Applied {
    /// For each record of the plan, what became of it.
    pub outcomes: HashMap<RecordId, Outcome>,
    /// Reservations that were put back because their entry had come back.
    pub restored: Vec<String>,
    /// What went wrong beside the records themselves.
    pub problems: Vec<String>,
}

/// How writes are sent.
#[derive(Debug, Clone)]
pub struct Writing {
    /// How many at once.
    pub at_once: usize,
    /// When no further write is started; what has been started is still finished.
    pub until: Instant,
    /// Whether someone asked the run to end.
    pub stop: Stop,
}

impl Writing {
    /// Whether another write may be started.
    #[must_use]
    pub fn may_start(&self) -> bool {
        !self.stop.is_requested() && Instant::now() < self.until
    }
}

/// Releases what the plan says; one bad pool never stops the others.
pub async fn apply(plan: &Plan, snapshot: &Snapshot, cluster: &Cluster, how: &Writing) -> Applied {
    let client = &cluster.client;
    let records = &snapshot.records;
    let mut applied = Applied::default();
    let by_pool = plan.entries.chunk_by(|a, b| {
        let pool = |index: &usize| records.entries.get(*index).map(|entry| entry.pool);
        pool(a) == pool(b)
    });
    let pools = by_pool.map(|indexes| entries::release(cluster, snapshot, indexes, how));
    let from_pools: Vec<_> = futures::stream::iter(pools)
        .buffer_unordered(how.at_once)
        .collect()
        .await;
    let from_pools = from_pools.into_iter().flatten();
    let from_pools = from_pools.map(|(index, outcome)| (RecordId::Entry(index), outcome));
    applied.outcomes.extend(from_pools);

    let (free, held): (Vec<usize>, Vec<usize>) = plan
        .reservations
        .iter()
        .partition(|index| entries_are_gone(records, &applied, **index));
    let deletes = free.into_iter().filter_map(|index| {
        let reservation = records.reservation(index)?;
        Some(async move {
            let pod = snapshot.absent_pod(RecordId::Reservation(index));
            let outcome = match has_come_back(client, pod).await {
                Ok(false) => reservations::delete(client, &reservation, how).await,
                Ok(true) => Outcome::Changed,
                Err(error) => Outcome::Failed(error.to_string()),
            };
            (RecordId::Reservation(index), outcome)
        })
    });
    let from_deletes: Vec<_> = futures::stream::iter(deletes)
        .buffer_unordered(how.at_once)
        .collect()
        .await;
    applied.outcomes.extend(from_deletes);
    let held = held
        .into_iter()
        .map(|index| (RecordId::Reservation(index), Outcome::KeptWithEntry));
    applied.outcomes.extend(held);

    reservations::put_back(&mut applied, records, client, how).await;
    applied
}

/// Whether a pod is there that was not when its record was judged.
///
/// An ADD of the Go program that is under way has looked at the reservation and writes the entry
/// later. It cannot be for a pod that did not exist a moment before the delete.
async fn has_come_back(client: &Client, pod: Option<&PodRef>) -> Result<bool, CallError> {
    match pod {
        Some(pod) => Ok(read_pod(client, pod).await?.is_some()),
        None => Ok(false),
    }
}

/// Whether all entries of the same claim are gone from their pools.
fn entries_are_gone(records: &Records, applied: &Applied, reservation: usize) -> bool {
    let Some(reservation) = records.reservation(reservation) else {
        return false;
    };
    reservation.entries.iter().all(|entry| {
        let outcome = applied.outcomes.get(&RecordId::Entry(*entry));
        matches!(outcome, Some(Outcome::Released | Outcome::AlreadyGone))
    })
}
