//! Each kind of finding, and what looks like one and is none.
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! reads best inside the call"
)]

use serde_json::{Value, json};

use super::*;
use crate::reconcile::repair::is_repairable;
use crate::reconcile::snapshot::{Snapshot, parse_dumps};

mod alone;
mod defects;

/// The objects of a small cluster.
#[derive(Default, Clone)]
struct Objects(Vec<Value>);

impl Objects {
    fn pool(mut self, name: &str, range: &str, allocations: Value) -> Self {
        self.0.push(
            json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"range": range, "allocations": allocations}}),
        );
        self
    }

    fn reservation(mut self, name: &str, pod: &str, interface: &str) -> Self {
        self.0
            .push(json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "OverlappingRangeIPReservation",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"podref": pod, "ifname": interface}}));
        self
    }

    /// A running pod `default/NAME` with an address of the cluster's network, as all have.
    fn pod(mut self, name: &str, networks: &[(&str, &str, &str)]) -> Self {
        let mut status = vec![
            json!({"name": "cbr0", "interface": "eth0", "ips": ["10.244.0.9"], "default": true}),
        ];
        status.extend(networks.iter().map(|(network, interface, address)| {
            json!({"name": network, "interface": interface, "ips": [address]})
        }));
        self.0
            .push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": "default", "uid": format!("u-{name}"),
            "annotations": {"k8s.v1.cni.cncf.io/network-status": json!(status).to_string()}},
            "status": {"phase": "Running"}}));
        self
    }

    /// A definition `default/NAME` of a network whose addresses come from `ipam`.
    fn network(mut self, name: &str, ipam: Value) -> Self {
        let config = json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam});
        self.0.push(
            json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"config": config.to_string()}}),
        );
        self
    }

    fn set(mut self, pointer: &str, value: Value) -> Self {
        let last = self.0.last_mut().unwrap();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        last.pointer_mut(parent).unwrap()[member] = value;
        self
    }

    fn snapshot(&self) -> Snapshot {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.0});
        let none = |kind: &str, version: &str| {
            let list = json!({"apiVersion": version, "kind": format!("{kind}List"), "items": []});
            ((*kind).into(), list.to_string())
        };
        let empty = [
            none("Pod", "v1"),
            none("IPPool", "whereabouts.cni.cncf.io/v1alpha1"),
        ];
        let all: Vec<_> = empty
            .into_iter()
            .chain([("all".into(), list.to_string())])
            .collect();
        parse_dumps(&all, None).unwrap()
    }

    /// All findings, as kind, address, pods and what can be repaired.
    fn found(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let found = snapshot.find().0;
        found
            .iter()
            .map(|finding| {
                let address = finding.address.map_or_else(
                    || finding.place.id().name.to_string(),
                    |address| address.to_string(),
                );
                let pods: Vec<&str> = finding.pods.iter().map(PodRef::name).collect();
                let can = if is_repairable(&snapshot, finding) {
                    "+"
                } else {
                    "-"
                };
                format!("{} {address} {} {can}", finding.kind.name(), pods.join(","))
                    .replace("  ", " ")
            })
            .collect()
    }

    #[track_caller]
    fn assert_found(&self, expected: &[&str]) {
        assert_eq!(self.found(), expected, "{}", json!(self.0));
    }
}

fn entry(pod: &str, interface: &str) -> Value {
    json!({"id": "c", "podref": format!("default/{pod}"), "ifname": interface})
}

const NET: (&str, &str) = ("default/net", "net1");

fn on(address: &str) -> [(&str, &str, &str); 1] {
    [(NET.0, NET.1, address)]
}

