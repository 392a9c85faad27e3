//! One case for each row, and for each way in which a record and a pod can be spelled.
#![expect(
    clippy::needless_pass_by_value,
    reason = "json! reads best inside the call"
)]

use serde_json::{Value, json};

use super::*;
use crate::reconcile::snapshot::{Snapshot, parse_dumps};

mod doubts;

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

    fn reservation(mut self, name: &str, spec: Value) -> Self {
        self.0
            .push(json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "OverlappingRangeIPReservation",
            "metadata": {"name": name, "namespace": "kube-system"}, "spec": spec}));
        self
    }

    /// A running pod `default/NAME` with uid `u-NAME`.
    fn pod(mut self, name: &str, networks: Value) -> Self {
        self.0
            .push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": "default", "uid": format!("u-{name}"),
            "annotations": {"k8s.v1.cni.cncf.io/network-status": networks.to_string()}},
            "status": {"phase": "Running"}}));
        self
    }

    fn set(mut self, pointer: &str, value: Value) -> Self {
        let last = self.0.last_mut().unwrap();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        last.pointer_mut(parent).unwrap()[member.replace("~1", "/")] = value;
        self
    }

    fn snapshot(&self) -> Snapshot {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.0});
        let no_pods = json!({"apiVersion": "v1", "kind": "PodList", "items": []});
        parse_dumps(
            &[
                ("a".into(), list.to_string()),
                ("b".into(), no_pods.to_string()),
            ],
            None,
        )
        .unwrap()
    }

    /// The names of all verdicts, entries first.
    fn verdicts(&self) -> Vec<&'static str> {
        let snapshot = self.snapshot();
        snapshot
            .records
            .ids()
            .map(|id| snapshot.audit().verdict(id).name())
            .collect()
    }
}

fn on(interface: &str, ips: &[&str]) -> Value {
    json!([{"name": "default/net", "interface": interface, "ips": ips}])
}

/// A pool of which `default/web` holds 10.0.0.5 on net1.
fn web_holds_5() -> Objects {
    let entry = json!({"id": "c1", "podref": "default/web", "ifname": "net1",
        "owner": {"id": "c1", "poduid": "u-web"}});
    Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", json!({"5": entry}))
}

#[test]
fn each_row_has_its_verdict() {
    let shown = || on("net1", &["10.0.0.5"]);
    let other = || on("net1", &["10.0.0.9"]);
    let deleted = "/metadata/deletionTimestamp";
    let now = || json!("2026-01-01T00:00:00Z");
    let cases: Vec<(&str, Objects)> = vec![
        ("PodGone", web_holds_5()),
        ("InUse", web_holds_5().pod("web", shown())),
        (
            "PodFinished",
            web_holds_5()
                .pod("web", shown())
                .set("/status/phase", json!("Failed")),
        ),
        (
            "PodFinished",
            web_holds_5()
                .pod("web", json!([]))
                .set("/status/phase", json!("Succeeded")),
        ),
        (
            "Terminating",
            web_holds_5().pod("web", shown()).set(deleted, now()),
        ),
        (
            "Terminating",
            web_holds_5().pod("web", other()).set(deleted, now()),
        ),
        ("Starting", web_holds_5().pod("web", json!([]))),
        (
            "Starting",
            web_holds_5().pod("web", on("net2", &["10.0.0.9"])),
        ),
        (
            "Starting",
            web_holds_5().pod("web", on("net1", &["fd00::9"])),
        ),
        (
            "Starting",
            web_holds_5()
                .pod("web", json!([]))
                .set("/metadata/annotations", json!({})),
        ),
        (
            "StatusUnreadable",
            web_holds_5().pod("web", json!({"ips": 5})),
        ),
        ("AddressNotOnPod", web_holds_5().pod("web", other())),
        (
            "PodReplaced",
            web_holds_5()
                .pod("web", other())
                .set("/metadata/uid", json!("u2")),
        ),
        (
            "PodReplaced",
            web_holds_5()
                .pod("web", on("eth0", &["10.244.0.1"]))
                .set("/metadata/uid", json!("u2")),
        ),
        (
            "InUse",
            web_holds_5()
                .pod("web", shown())
                .set("/metadata/uid", json!("u2")),
        ),
        (
            "Starting",
            web_holds_5()
                .pod("web", json!([]))
                .set("/metadata/uid", json!("u2")),
        ),
        ("UsedByAnother", web_holds_5().pod("api", shown())),
        (
            "Protected",
            web_holds_5().set(
                "/metadata/annotations",
                json!({crate::pod::RECONCILE_KEY: "false"}),
            ),
        ),
        (
            "Protected",
            web_holds_5().pod("web", other()).set(
                "/metadata/annotations",
                json!({crate::pod::RECONCILE_KEY: "false"}),
            ),
        ),
    ];
    for (expected, objects) in cases {
        assert_eq!(objects.verdicts(), [expected], "{:#?}", objects.0);
    }
}

