//! I/O: where the records are kept, and the few things that are done with them there.
//!
//! What is decided about records is decided elsewhere, once for every ledger.

mod cluster;
#[cfg(feature = "etcd")]
pub mod etcd;

use std::collections::HashSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apply::{Pending, Standing, entries, memory};
#[cfg(feature = "etcd")]
use super::memory::Carrier;
use super::memory::Change;
use super::put;
use super::records::Records;
use super::snapshot::{self, ReadStep};
use crate::client::{CallError, Client};
use crate::pod::RECONCILE_KEY;
use crate::record::{ObjectId, Pool, PoolObject, Reservation};
use crate::text::Texts;
#[cfg(feature = "etcd")]
use etcd::EtcdLedger;

pub use cluster::{Cluster, NotOurs};

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

    /// How a person exempts a pool.
    #[must_use]
    pub fn exempt(self, pool: Option<&Pool>) -> String {
        #[cfg(feature = "etcd")]
        if self == Self::Etcd
            && let Some(key) = pool.and_then(|pool| etcd::annotation_of(pool, RECONCILE_KEY))
        {
            return format!("etcdctl put {key} false");
        }
        let _ = pool;
        format!("annotate the pool with {RECONCILE_KEY}=false")
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

    /// Reads all pools with their entries, which have `texts` in common.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub(super) async fn read_pools(
        &self,
        page: u32,
        progress: &impl Fn(ReadStep),
        texts: &mut Texts,
    ) -> Result<Vec<PoolObject>, CallError> {
        progress(ReadStep::Pools);
        match self {
            Self::Kubernetes(client) => snapshot::read_pools(client, page, texts).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd.read_pools(page).await,
        }
    }

    /// Reads all reservations, after the pools, and hands over each.
    ///
    /// # Errors
    /// When they cannot be read to their end.
    pub(super) async fn read_reservations<T: Default>(
        &self,
        page: u32,
        progress: &impl Fn(ReadStep),
        texts: &mut Texts,
        take: impl Fn(&mut T, Reservation),
    ) -> Result<T, CallError> {
        match self {
            Self::Kubernetes(client) => {
                progress(ReadStep::Reservations);
                snapshot::read_reservations(client, page, texts, take).await
            }
            // An address is one key: nothing overlaps.
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => Ok(T::default()),
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
