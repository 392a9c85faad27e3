//! What holds for every cluster, checked on random ones against a slow and simple oracle.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ip;
use crate::reconcile::plan::{MaxRelease, Plan, Scope};
use crate::reconcile::snapshot::{Snapshot, parse_dumps};

/// A pool's entry or a reservation, as the oracle sees it.
#[derive(Debug, Clone)]
struct Record {
    network: &'static str,
    v6: bool,
    last: u8,
    pod: usize,
    interface: Option<&'static str>,
    uid: Option<u8>,
    reserved: bool,
}

/// A pod, as the oracle sees it.
#[derive(Debug, Clone)]
struct PodModel {
    exists: bool,
    uid: u8,
    phase: &'static str,
    deleting: bool,
    /// Interface, family and last part of each address shown; `None`: a broken annotation.
    shows: Option<Vec<(&'static str, bool, u8)>>,
}

const NETWORKS: [&str; 3] = ["", "blue", "blue-2"];
const INTERFACES: [&str; 2] = ["net1", "net2"];

fn record() -> impl Strategy<Value = Record> {
    (
        prop::sample::select(&NETWORKS[..]),
        any::<bool>(),
        1u8..6,
        0usize..5,
        prop::option::weighted(0.7, prop::sample::select(&INTERFACES[..])),
        prop::option::weighted(0.5, 1u8..3),
        any::<bool>(),
    )
        .prop_map(
            |(network, v6, last, pod, interface, uid, reserved)| Record {
                network,
                v6,
                last,
                pod,
                interface,
                uid,
                reserved,
            },
        )
}

fn pod_model() -> impl Strategy<Value = PodModel> {
    let shown = (prop::sample::select(&INTERFACES[..]), any::<bool>(), 1u8..6);
    (
        prop::bool::weighted(0.7),
        1u8..3,
        prop::sample::select(&["Running", "Running", "Pending", "Succeeded", "Failed"][..]),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.9, prop::collection::vec(shown, 0..4)),
    )
        .prop_map(|(exists, uid, phase, deleting, shows)| PodModel {
            exists,
            uid,
            phase,
            deleting,
            shows,
        })
}

fn address(v6: bool, last: u8) -> String {
    if v6 {
        format!("fd00::{last}")
    } else {
        format!("10.0.0.{last}")
    }
}

fn podref(pod: usize) -> String {
    // The same name in two namespaces.
    format!("{}/web-{}", ["a", "b"][pod % 2], pod / 2)
}

fn objects(records: &[Record], pods: &[PodModel]) -> Vec<Value> {
    let mut pools: HashMap<(&str, bool), serde_json::Map<String, Value>> = HashMap::new();
    let mut objects = Vec::new();
    let prefix = |network: &str| {
        if network.is_empty() {
            String::new()
        } else {
            format!("{network}-")
        }
    };
    for record in records {
        let mut entry = json!({"id": "c", "podref": podref(record.pod)});
        if let Some(interface) = record.interface {
            entry["ifname"] = json!(interface);
        }
        let spec = entry.clone();
        if let Some(uid) = record.uid {
            entry["owner"] = json!({"id": "c", "poduid": uid.to_string()});
        }
        let pool = pools.entry((record.network, record.v6)).or_default();
        if pool.contains_key(&record.last.to_string()) {
            continue;
        }
        pool.insert(record.last.to_string(), entry);
        if record.reserved {
            let name = ip::name_of(address(record.v6, record.last).parse().unwrap());
            objects.push(json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
                "kind": "OverlappingRangeIPReservation", "spec": spec,
                "metadata": {"name": prefix(record.network) + &name, "namespace": "kube-system"}}));
        }
    }
    for ((network, v6), allocations) in pools {
        let (range, name) = if v6 {
            ("fd00::/64", "fd00---64")
        } else {
            ("10.0.0.0/24", "10.0.0.0-24")
        };
        objects.push(
            json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": {"name": prefix(network) + name, "namespace": "kube-system"},
            "spec": {"range": range, "allocations": allocations}}),
        );
    }
    for (index, pod) in pods.iter().enumerate().filter(|(_, pod)| pod.exists) {
        let podref = podref(index);
        let (namespace, name) = podref.split_once('/').unwrap();
        let status = match &pod.shows {
            None => "{".to_owned(),
            Some(shown) => {
                let element = |(interface, v6, last): &(&str, bool, u8)| json!({"interface": interface, "ips": [address(*v6, *last)]});
                json!(shown.iter().map(element).collect::<Vec<_>>()).to_string()
            }
        };
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": pod.phase},
            "metadata": {"namespace": namespace, "name": name, "uid": pod.uid.to_string(),
                "annotations": {"k8s.v1.cni.cncf.io/network-status": status}}});
        if pod.deleting {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        objects.push(object);
    }
    objects
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let empty = r#"{"apiVersion":"v1","kind":"PodList","items":[]}{"kind":"IPPoolList","items":[],
        "apiVersion":"whereabouts.cni.cncf.io/v1alpha1"}"#;
    parse_dumps(
        &[
            ("a".into(), list.to_string()),
            ("b".into(), empty.to_owned()),
        ],
        None,
    )
    .unwrap()
}

