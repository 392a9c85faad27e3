//! `ip-reconciler --datastore etcd`: the records of a cluster's pods in etcd.

mod faults;
mod manifest;
mod memory;
mod races;
mod settings;
mod undo;
mod verdicts;

use etcd_client::{PutOptions, Txn, TxnOp};
use serde_json::{Value, json};

use crate::plugin::call::{Network, addresses, call};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, delete_pod_now, node, pod};
use crate::support::run::{Outcome, Run, reconciler};

/// What stands before the keys of addresses that are unique in the unnamed network.
const UNNAMED: &str = "/whereabouts/v1/networks/-/";

/// Whose the records are.
const CLUSTER: &str = "/whereabouts/v1/annotations/cluster";

/// A run on this cluster whose records are at `host`.
fn run_at(cluster: &Cluster, host: &str) -> Run {
    printing("json", cluster, host)
}

/// The same with its report in this format.
fn printing(format: &str, cluster: &Cluster, host: &str) -> Run {
    let run = reconciler(cluster.kubeconfig()).args(["--datastore", "etcd", "--etcd-host", host]);
    run.args(["--settle", "100ms", "-o", format])
}

fn run(cluster: &Cluster, etcd: &Etcd) -> Run {
    run_at(cluster, &etcd.host())
}

/// A network with its records in this etcd.
fn network(cluster: &Cluster, etcd: &Etcd, range: &str) -> Network {
    let ipam = json!({"datastore": "etcd", "etcd_host": etcd.host(), "range": range});
    Network::new(cluster, ipam)
}

/// Lets the plugin give a pod's container an address.
async fn add(network: &Network, namespace: &str, name: &str) -> String {
    let added = call("ADD", network).container(&format!("c-{name}"));
    let added = added.pod(namespace, name).run().await.expect(0);
    let address = addresses(&added.json()).remove(0);
    address.split('/').next().unwrap().to_owned()
}

/// Makes a pod that runs and shows its address.
async fn show(cluster: &Cluster, name: &str, address: &str) {
    let pod = pod("default", name).shows("net1", &[address]);
    pod.phase("Running").create(cluster.client()).await;
}

/// All keys and values, but for the one that says whose they are.
async fn all(etcd: &Etcd) -> Vec<(String, String)> {
    let all = etcd.all().await.into_iter();
    all.filter(|(key, _)| key != CLUSTER).collect()
}

/// The keys of addresses, in their order.
async fn keys(etcd: &Etcd) -> Vec<String> {
    let all = all(etcd).await.into_iter().map(|(key, _)| key);
    let is_address = |key: &String| {
        ["networks", "ranges"].iter().any(|kind| {
            let prefix = format!("/whereabouts/v1/{kind}/");
            key.starts_with(&prefix)
        })
    };
    all.filter(is_address).collect()
}

/// The key of an address in the unnamed network.
fn key(address: &str) -> String {
    let address: std::net::Ipv4Addr = address.parse().unwrap();
    format!("{UNNAMED}{:032x}", address.to_ipv6_mapped().to_bits())
}

async fn put(etcd: &Etcd, key: &str, value: &str) {
    let mut client = etcd.client().await;
    client.put(key, value, None::<PutOptions>).await.unwrap();
}

/// The value of any key, that one too.
async fn value_of_all(etcd: &Etcd, key: &str) -> Option<String> {
    let mut all = etcd.all().await.into_iter();
    all.find_map(|(other, value)| (other == key).then_some(value))
}

async fn value(etcd: &Etcd, key: &str) -> Option<String> {
    let mut all = all(etcd).await.into_iter();
    all.find_map(|(other, value)| (other == key).then_some(value))
}

