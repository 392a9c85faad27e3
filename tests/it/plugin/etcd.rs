//! The plugin with its records in etcd, without Kubernetes.

mod faults;
mod late;
mod members;
mod readme;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use etcd_client::{PutOptions, Txn, TxnOp};
use serde_json::{Value, json};

use super::call::{Network, addresses, call};
use crate::support::etcd::Etcd;
use crate::support::run::Outcome;

fn network(etcd: &Etcd, range: &str) -> Network {
    at(&etcd.host(), range)
}

/// A network whose records are in the etcd of these endpoints.
fn at(endpoints: &str, range: &str) -> Network {
    Network::at_etcd(endpoints, json!({ "range": range }))
}

/// The containers of all addresses of `10.0.0.0/24` that are recorded, by the last part of the address.
async fn owners(etcd: &Etcd) -> BTreeMap<u8, String> {
    let all = etcd.all().await;
    let recorded = all.iter().filter(|(_, value)| !value.is_empty());
    let owners: BTreeMap<u8, String> = recorded
        .map(|(key, value)| {
            let record: Value = serde_json::from_str(value).unwrap();
            let last = u8::from_str_radix(&key[key.len() - 2..], 16).unwrap();
            (last, record["container"].as_str().unwrap().to_owned())
        })
        .collect();
    // Each address has its own key, and one by its container, and one by its pod.
    assert_eq!(all.len(), 3 * owners.len(), "{all:#?}");
    owners
}

async fn add(network: &Network, pod: &str) -> Value {
    let added = call("ADD", network).container(pod).pod("default", pod);
    added.run().await.expect(0).json()
}

async fn del(network: &Network, container: &str) {
    let deleted = call("DEL", network).container(container);
    deleted.run().await.expect(0);
}

fn address_key(address: Ipv4Addr) -> String {
    let digits = format!("{:032x}", address.to_ipv6_mapped().to_bits());
    format!("/whereabouts/v1/networks/-/{digits}")
}

#[tokio::test]
async fn an_address_is_recorded_given_checked_and_taken_back() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let result = add(&network, "web-0").await;
    assert_eq!(addresses(&result), ["10.0.0.1/24"]);
    let all = etcd.all().await;
    let keys: Vec<&str> = all.iter().map(|(key, _)| &**key).collect();
    assert_eq!(
        keys,
        [
            "/whereabouts/v1/containers/web-0/net1/networks/-/00000000000000000000ffff0a000001",
            "/whereabouts/v1/networks/-/00000000000000000000ffff0a000001",
            "/whereabouts/v1/pods/default/web-0/net1/networks/-/00000000000000000000ffff0a000001",
        ]
    );
    let record: Value = serde_json::from_str(&all[1].1).unwrap();
    assert_eq!(
        record,
        json!({"container": "web-0", "ifname": "net1", "podref": "default/web-0",
            "poduid": "uid-web-0", "node": "node-a", "range": "10.0.0.0/24", "network": "lan"})
    );
    assert_eq!(add(&network, "web-0").await, result);
    assert_eq!(etcd.all().await, all);
    let check = |container: &str| {
        let check = call("CHECK", &network.previous(&result));
        check.container(container).pod("default", "web-0")
    };
    check("web-0").run().await.expect(0);
    check("other").run().await.expect(1);
    assert_eq!(addresses(&add(&network, "web-1").await), ["10.0.0.2/24"]);
    for _ in 0..2 {
        del(&network, "web-0").await;
    }
    check("web-0").run().await.expect(1);
    assert_eq!(etcd.all().await.len(), 3);
    assert_eq!(addresses(&add(&network, "web-2").await), ["10.0.0.1/24"]);
    for container in ["web-1", "web-2"] {
        del(&network, container).await;
    }
    assert_eq!(etcd.all().await, []);
}

