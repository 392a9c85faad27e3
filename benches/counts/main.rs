//! How many instructions the pure parts take: a figure that does not depend on the machine's mood.
//!
//! Callgrind counts only what happens in the functions here, not in their `setup`.
#![allow(missing_docs, reason = "the macros make items without any")]
#![expect(clippy::unwrap_used, reason = "what is written here can be read")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use gungraun::{library_benchmark, library_benchmark_group, main};
use whereabouts::allocate::Window;
use whereabouts::reconcile::audit::{Audit, Verdict};
use whereabouts::reconcile::grace::Grace;
use whereabouts::reconcile::nodes::Nodes;
use whereabouts::reconcile::pods::Pods;
use whereabouts::reconcile::records::Records;
use whereabouts::record::decode;

/// 20 pools with 2,500 allocations each: a real cluster's shape.
const POOLS: usize = 20;
const ENTRIES: usize = 2_500;
/// Every so many entries name a pod that is not there.
const ORPHAN_EVERY: usize = 10;

type Allocation = (Window, Vec<IpAddr>);

/// The window `10.0.0.0/16` without a free address.
fn full() -> Allocation {
    let window = Window::new("10.0.0.0/16".parse().unwrap(), None, None, Vec::new()).unwrap();
    let all = u32::from(Ipv4Addr::new(10, 0, 0, 1))..u32::from(Ipv4Addr::new(10, 0, 255, 255));
    let taken = all.map(|bits| IpAddr::V4(bits.into())).collect();
    (window, taken)
}

/// The window `fd00::/48` with 1,000 exclusions, of which 500 lie side by side at its start, and
/// 1,000 addresses behind them taken.
fn sparse() -> Allocation {
    let near = (0..500).map(|block| format!("fd00::{block:x}:0:0/96"));
    let far = (0..500).map(|block| format!("fd00:0:0:{:x}::/64", 2 * block + 1));
    let exclude = near.chain(far).map(|block| block.parse().unwrap());
    let range = "fd00::/48".parse().unwrap();
    let window = Window::new(range, None, None, exclude.collect()).unwrap();
    let none = BTreeSet::new();
    let taken = window.free(&none).take(1_000).collect();
    (window, taken)
}

// What an ADD does with what its pool records.
#[library_benchmark]
#[bench::full_v4_16(setup = full)]
#[bench::sparse_v6_48_with_1000_exclusions(setup = sparse)]
fn allocate((window, recorded): Allocation) -> Option<IpAddr> {
    let taken: BTreeSet<IpAddr> = recorded.into_iter().collect();
    black_box(window.lowest(&taken).ok())
}

/// One pool, its reservations and their pods, as the API server sends them.
struct Sent {
    pools: Vec<String>,
    reservations: Vec<String>,
    pods: Vec<String>,
}

/// A cluster with 50,000 allocations, each with its reservation; a tenth of them are orphans.
fn sent() -> Sent {
    let mut sent = Sent {
        pools: Vec::new(),
        reservations: Vec::new(),
        pods: Vec::new(),
    };
    for pool in 0..POOLS {
        let mut entries = Vec::new();
        for offset in 1..=ENTRIES {
            let pod = format!("web-{pool}-{offset}");
            // Of the form that the API server gives.
            let uid = |kind: u8| format!("{kind:08x}-{pool:04x}-4000-8000-{offset:012x}");
            let (uid, own_uid) = (uid(1), uid(2));
            let address = format!("10.{pool}.{}.{}", offset / 256, offset % 256);
            entries.push(format!(
                r#""{offset}":{{"id":"{offset:064}","ifname":"net1","podref":"apps/{pod}"}}"#
            ));
            sent.reservations.push(format!(
                r#"{{"metadata":{{"name":"{address}","namespace":"kube-system","uid":"{own_uid}",
                    "resourceVersion":"7"}},"spec":{{"ifname":"net1","podref":"apps/{pod}"}}}}"#
            ));
            if offset % ORPHAN_EVERY != 0 {
                sent.pods.push(format!(
                    r#"{{"metadata":{{"name":"{pod}","namespace":"apps","uid":"{uid}","annotations":
                        {{"k8s.v1.cni.cncf.io/network-status":
                        "[{{\"name\":\"lan\",\"interface\":\"net1\",\"ips\":[\"{address}\"]}}]"}}}}}}"#
                ));
            }
        }
        sent.pools.push(format!(
            r#"{{"metadata":{{"name":"10.{pool}.0.0-16","namespace":"kube-system","uid":"p-{pool}",
                "resourceVersion":"7"}},"spec":{{"range":"10.{pool}.0.0/16","allocations":{{{}}}}}}}"#,
            entries.join(",")
        ));
    }
    sent
}

/// Reads what was sent, and joins it.
fn read(sent: &Sent) -> (Records, Pods) {
    let pools = sent.pools.iter();
    let pools = pools.map(|json| decode::pool(json.as_bytes()).unwrap());
    let reservations = sent.reservations.iter();
    let reservations = reservations.map(|json| decode::reservation(json.as_bytes()).unwrap());
    let records = Records::new(pools.collect(), reservations.collect());
    let mut pods = Pods::asked_by(&records);
    for json in &sent.pods {
        pods.see(&records, decode::pod(json.as_bytes()).unwrap());
    }
    (records, pods)
}

// What a run does with the lists that it reads.
#[library_benchmark]
#[bench::of_50000_allocations(setup = sent)]
fn decode_and_join(sent: Sent) -> (Records, Pods) {
    black_box(read(&sent))
}

fn sent_and_read() -> (Records, Pods) {
    read(&sent())
}

// What a run decides of each record.
#[library_benchmark]
#[bench::of_50000_allocations(setup = sent_and_read)]
fn audit((records, pods): (Records, Pods)) -> (Records, Pods, usize) {
    let nodes = Nodes::default();
    let audit = Audit::new(&records, &pods, &nodes, Grace::default());
    let orphans = records
        .ids()
        .filter(|id| matches!(audit.verdict(*id), Verdict::PodGone));
    let orphans = black_box(orphans.count());
    (records, pods, orphans)
}

library_benchmark_group!(name = pure, benchmarks = [allocate, decode_and_join, audit]);
main!(library_benchmark_groups = pure);
