//! I/O: records in Kubernetes custom resources, beside the Go program's.
//!
//! No lease: every write is guarded by what was read. With overlapping-range protection, creating
//! the reservation *is* the claim; the pool's entry records it. Each `add` to a pool tests that its
//! key is free, whatever else guards the patch.

mod acquire;
mod batch;
mod claimed;
mod claims;
mod own;
mod pools;
mod queue;
mod release;
mod settle;
mod slices;
mod spool;
mod take;
mod turn;
mod undo;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::MAX_LABEL;
use crate::client::{self, Client};
use crate::ip::IpRange;
use crate::record::{Entry, ObjectId, reservation_name};
use crate::retry;
use crate::store::{Acquired, Attachment, Error, Garbage, Overlap, Range, Store};
use own::{is_of, text_of};
use turn::Turn;

/// How long a call that failed may go on, beyond its deadline, with taking back what it wrote.
const TAKING_BACK: Duration = Duration::from_secs(5);

/// The custom resources of one namespace.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    namespace: String,
    lock_folder: PathBuf,
}

impl Kubernetes {
    /// Uses the records of this namespace; the processes of a node take turns by locks in a folder.
    #[must_use]
    pub fn new(client: Client, namespace: String, lock_folder: PathBuf) -> Self {
        Self {
            client,
            namespace,
            lock_folder,
        }
    }

    /// Waits until no other process of this node changes the pool, but not for ever: whoever has
    /// the turn may be waiting for an answer that never comes.
    async fn turn(&self, pool: &ObjectId) -> Turn {
        let left = self.client.deadline().duration_since(Instant::now());
        Turn::wait(&self.lock_folder, pool, left / 2).await
    }

    /// The same, if it need not wait.
    fn turn_now(&self, pool: &ObjectId) -> Option<Turn> {
        Turn::now(&self.lock_folder, pool)
    }

    /// With how many addresses other nodes were at the pool a moment ago, as far as this node knows.
    fn crowd(&self, pool: &ObjectId) -> usize {
        turn::crowd(&self.lock_folder, pool)
    }

    fn note_crowd(&self, pool: &ObjectId, size: usize) {
        turn::note_crowd(&self.lock_folder, pool, size);
    }

    /// Pauses before another try, if there is time left; otherwise says why the `last` one failed.
    async fn pause(&self, conflicts: usize, pool: &ObjectId, last: String) -> Result<(), Error> {
        if Instant::now() >= self.client.deadline() {
            let pool = pool.to_string();
            return Err(Error::Contended { pool, last });
        }
        tokio::time::sleep(retry::crowd_pause(conflicts)).await;
        Ok(())
    }

    /// The same store for taking back what was written: that may go on a little longer than the
    /// call that failed.
    fn for_taking_back(&self) -> Self {
        let until = self.client.deadline().max(Instant::now() + TAKING_BACK);
        Self {
            client: self.client.until(until),
            ..self.clone()
        }
    }

    /// Checks that an entry's claim is its pod's.
    async fn verify_claim(
        &self,
        range: &Range<'_>,
        address: IpAddr,
        entry: &Entry,
    ) -> Result<(), Error> {
        let id = self.reservation_id(range, address);
        let Some(claim) = self.read_claim(&id).await? else {
            return Err(Error::Mismatch(format!("reservation {id} is missing")));
        };
        if claim.podref == text_of(entry, "/podref") {
            return Ok(());
        }
        let owner = claim.podref;
        Err(Error::Mismatch(format!(
            "reservation {id} belongs to {owner}"
        )))
    }

    fn id(&self, name: String) -> ObjectId {
        ObjectId {
            namespace: self.namespace.as_str().into(),
            name: name.into(),
        }
    }

    fn pool_id(&self, range: &Range<'_>) -> ObjectId {
        let parts = [range.network, range.slice_of.unwrap_or_default()];
        let parts = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(ToOwned::to_owned);
        let name: Vec<String> = parts.chain([range.config.range.name()]).collect();
        self.id(name.join("-"))
    }

    fn reservation_id(&self, range: &Range<'_>, address: IpAddr) -> ObjectId {
        self.id(reservation_name(range.network, address))
    }
}

/// The namespace of a kubeconfig's current context, in which the records are.
///
/// # Errors
/// When the file cannot be read or names no context.
pub fn namespace_of(kubeconfig: &std::path::Path) -> Result<String, String> {
    let read = kube::config::Kubeconfig::read_from(kubeconfig);
    let config = read.map_err(|error| {
        let reason = client::kubeconfig_problem(&error);
        format!("cannot use kubeconfig {}: {reason}", kubeconfig.display())
    })?;
    let current = config.current_context.unwrap_or_default();
    let context = config
        .contexts
        .into_iter()
        .find(|context| context.name == current);
    let context = context.and_then(|context| context.context);
    let context = context.ok_or("k8s config: namespace not present in context")?;
    Ok(context
        .namespace
        .filter(|name| !name.is_empty())
        .unwrap_or("kube-system".to_owned()))
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    let short: String = text.chars().take(MAX_LABEL).collect();
    short
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

impl Store for Kubernetes {
    async fn slice_of(&self, slices: &str, node: &str, range: IpRange) -> Result<IpRange, Error> {
        slices::slice_of(self, slices, node, range).await
    }

    async fn acquire(
        &self,
        range: &Range<'_>,
        attachment: &Attachment,
        avoid: &BTreeSet<IpAddr>,
    ) -> Result<Acquired, Error> {
        acquire::acquire(self, range, attachment, avoid).await
    }

    async fn undo(&self, range: &Range<'_>, attachment: &Attachment) -> Result<(), Error> {
        let Attachment {
            container,
            interface,
            ..
        } = attachment;
        release::release(&self.for_taking_back(), range, container, interface).await
    }

    async fn release(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error> {
        release::release(self, range, container, interface).await
    }

    async fn verify(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error> {
        let pool = self.pool_id(range);
        let found = self.read_pool(&pool).await?;
        let mut held = Vec::new();
        for entry in found.iter().flat_map(|found| &found.entries) {
            let address = entry.address.as_ref().ok().copied();
            let Some(address) = address.filter(|address| addresses.contains(address)) else {
                continue;
            };
            if !is_of(entry, container, interface) {
                continue;
            }
            if range.overlap == Overlap::Protected {
                self.verify_claim(range, address, entry).await?;
            }
            held.push(address);
        }
        if held.is_empty() {
            return Err(Error::Mismatch(format!(
                "pool {pool} records none of {addresses:?} for container {container} on {interface}"
            )));
        }
        Ok(held)
    }

    async fn collect(&self, range: &Range<'_>, garbage: &Garbage<'_>) -> Result<(), Error> {
        release::collect(self, range, garbage).await
    }

    async fn has_free(&self, range: &Range<'_>) -> Result<bool, Error> {
        let Ok(window) = &range.config.window else {
            return Ok(false);
        };
        let pool = self.read_pool(&self.pool_id(range)).await?;
        let taken = pool.iter().flat_map(|found| &found.entries);
        let taken = taken
            .filter_map(|entry| entry.address.as_ref().ok().copied())
            .collect();
        let Ok(lowest) = window.lowest(&taken) else {
            return Ok(false);
        };
        if range.overlap == Overlap::Protected {
            // Whether there is a claim matters less than whether the store can say.
            self.read_claim(&self.reservation_id(range, lowest)).await?;
        }
        Ok(true)
    }
}
