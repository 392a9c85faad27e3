//! Requests that etcd carries out when their callers have long gone, and calls that end in time
//! whatever happens.

use std::time::Duration;

use serde_json::json;

use super::super::call::{addresses, call};
use super::{add, at, del, network, owners};
use crate::support::etcd::Etcd;
use crate::support::etcd::relay::{Relay, Spoil};
use crate::support::run::Running;

/// How many requests a call makes that nothing disturbs.
async fn requests(etcd: &Etcd, command: &str, container: &str) -> usize {
    let relay = Relay::start(etcd, 0, Spoil::CutBefore).await;
    let network = at(&relay.host(), "10.0.0.0/24");
    let made = call(command, &network).container(container);
    made.pod("default", container).run().await.expect(0);
    relay.requests()
}

/// Waits until the relay holds the request.
async fn is_held(relay: &Relay, caller: &mut Running) {
    while !relay.has_spoilt() {
        assert!(!caller.has_ended(), "it made {} requests", relay.requests());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn gives_up(running: Running) {
    running.signal("KILL");
    running.wait().await;
}

#[tokio::test]
async fn a_claim_that_is_carried_out_late_gives_no_second_address() {
    let etcd = Etcd::start();
    let claim = requests(&etcd, "ADD", "a").await;
    let relay = Relay::start(&etcd, claim, Spoil::Late).await;
    let network = at(&relay.host(), "10.0.0.0/24");
    // It does not wait for the answer for ever: it looks again, and claims again.
    assert_eq!(addresses(&add(&network, "b").await), ["10.0.0.2/24"]);
    assert!(relay.has_spoilt());
    del(&network, "a").await;
    relay.let_go().await;
    assert_eq!(owners(&etcd).await, [(2, "b".to_owned())].into());
}

#[tokio::test]
async fn a_late_claim_takes_nothing_from_whoever_has_the_address_now() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let claim = requests(&etcd, "ADD", "a").await;
    del(&network, "a").await;
    let relay = Relay::start(&etcd, claim, Spoil::Late).await;
    let late = at(&relay.host(), "10.0.0.0/24");
    let mut late = call("ADD", &late)
        .container("b")
        .pod("default", "b")
        .spawn();
    is_held(&relay, &mut late).await;
    gives_up(late).await;
    del(&network, "b").await;
    assert_eq!(addresses(&add(&network, "c").await), ["10.0.0.1/24"]);
    relay.let_go().await;
    assert_eq!(owners(&etcd).await, [(1, "c".to_owned())].into());
}

#[tokio::test]
async fn a_late_take_over_takes_nothing_from_the_container_after_it() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let of = |container: &str| {
        let add = call("ADD", &network).container(container);
        add.pod("default", "web")
    };
    of("c1").run().await.expect(0);
    // It reads the index and the record, and changes that.
    let relay = Relay::start(&etcd, 3, Spoil::Late).await;
    let late = at(&relay.host(), "10.0.0.0/24");
    let late = call("ADD", &late).container("c2").pod("default", "web");
    let mut late = late.spawn();
    is_held(&relay, &mut late).await;
    gives_up(late).await;
    of("c3").run().await.expect(0);
    relay.let_go().await;
    assert_eq!(owners(&etcd).await, [(1, "c3".to_owned())].into());
}

#[tokio::test]
async fn a_late_del_frees_nothing_of_whoever_has_the_address_now() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    add(&network, "a").await;
    // It reads the index and the record, and frees that.
    let relay = Relay::start(&etcd, 3, Spoil::Late).await;
    let late = at(&relay.host(), "10.0.0.0/24");
    let mut late = call("DEL", &late).container("a").spawn();
    is_held(&relay, &mut late).await;
    gives_up(late).await;
    del(&network, "a").await;
    for pod in ["b", "a"] {
        add(&network, pod).await;
    }
    relay.let_go().await;
    let left = [(1, "b".to_owned()), (2, "a".to_owned())];
    assert_eq!(owners(&etcd).await, left.into());
}

#[tokio::test]
async fn an_add_that_waits_for_an_answer_takes_nothing_from_the_container_after_it() {
    let etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24");
    let claim = requests(&etcd, "ADD", "a").await;
    del(&network, "a").await;
    let relay = Relay::start(&etcd, claim, Spoil::HoldBefore).await;
    let late = at(&relay.host(), "10.0.0.0/24");
    let late = call("ADD", &late).container("c1").pod("default", "web");
    let mut late = late.spawn();
    is_held(&relay, &mut late).await;
    // The runtime gives up on the pod's container, and its next one gets the address.
    del(&network, "c1").await;
    let next = call("ADD", &network).container("c2").pod("default", "web");
    let next = next.run().await.expect(0);
    assert_eq!(addresses(&next.json()), ["10.0.0.1/24"]);
    let late = late.wait().await.expect(1);
    assert!(late.stdout.contains("since this call began"), "{late:#?}");
    del(&network, "c1").await;
    assert_eq!(owners(&etcd).await, [(1, "c2".to_owned())].into());
}

#[tokio::test]
async fn a_call_ends_in_time_when_nothing_is_ever_answered() {
    let etcd = Etcd::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let network = at(&silent, "10.0.0.0/24")
        .with("add_timeout", json!("1s"))
        .with("del_timeout", json!("1s"));
    for command in ["ADD", "DEL"] {
        let failed = call(command, &network).pod("default", "web");
        let failed = failed.run().await.expect(1);
        let is_said = failed.stdout.contains("no answer in time");
        assert!(is_said && failed.stdout.contains(&silent), "{failed:#?}");
    }
    assert_eq!(owners(&etcd).await, [].into());
}