#[test]
fn a_mirror_pod_is_never_replaced() {
    let annotations = json!({crate::pod::MIRROR_KEY: "x",
        "k8s.v1.cni.cncf.io/network-status": on("eth0", &["10.244.0.1"]).to_string()});
    let mirror = web_holds_5().pod("web", json!([]));
    let mirror = mirror
        .set("/metadata/uid", json!("u2"))
        .set("/metadata/annotations", annotations);
    assert_eq!(mirror.verdicts(), ["Starting"]);
}

#[test]
fn what_cannot_be_read_is_malformed_and_what_names_no_pod_unowned() {
    let entry = json!({"id": "c1", "podref": "default/web"});
    let objects = Objects::default()
        .pool(
            "10.0.0.0-24",
            "10.0.0.0/24",
            json!({"x": entry, "256": entry, "-1": entry, "7": 5}),
        )
        .pool("broken", "10.0.0.0/99", json!({"1": entry}))
        .reservation("not-an-address", json!({"podref": "default/web"}))
        .reservation("10.9.0.1", json!(5));
    assert_eq!(objects.verdicts(), ["Malformed"; 7]);
    let unowned = json!({"id": "c1", "podref": "web"});
    let objects = Objects::default()
        .pool(
            "10.0.0.0-24",
            "10.0.0.0/24",
            json!({"1": unowned, "2": {"id": "c2"}}),
        )
        .reservation("10.0.0.3", json!({"podref": ""}))
        .reservation("10.0.0.4", json!({}));
    assert_eq!(objects.verdicts(), ["Unowned"; 4]);
}

#[test]
fn addresses_are_compared_as_addresses() {
    let entry = json!({"id": "c1", "podref": "default/web", "ifname": "net1"});
    for (range, key, shown) in [
        ("10.0.0.0/24", "5", "::ffff:10.0.0.5"),
        ("2001:db8::/64", "1", "2001:0DB8:0::0001"),
        ("2001:db8::/64", "0", "2001:db8::"),
        ("fd00::/64", "9223372036854775809", "fd00::8000:0:0:1"),
        // Wider than a key: the Go program wrote this address under key 1.
        ("2001:db8::/48", "1", "2001:db8:0:1::1"),
    ] {
        let name = range.replace([':', '/'], "-");
        let objects = Objects::default()
            .pool(&name, range, json!({key: entry}))
            .pod("web", on("net1", &["10.244.0.1", shown]));
        assert_eq!(objects.verdicts(), ["InUse"], "{range} {key}");
        let mut another = objects.clone();
        another.0[1]["metadata"]["name"] = json!("api");
        assert_eq!(another.verdicts(), ["UsedByAnother"], "{range} {key}");
    }
}

#[test]
fn reservations_are_judged_by_the_same_rows() {
    let spec = || json!({"podref": "default/web", "ifname": "net1"});
    for (name, shown) in [
        ("10.0.0.5", "10.0.0.5"),
        ("2001-db8--1", "2001:db8::1"),
        ("fd00--0", "fd00::"),
        ("fd00-0-0-0-0-0-0-5", "fd00::5"),
        ("blue-net-10.0.0.5", "10.0.0.5"),
        ("blue-net-2001-db8--1", "2001:db8::1"),
        // The name of a network that could be the start of an address.
        ("abc-2001-db8--1", "2001:db8::1"),
    ] {
        let gone = Objects::default().reservation(name, spec());
        assert_eq!(gone.verdicts(), ["PodGone"], "{name}");
        let used = gone.clone().pod("web", on("net1", &[shown]));
        assert_eq!(used.verdicts(), ["InUse"], "{name}");
        let other = gone.pod("api", on("net1", &[shown]));
        assert_eq!(other.verdicts(), ["UsedByAnother"], "{name}");
    }
}

