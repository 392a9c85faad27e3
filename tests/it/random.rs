//! Random clusters on the real API server: a dry run says what a real run does, nothing that is used
//! goes, and a second run has nothing to do.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, pool, reservation, reservations};
use crate::support::run::reconciler;

const CLUSTERS: usize = 12;
const NAMESPACES: [&str; 2] = ["default", "tenant-a"];
const NETWORKS: [&str; 2] = ["", "blue"];

/// A pod: whether it exists, its phase, whether it is being deleted, and what it shows.
type Pod = (bool, &'static str, bool, BTreeSet<u8>);
/// A record: network, last part of the address, pod, and whether it has entry and reservation.
type Record = (usize, u8, usize, (bool, bool));

fn a_cluster() -> impl Strategy<Value = (Vec<Pod>, Vec<Record>)> {
    let phase = prop::sample::select(&["Running", "Pending", "Succeeded", "Failed"][..]);
    let shows = prop::collection::btree_set(1u8..12, 0..3);
    let pods = (
        prop::bool::weighted(0.7),
        phase,
        prop::bool::weighted(0.15),
        shows,
    );
    let kinds =
        prop::sample::select(&[(true, true), (true, true), (true, false), (false, true)][..]);
    let records = (0..NETWORKS.len(), 1u8..12, 0usize..8, kinds);
    (
        prop::collection::vec(pods, 8),
        prop::collection::vec(records, 0..16),
    )
}

fn name(pod: usize) -> (&'static str, String) {
    (NAMESPACES[pod % 2], format!("web-{}", pod / 2))
}

async fn load(cluster: &Cluster, pods: &[Pod], records: &[Record]) {
    let client = cluster.client();
    for (index, (exists, phase, deleting, shows)) in pods.iter().enumerate() {
        let (namespace, name) = name(index);
        let addresses: Vec<String> = shows.iter().map(|last| format!("10.0.0.{last}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let mut pod = pod(namespace, &name).phase(phase).node("node-a");
        if !addresses.is_empty() {
            pod = pod.shows("net1", &addresses);
        }
        // A pod that has ended goes at once when it is deleted.
        if *deleting && matches!(*phase, "Running" | "Pending") {
            pod = pod.terminating();
        }
        if *exists {
            pod.create(client).await;
        }
    }
    let mut taken = BTreeSet::new();
    let mut pools = NETWORKS.map(|network| {
        let pool = pool("kube-system", "10.0.0.0/24");
        if network.is_empty() {
            pool
        } else {
            pool.network(network)
        }
    });
    for (network, last, pod, (entry, reserved)) in records {
        if !taken.insert((network, last)) {
            continue;
        }
        let (namespace, name) = name(*pod);
        let podref = format!("{namespace}/{name}");
        if *entry {
            let pool = pools[*network].clone();
            pools[*network] = pool.entry((*last).into(), &podref, "net1", "c");
        }
        if *reserved {
            let mut object = reservation("kube-system", &format!("10.0.0.{last}"), &podref);
            if !NETWORKS[*network].is_empty() {
                object = object.network(NETWORKS[*network]);
            }
            object.create(client).await;
        }
    }
    for pool in pools {
        pool.create(client).await;
    }
}

/// All records, as network and address of each kind.
async fn everything(cluster: &Cluster) -> BTreeSet<String> {
    let mut all = reservations(cluster.client()).await;
    for pool in ["10.0.0.0-24", "blue-10.0.0.0-24"] {
        let keys = entries(cluster.client(), "kube-system", pool)
            .await
            .into_keys();
        all.extend(keys.map(|key| format!("kube-system/{pool}/{key}")));
    }
    all
}

#[tokio::test]
async fn a_dry_run_says_what_a_real_run_does_and_a_second_one_has_nothing_to_do() {
    // The same clusters each time.
    let mut runner = TestRunner::deterministic();
    for round in 0..CLUSTERS {
        let cluster = Cluster::lock().await;
        let (pods, records) = a_cluster().new_tree(&mut runner).unwrap().current();
        load(&cluster, &pods, &records).await;
        let said = format!("cluster {round}: {pods:?} {records:?}");
        let before = everything(&cluster).await;
        let run = |args: [&'static str; 3]| {
            reconciler(cluster.kubeconfig())
                .args(["--settle=200ms", "--force"])
                .args(args)
                .output()
        };
        let dry = run(["--dry-run", "-o", "json"]).await.expect(0).json();
        assert_eq!(everything(&cluster).await, before, "{said}");
        let records = dry["records"].as_array().unwrap();
        assert_eq!(records.len(), before.len(), "{said}");

        let real = run(["--dry-run=false", "-o", "json"])
            .await
            .expect(0)
            .json();
        let verdicts = |report: &serde_json::Value| {
            let records = report["records"].as_array().unwrap().iter();
            records
                .map(|r| (r["name"].clone(), r["offset"].clone(), r["verdict"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&dry), verdicts(&real), "{said}");
        let id = |record: &serde_json::Value| {
            let text = |member: &str| record[member].as_str().map(ToOwned::to_owned);
            let parts = ["namespace", "name", "offset"].map(text);
            parts.into_iter().flatten().collect::<Vec<_>>().join("/")
        };
        let released = records
            .iter()
            .filter(|record| record["action"] == "Release")
            .map(id);
        let mut expected = before.clone();
        released.for_each(|id| assert!(expected.remove(&id), "{id} {said}"));
        let after = everything(&cluster).await;
        assert_eq!(after, expected, "{said}");

        for (index, (exists, phase, _, shows)) in pods.iter().enumerate() {
            let runs = *exists && matches!(*phase, "Running" | "Pending");
            let (namespace, name) = name(index);
            for record in records.iter().filter(|_| runs) {
                let own = record["pod"] == format!("{namespace}/{name}");
                let address = record["address"]
                    .as_str()
                    .unwrap()
                    .rsplit('.')
                    .next()
                    .unwrap();
                if own && shows.contains(&address.parse::<u8>().unwrap()) {
                    assert!(after.contains(&id(record)), "{} {said}", id(record));
                }
            }
        }
        let again = run(["--dry-run=false", "-o", "json"])
            .await
            .expect(0)
            .json();
        assert_eq!(again["summary"]["orphans"], 0, "{said}");
        assert_eq!(everything(&cluster).await, after, "{said}");
    }
}
