//! Which addresses of a range are given.

use std::collections::BTreeSet;

use serde_json::json;
use whereabouts::store::{Error, Overlap, Range, Store};

use super::{acquire, address, attachment, config, config_of, range};

pub(crate) async fn what_is_excluded_or_beyond_the_ends_is_never_given(store: &impl Store) {
    let config = config_of(
        json!({"range": "10.0.0.0/24", "range_start": "10.0.0.5", "range_end": "10.0.0.12",
        "exclude": ["10.0.0.6/32", "10.0.0.8/30"]}),
    );
    let range = range(&config);
    for (n, expected) in [5, 7, 12].into_iter().enumerate() {
        assert!(store.has_free(&range).await.unwrap());
        let given = acquire(store, &range, &format!("c{n}"), &format!("web-{n}")).await;
        assert_eq!(given, format!("10.0.0.{expected}"));
    }
    assert!(!store.has_free(&range).await.unwrap());
    let full = attachment("c9", "web-9");
    let full = store.acquire(&range, &full, &BTreeSet::new()).await;
    assert!(matches!(full.unwrap_err(), Error::Exhausted(_)));
}

pub(crate) async fn parts_of_one_range_keep_their_addresses(store: &impl Store) {
    let parts = ["10.0.0.0/24", "10.0.0.10-10.0.0.20/24", "10.0.0.0/24"].map(config);
    let expected = ["10.0.0.1", "10.0.0.10", "10.0.0.2"].map(address);
    for container in ["c1", "c1", "c2"] {
        let attachment = attachment(container, "web");
        let mut given = Vec::new();
        for part in &parts {
            let avoid = given.iter().copied().collect();
            let more = store.acquire(&range(part), &attachment, &avoid).await;
            given.push(more.unwrap().address);
        }
        assert_eq!(given, expected, "{container}");
    }
    let verify = async || {
        store
            .verify(&range(&parts[1]), "c2", "net1", &expected)
            .await
    };
    let mut held = verify().await.unwrap();
    held.sort_unstable();
    assert_eq!(held, ["10.0.0.1", "10.0.0.2", "10.0.0.10"].map(address));
    for part in &parts {
        store.release(&range(part), "c2", "net1").await.unwrap();
    }
    verify().await.unwrap_err();
}

pub(crate) async fn an_address_that_the_range_gives_no_more_is_not_given_again(store: &impl Store) {
    let (before, after) = (config("10.0.0.0/24"), config("10.0.0.5-10.0.0.9/24"));
    assert_eq!(
        acquire(store, &range(&before), "c1", "web").await,
        "10.0.0.1"
    );
    // What was there is a container's until its own DEL comes.
    assert_eq!(
        acquire(store, &range(&after), "c2", "web").await,
        "10.0.0.5"
    );
    let held = [address("10.0.0.1")];
    store
        .verify(&range(&before), "c1", "net1", &held)
        .await
        .unwrap();
    // DEL finds it, whatever the range gives now.
    store.release(&range(&after), "c1", "net1").await.unwrap();
    let verified = store.verify(&range(&before), "c1", "net1", &held).await;
    verified.unwrap_err();
    let held = [address("10.0.0.5")];
    store
        .verify(&range(&after), "c2", "net1", &held)
        .await
        .unwrap();
}

pub(crate) async fn ranges_without_protection_stand_for_themselves(store: &impl Store) {
    let (wide, narrow) = (config("10.0.0.0/16"), config("10.0.0.0/24"));
    let alone = |config| Range {
        overlap: Overlap::Ignored,
        ..range(config)
    };
    let (wide, narrow) = (alone(&wide), alone(&narrow));
    for n in 1..=2 {
        let expected = format!("10.0.0.{n}");
        let name = |range: &str| format!("{range}-{n}");
        for (range, name) in [(&wide, name("wide")), (&narrow, name("narrow"))] {
            assert_eq!(acquire(store, range, &name, &name).await, expected);
        }
    }
    store.release(&wide, "wide-1", "net1").await.unwrap();
    let held = [address("10.0.0.1")];
    store
        .verify(&narrow, "narrow-1", "net1", &held)
        .await
        .unwrap();
    store
        .verify(&wide, "wide-1", "net1", &held)
        .await
        .unwrap_err();
}

/// Turning protection on again gives nobody what the range has given without.
pub(crate) async fn within_a_range_an_address_is_given_once_protected_or_not(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let protected = range(&config);
    let alone = Range {
        overlap: Overlap::Ignored,
        ..protected
    };
    let ranges = [&protected, &alone, &protected];
    for (n, range) in ranges.into_iter().enumerate() {
        let given = acquire(store, range, &format!("c{n}"), &format!("web-{n}")).await;
        assert_eq!(given, format!("10.0.0.{}", n + 1));
    }
    for (n, range) in ranges.into_iter().enumerate() {
        let container = format!("c{n}");
        store.release(range, &container, "net1").await.unwrap();
    }
    assert_eq!(acquire(store, &protected, "c9", "web-9").await, "10.0.0.1");
}
