//! I/O: a connection to etcd, and its calls with their deadline and their errors in words.

use std::error::Error as _;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, GetResponse, KvClient, Txn, TxnResponse};
use tokio::time::Instant;

use super::members::{GivenUp, Members};
use crate::config::EtcdConfig;
use crate::retry::{Patience, pauses};
use crate::store::Error;

/// `CANCELLED`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL` and `UNAVAILABLE` of
/// gRPC may pass. Three of them are what a connection that ends amid a call is called.
const PASSING: [i32; 6] = [1, 2, 4, 8, 13, 14];

/// etcd, for the calls of one command.
#[derive(Clone)]
pub(super) struct Connection {
    members: Arc<Members>,
    deadline: Instant,
}

/// Why a call failed.
pub(super) struct Failure {
    what: String,
    /// What each member had to say when it was asked last, the last one at the end.
    said: Vec<String>,
    /// Whether it may succeed when it is asked again. Whether a change was made is not known then.
    pub(super) is_passing: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} etcd {}", self.what, self.said.join("; "))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Etcd(failure.to_string())
    }
}

impl Connection {
    /// Connects to whichever member answers.
    pub(super) async fn new(config: &EtcdConfig, deadline: Instant) -> Result<Self, String> {
        let connection = Self {
            members: Arc::new(Members::new(config)?),
            deadline,
        };
        // Without a user nothing is sent before the first call.
        let connected = connection.repeat("connect to", async |_| Ok(()));
        connected.await.map_err(|failure| failure.to_string())?;
        Ok(connection)
    }

    /// The same with another deadline.
    pub(super) fn until(&self, deadline: Instant) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) async fn get(
        &self,
        key: &str,
        options: Option<GetOptions>,
    ) -> Result<GetResponse, Failure> {
        let call = async |mut kv: KvClient| kv.get(key, options.clone()).await;
        self.repeat(&format!("read {key:?} in"), call).await
    }

    /// A transaction that changes nothing; `object` is what it is about, for errors.
    pub(super) async fn look(&self, object: &str, txn: Txn) -> Result<TxnResponse, Failure> {
        let call = async |mut kv: KvClient| kv.txn(txn.clone()).await;
        self.repeat(&format!("read {object:?} in"), call).await
    }

    /// A transaction that changes something: asked for once, because what it did if it failed only
    /// another look shows.
    pub(super) async fn txn(&self, object: &str, txn: Txn) -> Result<TxnResponse, Failure> {
        let call = async |mut kv: KvClient| kv.txn(txn.clone()).await;
        self.once(&format!("change {object:?} in"), &call).await
    }

    /// Asks a few times, each time another member.
    async fn repeat<T>(
        &self,
        what: &str,
        call: impl AsyncFn(KvClient) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let mut pauses = pauses(Patience::AFewTimes);
        let members = self.members.count();
        let mut said: Vec<String> = Vec::new();
        let mut tried = 0_usize;
        loop {
            let mut failure = match self.once(what, &call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            said.append(&mut failure.said);
            // One of each.
            said.drain(..said.len().saturating_sub(members));
            tried = tried.saturating_add(1);
            let pause = if !failure.is_passing {
                None
            } else if tried.is_multiple_of(members) {
                // A round of all members, and then a pause.
                let pause = pauses.next();
                pause.filter(|pause| Instant::now() + *pause < self.deadline)
            } else {
                Some(Duration::ZERO)
            };
            let Some(pause) = pause else {
                failure.said = said;
                return Err(failure);
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks the member whose turn it is.
    async fn once<T>(
        &self,
        what: &str,
        call: &impl AsyncFn(KvClient) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let turn = self.members.turn();
        let begun = Instant::now();
        let until = self.members.patience(self.deadline);
        let answer = async { call(self.members.client(turn).await?).await };
        let (reason, is_passing, why) = match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => (chain(&error), is_passing(&error), GivenUp::Failed),
            Err(_) if until < self.deadline => {
                let reason = format!("no answer within {} ms", begun.elapsed().as_millis());
                (reason, true, GivenUp::NoAnswer)
            }
            Err(_) => (
                "no answer in time (add_timeout or del_timeout)".to_owned(),
                false,
                GivenUp::NoAnswer,
            ),
        };
        if is_passing || why == GivenUp::NoAnswer {
            self.members.give_up(turn, why);
        }
        let name = self.members.name(turn);
        Err(Failure {
            what: what.to_owned(),
            said: vec![format!("{name}: {reason}")],
            is_passing,
        })
    }
}

fn is_passing(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => PASSING.contains(&i32::from(status.code())),
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => true,
        _ => false,
    }
}

/// What an error says, and what lies behind it.
fn chain(error: &etcd_client::Error) -> String {
    let mut text = match error {
        etcd_client::Error::GRpcStatus(status) => {
            format!("{:?}: {}", status.code(), status.message())
        }
        error => error.to_string(),
    };
    let mut behind = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        etcd_client::Error::TransportError(error) => error.source(),
        error => error.source(),
    };
    while let Some(error) = behind {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        behind = error.source();
    }
    text
}
