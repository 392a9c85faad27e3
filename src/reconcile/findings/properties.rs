//! Random small clusters: a cluster that is in order has no findings, and one loss makes exactly one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Kind;
use crate::reconcile::snapshot::parse_dumps;

/// Which addresses are in use, each by a pod of its own, of one of two networks with one range.
fn a_cluster() -> impl Strategy<Value = Vec<(u8, bool, bool)>> {
    let used = prop::collection::btree_map(1u8..250, (any::<bool>(), any::<bool>()), 2..12);
    used.prop_map(|used| {
        let used = used.into_iter();
        used.map(|(last, (network, v6))| (last, network, v6))
            .collect()
    })
}

struct Parts {
    pools: Vec<Value>,
    reservations: Vec<Value>,
    pods: Vec<Value>,
}

fn parts(used: &[(u8, bool, bool)]) -> Parts {
    let group = "whereabouts.cni.cncf.io/v1alpha1";
    let (mut pools, mut reservations, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for network in [false, true] {
        for v6 in [false, true] {
            let prefix = if network { "blue-" } else { "" };
            let (range, name) = if v6 {
                ("fd00::/64", "fd00---64")
            } else {
                ("10.0.0.0/24", "10.0.0.0-24")
            };
            let mut entries = serde_json::Map::new();
            for (last, ..) in used.iter().filter(|(_, n, f)| (*n, *f) == (network, v6)) {
                let address = if v6 {
                    format!("fd00::{last:x}")
                } else {
                    format!("10.0.0.{last}")
                };
                let pod = format!("default/web-{last}");
                entries.insert(
                    last.to_string(),
                    json!({"id": "c", "podref": pod, "ifname": "net1"}),
                );
                reservations.push(json!({"apiVersion": group, "kind": "OverlappingRangeIPReservation",
                    "metadata": {"name": format!("{prefix}{}", address.replace(':', "-")), "namespace": "kube-system"},
                    "spec": {"podref": pod, "ifname": "net1"}}));
                let status = json!([{"name": format!("default/net-{network}"), "interface": "net1", "ips": [address]}]);
                pods.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                    "name": format!("web-{last}"), "namespace": "default", "uid": format!("u-{last}"),
                    "annotations": {"k8s.v1.cni.cncf.io/network-status": status.to_string()}},
                    "status": {"phase": "Running"}}));
            }
            pools.push(json!({"apiVersion": group, "kind": "IPPool",
                "metadata": {"name": format!("{prefix}{name}"), "namespace": "kube-system"},
                "spec": {"range": range, "allocations": entries}}));
        }
    }
    Parts {
        pools,
        reservations,
        pods,
    }
}

fn kinds(parts: &Parts) -> Vec<Kind> {
    let items: Vec<&Value> = parts
        .pools
        .iter()
        .chain(&parts.reservations)
        .chain(&parts.pods)
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let snapshot = parse_dumps(&[("all".into(), list.to_string())], None).unwrap();
    let found = snapshot.find().0;
    found.iter().map(|finding| finding.kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn order_has_no_findings_and_one_loss_has_one(used in a_cluster(), which in any::<prop::sample::Index>()) {
        prop_assert_eq!(kinds(&parts(&used)), []);
        let (last, network, v6) = used[which.index(used.len())];
        let key = last.to_string();
        let pool = usize::from(network) * 2 + usize::from(v6);
        let without_entry = |parts: &mut Parts| {
            let entries = parts.pools[pool]["spec"]["allocations"].as_object_mut().unwrap();
            entries.remove(&key);
        };
        let without_reservation = |parts: &mut Parts| {
            let own = format!("default/web-{last}");
            parts.reservations.retain(|reservation| reservation["spec"]["podref"] != own);
        };
        let mut lost = parts(&used);
        without_entry(&mut lost);
        prop_assert_eq!(kinds(&lost), [Kind::MissingEntry]);
        without_reservation(&mut lost);
        prop_assert_eq!(kinds(&lost), [Kind::Unrecorded]);
        // With too few others in the pool nobody knows whether it has reservations.
        let mut bare = parts(&used);
        without_reservation(&mut bare);
        let others = used.iter().filter(|(_, n, f)| (*n, *f) == (network, v6)).count() - 1;
        let expected: &[Kind] = if others > 0 { &[Kind::MissingReservation] } else { &[] };
        prop_assert_eq!(kinds(&bare), expected);
        // A second pod on the same network with the same address.
        let mut shared = parts(&used);
        let mut pods = shared.pods.iter();
        let mut thief = pods.find(|pod| pod["metadata"]["name"] == format!("web-{last}")).unwrap().clone();
        thief["metadata"]["name"] = json!("thief");
        thief["metadata"]["uid"] = json!("thief");
        shared.pods.push(thief);
        prop_assert_eq!(kinds(&shared), [Kind::UsedByAnother]);
    }
}
