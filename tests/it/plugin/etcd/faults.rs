//! Each single request of ADD and DEL to a real etcd goes wrong in every way.

use std::time::Duration;

use serde_json::json;

use super::super::call::{Call, Network, addresses, call};
use super::{add, at, del, network, owners};
use crate::support::etcd::Etcd;
use crate::support::etcd::relay::{Relay, Spoil};
use crate::support::run::Outcome;

/// Fewer requests than these no call makes.
const LEAST: usize = 3;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Spoilt(Spoil),
    KilledBefore,
    KilledAfter,
}

fn troubles() -> impl Iterator<Item = Trouble> {
    let spoilt = Spoil::ALL.into_iter().map(Trouble::Spoilt);
    spoilt.chain([Trouble::KilledBefore, Trouble::KilledAfter])
}

impl Trouble {
    async fn relay(self, etcd: &Etcd, which: usize) -> Relay {
        let spoil = match self {
            Trouble::Spoilt(spoil) => spoil,
            Trouble::KilledBefore => Spoil::HoldBefore,
            Trouble::KilledAfter => Spoil::HoldAfter,
        };
        Relay::start(etcd, which, spoil).await
    }

    /// Makes the call through the relay, and what is late comes when it has ended.
    async fn meet(self, relay: &Relay, call: Call) -> Outcome {
        let mut running = call.spawn();
        if matches!(self, Trouble::KilledBefore | Trouble::KilledAfter) {
            while !relay.has_spoilt() && !running.has_ended() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if relay.has_spoilt() {
                running.signal("KILL");
            }
        }
        let outcome = running.wait().await;
        if relay.has_spoilt() && self == Trouble::Spoilt(Spoil::Late) {
            relay.let_go().await;
        }
        outcome
    }

    /// A connection that ends is noticed, and the call goes on by another one.
    fn is_noticed(self) -> bool {
        matches!(self, Trouble::Spoilt(Spoil::CutBefore | Spoil::CutAfter))
    }
}

/// Whether the call had no request of that number, which is the next one's otherwise. A call that
/// came too late for it, on a machine that is busy, is to be made again.
fn is_last(relay: &Relay, outcome: &Outcome, which: &mut usize) -> bool {
    if relay.has_spoilt() {
        *which += 1;
        return false;
    }
    let is_last = outcome.code == Some(0);
    assert!(!is_last || *which > LEAST, "{which} {outcome:#?}");
    is_last
}

/// A network behind the relay for which a request that is never answered does not last long.
fn impatient(relay: &Relay) -> Network {
    let network = at(&relay.host(), "10.0.0.0/24");
    let network = network.with("add_timeout", json!("3s"));
    network.with("del_timeout", json!("3s"))
}

#[tokio::test]
async fn an_add_that_fails_blocks_no_address_and_one_that_succeeds_is_recorded() {
    let etcd = Etcd::start();
    let straight = network(&etcd, "10.0.0.0/24");
    for trouble in troubles() {
        let mut which = 1;
        loop {
            let said = format!("{trouble:?} {which}");
            let relay = trouble.relay(&etcd, which).await;
            let first = call("ADD", &impatient(&relay)).pod("default", "web");
            let first = trouble.meet(&relay, first).await;
            let recorded = owners(&etcd).await;
            if first.code == Some(0) {
                assert_eq!(addresses(&first.json()), ["10.0.0.1/24"], "{said}");
                assert_eq!(recorded, [(1, "c1".to_owned())].into(), "{said}");
            } else {
                assert!(!trouble.is_noticed(), "{said} {first:#?}");
                let is_late = trouble == Trouble::Spoilt(Spoil::Late);
                // Whoever lives on takes back what it has recorded, but for what comes after its end.
                let most = usize::from(is_late || trouble == Trouble::KilledAfter);
                assert!(recorded.len() <= most, "{said} {recorded:?} {first:#?}");
            }
            // The pod's next container has that one, and no other.
            let next = call("ADD", &straight).container("c2").pod("default", "web");
            let next = next.run().await.expect(0);
            assert_eq!(addresses(&next.json()), ["10.0.0.1/24"], "{said}");
            del(&straight, "c1").await;
            assert_eq!(owners(&etcd).await, [(1, "c2".to_owned())].into(), "{said}");
            del(&straight, "c2").await;
            assert_eq!(owners(&etcd).await, [].into(), "{said}");
            if is_last(&relay, &first, &mut which) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_take_over_that_fails_loses_nothing_and_gives_no_second_address() {
    let etcd = Etcd::start();
    let straight = network(&etcd, "10.0.0.0/24");
    for trouble in troubles() {
        let mut which = 1;
        loop {
            let said = format!("{trouble:?} {which}");
            let relay = trouble.relay(&etcd, which).await;
            let of = |container: &str, network: &Network| {
                let add = call("ADD", network).container(container);
                add.pod("default", "web")
            };
            of("c0", &straight).run().await.expect(0);
            let second = trouble.meet(&relay, of("c1", &impatient(&relay))).await;
            let recorded = owners(&etcd).await;
            let owner = recorded.get(&1).map(String::as_str);
            if second.code == Some(0) {
                assert_eq!(owner, Some("c1"), "{said}");
            } else {
                assert!(!trouble.is_noticed(), "{said} {second:#?}");
            }
            // A container may be running with it: it stays, whosever it is now.
            assert!(matches!(owner, Some("c0" | "c1")), "{said} {recorded:?}");
            assert_eq!(recorded.len(), 1, "{said} {recorded:?}");
            let third = of("c2", &straight).run().await.expect(0);
            assert_eq!(addresses(&third.json()), ["10.0.0.1/24"], "{said}");
            for late in ["c0", "c1"] {
                del(&straight, late).await;
            }
            assert_eq!(owners(&etcd).await, [(1, "c2".to_owned())].into(), "{said}");
            del(&straight, "c2").await;
            if is_last(&relay, &second, &mut which) {
                break;
            }
        }
    }
    assert_eq!(owners(&etcd).await, [].into());
}

#[tokio::test]
async fn a_del_that_fails_is_done_when_it_is_called_again() {
    let etcd = Etcd::start();
    let straight = network(&etcd, "10.0.0.0/24");
    add(&straight, "other").await;
    for trouble in troubles() {
        let mut which = 1;
        loop {
            let said = format!("{trouble:?} {which}");
            let relay = trouble.relay(&etcd, which).await;
            add(&straight, "web").await;
            let deleted = call("DEL", &impatient(&relay)).container("web");
            let deleted = trouble.meet(&relay, deleted).await;
            if deleted.code == Some(0) {
                assert_eq!(owners(&etcd).await.len(), 1, "{said}");
            } else {
                assert!(!trouble.is_noticed(), "{said} {deleted:#?}");
                del(&straight, "web").await;
            }
            assert_eq!(
                owners(&etcd).await,
                [(1, "other".to_owned())].into(),
                "{said}"
            );
            if is_last(&relay, &deleted, &mut which) {
                break;
            }
        }
    }
}
