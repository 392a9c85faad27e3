//! I/O: a connection to etcd, and its calls with their deadline and their errors in words.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, GetResponse, KvClient, Txn, TxnResponse};
use tokio::time::Instant;

use super::certificates;
use super::members::{GivenUp, Members};
use crate::config::EtcdConfig;
use crate::retry::{Patience, pauses};
use crate::store::Error;

/// `UNAVAILABLE`, `DEADLINE_EXCEEDED` and `RESOURCE_EXHAUSTED` of gRPC: may pass.
const PASSING: [i32; 3] = [14, 4, 8];
/// `CANCELLED`, `UNKNOWN` and `INTERNAL`: what it is called when no server has said it.
const UNSAID: [i32; 3] = [1, 2, 13];
/// `PERMISSION_DENIED` and `UNAUTHENTICATED`.
const DENIED: [i32; 2] = [7, 16];
/// `OUT_OF_RANGE`: of a revision that is gone, among others.
const OUT_OF_RANGE: i32 = 11;

/// etcd, for the calls of one command.
#[derive(Clone)]
pub(crate) struct Connection {
    members: Arc<Members>,
    deadline: Instant,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was to be done.
    action: String,
    /// What each member that was asked had to say, in words.
    pub(crate) reason: String,
    /// Whether it may succeed when it is asked again. Whether a change was made is not known then.
    pub(crate) is_passing: bool,
    /// What kind of failure it is.
    pub(crate) kind: Kind,
}

/// Failures that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing came in time.
    NoAnswer,
    /// The revision that was asked for has been compacted.
    Compacted,
    /// The user may not do it, or is not the one that it says.
    Denied,
    /// Any other.
    Other,
}

/// Finds out whether a configuration can be used: reads the files that it names, and connects to nobody.
///
/// # Errors
/// When a file cannot be read, or has nothing of what it should.
pub(crate) fn check(config: &EtcdConfig) -> Result<(), String> {
    Members::new(config).map(drop)
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { action, reason, .. } = failure;
        Self::Etcd(format!("cannot {action} in etcd: {reason}"))
    }
}

impl Connection {
    /// Connects to whichever member answers.
    pub(crate) async fn new(config: &EtcdConfig, deadline: Instant) -> Result<Self, String> {
        let connection = Self {
            members: Arc::new(Members::new(config)?),
            deadline,
        };
        // Without a user nothing is sent before the first call.
        let connected = connection.repeat("connect", async |_| Ok(())).await;
        connected.map_err(|failure| format!("cannot connect to etcd: {}", failure.reason))?;
        Ok(connection)
    }

    /// The same with another deadline.
    pub(crate) fn until(&self, deadline: Instant) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) async fn get(
        &self,
        key: &str,
        options: Option<GetOptions>,
    ) -> Result<GetResponse, Failure> {
        let call = async |mut kv: KvClient| kv.get(key, options.clone()).await;
        self.repeat(&format!("read {key:?}"), call).await
    }

    /// A transaction that changes nothing; `object` is what it is about, for errors.
    pub(crate) async fn look(&self, object: &str, txn: Txn) -> Result<TxnResponse, Failure> {
        let call = async |mut kv: KvClient| kv.txn(txn.clone()).await;
        self.repeat(&format!("read {object:?}"), call).await
    }

    /// A transaction that changes something: asked for once, because what it did if it failed only
    /// another look shows.
    pub(crate) async fn txn(&self, object: &str, txn: Txn) -> Result<TxnResponse, Failure> {
        let call = async |mut kv: KvClient| kv.txn(txn.clone()).await;
        self.once(&format!("change {object:?}"), &call).await
    }

    /// Asks a few times, each time another member.
    async fn repeat<T>(
        &self,
        action: &str,
        call: impl AsyncFn(KvClient) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let mut pauses = pauses(Patience::AFewTimes);
        let all = self.members.count();
        let mut said: Vec<String> = Vec::new();
        let mut tried = 0_usize;
        loop {
            let failure = match self.once(action, &call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // One of each: a member that is refused is asked once, and another again and again.
            said.retain(|reason| *reason != failure.reason);
            said.push(failure.reason);
            said.drain(..said.len().saturating_sub(all));
            tried = tried.saturating_add(1);
            let pause = if !failure.is_passing {
                None
            } else if tried.is_multiple_of(self.members.usable()) {
                // A round of all members, and then a pause.
                let pause = pauses.next();
                pause.filter(|pause| Instant::now() + *pause < self.deadline)
            } else {
                Some(Duration::ZERO)
            };
            let Some(pause) = pause else {
                return Err(Failure {
                    reason: said.join("; "),
                    ..failure
                });
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks the member whose turn it is.
    async fn once<T>(
        &self,
        action: &str,
        call: &impl AsyncFn(KvClient) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let turn = self.members.turn();
        let begun = Instant::now();
        let until = self.members.patience(self.deadline);
        let answer = async { call(self.members.client(turn).await?).await };
        let (reason, is_passing, kind) = match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => {
                let reason = chain(&error);
                match certificates::refused(&reason) {
                    // This one says so each time; the others may have other certificates.
                    Some(whose) => {
                        let is_passing = self.members.refuse(turn);
                        (format!("{whose}: {reason}"), is_passing, Kind::Other)
                    }
                    None => (reason, is_passing(&error), kind(&error)),
                }
            }
            Err(_) if until < self.deadline => {
                let reason = format!("no answer within {} ms", begun.elapsed().as_millis());
                (reason, true, Kind::NoAnswer)
            }
            Err(_) => (
                "no answer in time (add_timeout, del_timeout or --timeout)".to_owned(),
                false,
                Kind::NoAnswer,
            ),
        };
        if kind == Kind::NoAnswer {
            self.members.give_up(turn, GivenUp::NoAnswer);
        } else if is_passing {
            // Nothing, if it was refused.
            self.members.give_up(turn, GivenUp::Failed);
        }
        let name = self.members.name(turn);
        Err(Failure {
            action: action.to_owned(),
            reason: format!("{name}: {reason}"),
            is_passing,
            kind,
        })
    }
}

fn kind(error: &etcd_client::Error) -> Kind {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return Kind::Other;
    };
    let code = i32::from(status.code());
    if code == OUT_OF_RANGE && status.message().contains("compacted") {
        Kind::Compacted
    } else if DENIED.contains(&code) {
        Kind::Denied
    } else {
        Kind::Other
    }
}

fn is_passing(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let code = i32::from(status.code());
            // etcd has not said it: the connection has ended.
            let is_unsaid = UNSAID.contains(&code) && status.source().is_some();
            PASSING.contains(&code) || is_unsaid
        }
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
