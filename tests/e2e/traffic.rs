//! Pods come and go, with addresses that work.

use std::collections::BTreeSet;

use serde_json::json;

use crate::pods::{Workload, addresses, offsets};
use crate::world::{NODES, World};

#[test]
fn ten_pods_get_addresses_and_reach_each_other_and_what_is_freed_is_given_again() {
    const RANGE: &str = "10.50.0.0/24";
    let world = World::lock();
    world.namespace("v4");
    world.network("v4", "lan", json!({ "range": RANGE }));
    let mut web = Workload::deployment("web", "lan", 10);
    world.run("v4", &web);
    let pods = world.ready("v4", "web", 10);
    // Ten at once may jump over what another of them tries at that moment.
    let given = offsets(&pods);
    assert!(
        given.len() == 10 && given.iter().all(|offset| (1..=20).contains(offset)),
        "{pods:?}"
    );
    world.recorded(RANGE, given);
    for node in NODES {
        let from = pods.iter().find(|pod| pod.node == node);
        let from = from.expect("pods are spread over the nodes");
        for address in addresses(&pods) {
            world.ping("v4", from, address);
        }
    }

    web.replicas = 3;
    world.run("v4", &web);
    let mut given = offsets(&world.ready("v4", "web", 3));
    world.recorded(RANGE, given.clone());
    // One at a time gets the lowest that is free.
    for replicas in 4..=6 {
        web.replicas = replicas;
        world.run("v4", &web);
        let lowest = (1..=254).find(|offset| !given.contains(offset));
        given.extend(lowest);
        assert_eq!(offsets(&world.ready("v4", "web", replicas)), given);
    }
    web.replicas = 10;
    world.run("v4", &web);
    let pods = world.ready("v4", "web", 10);
    let all = offsets(&pods);
    assert!(
        all.len() == 10 && all.is_superset(&given),
        "{all:?} {given:?}"
    );
    for address in addresses(&pods) {
        world.ping("v4", &pods[0], address);
    }
    world.kubectl("--namespace v4 delete deployment web");
    world.recorded(RANGE, []);
}

#[test]
fn pods_get_addresses_of_ipv6_and_of_both_families() {
    let world = World::lock();
    world.namespace("v6");
    let ranges = ["10.51.0.0/24", "fd00:51::/64", "fd00:52::/116"];
    let [both4, both6, six] = ranges.map(|range| json!({ "range": range }));
    world.network("v6", "both", json!({"ipRanges": [both4, both6]}));
    world.network("v6", "six", six);
    for name in ["both", "six"] {
        world.run("v6", &Workload::deployment(name, name, 3));
    }
    let six = world.ready("v6", "six", 3);
    assert!(
        addresses(&six).iter().all(std::net::IpAddr::is_ipv6),
        "{six:?}"
    );
    let both = world.ready("v6", "both", 3);
    for pod in &both {
        let families: BTreeSet<bool> = pod
            .addresses
            .iter()
            .map(std::net::IpAddr::is_ipv6)
            .collect();
        assert!(pod.addresses.len() == 2 && families.len() == 2, "{pod:?}");
    }
    for pods in [&six, &both] {
        for from in pods {
            for address in addresses(pods) {
                world.ping("v6", from, address);
            }
        }
    }
    world.kubectl("--namespace v6 delete deployments --all");
    for range in ranges {
        world.recorded(range, []);
    }
}