#[tokio::test]
async fn the_next_container_of_a_pod_takes_its_address_over() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let of = |container: &str, node: &str, uid: &str| {
        let add = call("ADD", &network).container(container);
        add.env("NODENAME", node).pod("default", "web-0").uid(uid)
    };
    let given = |outcome: Outcome| addresses(&outcome.expect(0).json());
    assert_eq!(given(of("c1", "node-a", "1").run().await), ["10.0.0.1/24"]);
    assert_eq!(given(of("c2", "node-a", "1").run().await), ["10.0.0.1/24"]);
    // What the runtime deletes late is not the new container's.
    del(&network, "c1").await;
    assert_eq!(etcd.all().await.len(), 3);
    // Another pod of that name on another node: the first one may still be running there.
    assert_eq!(given(of("c3", "node-b", "2").run().await), ["10.0.0.2/24"]);
    del(&network, "c2").await;
    del(&network, "c3").await;
    assert_eq!(etcd.all().await, []);
    // Nor do nodes without Kubernetes share what pods of one name have there.
    let bare = |container: &str, node: &str| {
        let add = call("ADD", &network).container(container);
        add.env("NODENAME", node)
            .env("CNI_ARGS", "K8S_POD_NAME=web")
    };
    assert_eq!(given(bare("c1", "node-a").run().await), ["10.0.0.1/24"]);
    assert_eq!(given(bare("c2", "node-b").run().await), ["10.0.0.2/24"]);
    assert_eq!(given(bare("c3", "node-a").run().await), ["10.0.0.1/24"]);
}

