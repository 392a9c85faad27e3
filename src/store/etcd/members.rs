//! I/O: the members of etcd, of which one is spoken to at a time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, KvClient, TlsOptions};
use http::Uri;
use tokio::time::Instant;

use crate::config::EtcdConfig;
use crate::retry;

/// The longest answer that is taken; a page of keys is far smaller, unless somebody has put big values
/// there.
const MAX_ANSWER: usize = 64 << 20;
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where another member may be quicker.
const CONNECT_TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);
/// How long to wait for an answer before it is asked for by a new connection, of another member where
/// there is one: the double after each time that none came, for members that are slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// The least of it, however little time is left.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// What the PEM files have to hold.
const CERTIFICATE: &[&str] = &["CERTIFICATE"];
const KEY: &[&str] = &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// All members that are configured.
pub(super) struct Members {
    all: Vec<Member>,
    now: Mutex<Now>,
}

struct Member {
    url: String,
    options: ConnectOptions,
}

/// Which one it is now.
struct Now {
    turn: Turn,
    kv: Option<KvClient>,
    patience: Duration,
    /// Those with which no connection can be made, because a certificate is refused.
    refused: BTreeSet<usize>,
}

/// How many times one was given up, which says whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(usize);

impl Members {
    /// Reads the certificates; connects to none. Whose turn is first is chance, so that the clients of
    /// a cluster do not all ask the same member.
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, String> {
        let endpoints = config.endpoints.iter();
        let all: Result<Vec<Member>, String> = endpoints
            .map(|endpoint| {
                let url = url(endpoint, config);
                let parsed: Result<Uri, _> = url.parse();
                parsed.map_err(|error| format!("etcd_host has {endpoint:?}: {error}"))?;
                let options = options(&url, config)?;
                Ok(Member { url, options })
            })
            .collect();
        let all = all?;
        let now = Now {
            turn: Turn(retry::random_below(all.len())),
            kv: None,
            patience: PATIENCE,
            refused: BTreeSet::new(),
        };
        Ok(Self {
            all,
            now: Mutex::new(now),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// How many of them are worth asking again, or 1.
    pub(super) fn usable(&self) -> usize {
        let refused = self.now().refused.len();
        self.all.len().saturating_sub(refused).max(1)
    }

    pub(super) fn turn(&self) -> Turn {
        self.now().turn
    }

    /// Its address, and whether it is spoken to with TLS: a mistake in that has no message of its own.
    pub(super) fn name(&self, turn: Turn) -> &str {
        self.of(turn).map_or("", |member| &member.url)
    }

    /// Until when it may take to answer.
    pub(super) fn patience(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let mut patience = self.now().patience;
        if self.all.len() > 1 {
            // The others need time as well.
            let half = deadline.saturating_duration_since(now) / 2;
            patience = patience.min(half.max(LEAST_PATIENCE));
        }
        deadline.min(now + patience)
    }

    /// Connects, if it has not yet.
    pub(super) async fn client(&self, turn: Turn) -> Result<KvClient, etcd_client::Error> {
        let connected = {
            let now = self.now();
            now.kv.clone().filter(|_| now.turn == turn)
        };
        if let Some(kv) = connected {
            return Ok(kv);
        }
        let Some(Member { url, options }) = self.of(turn) else {
            return Err(etcd_client::Error::InvalidArgs("no endpoint".to_owned()));
        };
        let kv = Client::connect([url], Some(options.clone()))
            .await?
            .kv_client()
            .max_decoding_message_size(MAX_ANSWER);
        let mut now = self.now();
        if now.turn == turn {
            now.kv = Some(kv.clone());
        }
        Ok(kv)
    }

    /// It is the next one's turn, which may be the same by a new connection.
    pub(super) fn give_up(&self, turn: Turn, why: GivenUp) {
        let mut now = self.now();
        if now.turn != turn {
            return;
        }
        self.pass_on(&mut now);
        if why == GivenUp::NoAnswer {
            now.patience = now.patience.saturating_mul(2);
        }
    }

    /// Asks this member no more; `false` when no other one is left.
    pub(super) fn refuse(&self, turn: Turn) -> bool {
        let mut now = self.now();
        now.refused.extend(self.index(turn));
        if now.turn == turn {
            self.pass_on(&mut now);
        }
        now.refused.len() < self.all.len()
    }

    /// It is the next one's turn of those that are worth it.
    fn pass_on(&self, now: &mut Now) {
        now.kv = None;
        for _ in 0..self.all.len() {
            now.turn = Turn(now.turn.0.wrapping_add(1));
            let is_refused = |index| now.refused.contains(&index);
            if !self.index(now.turn).is_some_and(is_refused) {
                break;
            }
        }
    }

    fn index(&self, turn: Turn) -> Option<usize> {
        turn.0.checked_rem(self.all.len())
    }

    fn of(&self, turn: Turn) -> Option<&Member> {
        self.all.get(self.index(turn)?)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a member was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It could not be reached, or cannot do it.
    Failed,
    /// It did not answer in time.
    NoAnswer,
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

fn options(url: &str, config: &EtcdConfig) -> Result<ConnectOptions, String> {
    let connect_timeout = if config.endpoints.len() > 1 {
        CONNECT_TIMEOUT_OF_SEVERAL
    } else {
        CONNECT_TIMEOUT
    };
    let mut options = ConnectOptions::new()
        .with_connect_timeout(connect_timeout)
        .with_require_leader(true);
    if let Some((name, password)) = &config.user {
        options = options.with_user(name, password);
    }
    if url.starts_with("https://") {
        let mut tls = TlsOptions::new();
        if let Some(path) = &config.ca_cert_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(
                "etcd_ca_cert_file",
                path,
                CERTIFICATE,
            )?));
        } else {
            tls = tls.with_native_roots();
        }
        if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
            let cert = read("etcd_cert_file", cert, CERTIFICATE)?;
            let key = read("etcd_key_file", key, KEY)?;
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        options = options.with_tls(tls);
    }
    Ok(options)
}

/// Reads a file, in which there has to be something of these kinds: one that has none would be taken
/// without a word.
fn read(setting: &str, path: &Path, kinds: &[&str]) -> Result<Vec<u8>, String> {
    let path_text = path.display();
    let text = std::fs::read(path)
        .map_err(|error| format!("cannot read {setting} {path_text}: {error}"))?;
    let has = |kind: &&str| {
        let begin = format!("-----BEGIN {kind}-----");
        memchr::memmem::find(&text, begin.as_bytes()).is_some()
    };
    if kinds.iter().any(has) {
        return Ok(text);
    }
    let kind = kinds.first().copied().unwrap_or_default().to_lowercase();
    Err(format!("{setting} {path_text} has no {kind} in PEM"))
}
