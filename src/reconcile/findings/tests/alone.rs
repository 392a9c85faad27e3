//! Entries without reservations, and reservations without entries.

use super::*;

#[test]
fn an_entry_lacks_its_reservation_only_where_others_have_theirs() {
    for (objects, [_, _, five, six, five_name, six_name, _]) in both_families() {
        let pool = objects.set(
            "/spec/allocations",
            json!({"5": entry("web", "net1"), "6": entry("db", "net1")}),
        );
        let pods = pool.pod("web", &on(five)).pod("db", &on(six));
        pods.assert_found(&[]);
        let one = pods.clone().reservation(six_name, "default/db", "net1");
        one.assert_found(&[&format!("MissingReservation {five} web +")]);
        one.reservation(five_name, "default/web", "net1")
            .assert_found(&[]);
    }
}

#[test]
fn the_definition_says_whether_there_are_reservations() {
    let range = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
    let (objects, _) = both_families()[0].clone();
    let web = objects.pod("web", &on("10.0.0.5"));
    let missing = ["MissingReservation 10.0.0.5 web +"];
    web.clone()
        .network("net", range.clone())
        .assert_found(&missing);
    let mut off = range.clone();
    off["enable_overlapping_ranges"] = json!(false);
    web.clone().network("net", off.clone()).assert_found(&[]);
    // Both use the pool, and one of them reserves nothing.
    web.network("net", range)
        .network("other", off)
        .assert_found(&[]);
}

#[test]
fn a_pool_of_which_few_entries_are_reserved_reserves_none() {
    let pool = |of: usize| {
        let entries: serde_json::Map<String, Value> = (1..=of)
            .map(|n| (n.to_string(), entry(&format!("web-{n}"), "net1")))
            .collect();
        let mut objects = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", json!(entries));
        for n in 1..=of {
            objects = objects.pod(&format!("web-{n}"), &on(&format!("10.0.0.{n}")));
        }
        objects.reservation("10.0.0.1", "default/web-1", "net1")
    };
    pool(2).assert_found(&["MissingReservation 10.0.0.2 web-2 +"]);
    pool(3).assert_found(&[]);
}

#[test]
fn the_name_of_a_missing_reservation_is_that_of_its_network() {
    for (prefix, slice) in [
        ("", ""),
        ("blue-", ""),
        ("blue-", "node-a-"),
        ("", "node-a-"),
    ] {
        let name = format!("{prefix}{slice}10.0.0.0-24");
        let entries = json!({"5": entry("web", "net1"), "6": entry("db", "net1")});
        let objects = Objects::default()
            .pool(&name, "10.0.0.0/24", entries)
            .reservation(&format!("{prefix}10.0.0.6"), "default/db", "net1")
            .pod("web", &on("10.0.0.5"))
            .pod("db", &on("10.0.0.6"));
        let found = objects.snapshot().find().0;
        let repair = found[0].repair.as_ref().unwrap();
        let reservation = repair.reservation.as_ref().unwrap();
        assert_eq!(*reservation.name, *format!("{prefix}10.0.0.5"), "{name}");
    }
}

#[test]
fn what_is_about_to_be_written_lacks_nothing() {
    // No status yet, another address, and a pod that is gone.
    let (objects, _) = both_families()[0].clone();
    let reserved = objects
        .pool(
            "10.0.1.0-24",
            "10.0.1.0/24",
            json!({"6": entry("db", "net1"), "7": entry("new", "net1")}),
        )
        .reservation("10.0.1.6", "default/db", "net1")
        .reservation("10.0.1.8", "default/newer", "net1")
        .reservation("10.0.1.9", "default/gone", "net1")
        .pod("db", &on("10.0.1.6"))
        .pod("new", &[])
        .pod("newer", &[]);
    reserved.assert_found(&[]);
}

#[test]
fn a_reservation_lacks_its_entry_when_its_pod_shows_the_address() {
    for (objects, [_, _, five, six, _, six_name, wide]) in both_families() {
        let lost = objects
            .pod("web", &on(five))
            .pod("lost", &on(six))
            .reservation(six_name, "default/lost", "net1");
        let said = |can: &str| format!("MissingEntry {six} lost {can}");
        lost.assert_found(&[&said("+")]);
        // Two pools of the network that it could be in.
        let name = wide.replace([':', '/'], "-");
        lost.clone()
            .pool(&name, wide, json!({}))
            .assert_found(&[&said("-")]);
        // The entry is there, under another network's name.
        let other = lost.pool(
            &format!("red-{name}"),
            wide,
            json!({"6": entry("lost", "net1")}),
        );
        other.assert_found(&[]);
    }
}

#[test]
fn an_interface_that_is_not_the_recorded_one_is_not_repaired() {
    let (objects, _) = both_families()[0].clone();
    let lost = objects
        .pod("web", &on("10.0.0.5"))
        .pod("lost", &[("default/net", "net2", "10.0.0.6")])
        .reservation("10.0.0.6", "default/lost", "net1");
    lost.assert_found(&["MissingEntry 10.0.0.6 lost -"]);
}

#[test]
fn in_a_range_wider_than_a_key_nothing_can_be_said_to_lack() {
    let objects = Objects::default()
        .pool(
            "fd00---48",
            "fd00::/48",
            json!({"5": entry("web", "net1"), "6": entry("db", "net1")}),
        )
        .pod("web", &on("fd00:0:0:1::5"))
        .pod("db", &on("fd00::6"))
        .reservation("fd00-0-0-1--5", "default/web", "net1")
        .reservation("fd00--6", "default/db", "net1");
    objects.assert_found(&[]);
}
