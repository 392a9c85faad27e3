//! Each single write of ADD and DEL goes wrong in every way.

use std::fmt::Debug;

use serde_json::json;
use tokio::sync::oneshot;

use super::call::{Call, Network, addresses, call};
use super::{assert_nothing_left, keys};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, pod, reservations};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::{Outcome, reconciler};

/// What happens to one write.
#[derive(Debug, Clone)]
enum Trouble {
    Answer(Fault),
    KilledBefore,
    KilledAfter,
}

fn troubles() -> impl Iterator<Item = Trouble> {
    let answers = [
        Fault::Status(500, "InternalError"),
        Fault::Status(409, "Conflict"),
        Fault::Status(422, "Invalid"),
        Fault::Status(413, "RequestEntityTooLarge"),
        Fault::Status(403, "Forbidden"),
        Fault::Status(429, "TooManyRequests"),
        Fault::StatusAfter(500),
        Fault::StatusAfter(504),
        Fault::CutAfter(10),
        Fault::DropConnection,
        Fault::DropAfter,
        Fault::Hang,
    ];
    let answers = answers.into_iter().map(Trouble::Answer);
    answers.chain([Trouble::KilledBefore, Trouble::KilledAfter])
}

/// Makes the call, whose next request that `matches` meets the trouble.
async fn with_trouble(
    proxy: &Proxy,
    call: Call,
    matches: impl Fn(&Seen) -> bool + Send + 'static,
    trouble: Trouble,
) -> Outcome {
    if let Trouble::Answer(fault) = trouble {
        proxy.once(matches, fault);
        return call.run().await;
    }
    let (reached, at_the_write) = oneshot::channel();
    let (killed, gone) = oneshot::channel();
    let hook = async move {
        reached.send(()).unwrap();
        gone.await.unwrap();
    };
    match trouble {
        Trouble::KilledBefore => proxy.before(matches, hook),
        _ => proxy.after(matches, hook),
    }
    let running = call.spawn();
    at_the_write.await.unwrap();
    running.signal("KILL");
    let outcome = running.wait().await;
    // The proxy drops what it does for a client that has gone.
    let _ = killed.send(());
    outcome
}

/// A network behind the proxy for which a request that is never answered does not last long.
fn impatient(proxy: &Proxy, cluster: &Cluster, range: &str) -> Network {
    let network = Network::through(proxy, cluster, json!({ "range": range }));
    let network = network.with("add_timeout", json!("2s"));
    network.with("del_timeout", json!("2s"))
}

async fn clean_up(cluster: &Cluster) {
    let run = reconciler(cluster.kubeconfig()).args(["--force"]);
    run.output().await.expect(0);
}

#[tokio::test]
async fn an_add_that_fails_blocks_no_address_and_one_that_succeeds_is_recorded() {
    let cluster = Cluster::lock().await;
    pod("default", "bystander").create(cluster.client()).await;
    let writes = [
        ("POST", "/ippools"),
        ("POST", "/overlappingrangeipreservations"),
        ("PATCH", "/ippools/"),
    ];
    let cases = writes
        .iter()
        .flat_map(|write| troubles().map(move |trouble| (*write, trouble)));
    for (n, ((method, path), trouble)) in cases.enumerate() {
        let proxy = Proxy::start(&cluster).await;
        let (range, pool) = (format!("10.0.{n}.0/24"), format!("10.0.{n}.0-24"));
        let network = impatient(&proxy, &cluster, &range);
        let said = format!("{method} {path} {trouble:?}");
        let add = call("ADD", &network).pod("default", "web");
        let add = with_trouble(&proxy, add, move |seen| seen.is(method, path), trouble).await;
        if add.code == Some(0) {
            let given = addresses(&add.json()).remove(0);
            let offset = last_octet(&given);
            assert_eq!(keys(&cluster, &pool).await, [offset], "{said} {add:#?}");
            let reserved = format!("kube-system/10.0.{n}.{offset}");
            assert!(
                reservations(cluster.client()).await.contains(&reserved),
                "{said}"
            );
        } else if add.code.is_some() {
            assert_eq!(add.json()["code"], 999, "{said} {add:#?}");
        }
        // The pod never came, so whatever is recorded is waste, and the reconciler sees it.
        clean_up(&cluster).await;
        assert!(reservations(cluster.client()).await.is_empty(), "{said}");
        let next = call("ADD", &network)
            .container("next")
            .pod("default", "next");
        let next = next.run().await.expect(0);
        assert_eq!(last_octet(&addresses(&next.json())[0]), 1, "{said}");
        call("DEL", &network)
            .container("next")
            .run()
            .await
            .expect(0);
    }
}

