//! The behaviours, written against the trait alone.

mod owners;
mod windows;

pub(super) use owners::*;
pub(super) use windows::*;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use whereabouts::cni::Version;
use whereabouts::config::{IpamConfig, RangeConfig};
use whereabouts::store::{Attachment, Error, Garbage, Overlap, Range, Store};

fn config(range: &str) -> RangeConfig {
    config_of(json!({ "range": range }))
}

fn config_of(mut ipam: Value) -> RangeConfig {
    ipam["type"] = json!("whereabouts");
    ipam["kubernetes"] = json!({"kubeconfig": "/k"});
    let network = json!({"name": "n", "ipam": ipam});
    let bytes = network.to_string().into_bytes();
    let loaded = IpamConfig::load(&bytes, "", Version::V1_0_0, &|_| Ok(None));
    loaded.unwrap().0.ranges.remove(0)
}

fn range(config: &RangeConfig) -> Range<'_> {
    Range {
        network: "",
        slice_of: None,
        config,
        overlap: Overlap::Protected,
    }
}

fn attachment(container: &str, pod: &str) -> Attachment {
    Attachment {
        network: "lan".to_owned(),
        container: container.to_owned(),
        interface: "net1".to_owned(),
        podref: format!("default/{pod}"),
        pod_uid: Some(format!("uid-{pod}")),
        node: Some("node-a".to_owned()),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn acquire(store: &impl Store, range: &Range<'_>, container: &str, pod: &str) -> String {
    let attachment = attachment(container, pod);
    let given = store.acquire(range, &attachment, &BTreeSet::new()).await;
    given.unwrap().address.to_string()
}

pub(super) async fn the_lowest_free_address_is_given_and_given_again(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    for n in 1..=3 {
        let given = acquire(store, &range, &format!("c{n}"), &format!("web-{n}")).await;
        assert_eq!(given, format!("10.0.0.{n}"));
    }
    store.release(&range, "c2", "net1").await.unwrap();
    assert_eq!(acquire(store, &range, "c4", "web-4").await, "10.0.0.2");
    assert_eq!(acquire(store, &range, "c5", "web-5").await, "10.0.0.4");
}

pub(super) async fn an_attachment_keeps_its_address(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    assert_eq!(acquire(store, &range, "c1", "web").await, "10.0.0.1");
    assert_eq!(acquire(store, &range, "c1", "web").await, "10.0.0.1");
    let held = attachment("c1", "web");
    let held = store.acquire(&range, &held, &BTreeSet::new()).await;
    assert!(held.unwrap().was_held);
    // The pod's next container takes over; the old one's DEL frees nothing then.
    assert_eq!(acquire(store, &range, "c2", "web").await, "10.0.0.1");
    store.release(&range, "c1", "net1").await.unwrap();
    let held = [address("10.0.0.1")];
    store.verify(&range, "c2", "net1", &held).await.unwrap();
    // Another uid on another node: the old container may still run.
    let elsewhere = Attachment {
        pod_uid: Some("another".to_owned()),
        node: Some("node-b".to_owned()),
        ..attachment("c3", "web")
    };
    let given = store.acquire(&range, &elsewhere, &BTreeSet::new()).await;
    assert_eq!(given.unwrap().address, address("10.0.0.2"));
    store.verify(&range, "c2", "net1", &held).await.unwrap();
}

pub(super) async fn an_address_is_checked_against_its_owner(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    acquire(store, &range, "c1", "web").await;
    let held = [address("10.0.0.1")];
    store.verify(&range, "c1", "net1", &held).await.unwrap();
    for (container, interface, shown) in [
        ("c2", "net1", "10.0.0.1"),
        ("c1", "net2", "10.0.0.1"),
        ("c1", "net1", "10.0.0.2"),
    ] {
        let shown = [address(shown)];
        let checked = store.verify(&range, container, interface, &shown);
        let error = checked.await.unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)), "{container} {error}");
    }
}

pub(super) async fn overlapping_ranges_share_no_address(store: &impl Store) {
    let (wide, narrow) = (config("10.0.0.0/16"), config("10.0.0.0/24"));
    assert_eq!(
        acquire(store, &range(&wide), "c1", "web-1").await,
        "10.0.0.1"
    );
    assert_eq!(
        acquire(store, &range(&narrow), "c2", "web-2").await,
        "10.0.0.2"
    );
    // Two interfaces of one pod as well.
    let second = Attachment {
        interface: "net2".to_owned(),
        ..attachment("c1", "web-1")
    };
    let given = store
        .acquire(&range(&narrow), &second, &BTreeSet::new())
        .await;
    assert_eq!(given.unwrap().address, address("10.0.0.3"));
}

/// What another range has protected is given by one that is not: as in the Go program.
pub(super) async fn overlapping_ranges_share_addresses_where_that_is_ignored(store: &impl Store) {
    let (wide, narrow) = (config("10.0.0.0/16"), config("10.0.0.0/24"));
    assert_eq!(
        acquire(store, &range(&wide), "c1", "web-1").await,
        "10.0.0.1"
    );
    assert_eq!(
        acquire(store, &range(&narrow), "c2", "web-2").await,
        "10.0.0.2"
    );
    let alone = Range {
        overlap: Overlap::Ignored,
        ..range(&narrow)
    };
    assert_eq!(acquire(store, &alone, "c3", "web-3").await, "10.0.0.1");
}

