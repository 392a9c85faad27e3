//! States in which what seems to be missing proves nothing.

use serde_json::{Value, json};

use super::{Objects, on, web_holds_5};

/// Records of before 2024 for two interfaces from one range, and a plugin whose result told no
/// address of one of them.
#[test]
fn an_interface_that_tells_no_address_may_have_the_one_of_a_record_without_interface() {
    let entry = |id: &str| json!({"id": id, "podref": "default/web"});
    let allocations = json!({"5": entry("c1"), "9": entry("c1")});
    let objects = Objects::default()
        .pool("10.0.0.0-24", "10.0.0.0/24", allocations)
        .pod(
            "web",
            json!([{"name": "a", "interface": "net1", "ips": ["10.0.0.9"]},
                {"name": "b", "interface": "net2"}]),
        );
    assert_eq!(objects.verdicts(), ["Starting", "InUse"]);
}

#[test]
fn an_exempt_reservation_keeps_its_entry() {
    let spec = json!({"podref": "default/web", "ifname": "net1"});
    let exempt = json!({crate::pod::RECONCILE_KEY: "false"});
    let objects = web_holds_5()
        .reservation("10.0.0.5", spec)
        .set("/metadata/annotations", exempt);
    assert_eq!(objects.verdicts(), ["Protected", "Protected"]);
}

/// After a reboot the kubelet makes the sandbox again: ADD has recorded an address, and until the
/// other interfaces are attached the status is that of the sandbox before.
#[test]
fn a_status_that_may_be_of_a_sandbox_before_frees_nothing() {
    let moved = || web_holds_5().pod("web", on("net1", &["10.0.0.9"]));
    let waiting = json!([{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]);
    let running = json!([{"name": "main", "state": {"running": {}}}]);
    let not_ready = json!([{"type": "PodReadyToStartContainers", "status": "False"}]);
    for (member, value, expected) in [
        ("/status/containerStatuses", waiting, "Starting"),
        ("/status/conditions", not_ready, "Starting"),
        ("/status/containerStatuses", running, "AddressNotOnPod"),
    ] {
        assert_eq!(moved().set(member, value).verdicts(), [expected]);
    }
}

/// The rows about nodes, where the pod is gone.
#[test]
fn an_absent_pod_means_what_its_node_lets_it_mean() {
    let node = |name: &str, ready: &str, taints: Value| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    };
    let off = || json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
    let recorded = || {
        web_holds_5().set(
            "/spec/allocations/5/owner",
            json!({"id": "c1", "nodename": "a"}),
        )
    };
    for (nodes, expected) in [
        (vec![], "PodGone"),
        (vec![node("a", "True", json!([]))], "PodGone"),
        (vec![node("a", "Unknown", json!([]))], "HeldUnreachable"),
        (vec![node("a", "False", json!([]))], "HeldUnreachable"),
        (vec![node("a", "Unknown", off())], "NodeOutOfService"),
        (vec![node("a", "True", off())], "PodGone"),
        (vec![node("b", "True", json!([]))], "NodeGone"),
    ] {
        let mut objects = recorded();
        objects.0.extend(nodes);
        assert_eq!(objects.verdicts(), [expected], "{:#?}", objects.0);
    }
    // The Go program took the entry over: what is said of the container before counts for nothing.
    let mut taken_over = recorded().set("/spec/allocations/5/id", json!("c2"));
    taken_over.0.push(node("a", "Unknown", json!([])));
    assert_eq!(taken_over.verdicts(), ["PodGone"]);
}

#[test]
fn a_reference_to_a_pod_that_cannot_exist_names_none() {
    for podref in [
        "default/Web-0",
        "default/web_0",
        "default/web-0 ",
        " default/web-0",
        "default/router (do not use!)",
        "a.b/web-0",
        "default/web..0",
    ] {
        let entry = json!({"5": {"id": "c1", "podref": podref}});
        let objects = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", entry);
        assert_eq!(objects.verdicts(), ["Unowned"], "{podref:?}");
    }
    let entry = json!({"5": {"id": "c1", "podref": "ns-1/web.example-0"}});
    let objects = Objects::default().pool("10.0.0.0-24", "10.0.0.0/24", entry);
    assert_eq!(objects.verdicts(), ["PodGone"]);
}
