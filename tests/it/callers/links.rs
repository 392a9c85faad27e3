//! What the addresses are for: pods that reach each other, on links of different kinds and nodes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::Site;
use super::cnitool::{Main, cnitool};
use super::node::Node;
use super::relay::Relay;

/// How long a connection between two pods may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(20);

/// One address of a pod, without its prefix length.
fn address(text: &str) -> IpAddr {
    text.split('/').next().unwrap().parse().unwrap()
}

/// Connects from one pod to another; the other sees the pod's own address.
fn assert_reaches(from: (&Node, &str, &str), to: (&Node, &str, &str)) {
    let (source, target) = (address(from.2), address(to.2));
    let listener =
        to.0.inside_pod(to.1, move || TcpListener::bind((target, 0)).unwrap());
    let target = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect_timeout(&target, CONNECTS_WITHIN);
    let stream = from.0.inside_pod(from.1, connect).unwrap();
    // The connection stands, so it waits to be accepted.
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), source);
    drop(stream);
}

fn both_families() -> Value {
    json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}]})
}

#[tokio::test]
async fn pods_on_a_bridge_reach_each_other_in_both_families() {
    pods_reach_each_other(Main::Bridge).await;
}

#[tokio::test]
async fn pods_on_macvlan_links_reach_each_other_in_both_families() {
    pods_reach_each_other(Main::Macvlan).await;
}

async fn pods_reach_each_other(main: Main) {
    let site = Site::start().await;
    site.network(main, both_families()).install(&site.node);
    let expected = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]];
    for (pod, addresses) in ["web-0", "web-1"].into_iter().zip(expected) {
        site.add(pod).await;
        assert_eq!(site.node.addresses(pod, "eth0"), addresses);
        cnitool(&site.node, "check", pod).run().await.expect(0);
        site.node.settle(pod);
    }
    for pool in ["10.0.0.0-24", "fd00---64"] {
        assert_eq!(site.keys(pool).await, BTreeSet::from([1, 2]), "{pool}");
    }
    assert_eq!(site.reservations().await.len(), 4);
    for (first, second) in expected[0].into_iter().zip(expected[1]) {
        let (first, second) = ((&site.node, "web-0", first), (&site.node, "web-1", second));
        assert_reaches(first, second);
        assert_reaches(second, first);
    }
    for pod in ["web-0", "web-1"] {
        cnitool(&site.node, "del", pod).run().await.expect(0);
    }
    site.assert_nothing_recorded(&["10.0.0.0-24", "fd00---64"])
        .await;
}

#[tokio::test]
async fn pods_on_two_nodes_get_different_addresses_and_reach_each_other() {
    let site = Site::start().await;
    let second = Node::start();
    let _relay = Relay::start(&second, &site.cluster);
    site.node.wire_to(&second);
    let network = site.network(Main::Macvlan, json!({"range": "10.0.0.0/24"}));
    network.install(&site.node);
    network.install(&second);
    site.add("web-0").await;
    second.add_pod("web-1");
    let add = cnitool(&second, "add", "web-1").node_name("node-b");
    add.run().await.expect(0);
    assert_eq!(site.node.addresses("web-0", "eth0"), ["10.0.0.1/24"]);
    assert_eq!(second.addresses("web-1", "eth0"), ["10.0.0.2/24"]);
    let here = (&site.node, "web-0", "10.0.0.1");
    let there = (&second, "web-1", "10.0.0.2");
    assert_reaches(here, there);
    assert_reaches(there, here);
}