pub(super) async fn addresses_to_avoid_are_avoided(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let avoid = BTreeSet::from([address("10.0.0.1"), address("10.0.0.2")]);
    let attachment = attachment("c1", "web");
    let given = store.acquire(&range(&config), &attachment, &avoid).await;
    assert_eq!(given.unwrap().address, address("10.0.0.3"));
}

pub(super) async fn what_is_released_is_only_what_was_meant(store: &impl Store) {
    let (config, other) = (config("10.0.0.0/24"), config("10.1.0.0/24"));
    let range_one = range(&config);
    let range_two = range(&other);
    // A range that was never used holds nothing, and that is fine.
    store.release(&range_one, "c1", "net1").await.unwrap();
    acquire(store, &range_one, "c1", "web-1").await;
    acquire(store, &range_two, "c1", "web-1").await;
    acquire(store, &range_one, "c2", "web-2").await;
    store.release(&range_one, "c1", "net9").await.unwrap();
    store.release(&range_one, "c", "net1").await.unwrap();
    let held = [address("10.0.0.1")];
    store.verify(&range_one, "c1", "net1", &held).await.unwrap();
    store.release(&range_one, "c1", "net1").await.unwrap();
    store.release(&range_one, "c1", "net1").await.unwrap();
    store
        .verify(&range_one, "c1", "net1", &held)
        .await
        .unwrap_err();
    let held = [address("10.1.0.1")];
    store.verify(&range_two, "c1", "net1", &held).await.unwrap();
    let held = [address("10.0.0.2")];
    store.verify(&range_one, "c2", "net1", &held).await.unwrap();
}

pub(super) async fn only_garbage_of_this_node_is_collected(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    for n in 1..=2 {
        acquire(store, &range, &format!("c{n}"), &format!("web-{n}")).await;
    }
    let elsewhere = Attachment {
        node: Some("node-b".to_owned()),
        ..attachment("c3", "web-3")
    };
    store
        .acquire(&range, &elsewhere, &BTreeSet::new())
        .await
        .unwrap();
    let holds = async |container: &str, held: &str| {
        let held = [address(held)];
        store.verify(&range, container, "net1", &held).await.is_ok()
    };
    let collect = async |network: &str, valid: &[&str]| {
        let valid = valid.iter().map(ToString::to_string).collect();
        let garbage = Garbage {
            network,
            node: "node-a",
            valid: &valid,
        };
        store.collect(&range, &garbage).await.unwrap();
    };
    collect("lan", &[]).await;
    collect("another", &["c2"]).await;
    assert!(holds("c1", "10.0.0.1").await && holds("c2", "10.0.0.2").await);
    collect("lan", &["c2"]).await;
    assert!(!holds("c1", "10.0.0.1").await);
    assert!(holds("c2", "10.0.0.2").await && holds("c3", "10.0.0.3").await);
}

pub(super) async fn a_full_range_says_so(store: &impl Store) {
    let config = config("10.0.0.0/30");
    let range = range(&config);
    assert!(store.has_free(&range).await.unwrap());
    acquire(store, &range, "c1", "web-1").await;
    acquire(store, &range, "c2", "web-2").await;
    assert!(!store.has_free(&range).await.unwrap());
    let third = attachment("c3", "web-3");
    let full = store.acquire(&range, &third, &BTreeSet::new()).await;
    assert!(matches!(full.unwrap_err(), Error::Exhausted(_)));
}

pub(super) async fn networks_are_apart(store: &impl Store) {
    let config = config("10.0.0.0/24");
    for network in ["", "blue", "green"] {
        let range = Range {
            network,
            ..range(&config)
        };
        let pod = format!("web{network}");
        assert_eq!(
            acquire(store, &range, &pod, &pod).await,
            "10.0.0.1",
            "{network}"
        );
    }
}

pub(super) async fn the_other_family_and_the_far_end_of_a_range(store: &impl Store) {
    for (written, expected) in [
        ("fd00::/64", "fd00::1"),
        ("fd01::/48", "fd01::1"),
        (
            "fd02::7fff:ffff:ffff:fffe-fd02::7fff:ffff:ffff:ffff/64",
            "fd02::7fff:ffff:ffff:fffe",
        ),
        ("10.2.255.255-10.2.255.255/8", "10.2.255.255"),
    ] {
        let config = config(written);
        assert_eq!(
            acquire(store, &range(&config), "c1", "web").await,
            expected,
            "{written}"
        );
        let held = [address(expected)];
        store
            .verify(&range(&config), "c1", "net1", &held)
            .await
            .unwrap();
        store.release(&range(&config), "c1", "net1").await.unwrap();
        store
            .verify(&range(&config), "c1", "net1", &held)
            .await
            .unwrap_err();
    }
}
