//! The API server at the same address inside a node (I/O).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::node::Node;
use crate::support::cluster::Cluster;

/// Passes on what reaches the node's loopback at the API server's port, byte by byte, so that the
/// plugin speaks TLS with the server itself. It lives in the runtime of the test.
pub(super) struct Relay {
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub(super) fn start(node: &Node, cluster: &Cluster) -> Relay {
        let url = cluster.url();
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = node.inside(move || TcpListener::bind(server).unwrap());
        listener.set_nonblocking(true).unwrap();
        Relay {
            task: tokio::spawn(pass_on(listener, server)),
        }
    }

    /// Ends all connections; there is nobody at the address any more.
    pub(super) async fn stop(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()));
    }
}

async fn pass_on(listener: TcpListener, server: SocketAddr) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut far = TcpStream::connect(server).await.unwrap();
            // A client that leaves early is no failure here.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
