//! I/O: a cluster with its records, and whether they are its own.

use tokio::time::Instant;

use super::Ledger;
#[cfg(feature = "etcd")]
use super::etcd::EtcdLedger;
use crate::client::{CallError, Client};
#[cfg(feature = "etcd")]
use crate::config::EtcdConfig;
use crate::reconcile::Mode;
#[cfg(feature = "etcd")]
use crate::reconcile::originals::read_cluster_uid;

/// A cluster: its pods and nodes, and the records of its addresses.
#[derive(Clone)]
pub struct Cluster {
    /// Tells of pods and nodes.
    pub client: Client,
    /// Has the records.
    pub ledger: Ledger,
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
    pub(in crate::reconcile) async fn own_records(
        &self,
        mode: Mode,
        writes: bool,
    ) -> Result<(), NotOurs> {
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
