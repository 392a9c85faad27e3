//! Whose an address is, and for how long.

use std::collections::BTreeSet;

use whereabouts::store::{Attachment, Store};

use super::{acquire, address, attachment, config, range};

pub(crate) async fn whether_an_address_was_held_before_is_said(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    let add = async |container: &str| {
        let attachment = attachment(container, "web");
        store.acquire(&range, &attachment, &BTreeSet::new()).await
    };
    assert!(!add("c1").await.unwrap().was_held);
    assert!(add("c1").await.unwrap().was_held);
    // The container before it may still be running.
    assert!(add("c2").await.unwrap().was_held);
    store.release(&range, "c2", "net1").await.unwrap();
    assert!(!add("c3").await.unwrap().was_held);
}

pub(crate) async fn what_an_add_was_given_is_taken_back(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    let [first, second] = [("c1", "web-1"), ("c2", "web-2")];
    for (container, pod) in [first, second] {
        acquire(store, &range, container, pod).await;
    }
    let failed = attachment(first.0, first.1);
    for _ in 0..2 {
        store.undo(&range, &failed).await.unwrap();
    }
    let held = [address("10.0.0.1"), address("10.0.0.2")];
    let verify = async |container| store.verify(&range, container, "net1", &held).await;
    verify("c1").await.unwrap_err();
    assert_eq!(verify("c2").await.unwrap(), [held[1]]);
    assert_eq!(acquire(store, &range, "c3", "web-3").await, "10.0.0.1");
}

pub(crate) async fn interfaces_of_one_pod_have_addresses_of_their_own(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    let on = |interface: &str| Attachment {
        interface: interface.to_owned(),
        ..attachment("c1", "web")
    };
    for (interface, expected) in [
        ("net1", "10.0.0.1"),
        ("net2", "10.0.0.2"),
        ("net3", "10.0.0.3"),
        ("net2", "10.0.0.2"),
    ] {
        let on = on(interface);
        let given = store.acquire(&range, &on, &BTreeSet::new()).await;
        assert_eq!(given.unwrap().address, address(expected), "{interface}");
    }
    store.release(&range, "c1", "net2").await.unwrap();
    let left = [1, 2, 3].map(|n| address(&format!("10.0.0.{n}")));
    for (interface, is_there) in [("net1", true), ("net2", false), ("net3", true)] {
        let verified = store.verify(&range, "c1", interface, &left).await;
        assert_eq!(verified.is_ok(), is_there, "{interface}");
    }
}

/// Runtimes without Kubernetes name no namespace, and containers as no pod is named.
pub(crate) async fn containers_without_kubernetes_keep_their_addresses(store: &impl Store) {
    let config = config("10.0.0.0/24");
    let range = range(&config);
    let bare = |container: &str, name: &str| Attachment {
        podref: format!("/{name}"),
        pod_uid: None,
        ..attachment(container, name)
    };
    for (container, name, expected) in [
        ("c1", "my_container", "10.0.0.1"),
        ("c2", "my container/2", "10.0.0.2"),
        ("c3", "my_container", "10.0.0.1"),
        ("c4", "my container/2", "10.0.0.2"),
    ] {
        let given = store
            .acquire(&range, &bare(container, name), &BTreeSet::new())
            .await;
        assert_eq!(given.unwrap().address, address(expected), "{name}");
    }
    for container in ["c1", "c2", "c3"] {
        store.release(&range, container, "net1").await.unwrap();
    }
    let held = [address("10.0.0.2")];
    store.verify(&range, "c4", "net1", &held).await.unwrap();
    assert_eq!(acquire(store, &range, "c5", "web").await, "10.0.0.1");
}

pub(crate) async fn many_at_once_get_different_addresses_close_together(store: &impl Store) {
    const COUNT: usize = 40;
    /// How far apart addresses may be when many chose at once, beyond their number.
    const SLACK: usize = 100;
    let config = config("10.0.0.0/16");
    let range = range(&config);
    let add = async |n: usize| {
        let name = format!("web-{n}");
        acquire(store, &range, &name, &name).await
    };
    let given = futures::future::join_all((0..COUNT).map(add)).await;
    let distinct: BTreeSet<&String> = given.iter().collect();
    assert_eq!(distinct.len(), COUNT, "{given:?}");
    for (n, given) in given.iter().enumerate() {
        let held = [address(given)];
        let container = format!("web-{n}");
        let verified = store.verify(&range, &container, "net1", &held).await;
        assert_eq!(verified.unwrap(), held);
        let last = given.strip_prefix("10.0.0.").unwrap();
        assert!(last.parse::<usize>().unwrap() <= COUNT + SLACK, "{given}");
    }
}