fn last_octet(address: &str) -> u64 {
    let address = address.split('/').next().unwrap();
    address.rsplit('.').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_del_that_fails_is_done_when_it_is_called_again() {
    let cluster = Cluster::lock().await;
    let calls = [
        ("GET", "/ippools/"),
        ("GET", "/overlappingrangeipreservations/"),
        ("DELETE", "/overlappingrangeipreservations/"),
        ("PATCH", "/ippools/"),
    ];
    let cases = calls
        .iter()
        .flat_map(|write| troubles().map(move |trouble| (*write, trouble)));
    for (n, ((method, path), trouble)) in cases.enumerate() {
        let proxy = Proxy::start(&cluster).await;
        let pool = format!("10.0.{n}.0-24");
        let network = impatient(&proxy, &cluster, &format!("10.0.{n}.0/24"));
        let said = format!("{method} {path} {trouble:?}");
        for container in ["c1", "c2"] {
            let add = call("ADD", &network).container(container);
            add.pod("default", container).run().await.expect(0);
        }
        let del = call("DEL", &network);
        let del = with_trouble(&proxy, del, move |seen| seen.is(method, path), trouble).await;
        if del.code == Some(0) {
            assert_eq!(keys(&cluster, &pool).await, [2], "{said} {del:#?}");
        } else {
            call("DEL", &network).run().await.expect(0);
        }
        assert_eq!(keys(&cluster, &pool).await, [2], "{said}");
        let left: Vec<String> = reservations(cluster.client()).await.into_iter().collect();
        assert_eq!(left, [format!("kube-system/10.0.{n}.2")], "{said}");
        call("DEL", &network).container("c2").run().await.expect(0);
        assert_nothing_left(&cluster, &pool).await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_fails_del_so_that_it_is_called_again() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
    call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    for (method, path) in [
        ("GET", "/ippools/"),
        ("DELETE", "/overlapping"),
        ("PATCH", "/ippools/"),
    ] {
        proxy.once(
            move |seen| seen.is(method, path),
            Fault::Status(500, "InternalError"),
        );
        let del = call("DEL", &network).run().await.expect(1);
        assert!(
            del.json()["msg"].as_str().unwrap().contains("500"),
            "{del:#?}"
        );
    }
    call("DEL", &network).run().await.expect(0);
    assert_nothing_left(&cluster, "10.0.0.0-24").await;
    let nowhere = network.with("kubernetes", json!({"kubeconfig": "/nonexistent"}));
    call("DEL", &nowhere).run().await.expect(1);
}

#[tokio::test]
async fn a_pool_that_cannot_be_made_is_an_error_and_not_tried_for_ever() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let network = impatient(&proxy, &cluster, "10.0.0.0/24");
    proxy.rule(|seen| {
        let is_it = seen.is("POST", "/ippools");
        is_it.then_some(Fault::Status(422, "Invalid"))
    });
    let add = call("ADD", &network).pod("default", "web").run().await;
    let msg = add.expect(1).json()["msg"].to_string();
    assert!(msg.contains("cannot create ippools"), "{msg}");
    assert_eq!(proxy.log().len(), 2, "{:#?}", proxy.log());
}
