//! Records that are wrong in themselves, and the scope of findings.

use super::*;

#[test]
fn addresses_that_no_pod_should_have() {
    let pool = |range: &str, key: &str, address: &str| {
        let name = range.replace([':', '/'], "-");
        let entries = json!({key: entry("web", "net1")});
        let objects = Objects::default().pool(&name, range, entries);
        objects.pod("web", &on(address))
    };
    for (range, key, address, is_found) in [
        ("10.0.0.0/24", "0", "10.0.0.0", true),
        ("10.0.0.0/24", "255", "10.0.0.255", true),
        ("10.0.0.0/24", "254", "10.0.0.254", false),
        ("10.0.0.0/16", "256", "10.0.1.0", true),
        ("10.0.0.0/16", "255", "10.0.0.255", false),
        ("fd00::/120", "0", "fd00::", true),
        ("fd00::/120", "255", "fd00::ff", true),
        ("fd00::/112", "256", "fd00::100", false),
    ] {
        let objects = pool(range, key, address);
        let expected = is_found.then(|| format!("Unusable {address} web -"));
        assert_eq!(objects.found(), Vec::from_iter(expected), "{range} {key}");
    }
    // Its pod is gone: it goes anyway.
    let entries = json!({"0": entry("web", "net1")});
    let gone = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", entries);
    gone.assert_found(&[]);
}

#[test]
fn what_the_definition_excludes_is_said_only_if_all_of_them_do() {
    let entries = json!({"5": entry("web", "net1"), "200": entry("db", "net1")});
    let objects = Objects::default()
        .pool("10.0.0.0-24", "10.0.0.0/24", entries)
        .pod("web", &on("10.0.0.5"))
        .pod("db", &on("10.0.0.200"));
    let ipam = |more: Value| {
        let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24",
            "enable_overlapping_ranges": false});
        for (member, value) in more.as_object().unwrap() {
            ipam[member] = value.clone();
        }
        ipam
    };
    let excludes = ipam(json!({"exclude": ["10.0.0.4/30"], "range_end": "10.0.0.100"}));
    let one = objects.network("net", excludes);
    let both = ["Unusable 10.0.0.5 web -", "Unusable 10.0.0.200 db -"];
    one.assert_found(&both);
    let found = one.snapshot().find().0.into_iter();
    let reasons: Vec<String> = found.map(|finding| finding.evidence).collect();
    assert!(reasons[0].contains("excludes"), "{reasons:?}");
    assert!(reasons[1].contains("range_end"), "{reasons:?}");
    for other in [
        ipam(json!({})),
        // What it allows stands on the node, or cannot be read.
        json!({"type": "whereabouts"}),
        json!({"type": "whereabouts", "range": "nonsense"}),
    ] {
        one.clone().network("other", other).assert_found(&[]);
    }
    // One of another network says nothing.
    one.network("other", ipam(json!({"network_name": "blue"})))
        .assert_found(&both);
}

#[test]
fn two_pools_for_one_range() {
    let two = |name: &str, range: &str, other: &str, other_range: &str| {
        Objects::default()
            .pool(name, range, json!({}))
            .pool(other, other_range, json!({}))
            .found()
    };
    assert_eq!(
        two("10.0.0.0-24", "10.0.0.0/24", "10.0.0.4-24", "10.0.0.4/24"),
        ["TwoPools 10.0.0.4-24 -"]
    );
    assert_eq!(
        two("10.0.0.0-24", "10.0.0.0/24", "by-hand", "10.0.0.0/24"),
        ["TwoPools by-hand -"]
    );
    for (name, other) in [
        ("10.0.0.0-24", "blue-10.0.0.0-24"),
        ("a-10.0.0.0-24", "b-10.0.0.0-24"),
        ("a", "b"),
    ] {
        assert!(two(name, "10.0.0.0/24", other, "10.0.0.0/24").is_empty());
    }
    let other_range = two("10.0.0.0-24", "10.0.0.0/24", "10.0.0.0-16", "10.0.0.0/16");
    assert!(other_range.is_empty());
}

#[test]
fn what_cannot_be_read_is_said_once() {
    let entries = json!({"1": entry("web", "net1"), "2": entry("db", "net1")});
    let broken = Objects::default().pool("broken", "no range", entries);
    broken.assert_found(&["Malformed broken -"]);
    let key = Objects::default()
        .pool(
            "10.0.0.0-24",
            "10.0.0.0/24",
            json!({"999": entry("web", "net1")}),
        )
        .reservation("no-address", "default/web", "net1");
    key.assert_found(&["Malformed 10.0.0.0-24 -", "Malformed no-address -"]);
}

#[test]
fn the_most_dangerous_comes_first() {
    assert!(Kind::ALL.is_sorted());
    assert!(Kind::ALL.is_sorted_by_key(|kind| kind.danger()));
    let entries = json!({"5": entry("web", "net1"), "x": entry("y", "z")});
    let found = Objects::default()
        .pool("by-hand", "10.0.0.0/24", json!({}))
        .pool("10.0.0.0-24", "10.0.0.0/24", entries)
        .pod("lost", &on("10.0.0.6"))
        .pod("thief", &on("10.0.0.5"))
        .found();
    let kinds: Vec<&str> = found
        .iter()
        .map(|said| said.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["UsedByAnother", "Unrecorded", "TwoPools", "Malformed"]
    );
}

#[test]
fn findings_are_of_the_pools_in_scope() {
    let objects = Objects::default()
        .pool("10.0.0.0-24", "10.0.0.0/24", json!({}))
        .pod("lost", &on("10.0.0.6"))
        .reservation("10.0.0.7", "default/bare", "net1")
        .pod("bare", &on("10.0.0.7"));
    let snapshot = objects.snapshot();
    let found = snapshot.find().0;
    assert_eq!(found.len(), 2);
    let count = |namespace: Option<&str>, pool: Option<&str>| {
        let scope = Scope {
            namespace: namespace.map(str::to_owned),
            pool: pool.map(str::to_owned),
            address: None,
        };
        let all = found.iter();
        all.filter(|one| one.is_in(&scope, &snapshot.records))
            .count()
    };
    assert_eq!(count(None, None), 2);
    assert_eq!(count(Some("kube-system"), Some("10.0.0.0-24")), 2);
    assert_eq!(count(Some("default"), None), 0);
    assert_eq!(count(None, Some("other")), 0);
}