/// Records addresses of 10.0.0.0/16 for pods that never were, as the plugin would.
async fn crowd(etcd: &Etcd, count: u32) {
    let mut client = etcd.client().await;
    let numbers: Vec<u32> = (1..=count).collect();
    for some in numbers.chunks(40) {
        let puts = some.iter().flat_map(|n| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n);
            let key = key(&address.to_string());
            let tail = key.strip_prefix("/whereabouts/v1/").unwrap().to_owned();
            let value = json!({"container": format!("c-{n}"), "ifname": "net1",
                "podref": format!("default/gone-{n}"), "range": "10.0.0.0/16", "network": "lan"});
            let indexes = [
                format!("/whereabouts/v1/containers/c-{n}/net1/{tail}"),
                format!("/whereabouts/v1/pods/default/gone-{n}/net1/{tail}"),
            ];
            let indexes = indexes.map(|index| TxnOp::put(index, "", None));
            indexes
                .into_iter()
                .chain([TxnOp::put(key, value.to_string(), None)])
        });
        let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(txn).await.unwrap();
    }
}

/// Of each record its address, its verdict and what became of it.
fn records(run: &Outcome) -> Vec<(String, String, String)> {
    let run = run.json();
    let rows = run["records"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    rows.map(|row| {
        (
            text(&row["address"]),
            text(&row["verdict"]),
            text(&row["result"]),
        )
    })
    .collect()
}

fn expected(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let rows = rows.iter();
    rows.map(|(address, verdict, result)| {
        (
            (*address).to_owned(),
            (*verdict).to_owned(),
            (*result).to_owned(),
        )
    })
    .collect()
}

#[tokio::test]
async fn addresses_of_pods_that_are_gone_are_free_again_and_no_others() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    for (pod, address) in [
        ("web", "10.0.0.1"),
        ("gone", "10.0.0.2"),
        ("done", "10.0.0.3"),
    ] {
        assert_eq!(add(&lan, "default", pod).await, address);
    }
    let blue = network(&cluster, &etcd, "fd00::/64").with("network_name", json!("blue"));
    let alone = blue.with("enable_overlapping_ranges", json!(false));
    assert_eq!(add(&alone, "default", "gone").await, "fd00::1");
    show(&cluster, "web", "10.0.0.1").await;
    show(&cluster, "gone", "10.0.0.2").await;
    let done = pod("default", "done").shows("net1", &["10.0.0.3"]);
    done.phase("Succeeded").create(cluster.client()).await;
    delete_pod_now(cluster.client(), "default", "gone").await;
    let before = all(&etcd).await;

    let dry = run(&cluster, &etcd).args(["--dry-run"]).output().await;
    let dry = dry.expect(0);
    let found = [
        ("10.0.0.1", "InUse", "-"),
        ("10.0.0.2", "PodGone", "Planned"),
        ("10.0.0.3", "PodFinished", "Planned"),
        ("fd00::1", "PodGone", "Planned"),
    ];
    assert_eq!(records(&dry), expected(&found), "{dry:#?}");
    let row = &dry.json()["records"][3];
    assert_eq!(
        (
            &row["namespace"],
            &row["name"],
            &row["offset"],
            &row["containerID"]
        ),
        (
            &json!("ranges"),
            &json!("blue-fd00---64"),
            &json!("1"),
            &json!("c-gone")
        )
    );
    let names = printing("name", &cluster, &etcd.host()).args(["--dry-run"]);
    let names = names.output().await.expect(0).stdout;
    let last = "/whereabouts/v1/ranges/blue/fd00---64/fd000000000000000000000000000001";
    let orphans = [&*key("10.0.0.2"), &*key("10.0.0.3"), last];
    assert_eq!(names.lines().collect::<Vec<_>>(), orphans);
    assert_eq!(all(&etcd).await, before);

    let done = run(&cluster, &etcd).output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 3, "{done:#?}");
    assert_eq!(done.json()["summary"]["reservations"], 0);
    // With all keys that led there.
    let is_web = |(key, value): &(String, String)| {
        key.contains("c-web") || value.contains("c-web") || key.contains("/web/")
    };
    let left: Vec<_> = before.into_iter().filter(is_web).collect();
    assert_eq!((left.len(), all(&etcd).await), (3, left));
    assert_eq!(add(&lan, "default", "next").await, "10.0.0.2");
    let again = run(&cluster, &etcd)
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    let found = [
        ("10.0.0.1", "InUse", "-"),
        ("10.0.0.2", "PodGone", "Planned"),
    ];
    assert_eq!(records(&again), expected(&found));
}

