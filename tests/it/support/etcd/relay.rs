//! A relay before an etcd that counts requests, and spoils one of them as a test says (I/O).
//!
//! It passes on frames of HTTP/2 without TLS, in which each request is a stream: headers and data.
//! It lives in the runtime of the test: a test that blocks its thread blocks the relay.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::{COMES_WITHIN, Etcd};

/// What each connection of HTTP/2 begins with.
const PREFACE: usize = 24;
/// The length of a frame's head.
const HEAD: usize = 9;
/// The kinds of frames that a request has, and what says in their flags that it is complete.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// The connection ends before etcd has the request.
    CutBefore,
    /// etcd carries it out, and the connection ends without an answer.
    CutAfter,
    /// Nothing is passed on any more: the request is lost, and the connection stays.
    HoldBefore,
    /// etcd carries it out, and nothing is passed on any more.
    HoldAfter,
    /// As lost, until [`Relay::let_go`]: then etcd carries it out.
    Late,
}

impl Spoil {
    pub(crate) const ALL: [Spoil; 5] = [
        Spoil::CutBefore,
        Spoil::CutAfter,
        Spoil::HoldBefore,
        Spoil::HoldAfter,
        Spoil::Late,
    ];
}

struct State {
    etcd: SocketAddr,
    requests: AtomicUsize,
    /// The number of the request to spoil, from 1.
    which: usize,
    spoil: Spoil,
    has_spoilt: AtomicBool,
    let_go: Notify,
    carried_out: Notify,
}

impl State {
    fn is_spoilt(&self) {
        self.has_spoilt.store(true, Ordering::Relaxed);
    }
}

/// A running relay; dropping it ends all its connections.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Relay {
    /// Spoils the request of this number, from 1, and no other: 0 spoils none.
    pub(crate) async fn start(etcd: &Etcd, which: usize, spoil: Spoil) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            etcd: etcd.host().parse().unwrap(),
            requests: AtomicUsize::new(0),
            which,
            spoil,
            has_spoilt: AtomicBool::new(false),
            let_go: Notify::new(),
            carried_out: Notify::new(),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Relay {
            address,
            state,
            server,
        }
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Whether there was a request of that number, and it is as the name of the spoil says.
    pub(crate) fn has_spoilt(&self) -> bool {
        self.state.has_spoilt.load(Ordering::Relaxed)
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// Passes on the request that was late, and waits until etcd has answered.
    pub(crate) async fn let_go(&self) {
        self.state.let_go.notify_one();
        let carried_out = self.state.carried_out.notified();
        let within = tokio::time::timeout(COMES_WITHIN, carried_out);
        within.await.expect("etcd answers");
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let far = TcpStream::connect(state.etcd).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let (from_client, to_client) = near.into_split();
            let (from_etcd, to_etcd) = far.into_split();
            let link = Link {
                state: &state,
                spoilt_stream: AtomicU32::new(0),
            };
            // Whoever ends first ends the connection.
            tokio::select! {
                ended = link.requests(from_client, to_etcd) => ended,
                ended = link.answers(from_etcd, to_client) => ended,
            }
        });
    }
}

/// One connection.
struct Link<'a> {
    state: &'a State,
    /// The stream of the request that is spoilt, when it is.
    spoilt_stream: AtomicU32,
}

struct Frame {
    bytes: Vec<u8>,
    stream: u32,
    begins: bool,
    ends: bool,
}

async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Frame> {
    let mut bytes = vec![0; HEAD];
    from.read_exact(&mut bytes).await?;
    let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    let (kind, flags) = (bytes[3], bytes[4]);
    let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
    bytes.resize(HEAD + length as usize, 0);
    from.read_exact(&mut bytes[HEAD..]).await?;
    Ok(Frame {
        bytes,
        stream,
        begins: kind == HEADERS,
        ends: [DATA, HEADERS].contains(&kind) && flags & END_STREAM != 0,
    })
}

impl Link<'_> {
    async fn requests(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let mut preface = [0; PREFACE];
        from.read_exact(&mut preface).await?;
        to.write_all(&preface).await?;
        loop {
            let mut next = frame(&mut from).await?;
            let is_it = next.begins
                && self.state.requests.fetch_add(1, Ordering::Relaxed) + 1 == self.state.which;
            if !is_it {
                to.write_all(&next.bytes).await?;
                continue;
            }
            // All of it, because etcd begins before it is complete.
            let stream = next.stream;
            let mut request = std::mem::take(&mut next.bytes);
            while next.stream != stream || !next.ends {
                next = frame(&mut from).await?;
                request.extend_from_slice(&next.bytes);
            }
            self.spoilt_stream.store(stream, Ordering::Relaxed);
            match self.state.spoil {
                Spoil::CutBefore => {
                    self.state.is_spoilt();
                    return Ok(());
                }
                Spoil::CutAfter | Spoil::HoldAfter => to.write_all(&request).await?,
                Spoil::HoldBefore => self.state.is_spoilt(),
                Spoil::Late => {
                    self.state.is_spoilt();
                    // The client may be gone long since.
                    self.state.let_go.notified().await;
                    to.write_all(&request).await?;
                }
            }
            return std::future::pending().await;
        }
    }

    async fn answers(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> std::io::Result<()> {
        loop {
            let frame = frame(&mut from).await?;
            let spoilt = self.spoilt_stream.load(Ordering::Relaxed);
            if spoilt == 0 {
                to.write_all(&frame.bytes).await?;
                continue;
            }
            if frame.stream != spoilt || !frame.ends {
                continue;
            }
            self.state.is_spoilt();
            self.state.carried_out.notify_one();
            if self.state.spoil == Spoil::CutAfter {
                return Ok(());
            }
        }
    }
}