#[test]
fn one_address_on_two_networks_belongs_to_two_pods() {
    let entry = |pod: &str| json!({"5": {"id": pod, "podref": pod, "ifname": "net1"}});
    let objects = Objects::default()
        .pool("blue-10.0.0.0-24", "10.0.0.0/24", entry("default/web"))
        .pool("red-10.0.0.0-24", "10.0.0.0/24", entry("default/api"))
        .reservation("blue-10.0.0.5", json!({"podref": "default/web"}))
        .reservation("red-10.0.0.5", json!({"podref": "default/api"}))
        .pod("web", on("net1", &["10.0.0.5"]));
    assert_eq!(objects.verdicts(), ["InUse", "PodGone", "InUse", "PodGone"]);
}

#[test]
fn a_reservation_stays_as_long_as_its_entry() {
    // The entry names the interface that moved; the reservation alone would know nothing.
    let objects = web_holds_5()
        .reservation("10.0.0.5", json!({"podref": "default/web"}))
        .pod("web", on("net1", &["10.0.0.9"]));
    assert_eq!(objects.verdicts(), ["AddressNotOnPod"; 2]);
    // A pool that is exempt protects the reservation with or without its entry.
    let exempt = json!({crate::pod::RECONCILE_KEY: "false"});
    let objects = web_holds_5()
        .set("/metadata/annotations", exempt)
        .reservation("10.0.0.5", json!({"podref": "default/web"}))
        .reservation("10.0.0.6", json!({"podref": "default/web"}))
        .reservation("10.1.0.6", json!({"podref": "default/web"}));
    assert_eq!(
        objects.verdicts(),
        ["Protected", "Protected", "Protected", "PodGone"]
    );
}

#[test]
fn a_record_without_an_interface_asks_for_an_address_of_its_own_range() {
    let entry = json!({"id": "c1", "podref": "default/web"});
    let objects = || Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", json!({"5": entry}));
    let elsewhere = objects().pod("web", on("net1", &["10.1.0.9", "fd00::1"]));
    assert_eq!(elsewhere.verdicts(), ["Starting"]);
    let inside = objects().pod("web", on("net1", &["10.0.0.9"]));
    assert_eq!(inside.verdicts(), ["AddressNotOnPod"]);
}

#[test]
fn a_pod_uses_its_address_until_it_has_finished() {
    let shown = || on("net1", &["10.0.0.5"]);
    let finished = web_holds_5()
        .pod("api", shown())
        .set("/status/phase", json!("Failed"));
    assert_eq!(finished.verdicts(), ["PodGone"]);
    let deleted = json!("2026-01-01T00:00:00Z");
    let deleting = web_holds_5()
        .pod("api", shown())
        .set("/metadata/deletionTimestamp", deleted);
    assert_eq!(deleting.verdicts(), ["UsedByAnother"]);
}

#[test]
fn names_and_rows_are_in_step() {
    let all = [
        Verdict::Malformed(""),
        Verdict::Unowned,
        Verdict::Protected(Protector::Pool),
        Verdict::Starting,
        Verdict::PodGone,
    ];
    for verdict in all {
        assert!(format!("{verdict:?}").starts_with(verdict.name()));
    }
}

#[test]
fn pods_that_other_records_asked_for_are_found_by_their_names() {
    let pool = |pods: [&str; 3]| {
        let entry = |pod: &str| json!({"id": "c", "podref": format!("default/{pod}")});
        let allocations = json!({"1": entry(pods[0]), "2": entry(pods[1]), "3": entry(pods[2])});
        Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", allocations)
    };
    let status = |address: &str| json!([{"interface": "net1", "ips": [address]}]);
    let first = pool(["a", "b", "none"])
        .pod("a", status("10.0.0.1"))
        .pod("b", status("10.0.0.2"))
        .snapshot();
    // The same pods of the same addresses, but as entries of other indexes; and one more.
    let second = Objects::default()
        .pool(
            "10.0.0.0-24",
            "10.0.0.0/24",
            json!({"2": {"id": "c", "podref": "default/b"}, "7": {"id": "c", "podref": "default/new"}}),
        )
        .reservation("10.0.0.1", json!({"podref": "default/a", "ifname": "net1"}))
        .snapshot();
    let audit = Audit::new(&second.records, &first.pods, &second.nodes, second.grace);
    let verdicts: Vec<&str> = second
        .records
        .ids()
        .map(|id| audit.verdict(id).name())
        .collect();
    assert_eq!(verdicts, ["InUse", "PodGone", "InUse"]);
}
