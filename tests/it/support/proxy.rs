//! A proxy before the API server that makes requests fail as a test says (I/O).
//!
//! It speaks plain HTTP/1.1 with the client and TLS with the API server, and passes on what it has
//! no rule for as it is, credentials included. It lives in the runtime of the test: a test that
//! blocks its thread blocks the proxy.

mod forward;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::cluster::Cluster;

/// A request as the proxy has received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `GET`, `POST`, `PATCH`, `DELETE`, ...
    pub(crate) method: String,
    /// The path without the query.
    pub(crate) path: String,
    /// The query without the `?`, or nothing.
    pub(crate) query: String,
    /// The number of this request among all, from 1.
    pub(crate) n: usize,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Seen {
    /// Whether this is a `method` request with `part` in its path.
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    /// Whether this could change anything in the cluster.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }
}

/// What the proxy does with a request instead of only passing it on.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answers with this code and reason (`Conflict`, ...) and does not forward.
    Status(u16, &'static str),
    /// Answers with this JSON and does not forward.
    Answer(String),
    /// Forwards, lets the server carry it out, and then answers with this code instead.
    StatusAfter(u16),
    /// Forwards, and ends the connection after so many bytes of the answer's body.
    CutAfter(usize),
    /// Ends the connection and does not forward.
    DropConnection,
    /// Forwards, lets the server carry it out, and ends the connection without an answer.
    DropAfter,
    /// Never answers and does not forward.
    Hang,
    /// Asks the server for this media type, whatever the client would like to have.
    Accept(&'static str),
    /// Waits, and passes the request on then.
    Delay(Duration),
}

type Rule = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;
type Action = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something to do once, at the first request that matches.
struct Hook {
    matches: Box<dyn Fn(&Seen) -> bool + Send>,
    action: Action,
}

/// What all connections share.
struct State {
    upstream: Client,
    rules: Mutex<Vec<Rule>>,
    before: Mutex<Vec<Hook>>,
    after: Mutex<Vec<Hook>>,
    log: Mutex<Vec<Seen>>,
}

/// A running proxy; dropping it ends all its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// Starts a proxy before the API server of `cluster`.
    pub(crate) async fn start(cluster: &Cluster) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream: upstream(cluster),
            rules: Mutex::default(),
            before: Mutex::default(),
            after: Mutex::default(),
            log: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Proxy {
            address,
            state,
            server,
        }
    }

    /// Adds a rule. The first rule that answers to a request decides, the oldest being asked first.
    pub(crate) fn rule(&self, rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        locked(&self.state.rules).push(Box::new(rule));
    }

    /// Adds a rule that applies to the first request that matches, and to no other.
    pub(crate) fn once(&self, matches: impl Fn(&Seen) -> bool + Send + 'static, fault: Fault) {
        let mut fault = Some(fault);
        self.rule(move |seen| if matches(seen) { fault.take() } else { None });
    }

    /// Removes all rules.
    pub(crate) fn heal(&self) {
        locked(&self.state.rules).clear();
    }

    /// Runs `action` once, before the first request that matches is forwarded.
    pub(crate) fn before(
        &self,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
        action: impl Future<Output = ()> + Send + 'static,
    ) {
        let hook = Hook {
            matches: Box::new(matches),
            action: Box::pin(action),
        };
        locked(&self.state.before).push(hook);
    }

    /// Runs `action` once, when the server has answered the first request that matches, and before
    /// the client has the answer.
    pub(crate) fn after(
        &self,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
        action: impl Future<Output = ()> + Send + 'static,
    ) {
        let hook = Hook {
            matches: Box::new(matches),
            action: Box::pin(action),
        };
        locked(&self.state.after).push(hook);
    }

    /// All requests so far, in the order of their arrival.
    pub(crate) fn log(&self) -> Vec<Seen> {
        locked(&self.state.log).clone()
    }

    /// The requests so far that could change anything.
    pub(crate) fn writes(&self) -> Vec<Seen> {
        self.log().into_iter().filter(Seen::is_write).collect()
    }

    /// Those of them that could change a record: all but events.
    pub(crate) fn changes(&self) -> Vec<String> {
        let writes = self.writes().into_iter();
        let changes = writes.filter(|write| !write.path.ends_with("/events"));
        changes
            .map(|write| format!("{} {}", write.method, write.path))
            .collect()
    }

    /// The address of the proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig that leads through the proxy.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, token: &str) -> PathBuf {
        cluster.kubeconfig_for(token, &self.url())
    }
}

impl State {
    /// Notes a request and gives it its number.
    fn note(&self, mut seen: Seen) -> Seen {
        let mut log = locked(&self.log);
        seen.n = log.len() + 1;
        log.push(seen.clone());
        seen
    }

    /// What the rules say to a request.
    fn fault(&self, seen: &Seen) -> Option<Fault> {
        locked(&self.rules).iter_mut().find_map(|rule| rule(seen))
    }
}

/// Takes the actions out of `hooks` that this request is the first to match.
fn due(hooks: &Mutex<Vec<Hook>>, seen: &Seen) -> Vec<Action> {
    let matching = |hook: &mut Hook| (hook.matches)(seen);
    locked(hooks)
        .extract_if(.., matching)
        .map(|hook| hook.action)
        .collect()
}

/// Locks, also after a rule of the test has panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that trusts the API server and has no credentials: those of the requests pass through.
fn upstream(cluster: &Cluster) -> Client {
    let mut config = Config::new(cluster.url().parse().unwrap());
    config.root_cert_file = Some(cluster.ca_file());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve_connection(stream, Arc::clone(&state)));
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| forward::answer(&state, request));
    // An error is the very purpose: a fault that ends the connection, or a client that has gone.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
