//! I/O: a connection to etcd, and its calls with their deadline and their errors in words.

use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, KvClient, TlsOptions,
    Txn, TxnResponse,
};
use tokio::time::Instant;

use crate::config::EtcdConfig;
use crate::store::Error;

/// How long to wait for a connection to one member before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is taken; a page of keys is far smaller, unless somebody has put big values
/// there.
const MAX_ANSWER: usize = 64 << 20;
/// `UNAVAILABLE`, `DEADLINE_EXCEEDED` and `RESOURCE_EXHAUSTED` of gRPC: may pass.
const PASSING: [i32; 3] = [14, 4, 8];
/// `UNKNOWN`: what no server has said, among others.
const UNKNOWN: i32 = 2;
/// `PERMISSION_DENIED` and `UNAUTHENTICATED`.
const DENIED: [i32; 2] = [7, 16];
/// `OUT_OF_RANGE`: of a revision that is gone, among others.
const OUT_OF_RANGE: i32 = 11;

/// etcd, for the calls of one command.
#[derive(Clone)]
pub(crate) struct Connection {
    kv: KvClient,
    deadline: Instant,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was to be done.
    action: String,
    /// Why it was not, in words.
    pub(crate) reason: String,
    /// Whether it may succeed when it is asked again.
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

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { action, reason, .. } = failure;
        Self::Etcd(format!("cannot {action} in etcd: {reason}"))
    }
}

impl Connection {
    /// Connects to whichever member answers.
    pub(crate) async fn new(config: &EtcdConfig, deadline: Instant) -> Result<Self, String> {
        let names = config.endpoints.join(", ");
        let endpoints: Vec<String> = config.endpoints.iter().map(|e| url(e, config)).collect();
        let options = options(config)?;
        let connecting = Client::connect(endpoints, Some(options));
        match tokio::time::timeout_at(deadline, connecting).await {
            Ok(Ok(client)) => Ok(Self {
                kv: client.kv_client().max_decoding_message_size(MAX_ANSWER),
                deadline,
            }),
            Ok(Err(error)) => Err(format!("cannot connect to etcd {names}: {}", chain(&error))),
            Err(_) => Err(format!("cannot connect to etcd {names}: no answer in time")),
        }
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
        self.call("read", key, call).await
    }

    /// One transaction; `object` is what it is about, for errors.
    pub(crate) async fn txn(&self, object: &str, txn: Txn) -> Result<TxnResponse, Failure> {
        let call = async |mut kv: KvClient| kv.txn(txn.clone()).await;
        self.call("change", object, call).await
    }

    async fn call<T>(
        &self,
        verb: &str,
        object: &str,
        call: impl AsyncFn(KvClient) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let answer = tokio::time::timeout_at(self.deadline, call(self.kv.clone())).await;
        let (reason, is_passing, kind) = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => (chain(&error), is_passing(&error), kind(&error)),
            Err(_) => (
                "no answer in time (add_timeout or del_timeout)".to_owned(),
                false,
                Kind::NoAnswer,
            ),
        };
        Err(Failure {
            action: format!("{verb} {object:?}"),
            reason,
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
            let is_transport = code == UNKNOWN && status.source().is_some();
            PASSING.contains(&code) || is_transport
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

/// With TLS where the endpoint or a certificate says so.
fn url(endpoint: &str, config: &EtcdConfig) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    let scheme = if config.ca_cert_file.is_some() || config.cert_file.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{endpoint}")
}

fn options(config: &EtcdConfig) -> Result<ConnectOptions, String> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_require_leader(true);
    if let Some((name, password)) = &config.user {
        options = options.with_user(name, password);
    }
    let is_https = config.endpoints.iter().any(|e| e.starts_with("https://"));
    if is_https || config.ca_cert_file.is_some() || config.cert_file.is_some() {
        let mut tls = TlsOptions::new();
        if let Some(path) = &config.ca_cert_file {
            tls = tls.ca_certificate(Certificate::from_pem(read("etcd_ca_cert_file", path)?));
        } else {
            tls = tls.with_native_roots();
        }
        if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
            let cert = read("etcd_cert_file", cert)?;
            tls = tls.identity(Identity::from_pem(cert, read("etcd_key_file", key)?));
        }
        options = options.with_tls(tls);
    }
    Ok(options)
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = std::fs::read(path);
    read.map_err(|error| format!("cannot read {setting} {}: {error}", path.display()))
}
