//! I/O: where the records are kept, and the few things that are done with them there.
//!
//! What is decided about records is decided elsewhere, once for every ledger.

#[cfg(feature = "etcd")]
pub mod etcd;

use std::collections::HashSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Mode;
use super::apply::{Pending, Standing, entries, memory};
#[cfg(feature = "etcd")]
use super::memory::Carrier;
use super::memory::Change;
#[cfg(feature = "etcd")]
use super::originals::read_cluster_uid;
use super::put;
use super::records::Records;
use super::snapshot::{self, ReadStep};
use crate::client::{CallError, Client};
#[cfg(feature = "etcd")]
use crate::config::EtcdConfig;
use crate::record::{ObjectId, Pool, PoolObject, Reservation};
#[cfg(feature = "etcd")]
use etcd::EtcdLedger;

/// A cluster: its pods and nodes, and the records of its addresses.
#[derive(Clone)]
pub struct Cluster {
    /// Tells of pods and nodes.
    pub client: Client,
    /// Has the records.
    pub ledger: Ledger,
}

/// Where the plugin keeps its records, as its setting has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Datastore {
    /// In custom resources.
    #[default]
    Kubernetes,
    /// In etcd.
    Etcd,
}

impl Datastore {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
        }
    }

    /// The key of an address of a pool, where the records are no objects.
    #[must_use]
    pub fn key_of(self, pool: &Pool, address: IpAddr) -> Option<String> {
        match self {
            Self::Kubernetes => {
                let _ = (pool, address);
                None
            }
            #[cfg(feature = "etcd")]
            Self::Etcd => etcd::key_of(pool, address),
            #[cfg(not(feature = "etcd"))]
            Self::Etcd => None,
        }
    }
}

/// Where the records are.
#[derive(Clone)]
pub enum Ledger {
    /// In custom resources.
    Kubernetes(Client),
    /// In etcd.
    #[cfg(feature = "etcd")]
    Etcd(Box<EtcdLedger>),
}

/// Whose pods the records are of is not clear.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It cannot be found out.
    #[error(transparent)]
    Unknown(#[from] CallError),
    /// A reconciler of another cluster frees them.
    #[error(
        "the records in etcd are those of another cluster, whose namespace kube-system has the uid \
         {there}, and here it is {here}: what its pods use would be freed here. Give each cluster an etcd \
         of its own; if this is the same one, made anew, delete the key {key}"
    )]
    OtherCluster {
        /// What etcd has.
        there: String,
        /// This one's.
        here: String,
        /// Where it has that.
        key: &'static str,
    },
}

impl Cluster {
    /// A cluster whose records are custom resources.
    #[must_use]
    pub fn of(client: Client) -> Self {
        let ledger = Ledger::Kubernetes(client.clone());
        Self { client, ledger }
    }

    /// A cluster whose records are in etcd.
    ///
    /// # Errors
    /// When etcd cannot be reached, or refuses.
    #[cfg(feature = "etcd")]
    pub async fn with_etcd(
        client: Client,
        config: EtcdConfig,
        deadline: Instant,
    ) -> Result<Self, String> {
        let etcd = EtcdLedger::connect(config, deadline).await?;
        let ledger = Ledger::Etcd(Box::new(etcd));
        Ok(Self { client, ledger })
    }

    /// Makes sure that the records are not those of another cluster's pods: custom resources are in the
    /// cluster itself. Who changes any claims them all.
    #[cfg_attr(
        not(feature = "etcd"),
        expect(clippy::unused_async, reason = "of custom resources it is known")
    )]
    pub(super) async fn own_records(&self, mode: Mode, writes: bool) -> Result<(), NotOurs> {
        match &self.ledger {
            Ledger::Kubernetes(_) => {
                let _ = (mode, writes);
                Ok(())
            }
            #[cfg(feature = "etcd")]
            Ledger::Etcd(etcd) => self.own_keys(etcd, mode, writes).await,
        }
    }

    #[cfg(feature = "etcd")]
    async fn own_keys(&self, etcd: &EtcdLedger, mode: Mode, writes: bool) -> Result<(), NotOurs> {
        let there = etcd.cluster().await?;
        if there.is_none() && !writes {
            return Ok(());
        }
        let here = match read_cluster_uid(&self.client).await {
            Ok(here) => here,
            // Whoever only looks needs no right for that.
            Err(_) if mode == Mode::DryRun => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let there = match there {
            Some(there) => there,
            None => etcd.claim(&here).await?,
        };
        if there == here {
            return Ok(());
        }
        let key = crate::store::etcd::layout::CLUSTER;
        Err(NotOurs::OtherCluster { there, here, key })
    }

    /// The same after a long time, in which a connection may have been forgotten, and with another
    /// deadline.
    ///
    /// # Errors
    /// When the records cannot be reached any more.
    #[cfg_attr(
        not(feature = "etcd"),
        expect(
            clippy::unused_async,
            reason = "custom resources need no connection of their own"
        )
    )]
    pub async fn renewed(&self, deadline: Instant) -> Result<Self, String> {
        #[cfg(feature = "etcd")]
        if let Ledger::Etcd(etcd) = &self.ledger {
            return Ok(Self {
                client: self.client.until(deadline),
                ledger: Ledger::Etcd(Box::new(etcd.renewed(deadline).await?)),
            });
        }
        Ok(self.until(deadline))
    }

    /// The same with another deadline; calls are counted together.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let client = self.client.until(deadline);
        let ledger = match &self.ledger {
            Ledger::Kubernetes(_) => Ledger::Kubernetes(client.clone()),
            #[cfg(feature = "etcd")]
            Ledger::Etcd(etcd) => Ledger::Etcd(Box::new(etcd.until(deadline))),
        };
        Self { client, ledger }
    }
}

