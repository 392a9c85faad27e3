//! A node loses its power and never comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::pods::{Workload, offsets};
use crate::world::{NODES, World, until};

/// How long the pods of a deleted node may stay; the garbage collector of pods waits for 40 s.
const COLLECTED_WITHIN: Duration = Duration::from_mins(3);
/// How long orphans may stay: the grace of two minutes, and two runs each minute.
const RELEASED_WITHIN: Duration = Duration::from_mins(6);
const RANGE: &str = "10.53.0.0/28";

#[test]
fn a_deleted_node_gives_its_addresses_back_by_the_schedule_and_the_range_is_filled_again() {
    let [lost, stays] = NODES;
    let mut world = World::lock();
    world.namespace("crash");
    world.network("crash", "lan", json!({ "range": RANGE }));
    world.run("crash", &Workload::deployment("doomed", "lan", 8).on(lost));
    let doomed = offsets(&world.ready("crash", "doomed", 8));
    world.run("crash", &Workload::deployment("living", "lan", 6).on(stays));
    let living = offsets(&world.ready("crash", "living", 6));
    let before = world.entries(RANGE);
    assert_eq!(before.len(), 14, "the range is full: {before:?}");

    world.node(lost).crash();
    world.kubectl(&format!("delete node {lost}"));
    world.kubectl("--namespace crash scale deployment/doomed --replicas=0");
    until("the pods of the node are gone", COLLECTED_WITHIN, || {
        (world.pods("crash", "doomed").1 == 0).then_some(())
    });
    assert_eq!(world.entries(RANGE), before, "nobody called DEL");
    assert_eq!(world.reservations(), 14);

    // New pods have to wait, and a first run only takes note.
    world.run("crash", &Workload::deployment("again", "lan", 8).on(stays));
    world.reconcile();
    assert_eq!(world.entries(RANGE), before);
    let pools = world.get("ippools --namespace kube-system").to_string();
    assert!(
        pools.contains("whereabouts.cni.cncf.io/first-seen"),
        "{pools}"
    );

    world.schedule(true);
    until("the pods have what was freed", RELEASED_WITHIN, || {
        let now = world.entries(RANGE);
        for offset in &living {
            assert_eq!(now.get(offset), before.get(offset), "a living pod's entry");
        }
        (world.pods("crash", "again").0.len() == 8).then_some(())
    });
    world.schedule(false);
    let again: BTreeSet<u64> = offsets(&world.ready("crash", "again", 8));
    assert_eq!(again, doomed);
    assert_eq!(offsets(&world.ready("crash", "living", 6)), living);
    world.recorded(RANGE, 1..=14);
    let pods = world.ready("crash", "living", 6);
    for other in world.ready("crash", "again", 8) {
        world.ping("crash", &pods[0], other.addresses[0]);
    }
}
