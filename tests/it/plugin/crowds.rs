//! Many processes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::call::{Network, address, call};
use super::keys;
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, reservations};
use crate::support::run::{Running, reconciler};

/// How far apart addresses may be when many chose at once, beyond their number.
const SLACK: u64 = 100;

fn spawn(network: &Network, name: &str) -> Running {
    let add = call("ADD", network).container(name);
    add.pod("default", name).spawn()
}

/// The address that a process was given, without the prefix length.
async fn given(running: Running) -> String {
    let add = running.wait().await.expect(0);
    address(&add.json())
}

async fn crowd(cluster: &Cluster, networks: &[Network], pools: &[&str], count: u64) {
    let names = (0..count).map(|n| format!("web-{n}"));
    let running: Vec<(String, Running)> = names
        .zip(networks.iter().cycle())
        .map(|(name, network)| (spawn(network, &name), name))
        .map(|(running, name)| (name, running))
        .collect();
    // Every fifth is killed somewhere on its way.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut owners = BTreeMap::new();
    for (n, (name, running)) in running.into_iter().enumerate() {
        if n % 5 == 4 {
            running.signal_if_running("KILL");
            running.wait().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let address = given(running).await;
        let pod = pod("default", &name).shows("net1", &[&address]);
        pod.create(cluster.client()).await;
        let before = owners.insert(address.clone(), name);
        assert_eq!(before, None, "{address} was given twice");
    }
    let recorded = owners_of(cluster, pools).await;
    for (address, name) in &owners {
        assert_eq!(
            recorded.get(address),
            Some(name),
            "{address} is not recorded"
        );
    }
    for pool in pools {
        let highest = keys(cluster, pool).await.into_iter().max();
        assert!(highest <= Some(count + SLACK), "{pool}: {highest:?}");
    }
    // What the killed ones left is waste, and only that is freed.
    let run = reconciler(cluster.kubeconfig()).args(["--force", "--settle", "100ms"]);
    run.output().await.expect(0);
    assert_eq!(owners_of(cluster, pools).await, owners);
    let expected: BTreeSet<String> = owners
        .keys()
        .map(|address| format!("kube-system/{address}"))
        .collect();
    assert_eq!(reservations(cluster.client()).await, expected);
}

/// Which pod every recorded address belongs to; two entries for one address fail the test.
async fn owners_of(cluster: &Cluster, pools: &[&str]) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for pool in pools {
        for (key, entry) in entries(cluster.client(), "kube-system", pool).await {
            let offset: u32 = key.parse().unwrap();
            let address = format!("10.0.{}.{}", offset >> 8, offset & 0xff);
            let name = entry["podref"].as_str().unwrap();
            let name = name.trim_start_matches("default/").to_owned();
            assert_eq!(owners.insert(address, name), None, "{pool} {key}");
        }
    }
    owners
}

#[tokio::test]
async fn two_hundred_at_once_with_kills_get_different_addresses_close_together() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/16"}));
    crowd(&cluster, &[network], &["10.0.0.0-16"], 200).await;
}

#[tokio::test]
async fn two_hundred_at_once_on_two_overlapping_ranges_get_different_addresses() {
    let cluster = Cluster::lock().await;
    let networks = [
        Network::new(&cluster, json!({"range": "10.0.0.0/16"})),
        Network::new(&cluster, json!({"range": "10.0.0.0/22"})),
    ];
    crowd(&cluster, &networks, &["10.0.0.0-16", "10.0.0.0-22"], 200).await;
}

#[tokio::test]
async fn fifty_nodes_at_once_get_different_addresses_close_together() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/16"}));
    // Without a common folder nobody knows whose turn it is: only the guards of the writes are left.
    let networks: Vec<Network> = (0..50)
        .map(|n| network.with("lock_dir", json!(cluster.file("").join(n.to_string()))))
        .collect();
    crowd(&cluster, &networks, &["10.0.0.0-16"], 50).await;
}
