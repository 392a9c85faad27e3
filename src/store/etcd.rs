//! I/O: records in etcd, one key per address, without Kubernetes.
//!
//! No lock and no lease: an address is taken by a transaction that holds only if nobody has it, and
//! changed or freed by one that holds only if it is still what was read.

mod blocks;
pub(crate) mod connect;
pub(crate) mod layout;
mod records;
mod search;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::allocate::Window;
use crate::config::EtcdConfig;
use crate::ip::IpRange;
use crate::retry;
use crate::store::{Acquired, Attachment, Error, Garbage, Overlap, Range, Store};
use blocks::Block;
use connect::{Connection, Failure};
use layout::{Key, Record, container_prefix, pod_prefix};
use records::Held;

/// How long a call that failed may go on, beyond its deadline, with taking back what it wrote.
const TAKING_BACK: Duration = Duration::from_secs(5);
/// By how many addresses the choice grows with each conflict, and how far: many at once then choose
/// differently, and addresses stay compact.
const SPREAD_STEP: usize = 8;
const MAX_SPREAD: usize = 96;

/// The keys of one etcd.
pub struct Etcd {
    connection: Connection,
}

impl Etcd {
    /// Connects to etcd; calls end at the deadline.
    ///
    /// # Errors
    /// When no member answers, the user or the certificates are refused, or a file cannot be read.
    pub async fn connect(config: &EtcdConfig, deadline: Instant) -> Result<Self, String> {
        let connection = Connection::new(config, deadline).await?;
        Ok(Self { connection })
    }

    fn for_taking_back(&self) -> Connection {
        let until = self.connection.deadline().max(Instant::now() + TAKING_BACK);
        self.connection.until(until)
    }