#[tokio::test]
async fn gateway_and_routes_arrive_in_the_pod() {
    let site = Site::start().await;
    let ipam = json!({"range": "10.0.0.0/24", "exclude": ["10.0.0.1/32"], "gateway": "10.0.0.1",
        "routes": [{"dst": "10.99.0.0/16", "gw": "10.0.0.254"}]});
    let network = site.network(Main::Bridge, ipam);
    let network = network.with("isDefaultGateway", json!(true));
    network.install(&site.node);
    let add = site.add("web-0").await;
    assert_eq!(add["ips"][0]["gateway"], "10.0.0.1");
    assert_eq!(site.node.addresses("web-0", "eth0"), ["10.0.0.2/24"]);
    let routes = site.node.ip(&["-n", "web-0", "-j", "route"]);
    let routes: Value = serde_json::from_str(&routes).unwrap();
    let routes: BTreeSet<(&str, &str)> = routes
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|route| Some((route["dst"].as_str()?, route["gateway"].as_str()?)))
        .collect();
    let expected = [("10.99.0.0/16", "10.0.0.254"), ("default", "10.0.0.1")];
    assert_eq!(routes, BTreeSet::from(expected));
    // The gateway is the bridge itself, on the node.
    let gateway: SocketAddr = "10.0.0.1:0".parse().unwrap();
    let listener = site
        .node
        .inside(move || TcpListener::bind(gateway).unwrap());
    let gateway = listener.local_addr().unwrap();
    let connect = move || TcpStream::connect_timeout(&gateway, CONNECTS_WITHIN);
    site.node.inside_pod("web-0", connect).unwrap();
    cnitool(&site.node, "check", "web-0").run().await.expect(0);
}

#[tokio::test]
async fn two_networks_of_one_pod_are_given_and_taken_apart() {
    let site = Site::start().await;
    let lan = site.network(Main::Bridge, json!({"range": "10.0.0.0/24"}));
    let storage = site.network(Main::Macvlan, json!({"range": "10.0.0.0/16"}));
    lan.install(&site.node);
    storage.named("storage").install(&site.node);
    site.add("web-0").await;
    let second = |command| cnitool(&site.node, command, "web-0").network("storage", "net1");
    second("add").run().await.expect(0);
    assert_eq!(site.node.addresses("web-0", "eth0"), ["10.0.0.1/24"]);
    // The ranges overlap and 10.0.0.1 is taken, so it is another one, but not always the next.
    let recorded = site.keys("10.0.0.0-16").await.pop_first().unwrap();
    assert_ne!(recorded, 1);
    let given = [format!("10.0.0.{recorded}/16")];
    assert_eq!(site.node.addresses("web-0", "net1"), given);
    second("check").run().await.expect(0);
    cnitool(&site.node, "del", "web-0").run().await.expect(0);
    assert!(!site.node.has_link("web-0", "eth0"));
    assert_eq!(site.node.addresses("web-0", "net1"), given);
    let left = [format!("kube-system/10.0.0.{recorded}")];
    assert_eq!(site.reservations().await, left);
    second("check").run().await.expect(0);
    second("del").run().await.expect(0);
    site.assert_nothing_recorded(&["10.0.0.0-24", "10.0.0.0-16"])
        .await;
}

#[tokio::test]
async fn many_pods_at_once_get_different_addresses() {
    let site = Site::start().await;
    site.network(Main::Bridge, json!({"range": "10.0.0.0/24"}))
        .install(&site.node);
    let pods: Vec<String> = (0..12).map(|n| format!("web-{n}")).collect();
    for pod in &pods {
        site.node.add_pod(pod);
    }
    let all = |command| -> Vec<_> {
        let calls = pods.iter().map(|pod| cnitool(&site.node, command, pod));
        calls.map(super::cnitool::Call::spawn).collect()
    };
    for running in all("add") {
        running.wait().await.expect(0);
    }
    let given = pods.iter().map(|pod| site.node.addresses(pod, "eth0"));
    let given: BTreeSet<String> = given.flatten().collect();
    let recorded = site.keys("10.0.0.0-24").await;
    let recorded = recorded.iter().map(|key| format!("10.0.0.{key}/24"));
    assert_eq!(given, recorded.collect());
    assert_eq!(given.len(), pods.len());
    for running in all("del") {
        running.wait().await.expect(0);
    }
    site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
}