#[tokio::test]
async fn an_address_that_cannot_be_protected_any_more_is_replaced() {
    let etcd = Etcd::start();
    let (wide, narrow) = (network(&etcd, "10.0.0.0/24"), network(&etcd, "10.0.0.0/25"));
    let alone = narrow.with("enable_overlapping_ranges", json!(false));
    assert_eq!(addresses(&add(&alone, "a").await), ["10.0.0.1/25"]);
    assert_eq!(addresses(&add(&wide, "b").await), ["10.0.0.1/24"]);
    assert_ne!(addresses(&add(&narrow, "a").await), ["10.0.0.1/25"]);
    // Both of them are the container's, so both go with it.
    del(&narrow, "a").await;
    assert_eq!(etcd.all().await.len(), 3);
    assert_eq!(addresses(&add(&alone, "c").await), ["10.0.0.2/25"]);
    assert_eq!(addresses(&add(&narrow, "c").await), ["10.0.0.2/25"]);
    let keys = etcd.all().await;
    assert!(
        keys.iter().all(|(key, _)| !key.contains("/ranges/")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn five_hundred_at_once_get_addresses_that_are_distinct_and_close_together() {
    const COUNT: usize = 500;
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/16");
    let all: Vec<_> = (0..COUNT)
        .map(|n| {
            let name = format!("web-{n}");
            call("ADD", &network)
                .container(&name)
                .pod("default", &name)
                .spawn()
        })
        .collect();
    let mut given = BTreeSet::new();
    for one in all {
        let address = addresses(&one.wait().await.expect(0).json()).remove(0);
        let address: Ipv4Addr = address.split('/').next().unwrap().parse().unwrap();
        assert!(given.insert(address), "{address} twice");
    }
    let highest = u32::from(*given.last().unwrap()) - u32::from(Ipv4Addr::new(10, 0, 0, 0));
    assert!(highest as usize <= 2 * COUNT, "{highest}");
    let all = etcd.all().await;
    let recorded = |address: &Ipv4Addr| all.iter().any(|(key, _)| *key == address_key(*address));
    assert!(given.iter().all(recorded));
    assert_eq!(all.len(), 3 * COUNT);
}

#[tokio::test]
async fn overlapping_ranges_share_no_address_unless_that_is_wanted() {
    let etcd = Etcd::start();
    let (wide, narrow) = (network(&etcd, "10.0.0.0/24"), network(&etcd, "10.0.0.0/25"));
    assert_eq!(addresses(&add(&wide, "a").await), ["10.0.0.1/24"]);
    assert_eq!(addresses(&add(&narrow, "b").await), ["10.0.0.2/25"]);
    let alone = |network: &Network| network.with("enable_overlapping_ranges", json!(false));
    // What is protected stays so.
    assert_eq!(addresses(&add(&alone(&wide), "c").await), ["10.0.0.3/24"]);
    assert_eq!(addresses(&add(&alone(&narrow), "d").await), ["10.0.0.3/25"]);
    // Whoever turns protection on again gets none that its range has given without.
    assert_eq!(addresses(&add(&narrow, "e").await), ["10.0.0.4/25"]);
    let blue = wide.with("network_name", json!("blue"));
    assert_eq!(addresses(&add(&blue, "f").await), ["10.0.0.1/24"]);
    for (network, container) in [(&wide, "a"), (&wide, "c"), (&narrow, "b")] {
        del(network, container).await;
    }
    del(&narrow, "d").await;
    del(&narrow, "e").await;
    del(&blue, "f").await;
    assert_eq!(etcd.all().await, []);
}

#[tokio::test]
async fn a_full_range_is_said_to_be_full() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/29").with("exclude", json!(["10.0.0.2/31"]));
    for (pod, address) in [("a", 1), ("b", 4), ("c", 5), ("d", 6)] {
        let expected = format!("10.0.0.{address}/29");
        assert_eq!(addresses(&add(&network, pod).await), [expected]);
    }
    let status = async || call("STATUS", &network).run().await.code;
    assert_eq!(status().await, Some(1));
    let full = call("ADD", &network).container("e").pod("default", "e");
    let full = full.run().await.expect(1);
    assert!(
        full.stdout.contains("Could not allocate IP in range"),
        "{full:#?}"
    );
    del(&network, "b").await;
    assert_eq!(status().await, Some(0));
    assert_eq!(addresses(&add(&network, "e").await), ["10.0.0.4/29"]);
}

#[tokio::test]
async fn however_many_are_taken_few_keys_are_read() {
    const TAKEN: u32 = 100_000;
    let etcd = Etcd::start();
    let mut client = etcd.client().await;
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    let taken: Vec<Ipv4Addr> = (first..)
        .map(Ipv4Addr::from)
        .filter(|at| at.octets()[3] != 0)
        .take(TAKEN as usize)
        .collect();
    let next = Ipv4Addr::from(u32::from(*taken.last().unwrap()) + 1);
    for some in taken.chunks(128) {
        let puts = some
            .iter()
            .map(|at| TxnOp::put(address_key(*at), "{}", None));
        let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(txn).await.unwrap();
    }
    let before = sent(&etcd).await;
    let wide = network(&etcd, "10.0.0.0/8");
    assert_eq!(addresses(&add(&wide, "a").await), [format!("{next}/8")]);
    let huge = network(&etcd, "fd00::/48");
    assert_eq!(addresses(&add(&huge, "b").await), ["fd00::1/48"]);
    // A key alone has 59 bytes.
    let read = (sent(&etcd).await - before) / 59.0;
    assert!(read < 2500.0, "{read} keys");
}

/// How many bytes etcd has sent to clients.
async fn sent(etcd: &Etcd) -> f64 {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let client: Client<_, String> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://{}/metrics", etcd.host());
    let answer = client.get(url.parse().unwrap()).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let name = "etcd_network_client_grpc_sent_bytes_total ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_said_and_kept() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let key = address_key(Ipv4Addr::new(10, 0, 0, 1));
    let index = key.replace("/networks/", "/containers/a/net1/networks/");
    let mut client = etcd.client().await;
    for key in [&key, &index] {
        let put = client.put(&**key, "10.0.0.1 c1", None::<PutOptions>);
        put.await.unwrap();
    }
    let before = etcd.all().await;
    let deleted = call("DEL", &network.with("log_level", json!("verbose"))).container("a");
    let deleted = deleted.run().await.expect(0);
    assert!(deleted.stderr.contains(&key), "{deleted:#?}");
    assert_eq!(etcd.all().await, before);
    assert_eq!(addresses(&add(&network, "b").await), ["10.0.0.2/24"]);
}

#[tokio::test]
async fn gc_frees_what_this_node_has_of_this_network_and_is_gone() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    for pod in ["a", "b", "c"] {
        add(&network, pod).await;
    }
    let elsewhere = call("ADD", &network)
        .container("d")
        .env("NODENAME", "node-b");
    elsewhere.pod("default", "d").run().await.expect(0);
    add(&network.top("name", json!("other")), "e").await;
    let valid = json!([{"containerID": "b", "ifname": "net1"}]);
    let gc = call("GC", &network.top("cni.dev/valid-attachments", valid));
    gc.run().await.expect(0);
    let all = etcd.all().await;
    let left = all
        .iter()
        .filter_map(|(key, _)| key.split_once("/containers/"));
    let left: Vec<&str> = left
        .map(|(_, rest)| rest.split('/').next().unwrap())
        .collect();
    assert_eq!(left, ["b", "d", "e"]);
}

#[tokio::test]
async fn a_del_that_found_no_etcd_is_done_when_it_is_called_again() {
    let mut etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let network = network
        .with("add_timeout", json!("3s"))
        .with("del_timeout", json!("3s"));
    let result = add(&network, "a").await;
    etcd.stop();
    for command in ["ADD", "DEL"] {
        let failed = call(command, &network).container("a").pod("default", "a");
        let failed = failed.run().await.expect(1);
        assert!(
            failed.stdout.contains(&etcd.host()) || failed.stdout.contains("in etcd"),
            "{failed:#?}"
        );
    }
    etcd.start_again();
    assert_eq!(add(&network, "a").await, result);
    del(&network, "a").await;
    assert_eq!(etcd.all().await, []);
}