    /// What a container's interface holds of the range.
    async fn of_container(
        store: &Connection,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<Vec<Held>, Failure> {
        let all = records::behind(store, &container_prefix(container, interface)).await?;
        let own = |held: &Held| is_in(range, held) && held.record.is_of(container, interface);
        Ok(all.into_iter().filter(own).collect())
    }

    /// What a pod's interface holds of the range, whichever container has it.
    async fn of_pod(
        &self,
        range: &Range<'_>,
        attachment: &Attachment,
    ) -> Result<Vec<Held>, Failure> {
        let prefix = pod_prefix(&attachment.podref, &attachment.interface);
        let all = records::behind(&self.connection, &prefix).await?;
        let own = |held: &Held| {
            is_in(range, held)
                && held.record.podref == attachment.podref
                && held.record.ifname == attachment.interface
        };
        Ok(all.into_iter().filter(own).collect())
    }

    /// Frees what a container's interface holds of the range.
    async fn free(
        store: &Connection,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error> {
        let mut conflicts = 0_usize;
        loop {
            let mut last = None;
            for held in Self::of_container(store, range, container, interface).await? {
                if !records::delete(store, &held).await? {
                    last = Some(format!("{} was changed", held.key.text()));
                }
            }
            let Some(last) = last else {
                return Ok(());
            };
            pause(store, range, conflicts, last).await?;
            conflicts = conflicts.saturating_add(1);
        }
    }

    /// One try; the reason when somebody was quicker, or etcd may answer later.
    async fn attempt(
        &self,
        range: &Range<'_>,
        (window, avoid): (&Window, &BTreeSet<IpAddr>),
        attachment: &Attachment,
        progress: &mut Progress,
    ) -> Result<Result<Acquired, String>, Error> {
        let found = match self.of_pod(range, attachment).await {
            Err(failure) if failure.is_passing => return Ok(Err(Error::from(failure).to_string())),
            found => found?,
        };
        let before = progress.before.get_or_insert_with(|| found.clone()).clone();
        let own = found.iter().filter(|held| {
            let address = held.key.address;
            window.holds(address)
                && !avoid.contains(&address)
                && !progress.stuck.contains(held)
                && held.record.may_be_taken_over(attachment)
        });
        let own = own.min_by_key(|held| held.key.address);
        let new = Record::of(attachment, range);
        let (address, done) = if let Some(held) = own {
            let was_held = before.contains(held);
            let address = held.key.address;
            if !was_held
                && !held
                    .record
                    .is_of(&attachment.container, &attachment.interface)
            {
                return Err(Error::Mismatch(format!(
                    "{} has got {address} for another container since this call began",
                    attachment.podref
                )));
            }
            let is_protected = held.key.range.is_none() || range.overlap == Overlap::Ignored;
            if held.record == new && is_protected {
                return Ok(Ok(Acquired { address, was_held }));
            }
            let replaced = records::replace(&self.connection, range, held, &new).await;
            if matches!(replaced, Ok(false)) {
                progress.stuck.push(held.clone());
            }
            (Acquired { address, was_held }, replaced)
        } else {
            let address = self
                .choose(range, window, avoid, progress.conflicts)
                .await?;
            progress.has_claimed = true;
            (
                Acquired {
                    address,
                    was_held: false,
                },
                records::create(&self.connection, range, address, &new).await,
            )
        };
        match done {
            Ok(true) => Ok(Ok(address)),
            Ok(false) => Ok(Err(format!("{} was just taken", address.address))),
            Err(failure) if failure.is_passing => Ok(Err(Error::from(failure).to_string())),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The lowest free address; after conflicts one of the lowest, so that many at once part ways.
    async fn choose(
        &self,
        range: &Range<'_>,
        window: &Window,
        avoid: &BTreeSet<IpAddr>,
        conflicts: usize,
    ) -> Result<IpAddr, Error> {
        let wanted = conflicts
            .saturating_mul(SPREAD_STEP)
            .min(MAX_SPREAD)
            .saturating_add(1);
        let free = search::free(&self.connection, range, window, avoid, wanted).await?;
        let chosen = free.get(retry::random_below(free.len())).copied();
        chosen.ok_or_else(|| Error::Exhausted(format!("no free address in {}", window.range())))
    }
}

/// How far an ADD has come.
#[derive(Default)]
struct Progress {
    /// What the pod had when it began.
    before: Option<Vec<Held>>,
    /// What could not be made this call's as it was: it was changed, which another look shows, or
    /// another range has the address.
    stuck: Vec<Held>,
    conflicts: usize,
    /// Whether it may have recorded an address, though it does not know.
    has_claimed: bool,
}

/// Whether a record is one of the range: of the same name, wherever it is protected.
fn is_in(range: &Range<'_>, held: &Held) -> bool {
    let Key {
        network,
        range: name,
        address,
    } = &held.key;
    let config = &range.config.range;
    *network == range.network
        && config.contains(*address)
        && match name {
            Some(name) => *name == config.name(),
            None => held.record.range == config.to_string(),
        }
}

/// Pauses before another try, if there is time left; otherwise says why the `last` one failed.
async fn pause(
    store: &Connection,
    range: &Range<'_>,
    conflicts: usize,
    last: String,
) -> Result<(), Error> {
    let pause = retry::crowd_pause(conflicts);
    if Instant::now() + pause >= store.deadline() {
        let pool = range.config.range.to_string();
        return Err(Error::Contended { pool, last });
    }
    tokio::time::sleep(pause).await;
    Ok(())
}

impl Store for Etcd {
    async fn slice_of(&self, slices: &str, _: &str, _: IpRange) -> Result<IpRange, Error> {
        Err(Error::NoSlice {
            slices: slices.to_owned(),
            reason: "node slices are objects of Kubernetes".to_owned(),
        })
    }

    async fn acquire(
        &self,
        range: &Range<'_>,
        attachment: &Attachment,
        avoid: &BTreeSet<IpAddr>,
    ) -> Result<Acquired, Error> {
        let window = range.config.window.as_ref();
        let window = window.map_err(|reason| Error::Exhausted(reason.clone()))?;
        let mut progress = Progress::default();
        let failed = loop {
            let from = (window, avoid);
            let attempt = self.attempt(range, from, attachment, &mut progress).await;
            let reason = match attempt {
                Ok(Ok(acquired)) => return Ok(acquired),
                Ok(Err(reason)) => reason,
                Err(error) => break error,
            };
            tracing::debug!(reason, "Not given");
            if let Err(error) = pause(&self.connection, range, progress.conflicts, reason).await {
                break error;
            }
            progress.conflicts = progress.conflicts.saturating_add(1);
        };
        // Nobody told whether it was recorded.
        let had_one = progress.before.is_some_and(|before| !before.is_empty());
        if progress.has_claimed
            && !had_one
            && let Err(error) = self.undo(range, attachment).await
        {
            tracing::warn!(%error, "An address may be left for the reconciler");
        }
        Err(failed)
    }

    async fn undo(&self, range: &Range<'_>, attachment: &Attachment) -> Result<(), Error> {
        let Attachment {
            container,
            interface,
            ..
        } = attachment;
        Self::free(&self.for_taking_back(), range, container, interface).await
    }

    async fn release(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error> {
        Self::free(&self.connection, range, container, interface).await
    }

    async fn verify(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error> {
        let mut held = Self::of_container(&self.connection, range, container, interface).await?;
        held.retain(|held| addresses.contains(&held.key.address));
        let is_bare =
            |held: &&Held| range.overlap == Overlap::Protected && held.key.range.is_some();
        if let Some(bare) = held.iter().find(is_bare) {
            let key = bare.key.text();
            return Err(Error::Mismatch(format!(
                "{key} is not protected in other ranges of the network"
            )));
        }
        if held.is_empty() {
            let range = range.config.range;
            return Err(Error::Mismatch(format!(
                "etcd records none of {addresses:?} of {range} for container {container} on {interface}"
            )));
        }
        Ok(held.into_iter().map(|held| held.key.address).collect())
    }

    async fn collect(&self, range: &Range<'_>, garbage: &Garbage<'_>) -> Result<(), Error> {
        let Some((first, last)) = range.config.range.masked().usable() else {
            return Ok(());
        };
        let store = &self.connection;
        let free = async |held: Held| {
            let Record {
                container,
                node,
                network,
                ..
            } = &held.record;
            let is_garbage = is_in(range, &held)
                && node.as_deref() == Some(garbage.node)
                && network == garbage.network
                && !container.is_empty()
                && !garbage.valid.contains(container);
            // What was changed since is somebody's again.
            if is_garbage && !records::delete(store, &held).await? {
                tracing::debug!(key = held.key.text(), "Changed meanwhile");
            }
            Ok(())
        };
        Ok(records::each(store, range, Block { first, last }, free).await?)
    }

    async fn has_free(&self, range: &Range<'_>) -> Result<bool, Error> {
        let Ok(window) = &range.config.window else {
            return Ok(false);
        };
        match search::free(&self.connection, range, window, &BTreeSet::new(), 1).await {
            Ok(free) => Ok(!free.is_empty()),
            Err(Error::Exhausted(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
