//! What the server's cache says may be old: it helps to choose, and decides nothing.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use whereabouts::api::OverlappingRangeIPReservation;

use super::call::{Network, addresses, call};
use super::keys;
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pool, reservation};
use crate::support::proxy::{Fault, Proxy, Seen};

const CLAIMS: &str = "overlappingrangeipreservations";

/// A network whose range has six addresses.
async fn network() -> (Cluster, Proxy, Network) {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/29"}));
    (cluster, proxy, network)
}

/// Lists of claims from the cache say from now on that these are claimed.
fn show_claims(proxy: &Proxy, addresses: &[&str]) {
    let row = |address: &&str| json!({"cells": [address, "1m"]});
    let rows: Vec<_> = addresses.iter().map(row).collect();
    let table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": rows}).to_string();
    proxy.rule(move |seen| {
        let is_cached = seen.is("GET", CLAIMS) && seen.query.contains("resourceVersion=0");
        is_cached.then(|| Fault::Answer(table.clone()))
    });
}

async fn claimed(cluster: &Cluster, address: &str, owner: &str) {
    let claim = reservation("kube-system", address, owner).ifname("net1");
    claim.create(cluster.client()).await;
}

#[tokio::test]
async fn a_range_is_not_full_because_a_list_is_old() {
    let (cluster, proxy, network) = network().await;
    claimed(&cluster, "10.0.0.1", "default/other").await;
    let gone = (1..=6).map(|n| format!("10.0.0.{n}"));
    let gone: Vec<String> = gone.collect();
    show_claims(&proxy, &gone.iter().map(|gone| &**gone).collect::<Vec<_>>());
    let add = call("ADD", &network).pod("default", "web").run().await;
    assert_eq!(addresses(&add.expect(0).json()), ["10.0.0.2/29"]);
}

#[tokio::test]
async fn claims_that_a_list_lacks_are_met_once_each() {
    let (cluster, proxy, network) = network().await;
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        claimed(&cluster, address, "default/other").await;
    }
    show_claims(&proxy, &[]);
    let add = call("ADD", &network).pod("default", "web").run().await;
    assert_eq!(addresses(&add.expect(0).json()), ["10.0.0.4/29"]);
    let log = proxy.log();
    let claims = log.iter().filter(|seen| seen.is("POST", CLAIMS));
    assert_eq!(claims.count(), 4);
}

#[tokio::test]
async fn a_range_is_full_once_others_have_claimed_all_but_not_by_what_the_pod_itself_has() {
    let (cluster, _proxy, network) = network().await;
    for n in 1..=5 {
        claimed(&cluster, &format!("10.0.0.{n}"), "default/other").await;
    }
    // As an ADD leaves it that is killed.
    claimed(&cluster, "10.0.0.6", "default/web").await;
    let add = call("ADD", &network).pod("default", "web").run().await;
    assert_eq!(addresses(&add.expect(0).json()), ["10.0.0.6/29"]);
    let full = call("ADD", &network).container("c2").pod("default", "late");
    let error = full.run().await.expect(1).json();
    assert!(error.to_string().contains("Could not allocate"), "{error}");
    assert_eq!(keys(&cluster, "10.0.0.0-29").await, [6]);
}

/// In a pool that is there already, as of another node that was killed before it recorded it.
async fn dead_claim(cluster: &Cluster, proxy: &Proxy, network: &Network) {
    pool("kube-system", "10.0.0.0/29")
        .create(cluster.client())
        .await;
    let elsewhere = network.with("lock_dir", json!(cluster.file("").join("elsewhere")));
    proxy.once(|seen| seen.is("PATCH", "ippools"), Fault::Hang);
    let dead = call("ADD", &elsewhere)
        .container("dead")
        .pod("default", "dead")
        .env("NODENAME", "node-b");
    let dead = dead.spawn();
    while !proxy.log().iter().any(|seen| seen.is("PATCH", "ippools")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dead.signal("KILL");
    dead.wait().await;
}

#[tokio::test]
async fn a_claim_that_somebody_labels_meanwhile_is_recorded_all_the_same() {
    let (cluster, proxy, network) = network().await;
    dead_claim(&cluster, &proxy, &network).await;
    // As a controller of policies does with all objects that it sees.
    let claims: Api<OverlappingRangeIPReservation> =
        Api::namespaced(cluster.client().clone(), "kube-system");
    let label = async move {
        let change = Patch::Merge(json!({"metadata": {"labels": {"policy": "seen"}}}));
        for claim in claims.list(&ListParams::default()).await.unwrap() {
            let name = claim.name_any();
            let params = PatchParams::default();
            claims.patch(&name, &params, &change).await.unwrap();
        }
    };
    let is_ours = |seen: &Seen| {
        let body = String::from_utf8_lossy(&seen.body);
        seen.is("POST", CLAIMS) && body.contains("default/web") && !body.contains("10.0.0.1\"")
    };
    proxy.after(is_ours, label);
    let before = proxy.log().len();
    let add = call("ADD", &network).pod("default", "web").run().await;
    add.expect(0);
    // The dead one's claim looks new as well, and may be recorded with it: its address is taken anyway.
    let recorded = entries(cluster.client(), "kube-system", "10.0.0.0-29").await;
    let own = recorded
        .values()
        .filter(|entry| entry["podref"] == "default/web");
    assert_eq!(own.count(), 1, "{recorded:#?}");
    let log = proxy.log();
    let patches = log[before..]
        .iter()
        .filter(|seen| seen.is("PATCH", "ippools"));
    assert_eq!(patches.count(), 1);
}

#[tokio::test]
async fn who_waits_looks_at_no_pool_that_is_older_than_the_one_it_chose_from() {
    let (cluster, proxy, network) = network().await;
    dead_claim(&cluster, &proxy, &network).await;
    let before = proxy.log().len();
    let add = call("ADD", &network).pod("default", "web").run().await;
    let given = addresses(&add.expect(0).json()).remove(0);
    assert_ne!(given, "10.0.0.1/29");
    let log = proxy.log();
    let is_look = |seen: &&Seen| seen.is("GET", "ippools");
    let looks: Vec<&Seen> = log[before..].iter().filter(is_look).collect();
    let (first, cached) = looks.split_first().unwrap();
    assert_eq!(first.query, "");
    assert!(!cached.is_empty());
    for look in cached {
        let version = look.query.trim_start_matches("&resourceVersion=");
        assert!(version.parse::<u64>().unwrap() > 0, "{}", look.query);
    }
    // Nobody records for the dead one, and this node knows now that it is not alone.
    assert_eq!(keys(&cluster, "10.0.0.0-29").await.len(), 1);
    let before = proxy.log().len();
    let next = call("ADD", &network).container("c2").pod("default", "next");
    next.run().await.expect(0);
    let log = proxy.log();
    let first: Vec<&str> = log[before..].iter().map(|seen| &*seen.method).collect();
    assert_eq!(first[..3], ["GET", "GET", "POST"]);
}