/// A pool of each family, in which `web` has the address 5.
fn both_families() -> [(Objects, [&'static str; 7]); 2] {
    let pool = |name: &str, range: &str| {
        Objects::default().pool(name, range, json!({"5": entry("web", "net1")}))
    };
    [
        (
            pool("10.0.0.0-24", "10.0.0.0/24"),
            [
                "10.0.0.0-24",
                "10.0.0.0/24",
                "10.0.0.5",
                "10.0.0.6",
                "10.0.0.5",
                "10.0.0.6",
                "10.0.0.0/16",
            ],
        ),
        (
            pool("fd00---64", "fd00::/64"),
            [
                "fd00---64",
                "fd00::/64",
                "fd00::5",
                "fd00::6",
                "fd00--5",
                "fd00--6",
                "fd00::/112",
            ],
        ),
    ]
}

#[test]
fn what_is_recorded_and_shown_is_in_order() {
    for (objects, [.., five, _, five_name, _, _]) in both_families() {
        let web = objects.pod("web", &on(five));
        web.assert_found(&[]);
        web.reservation(five_name, "default/web", "net1")
            .assert_found(&[]);
    }
}

#[test]
fn an_address_of_another_pods_record_is_the_worst() {
    for (objects, [.., five, _, _, _, _]) in both_families() {
        let said = format!("UsedByAnother {five} web,thief -");
        // Whether the first pod lives or not.
        objects
            .clone()
            .pod("thief", &on(five))
            .assert_found(&[&said]);
        let both = objects.pod("web", &on(five)).pod("thief", &on(five));
        both.assert_found(&[&said]);
        let evidence = &both.snapshot().find().0[0].evidence;
        assert!(evidence.contains("and so does the first"), "{evidence}");
    }
}

#[test]
fn a_pod_that_goes_or_has_ended_takes_no_address() {
    for (objects, [.., five, six, _, _, _]) in both_families() {
        let web = objects.pod("web", &on(five));
        for address in [five, six] {
            for (pointer, value) in [
                ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
                ("/status/phase", json!("Failed")),
                ("/status/phase", json!("Succeeded")),
                (
                    "/status/conditions",
                    json!([{"type": "PodReadyToStartContainers", "status": "False"}]),
                ),
            ] {
                let other = web.clone().pod("other", &on(address));
                other.set(pointer, value).assert_found(&[]);
            }
        }
    }
}

#[test]
fn an_address_in_use_that_nothing_records_is_found_and_can_be_put_back() {
    for (objects, [.., five, six, _, _, _]) in both_families() {
        let web = objects.pod("web", &on(five));
        let said = format!("Unrecorded {six} lost +");
        web.clone().pod("lost", &on(six)).assert_found(&[&said]);
        // Two pods with it: nobody knows whose it is.
        let two = web.pod("lost", &on(six)).pod("found", &on(six));
        two.assert_found(&[&format!("TwoPods {six} found,lost -")]);
    }
}

#[test]
fn the_clusters_own_network_and_other_ranges_are_not_looked_at() {
    let wide = Objects::default().pool("10.0.0.0-8", "10.0.0.0/8", json!({}));
    // Pods share addresses on eth0, and on the host's network.
    wide.clone().pod("a", &[]).pod("b", &[]).assert_found(&[]);
    wide.clone()
        .pod("a", &[("default/x", "eth0", "10.1.1.1")])
        .assert_found(&[]);
    wide.pod("a", &on("192.168.0.1"))
        .pod("b", &on("192.168.0.1"))
        .assert_found(&[]);
    Objects::default()
        .pod("a", &on("10.0.0.1"))
        .pod("b", &on("10.0.0.1"))
        .assert_found(&[]);
}

#[test]
fn definitions_say_what_comes_from_elsewhere() {
    let pool = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", json!({}));
    let lost = pool.pod("lost", &on("10.0.0.6"));
    let ours = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
    for (ipam, is_found) in [
        (ours, true),
        (
            json!({"type": "host-local", "subnet": "10.0.0.0/24"}),
            false,
        ),
        (
            json!({"type": "whereabouts", "range": "10.9.0.0/24"}),
            false,
        ),
        (
            json!({"type": "whereabouts", "range": "10.0.0.0/24", "network_name": "blue"}),
            false,
        ),
        (
            json!({"type": "whereabouts", "range": "10.0.0.0/24", "addresses": [{"address": "10.0.0.6/24"}]}),
            false,
        ),
        // Its ranges stand in a file on the node.
        (json!({"type": "whereabouts"}), true),
        (json!({"type": "whereabouts", "range": "nonsense"}), true),
    ] {
        let found = lost.clone().network("net", ipam.clone()).found();
        assert_eq!(!found.is_empty(), is_found, "{ipam}: {found:?}");
    }
    let chain = json!({"name": "net", "plugins": [{"type": "macvlan", "ipam": {"type": "static"}}, {"type": "tuning"}]});
    let chained = lost.network("net", json!({}));
    chained
        .set("/spec/config", json!(chain.to_string()))
        .assert_found(&[]);
}

#[test]
fn networks_may_use_the_same_range() {
    let two = Objects::default()
        .pool(
            "blue-10.0.0.0-24",
            "10.0.0.0/24",
            json!({"5": entry("web", "net1")}),
        )
        .pool(
            "red-10.0.0.0-24",
            "10.0.0.0/24",
            json!({"5": entry("db", "net1")}),
        )
        .pod("web", &[("default/blue", "net1", "10.0.0.5")])
        .pod("db", &[("default/red", "net1", "10.0.0.5")]);
    two.assert_found(&[]);
    let ipam =
        |name: &str| json!({"type": "whereabouts", "range": "10.0.0.0/24", "network_name": name});
    // The entry of the second network is lost: only its definition says that it is another one.
    let lost = Objects::default()
        .pool(
            "blue-10.0.0.0-24",
            "10.0.0.0/24",
            json!({"5": entry("web", "net1")}),
        )
        .pool("red-10.0.0.0-24", "10.0.0.0/24", json!({}))
        .pod("web", &[("default/blue", "net1", "10.0.0.5")])
        .pod("db", &[("default/red", "net1", "10.0.0.5")]);
    lost.assert_found(&["UsedByAnother 10.0.0.5 web,db -"]);
    lost.network("blue", ipam("blue"))
        .network("red", ipam("red"))
        .assert_found(&["Unrecorded 10.0.0.5 db +"]);
    // Two pods of two networks, none of them recorded.
    let bare = Objects::default()
        .pool("blue-10.0.0.0-24", "10.0.0.0/24", json!({}))
        .pool("red-10.0.0.0-24", "10.0.0.0/24", json!({}))
        .pod("web", &[("default/blue", "net1", "10.0.0.5")])
        .pod("db", &[("default/red", "net1", "10.0.0.5")]);
    bare.assert_found(&["Unrecorded 10.0.0.5 db -", "Unrecorded 10.0.0.5 web -"]);
}

#[test]
fn two_entries_of_one_network_are_two_owners() {
    let (web, db) = (entry("web", "net1"), entry("db", "net1"));
    let pods = |objects: Objects| {
        objects
            .pod("web", &on("10.0.0.5"))
            .pod("db", &on("10.0.0.5"))
    };
    let overlapping = |network: &str, other: &str| {
        Objects::default()
            .pool(
                &format!("{network}10.0.0.0-24"),
                "10.0.0.0/24",
                json!({"5": web.clone()}),
            )
            .pool(
                &format!("{other}10.0.0.0-16"),
                "10.0.0.0/16",
                json!({"5": db.clone()}),
            )
    };
    pods(overlapping("", "")).assert_found(&["TwoOwners 10.0.0.5 db,web -"]);
    pods(overlapping("blue-", "blue-")).assert_found(&["TwoOwners 10.0.0.5 db,web -"]);
    pods(overlapping("blue-", "red-")).assert_found(&[]);
    pods(overlapping("", "red-")).assert_found(&[]);
    // One of the pods is gone: its entry goes, and nothing is wrong.
    overlapping("", "")
        .pod("web", &on("10.0.0.5"))
        .assert_found(&[]);
    // One claim in two pools, and one pod with one address on two interfaces.
    let twice = |interface: &str| {
        Objects::default()
            .pool("10.0.0.0-24", "10.0.0.0/24", json!({"5": web.clone()}))
            .pool(
                "10.0.0.0-16",
                "10.0.0.0/16",
                json!({"5": entry("web", interface)}),
            )
            .pod(
                "web",
                &[
                    ("default/a", "net1", "10.0.0.5"),
                    ("default/b", "net2", "10.0.0.5"),
                ],
            )
    };
    twice("net1").assert_found(&[]);
    twice("net2").assert_found(&["TwoOwners 10.0.0.5 web,web -"]);
    // Two keys of one pool, which mean the same.
    let keys = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", json!({"5": web, "05": db}));
    pods(keys).assert_found(&["TwoOwners 10.0.0.5 db,web -"]);
}

#[test]
fn an_entry_and_a_reservation_of_different_pods_are_two_owners() {
    for (objects, [.., five, _, five_name, _, _]) in both_families() {
        let pods = objects.pod("web", &on(five)).pod("db", &on(five));
        pods.clone()
            .reservation(five_name, "default/db", "net1")
            .assert_found(&[&format!("TwoOwners {five} web,db -")]);
        // A reservation of another network.
        pods.reservation(&format!("red-{five_name}"), "default/db", "net1")
            .assert_found(&[&format!("MissingEntry {five} db -")]);
    }
}
