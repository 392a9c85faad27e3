//! I/O: records in etcd, one key per address, without Kubernetes.
//!
//! No lock and no lease: an address is taken by a transaction that holds only if nobody has it, and
//! changed or freed by one that holds only if it is still what was read. So whatever is not known to
//! have been done may be asked for again, after another look.

mod acquire;
mod blocks;
pub(crate) mod connect;
pub(crate) mod layout;
mod members;
mod records;
mod search;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::EtcdConfig;
use crate::ip::IpRange;
use crate::retry;
use crate::store::{Acquired, Attachment, Error, Garbage, Overlap, Range, Store};
use acquire::Add;
use blocks::Block;
use connect::{Connection, Failure};
use layout::{Key, Record, container_prefix};
use records::Held;

/// How long a call that failed may go on, beyond its deadline, with taking back what it wrote.
const TAKING_BACK: Duration = Duration::from_secs(5);

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

    /// What a container's interface holds of the range.
    async fn of_container(
        store: &Connection,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<Vec<Held>, Failure> {
        let all = records::behind(store, &container_prefix(container, interface)).await?;
        let own = |held: &Held| is_in(range, held) && held.record.is_of(container, interface);
        Ok(all.found.into_iter().filter(own).collect())
    }
}

/// Frees what a container's interface holds of the range, but for addresses to keep.
async fn free(
    store: &Connection,
    range: &Range<'_>,
    (container, interface): (&str, &str),
    kept: &BTreeSet<IpAddr>,
) -> Result<(), Error> {
    let mut tries = 0_usize;
    loop {
        let mut last = None;
        for held in Etcd::of_container(store, range, container, interface).await? {
            if kept.contains(&held.key.address) {
                continue;
            }
            match records::delete(store, &held).await {
                Ok(true) => {}
                Ok(false) => last = Some(format!("{} was changed", held.key.text())),
                // Whether it was freed another look shows.
                Err(failure) if failure.is_passing => last = Some(Error::from(failure).to_string()),
                Err(failure) => return Err(failure.into()),
            }
        }
        let Some(last) = last else {
            return Ok(());
        };
        pause(store, range, tries, last).await?;
        tries = tries.saturating_add(1);
    }
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
    tries: usize,
    last: String,
) -> Result<(), Error> {
    let pause = retry::crowd_pause(tries);
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
        let add = Add::new(&self.connection, range, attachment, avoid)?;
        add.run().await
    }

    async fn undo(&self, range: &Range<'_>, attachment: &Attachment) -> Result<(), Error> {
        let Attachment {
            container,
            interface,
            ..
        } = attachment;
        let until = self.connection.deadline().max(Instant::now() + TAKING_BACK);
        let store = self.connection.until(until);
        free(&store, range, (container, interface), &BTreeSet::new()).await
    }

    async fn release(
        &self,
        range: &Range<'_>,
        container: &str,
        interface: &str,
    ) -> Result<(), Error> {
        let of = (container, interface);
        free(&self.connection, range, of, &BTreeSet::new()).await
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
        // Where none is valid nobody said what is still there.
        if garbage.valid.is_empty() || garbage.node.is_empty() {
            return Ok(());
        }
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
