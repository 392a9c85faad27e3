//! The plugin under its real callers: `cnitool`, `bridge` and `macvlan`, in network namespaces.

mod cnitool;
mod faults;
mod life;
mod links;
mod node;
mod relay;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::objects::{entries, reservations};
use cnitool::{Main, Network, cnitool, network};
use node::Node;
use relay::Relay;

/// A node that reaches the API server.
struct Site {
    relay: Relay,
    node: Node,
    cluster: Cluster,
}

impl Site {
    async fn start() -> Site {
        let cluster = Cluster::lock().await;
        let node = Node::start();
        let relay = Relay::start(&node, &cluster);
        Site {
            relay,
            node,
            cluster,
        }
    }

    fn network(&self, main: Main, ipam: Value) -> Network {
        network(main, &self.cluster, ipam)
    }

    /// A new pod with an address on its `eth0`, in the network `lan`.
    async fn add(&self, pod: &str) -> Value {
        self.node.add_pod(pod);
        let add = cnitool(&self.node, "add", pod).run().await;
        add.expect(0).json()
    }

    async fn entries(&self, pool: &str) -> Value {
        let entries = entries(self.cluster.client(), "kube-system", pool).await;
        Value::from_iter(entries)
    }

    /// The recorded offsets of a pool.
    async fn keys(&self, pool: &str) -> BTreeSet<u64> {
        let entries = self.entries(pool).await;
        let keys = entries.as_object().unwrap().keys();
        keys.map(|key| key.parse().unwrap()).collect()
    }

    async fn reservations(&self) -> Vec<String> {
        let all = reservations(self.cluster.client()).await;
        all.into_iter().collect()
    }

    async fn assert_nothing_recorded(&self, pools: &[&str]) {
        for pool in pools {
            assert_eq!(self.keys(pool).await, BTreeSet::new(), "{pool}");
        }
        assert_eq!(self.reservations().await, [""; 0]);
    }
}
