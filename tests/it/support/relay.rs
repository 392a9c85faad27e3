//! A relay before etcd that lets things happen between two requests (I/O).
//!
//! It passes HTTP/2 on frame by frame, and knows a request by its message: keys stand there as they are.
//! It lives in the runtime of the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What a client of HTTP/2 begins with.
const PREFACE: usize = 24;
/// Length, type, flags and stream of a frame.
const HEADER: usize = 9;
/// The type of a frame that has (a part of) a message.
const DATA: u8 = 0;

type Action = Pin<Box<dyn Future<Output = ()> + Send>>;
type Matches = Box<dyn Fn(&str) -> bool + Send>;

/// What happens at the first request that matches.
enum Happens {
    /// Something else comes first.
    Before(Action),
    /// The connection ends, and etcd never hears of it.
    CutBefore,
    /// etcd carries it out, and the connection ends without an answer.
    CutAfter,
}

#[derive(Default)]
struct State {
    rules: Vec<(Matches, Happens)>,
    log: Vec<String>,
}

/// A running relay; dropping it ends all its connections.
pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Relay {
    /// Starts one before the etcd at `host`.
    pub(crate) async fn start(host: &str) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let (shared, host) = (Arc::clone(&state), host.to_owned());
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                connections.spawn(pass_on(near, host.clone(), Arc::clone(&shared)));
            }
        });
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

    /// Does something before the first request that matches is passed on.
    pub(crate) fn before(
        &self,
        matches: impl Fn(&str) -> bool + Send + 'static,
        action: impl Future<Output = ()> + Send + 'static,
    ) {
        self.rule(matches, Happens::Before(Box::pin(action)));
    }

    /// Ends the connection instead of passing the first request on that matches.
    pub(crate) fn cut_before(&self, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.rule(matches, Happens::CutBefore);
    }

    /// Ends the connection when etcd has answered the first request that matches.
    pub(crate) fn cut_after(&self, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.rule(matches, Happens::CutAfter);
    }

    fn rule(&self, matches: impl Fn(&str) -> bool + Send + 'static, happens: Happens) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rules.push((Box::new(matches), happens));
    }

    /// The messages of all requests so far; what is no text in them is replaced.
    pub(crate) fn log(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.log.clone()
    }
}

/// The first rule that has something to say to a request.
fn due(state: &Mutex<State>, message: &str) -> Option<Happens> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.log.push(message.to_owned());
    let at = state
        .rules
        .iter()
        .position(|(matches, _)| matches(message))?;
    Some(state.rules.remove(at).1)
}

async fn pass_on(near: TcpStream, host: String, state: Arc<Mutex<State>>) {
    // Nobody there, or a connection that ends: the client sees the same.
    let Ok(far) = TcpStream::connect(&host).await else {
        return;
    };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let is_cut = Notify::new();
    tokio::select! {
        _ = requests(near_read, far_write, &state, &is_cut) => {}
        _ = answers(far_read, near_write, &is_cut) => {}
    }
}

async fn requests(
    mut near: OwnedReadHalf,
    mut far: OwnedWriteHalf,
    state: &Mutex<State>,
    is_cut: &Notify,
) -> std::io::Result<()> {
    let mut preface = [0; PREFACE];
    near.read_exact(&mut preface).await?;
    far.write_all(&preface).await?;
    loop {
        let mut frame = vec![0; HEADER];
        near.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let kind = frame[3];
        frame.resize(HEADER + length as usize, 0);
        near.read_exact(&mut frame[HEADER..]).await?;
        let message = String::from_utf8_lossy(&frame[HEADER..]).into_owned();
        // One without a message ends a request that has been seen.
        let happens = (kind == DATA && length > 0).then(|| due(state, &message));
        match happens.flatten() {
            None => {}
            Some(Happens::Before(action)) => action.await,
            Some(Happens::CutBefore) => return Ok(()),
            Some(Happens::CutAfter) => is_cut.notify_one(),
        }
        far.write_all(&frame).await?;
    }
}

/// Passes answers on, until one is not to arrive.
async fn answers(
    mut far: OwnedReadHalf,
    mut near: OwnedWriteHalf,
    is_cut: &Notify,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            () = is_cut.notified() => break,
            read = far.read(&mut buffer) => match read? {
                0 => return Ok(()),
                count => near.write_all(&buffer[..count]).await?,
            }
        }
    }
    // The answer to a message has one as well; what else comes is about the connection.
    loop {
        let mut header = [0; HEADER];
        far.read_exact(&mut header).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut rest = vec![0; length as usize];
        far.read_exact(&mut rest).await?;
        if header[3] == DATA && length > 0 {
            return Ok(());
        }
    }
}