impl PodModel {
    fn may_run(&self) -> bool {
        self.exists && !matches!(self.phase, "Succeeded" | "Failed")
    }

    fn shows(&self, text: &str) -> bool {
        let shown = self.shows.iter().flatten();
        self.exists
            && shown
                .map(|(_, v6, last)| address(*v6, *last))
                .any(|shown| shown == text)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_in_use_is_released_and_nothing_orphaned_is_missed(
        records in prop::collection::vec(record(), 0..14),
        pods in prop::collection::vec(pod_model(), 5),
        seed in any::<u64>(),
    ) {
        let mut objects = objects(&records, &pods);
        let before = snapshot(&objects);
        // The order in which a server lists its objects means nothing.
        objects.sort_by_key(|object| (object.to_string().len() as u64).wrapping_mul(seed | 1));
        let snapshot = snapshot(&objects);
        let audit = snapshot.audit();
        let names = |snapshot: &Snapshot| {
            let ids = snapshot.records.ids();
            ids.map(|id| snapshot.audit().verdict(id).name()).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&before), names(&snapshot));

        let facts: Vec<(RecordId, String, String)> = snapshot.records.ids().map(|id| {
            let address = match id {
                RecordId::Entry(at) => snapshot.records.entries[at].address.clone().unwrap(),
                RecordId::Reservation(at) => snapshot.records.reservation(at).unwrap().addresses[0],
            };
            (id, address.to_string(), snapshot.records.pod_of(id).unwrap().to_string())
        }).collect();
        for (id, address, holder) in &facts {
            let verdict = audit.verdict(*id);
            let released = verdict.action() == Action::Release;
            for (index, _) in pods.iter().enumerate().filter(|(_, p)| p.may_run() && p.shows(address)) {
                let own = facts.iter().any(|(_, a, pod)| a == address && *pod == podref(index));
                prop_assert!(!released || (own && *holder != podref(index)),
                    "{address} of {holder} is used by {}: {verdict:?}", podref(index));
            }
            let pod = (0..5).find(|index| podref(*index) == *holder).unwrap();
            if pods[pod].exists && pods[pod].deleting {
                prop_assert!(!released, "{holder} is being deleted");
            }
            if !pods[pod].exists && !pods.iter().any(|pod| pod.shows(address)) {
                prop_assert_eq!(verdict, Verdict::PodGone);
            }
            if let RecordId::Reservation(at) = id {
                for entry in snapshot.records.reservation(*at).unwrap().entries {
                    let entry = audit.verdict(RecordId::Entry(*entry));
                    prop_assert!(!released || entry.action() == Action::Release);
                }
            }
        }
        let plan = Plan::of(audit, &Scope::default(), MaxRelease::Percent(100), 1);
        let released = facts.iter().filter(|(id, ..)| audit.verdict(*id).action() == Action::Release);
        prop_assert_eq!(plan.len(), released.count());
    }
}
