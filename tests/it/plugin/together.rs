//! Processes of one node that wait for a pool are served by the one that has its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::call::{Network, addresses, call};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pool, reservations};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::Running;

const POOL: &str = "10.0.0.0-24";

/// A node whose first ADD is held up, so that all others wait for it.
struct Node {
    cluster: Cluster,
    proxy: Proxy,
    locks: TempDir,
    network: Network,
}

fn is_patch(seen: &Seen) -> bool {
    seen.is("PATCH", "/ippools/")
}

/// How many entries a patch of a pool adds.
fn adds(seen: &Seen) -> usize {
    String::from_utf8_lossy(&seen.body)
        .matches(r#""op":"add","path":"/spec/"#)
        .count()
}

fn is_for_many(seen: &Seen) -> bool {
    is_patch(seen) && adds(seen) > 2
}

/// Where in a patch the entry of a container is.
fn place(patch: &str, container: &str) -> Option<usize> {
    patch.find(&format!("\"id\":\"{container}\""))
}

impl Node {
    async fn new() -> Node {
        let cluster = Cluster::lock().await;
        pool("kube-system", "10.0.0.0/24")
            .create(cluster.client())
            .await;
        let proxy = Proxy::start(&cluster).await;
        let locks = tempfile::tempdir().unwrap();
        let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
        let network = network.with("lock_dir", json!(locks.path()));
        Node {
            cluster,
            proxy,
            locks,
            network,
        }
    }

    /// Starts them, all but the first while that one's patch is on its way.
    async fn start(&self, count: usize) -> Vec<(String, Running)> {
        self.start_within(count, Duration::from_secs(2)).await
    }

    /// The same with a patch that takes so long.
    async fn start_within(&self, count: usize, hold: Duration) -> Vec<(String, Running)> {
        self.proxy.once(is_patch, Fault::Delay(hold));
        let mut all = Vec::new();
        for n in 0..count {
            let name = format!("web-{n}");
            let add = call("ADD", &self.network).container(&name);
            all.push((name.clone(), add.pod("default", &name).spawn()));
            while n == 0 && !self.proxy.log().iter().any(is_patch) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        all
    }

    /// Waits for them; all have to have addresses that are recorded for them, and nothing else is.
    async fn finish(&self, all: Vec<(String, Running)>) {
        let mut given = BTreeMap::new();
        for (name, running) in all {
            let add = running.wait().await.expect(0);
            let address = addresses(&add.json()).remove(0).replace("/24", "");
            assert_eq!(given.insert(address.clone(), name), None, "{address}");
        }
        let recorded = entries(self.cluster.client(), "kube-system", POOL).await;
        let recorded = recorded.into_iter().map(|(key, entry)| {
            let owner = entry["podref"].as_str().unwrap().replace("default/", "");
            assert_eq!(entry["id"], owner);
            (format!("10.0.0.{key}"), owner)
        });
        assert_eq!(recorded.collect::<BTreeMap<_, _>>(), given);
        let claims: BTreeSet<String> = given
            .keys()
            .map(|address| format!("kube-system/{address}"))
            .collect();
        assert_eq!(reservations(self.cluster.client()).await, claims);
    }

    /// As if other nodes had been in this one's way a moment ago.
    fn crowd(&self) {
        let lock = self.locks.path().join(format!("kube-system.{POOL}.lock"));
        let until = SystemTime::now() + Duration::from_secs(9);
        let file = std::fs::File::create(lock).unwrap();
        file.set_modified(until).unwrap();
    }

    /// Waits for a patch that records for more than two, and gives its text.
    async fn patch_for_many(&self) -> String {
        loop {
            let log = self.proxy.log();
            if let Some(seen) = log.iter().find(|seen| is_for_many(seen)) {
                return String::from_utf8_lossy(&seen.body).into_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// No request is left.
    fn assert_nobody_waits(&self) {
        let folder = self
            .locks
            .path()
            .join(format!("kube-system.{POOL}.requests"));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn nodes_that_wait_are_recorded_by_one_of_them() {
    let node = Node::new().await;
    node.proxy
        .once(is_patch, Fault::Delay(Duration::from_secs(2)));
    let mut all = Vec::new();
    for n in 0..6 {
        let (name, locks) = (format!("web-{n}"), node.locks.path().join(n.to_string()));
        let network = node.network.with("lock_dir", json!(locks));
        let add = call("ADD", &network).container(&name);
        let add = add.env("NODENAME", &format!("node-{n}"));
        all.push((name.clone(), add.pod("default", &name).spawn()));
        while n == 0 && !node.proxy.log().iter().any(is_patch) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    node.finish(all).await;
    let log = node.proxy.log();
    assert!(log.iter().any(|seen| is_patch(seen) && adds(seen) > 1));
    for entry in entries(node.cluster.client(), "kube-system", POOL)
        .await
        .values()
    {
        let name = entry["id"].as_str().unwrap();
        let owner = json!({"id": name, "nodename": name.replace("web", "node"),
            "poduid": format!("uid-{name}")});
        assert_eq!(entry["owner"], owner);
    }
}

#[tokio::test]
async fn those_that_wait_are_served_with_one_patch() {
    let node = Node::new().await;
    let all = node.start(30).await;
    node.finish(all).await;
    node.assert_nobody_waits();
    let log = node.proxy.log();
    let patches: Vec<usize> = log.iter().filter(|seen| is_patch(seen)).map(adds).collect();
    assert_eq!(patches.iter().sum::<usize>(), 30, "{patches:?}");
    assert!(patches.len() < 8, "{patches:?}");
}

#[tokio::test]
async fn a_patch_for_many_that_fails_costs_nobody_the_address() {
    for fault in [
        Fault::Status(409, "Conflict"),
        Fault::Status(422, "Invalid"),
        Fault::Status(500, "InternalError"),
        Fault::Status(403, "Forbidden"),
        Fault::DropConnection,
        Fault::DropAfter,
        Fault::StatusAfter(504),
    ] {
        let node = Node::new().await;
        node.proxy
            .once(|seen| is_patch(seen) && adds(seen) > 1, fault);
        let all = node.start(8).await;
        node.finish(all).await;
        node.assert_nobody_waits();
        assert!(node.proxy.log().iter().any(|seen| adds(seen) > 1));
    }
}

#[tokio::test]
async fn addresses_that_others_have_claimed_are_left_to_them() {
    let node = Node::new().await;
    let all = node.start(8).await;
    for n in [2, 3, 5] {
        let claim = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "OverlappingRangeIPReservation", "metadata": {"name": format!("10.0.0.{n}")},
            "spec": {"podref": "default/other"}});
        let path = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations";
        crate::support::objects::send(
            node.cluster.client(),
            http::Method::POST,
            path,
            Some(&claim),
        )
        .await
        .unwrap();
    }
    let mut given = BTreeSet::new();
    for (_, running) in all {
        let add = running.wait().await.expect(0);
        given.extend(addresses(&add.json()));
    }
    assert_eq!(given.len(), 8);
    for n in [2, 3, 5] {
        assert!(!given.contains(&format!("10.0.0.{n}/24")), "{given:?}");
    }
}

#[tokio::test]
async fn one_that_is_killed_while_it_is_served_leaves_nothing() {
    let node = Node::new().await;
    let mut all = node.start(6).await;
    let hold = Fault::Delay(Duration::from_secs(2));
    node.proxy.once(is_for_many, hold);
    let patch = node.patch_for_many().await;
    // Not the one that does it, which is the one whose attachment comes first.
    let last = (1..all.len())
        .max_by_key(|n| place(&patch, &all[*n].0))
        .unwrap();
    assert!(place(&patch, &all[last].0).is_some(), "{patch}");
    let (_, killed) = all.remove(last);
    killed.signal("KILL");
    killed.wait().await;
    node.finish(all).await;
    node.assert_nobody_waits();
}

/// Kills the one whose patch it is, which is the one whose attachment comes first; gives its name.
async fn kill_server(patch: &str, all: &mut Vec<(String, Running)>) -> String {
    let place = |n: &usize| place(patch, &all[*n].0).unwrap_or(usize::MAX);
    let first = (0..all.len()).min_by_key(place).unwrap();
    let (name, killed) = all.remove(first);
    killed.signal("KILL");
    killed.wait().await;
    name
}

#[tokio::test]
async fn where_other_nodes_are_one_looks_for_all_that_wait() {
    let node = Node::new().await;
    node.crowd();
    let hold = Fault::Delay(Duration::from_secs(3));
    node.proxy.once(is_for_many, hold);
    let all = node.start_within(6, Duration::from_millis(300)).await;
    node.finish(all).await;
    node.assert_nobody_waits();
    let log = node.proxy.log();
    let looks = log.iter().filter(|seen| seen.is("GET", "/ippools/"));
    // That of the first, and that of the one which served the others.
    assert_eq!(looks.count(), 2, "{log:#?}");
}

#[tokio::test]
async fn who_was_told_takes_nothing_from_the_container_after_it() {
    let node = Node::new().await;
    node.crowd();
    node.proxy.once(is_for_many, Fault::Hang);
    let mut all = node.start_within(6, Duration::from_millis(300)).await;
    let patch = node.patch_for_many().await;
    let last = (1..all.len()).max_by_key(|n| place(&patch, &all[*n].0));
    let last = last.map(|n| all[n].0.clone()).unwrap();
    // On another node, where nobody waits.
    let next = Network::new(&node.cluster, json!({"range": "10.0.0.0/24"}));
    let next = call("ADD", &next).container("next").pod("default", &last);
    let next = addresses(&next.run().await.expect(0).json());
    // By now all have looked, or know.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    kill_server(&patch, &mut all).await;
    for (name, running) in all {
        let add = running.wait().await;
        if name == last {
            let msg = add.expect(1).json()["msg"].as_str().unwrap().to_owned();
            assert!(msg.contains("since this call began"), "{msg}");
        } else {
            assert_ne!(addresses(&add.expect(0).json()), next);
        }
    }
    let recorded = entries(node.cluster.client(), "kube-system", POOL).await;
    let of_last = recorded.values().filter(|entry| {
        let podref = entry["podref"].as_str().unwrap();
        podref == format!("default/{last}")
    });
    let containers: Vec<&Value> = of_last.map(|entry| &entry["id"]).collect();
    assert_eq!(containers, [&json!("next")]);
}

#[tokio::test]
async fn those_whose_server_is_killed_are_served_by_the_next() {
    let node = Node::new().await;
    let mut all = node.start(6).await;
    node.proxy.once(is_for_many, Fault::Hang);
    let patch = node.patch_for_many().await;
    let name = kill_server(&patch, &mut all).await;
    let mut given = BTreeSet::new();
    for (_, running) in all {
        let add = running.wait().await.expect(0);
        given.extend(addresses(&add.json()));
    }
    assert_eq!(given.len(), 5);
    let recorded = entries(node.cluster.client(), "kube-system", POOL).await;
    assert!(
        recorded.values().all(|entry| entry["id"] != *name),
        "{recorded:#?}"
    );
    assert_eq!(recorded.len(), 5);
    // They use what was claimed for them, and the runtime calls DEL for the one that was killed.
    let del = call("DEL", &node.network).container(&name);
    del.pod("default", &name).run().await.expect(0);
    let claims = reservations(node.cluster.client()).await;
    let given = given.iter().map(|address| address.replace("/24", ""));
    let given = given.map(|address| format!("kube-system/{address}"));
    assert_eq!(claims, given.collect::<BTreeSet<_>>());
}
