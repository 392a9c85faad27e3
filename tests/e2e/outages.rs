//! A node that does not answer for a while: nothing that its pods use is freed.

use std::time::Duration;

use serde_json::json;

use crate::pods::{Entry, Pod, Workload, offsets};
use crate::world::{NODES, World, until};

/// How long it may take until the cluster knows; 8 seconds are set.
const NOTICED_WITHIN: Duration = Duration::from_mins(1);
/// How long a node may take until all its pods run again; 20 seconds are usual.
const BACK_WITHIN: Duration = Duration::from_mins(3);

impl World {
    fn noticed(&self, node: &str) {
        until("the node is not ready", NOTICED_WITHIN, || {
            let words = format!("wait --for=condition=Ready=Unknown --timeout=1s node/{node}");
            self.try_kubectl(&words).ok()
        });
    }
}

#[test]
fn a_partitioned_node_keeps_the_addresses_of_its_containers_until_they_are_gone() {
    const RANGE: &str = "10.54.0.0/24";
    let [far, near] = NODES;
    let mut world = World::lock();
    world.namespace("partition");
    world.network("partition", "lan", json!({ "range": RANGE }));
    world.run("partition", &Workload::deployment("far", "lan", 4).on(far));
    let pods = world.ready("partition", "far", 4);
    world.run(
        "partition",
        &Workload::deployment("near", "lan", 2).on(near),
    );
    let observer = world.ready("partition", "near", 2).remove(0);
    let before = world.entries(RANGE);

    world.node(far).stop_kubelet();
    world.noticed(far);
    let said = world.reconcile_at_once();
    assert_eq!(world.entries(RANGE), before, "{said}");
    // The pods are gone for the API server, but their containers are not.
    world.kubectl("--namespace partition scale deployment/far --replicas=0");
    world.kubectl("--namespace partition delete pods --selector app=far --force --grace-period=0");
    let said = world.reconcile_at_once();
    assert!(said.contains("HeldUnreachable"), "{said}");
    assert_eq!(world.entries(RANGE), before, "{said}");
    for pod in &pods {
        world.ping("partition", &observer, pod.addresses[0]);
    }

    // The kubelet ends them, and the plugin is told.
    world.node(far).start_kubelet();
    world.recorded(RANGE, offsets(&world.ready("partition", "near", 2)));
}

#[test]
fn a_node_that_starts_again_disturbs_nobody_and_its_pods_get_addresses_again() {
    const RANGE: &str = "10.55.0.0/24";
    let [node, other] = NODES;
    let mut world = World::lock();
    world.namespace("reboot");
    world.network("reboot", "lan", json!({ "range": RANGE }));
    world.run("reboot", &Workload::deployment("far", "lan", 4).on(node));
    let before = world.ready("reboot", "far", 4);
    world.run("reboot", &Workload::deployment("near", "lan", 2).on(other));
    let near = world.ready("reboot", "near", 2);
    let entries = world.entries(RANGE);

    world.node(node).crash();
    let said = world.reconcile_at_once();
    assert_eq!(world.entries(RANGE), entries, "{said}");
    world.noticed(node);
    let said = world.reconcile_at_once();
    assert_eq!(world.entries(RANGE), entries, "{said}");
    world.node(node).boot();
    // The kubelet takes the containers that are gone apart, and makes new ones for the same pods.
    until("all containers are new", BACK_WITHIN, || {
        let said = world.reconcile_at_once();
        let now = world.entries(RANGE);
        let kept = |offset| assert_eq!(now.get(&offset), entries.get(&offset), "{said}");
        offsets(&near).into_iter().for_each(kept);
        let old = |one: &Entry| {
            entries
                .values()
                .any(|entry| entry.container == one.container)
        };
        (now.len() == 6 && now.values().filter(|entry| old(entry)).count() == 2).then_some(())
    });
    let after = world.ready("reboot", "far", 4);
    let names = |pods: &[Pod]| pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    for pod in &after {
        let offset = offsets(std::slice::from_ref(pod)).pop_first().unwrap();
        assert_eq!(
            world.entries(RANGE)[&offset].pod,
            format!("reboot/{}", pod.name)
        );
        world.ping("reboot", &near[0], pod.addresses[0]);
    }
    world.reconcile_at_once();
    world.recorded(RANGE, &offsets(&after) | &offsets(&near));
}
