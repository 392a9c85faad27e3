//! I/O: records in etcd, as the plugin keeps them there with `datastore: etcd`.
//!
//! They are read all at one revision, which each pool then has as its `resource_version`: a key is what
//! was read as long as it has not been written since.

mod pools;
mod read;
mod write;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::{GetOptions, GetResponse, Txn, TxnResponse};
use tokio::time::Instant;

use crate::client::{Call, CallError, Cause, Refusal, SILENCE};
use crate::config::EtcdConfig;
use crate::record::Pool;
use crate::store::etcd::connect::{Connection, Failure, Kind};
use pools::Place;
pub(super) use write::MAX_ENTRIES_A_TXN;

/// Keys, as messages spell them.
const KEYS: &str = "etcd keys";

/// The records in one etcd.
#[derive(Clone)]
pub struct EtcdLedger {
    config: Arc<EtcdConfig>,
    connection: Connection,
    calls: Arc<AtomicU64>,
}

impl EtcdLedger {
    /// Connects to etcd; all calls end by the deadline.
    ///
    /// # Errors
    /// When no member answers, the user or the certificates are refused, or a file cannot be read.
    pub async fn connect(config: EtcdConfig, deadline: Instant) -> Result<Self, String> {
        Ok(Self {
            connection: Connection::new(&config, deadline).await?,
            config: Arc::new(config),
            calls: Arc::default(),
        })
    }

    /// Another connection to the same etcd; calls are counted together.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn renewed(&self, deadline: Instant) -> Result<Self, String> {
        Ok(Self {
            connection: Connection::new(&self.config, deadline).await?,
            ..self.clone()
        })
    }

    /// The same with another deadline; calls are counted together.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self {
            connection: self.connection.until(deadline),
            ..self.clone()
        }
    }

    /// Calls sent so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn get(
        &self,
        call: &Call<'_>,
        key: &str,
        options: GetOptions,
    ) -> Result<GetResponse, CallError> {
        let got = self.bounded().get(key, Some(options)).await;
        got.map_err(|failure| self.failed(call, failure))
    }

    async fn txn(&self, call: &Call<'_>, txn: Txn) -> Result<TxnResponse, CallError> {
        let done = self.bounded().txn(call.object, txn).await;
        done.map_err(|failure| self.failed(call, failure))
    }

    /// For one call: no longer than a server may be silent.
    fn bounded(&self) -> Connection {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let silence = Instant::now() + SILENCE;
        self.connection
            .until(silence.min(self.connection.deadline()))
    }

    fn failed(&self, call: &Call<'_>, failure: Failure) -> CallError {
        let Failure {
            reason,
            is_passing,
            kind,
            ..
        } = failure;
        let refusal = match kind {
            Kind::NoAnswer if Instant::now() >= self.connection.deadline() => {
                return call.failed(Cause::Deadline);
            }
            Kind::NoAnswer => {
                return call.failed(Cause::Silent {
                    after: SILENCE,
                    server: format!("etcd {}", self.config.endpoints.join(", ")),
                });
            }
            Kind::Compacted => Refusal::Compacted,
            Kind::Denied => Refusal::Denied,
            Kind::Other if is_passing => Refusal::Passing,
            Kind::Other => Refusal::Final,
        };
        let said = format!("{reason} (etcd {})", self.config.endpoints.join(", "));
        call.failed(Cause::Etcd { said, refusal })
    }
}

/// The key of an annotation of a pool.
#[must_use]
pub(super) fn annotation_of(pool: &Pool, name: &str) -> Option<String> {
    Some(Place::of_pool(pool)?.annotation(name))
}

/// The key of an address of a pool.
#[must_use]
pub(super) fn key_of(pool: &Pool, address: IpAddr) -> Option<String> {
    Some(Place::of_pool(pool)?.key(address).text())
}