/// Who is to be recorded for an address.
pub(super) struct Holder<'a> {
    /// The container, or nothing where it is not known.
    pub(super) container: &'a str,
    /// Namespace and name of the pod.
    pub(super) pod: &'a str,
    pub(super) interface: &'a str,
    pub(super) uid: &'a str,
    pub(super) node: Option<&'a str>,
    /// The range of the pool.
    pub(super) range_text: &'a str,
}

impl Ledger {
    /// What kind it is.
    #[must_use]
    pub fn datastore(&self) -> Datastore {
        match self {
            Self::Kubernetes(_) => Datastore::Kubernetes,
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => Datastore::Etcd,
        }
    }

    /// Calls to etcd so far; `None` where the records are elsewhere.
    #[must_use]
    pub fn calls_to_etcd(&self) -> Option<u64> {
        match self {
            Self::Kubernetes(_) => None,
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => Some(etcd.calls()),
        }
    }

    /// An entry for somebody.
    pub(super) fn entry(&self, holder: &Holder<'_>) -> Value {
        let Holder {
            container,
            pod,
            interface,
            uid,
            node,
            range_text,
        } = *holder;
        match self.datastore() {
            Datastore::Kubernetes => json!({
                "id": container,
                "podref": pod,
                "ifname": interface,
                "owner": {"id": container, "poduid": uid, "nodename": node},
            }),
            Datastore::Etcd => json!({
                "container": container,
                "podref": pod,
                "ifname": interface,
                "poduid": uid,
                "node": node,
                "range": range_text,
            }),
        }
    }

    /// Adds pools that are there by their names alone, since no object stands for them: those of
    /// entries that are gone.
    pub(super) fn add_bare<'a>(
        &self,
        pools: &mut Vec<PoolObject>,
        named: impl Iterator<Item = (ObjectId, &'a str)>,
    ) {
        if self.datastore() == Datastore::Kubernetes {
            return;
        }
        let mut there: HashSet<ObjectId> = pools.iter().map(|it| it.pool.id.clone()).collect();
        for (id, range_text) in named {
            if there.insert(id.clone()) {
                pools.push(PoolObject {
                    pool: Pool::new(id, range_text, false),
                    entries: Vec::new(),
                });
            }
        }
    }

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
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => {
                progress(ReadStep::Pools);
                Ok((etcd.read_all(page).await?, Vec::new()))
            }
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
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.read_again(pools).await,
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
        match self {
            Self::Kubernetes(client) => {
                let _ = (range_text, keys);
                snapshot::read_pool(client, pool).await
            }
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.read_entries(pool, range_text, keys).await,
        }
    }

    /// How many entries of a pool are taken out, or put in, by one write.
    pub(super) fn entries_a_write(&self) -> usize {
        match self {
            Self::Kubernetes(_) => entries::MAX_ENTRIES_A_PATCH,
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => etcd::MAX_ENTRIES_A_TXN,
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
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.look_again(pool, pending).await,
        }
    }

    /// Takes entries out of a pool, all of them or none: none where one is not what was judged.
    ///
    /// # Errors
    /// A conflict where one of them has changed; anything else where nobody knows.
    pub(super) async fn take_out(&self, pool: &Pool, pending: &[Pending]) -> Result<(), CallError> {
        match self {
            Self::Kubernetes(client) => entries::patch(client, pool, pending).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.take_out(pool, pending).await,
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
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.put_in(pool, new).await,
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
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => match change.of {
                Carrier::Pool(index) => match records.pools.get(index) {
                    Some(pool) => etcd.annotate(pool, &change.annotations).await,
                    None => Ok(()),
                },
                Carrier::Reservation(_) => Ok(()),
            },
        }
    }
}
