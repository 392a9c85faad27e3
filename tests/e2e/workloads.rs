//! Pods that end by themselves, and pods that come back under their old name.

use std::time::Duration;

use serde_json::json;

use crate::pods::{Workload, offsets};
use crate::world::{World, until};

/// How long two short pods may take; ten seconds are usual.
const DONE_WITHIN: Duration = Duration::from_mins(2);

#[test]
fn completed_pods_give_their_addresses_to_others_and_take_nothing_from_them() {
    const RANGE: &str = "10.56.0.0/29";
    let world = World::lock();
    world.namespace("jobs");
    world.network("jobs", "lan", json!({ "range": RANGE }));
    world.apply(
        &json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "short", "namespace": "jobs"},
        "spec": {"completions": 6, "parallelism": 6, "template": {
            "metadata": {"labels": {"app": "short"},
                "annotations": {"k8s.v1.cni.cncf.io/networks": "lan"}},
            "spec": {"restartPolicy": "Never", "containers": [{
                "name": "main", "image": "e2e.test/busybox:1", "command": ["/busybox", "sleep", "5"]}]}}}})
        .to_string(),
    );
    until("the job is done", DONE_WITHIN, || {
        let done = "--namespace jobs wait --for=condition=Complete --timeout=1s job/short";
        world.try_kubectl(done).ok()
    });
    world.recorded(RANGE, []);
    // The pods are still listed, with the addresses that others have now.
    world.run("jobs", &Workload::deployment("web", "lan", 6));
    let web = world.ready("jobs", "web", 6);
    assert_eq!(world.pods("jobs", "short").1, 6);
    let said = world.reconcile_at_once();
    world.recorded(RANGE, 1..=6);
    assert_eq!(offsets(&web), (1..=6).collect(), "{said}");
    for pod in &web {
        world.ping("jobs", &web[0], pod.addresses[0]);
    }
}

#[test]
fn a_pod_of_a_stateful_set_that_comes_back_has_one_address_and_keeps_it() {
    const RANGE: &str = "10.57.0.0/24";
    let world = World::lock();
    world.namespace("stateful");
    world.network("stateful", "lan", json!({ "range": RANGE }));
    let mut set = Workload::deployment("db", "lan", 3);
    set.kind = "StatefulSet";
    world.run("stateful", &set);
    let before = world.ready("stateful", "db", 3);
    let entries = world.entries(RANGE);
    for how in ["", "--force --grace-period=0"] {
        world.kubectl(&format!("--namespace stateful delete pod db-1 {how}"));
        world.reconcile_at_once();
        let after = world.ready("stateful", "db", 3);
        world.recorded(RANGE, offsets(&after));
        let observer = after.iter().find(|pod| pod.name == "db-0").unwrap();
        for pod in &after {
            world.ping("stateful", observer, pod.addresses[0]);
        }
        let said = world.reconcile_at_once();
        assert_eq!(world.offsets(RANGE), offsets(&after), "{said}");
        for pod in before.iter().filter(|pod| pod.name != "db-1") {
            assert!(after.contains(pod), "{pod:?}");
            let offset = offsets(std::slice::from_ref(pod)).pop_first().unwrap();
            assert_eq!(world.entries(RANGE)[&offset], entries[&offset]);
        }
    }
}