#[tokio::test]
async fn every_output_and_explain_name_the_key() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    for format in ["table", "wide", "yaml", "json"] {
        let seen = printing(format, &cluster, &etcd.host()).args(["--dry-run"]);
        let seen = seen.output().await.expect(0).stdout;
        assert!(
            seen.contains("PodGone") && seen.contains("10.0.0.1"),
            "{seen}"
        );
        let is_for_programs = matches!(format, "yaml" | "json");
        assert_eq!(seen.contains(&key("10.0.0.1")), is_for_programs, "{seen}");
    }
    let explained = run(&cluster, &etcd).args(["explain", "10.0.0.1"]);
    let explained = explained.output().await.expect(0).stdout;
    for part in [
        &key("10.0.0.1"),
        "PodGone",
        "networks/10.0.0.0-24/1",
        "c-gone",
    ] {
        assert!(explained.contains(part), "{explained}");
    }
}

#[tokio::test]
async fn brakes_hold_and_force_overrides_them() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 101).await;
    let before = all(&etcd).await;
    let refused = run(&cluster, &etcd).output().await.expect(4);
    assert_eq!(refused.json()["refusal"]["brake"], "NoPods", "{refused:#?}");
    pod("default", "bystander").create(cluster.client()).await;
    let refused = run(&cluster, &etcd).output().await.expect(4);
    assert_eq!(refused.json()["refusal"]["brake"], "MaxRelease");
    assert_eq!(all(&etcd).await, before);
    let forced = run(&cluster, &etcd)
        .args(["--force"])
        .output()
        .await
        .expect(0);
    assert_eq!(forced.json()["summary"]["released"], 101);
    assert_eq!(all(&etcd).await, []);
}

#[tokio::test]
async fn an_address_is_freed_by_hand() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    node("node-a").unreachable().create(cluster.client()).await;
    node("node-b").create(cluster.client()).await;
    let web = call("ADD", &lan).env("NODENAME", "node-b");
    web.pod("default", "web").run().await.expect(0);
    add(&lan, "default", "gone").await;
    show(&cluster, "web", "10.0.0.1").await;
    let held = run(&cluster, &etcd).output().await.expect(0);
    let found = [
        ("10.0.0.1", "InUse", "-"),
        ("10.0.0.2", "HeldUnreachable", "-"),
    ];
    assert_eq!(records(&held), expected(&found), "{held:#?}");
    let kept = run(&cluster, &etcd).args(["release", "10.0.0.1", "--yes"]);
    let kept = kept.output().await.expect(1);
    assert!(kept.stderr.contains("InUse"), "{kept:#?}");
    let freed = run(&cluster, &etcd).args(["release", "10.0.0.2", "--yes"]);
    let freed = freed.output().await.expect(0);
    assert!(
        freed
            .stdout
            .contains("released: Allocation networks/10.0.0.0-24/2"),
        "{freed:#?}"
    );
    assert_eq!(keys(&etcd).await, [key("10.0.0.1")]);
}

#[tokio::test]
async fn a_network_that_is_exempted_is_left_alone() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let exemption = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/reconcile";
    put(&etcd, exemption, "false\n").await;
    let kept = run(&cluster, &etcd).output().await.expect(0);
    assert_eq!(records(&kept), expected(&[("10.0.0.1", "Protected", "-")]));
    put(&etcd, exemption, "true").await;
    let freed = run(&cluster, &etcd).output().await.expect(0);
    assert_eq!(
        records(&freed),
        expected(&[("10.0.0.1", "PodGone", "Released")])
    );
}
