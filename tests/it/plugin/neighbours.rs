//! The plugin beside others: the Go program, its custom resource definitions, and processes that die.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::call::{Network, addresses, call};
use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{Object, entries, pod, pool, reservation, reservations, send};
use crate::support::run::reconciler;

const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";

/// The definitions of the Go program: they know no `owner`, so the API server drops it.
async fn install_go_definitions(cluster: &Cluster) {
    let text = || json!({"type": "string"});
    let entry = json!({"type": "object", "required": ["id", "podref"],
        "properties": {"id": text(), "podref": text(), "ifname": text()}});
    let pool = json!({"type": "object", "required": ["allocations", "range"], "properties": {
        "range": text(), "allocations": {"type": "object", "additionalProperties": entry}}});
    let reservation = json!({"type": "object", "required": ["podref"],
        "properties": {"podref": text(), "ifname": text(), "containerid": text()}});
    for (plural, spec) in [
        ("ippools", pool),
        ("overlappingrangeipreservations", reservation),
    ] {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let versions = json!([{"name": "v1alpha1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}}]);
        let name = format!("{plural}.whereabouts.cni.cncf.io");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let current = send(cluster.client(), Method::GET, &path, None)
            .await
            .unwrap();
        let mut definition = current.clone();
        definition["spec"]["versions"] = versions;
        send(cluster.client(), Method::PUT, &path, Some(&definition))
            .await
            .unwrap();
    }
    // The API server takes a moment to serve the new schema.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn the_definitions_of_the_go_program_are_enough() {
    let cluster = Cluster::separate(&Options::default()).await;
    install_go_definitions(&cluster).await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let add = || call("ADD", &network).pod("default", "web");
    assert_eq!(
        addresses(&add().run().await.expect(0).json()),
        ["10.0.0.1/24"]
    );
    let entry = entries(cluster.client(), "kube-system", "10.0.0.0-24").await["1"].clone();
    assert_eq!(
        entry,
        json!({"id": "c1", "podref": "default/web", "ifname": "net1"})
    );
    let again = add().container("c2").run().await.expect(0);
    assert_eq!(addresses(&again.json()), ["10.0.0.1/24"]);
    let check = network.previous(&again.json());
    call("CHECK", &check).container("c2").run().await.expect(0);
    // Nothing names this node, so nothing is garbage.
    let valid = network.top(
        "cni.dev/valid-attachments",
        json!([{"containerID": "x", "ifname": "y"}]),
    );
    call("GC", &valid).run().await.expect(0);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
    call("DEL", &network).container("c2").run().await.expect(0);
    assert!(reservations(cluster.client()).await.is_empty());
    add().run().await.expect(0);
    pod("default", "bystander").create(cluster.client()).await;
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    assert!(
        entries(cluster.client(), "kube-system", "10.0.0.0-24")
            .await
            .is_empty()
    );
}

/// An ADD as the Go program makes it: the pool with a test on its version, then the reservation.
async fn go_add(client: &Client, podref: &str) -> String {
    let path = format!("{GROUP}/ippools/10.0.0.0-24");
    loop {
        let pool = send(client, Method::GET, &path, None).await.unwrap();
        let taken = pool["spec"]["allocations"].as_object().unwrap();
        let mut free = (1..255).filter(|offset| !taken.contains_key(&offset.to_string()));
        let address = loop {
            let offset = free.next().unwrap();
            let path = format!("{GROUP}/overlappingrangeipreservations/10.0.0.{offset}");
            if send(client, Method::GET, &path, None).await.is_err() {
                break offset;
            }
        };
        let entry = json!({"id": podref, "podref": podref, "ifname": "net1"});
        let key = format!("/spec/allocations/{address}");
        let version = &pool["metadata"]["resourceVersion"];
        let record = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "test", "path": key, "value": null}, {"op": "add", "path": key, "value": entry}]);
        let request =
            http::Request::patch(&path).header("content-type", "application/json-patch+json");
        let request = request.body(record.to_string().into_bytes()).unwrap();
        if client.request::<Value>(request).await.is_err() {
            continue;
        }
        let claim = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "OverlappingRangeIPReservation", "metadata": {"name": format!("10.0.0.{address}")},
            "spec": {"podref": podref, "ifname": "net1"}});
        let path = format!("{GROUP}/overlappingrangeipreservations");
        if send(client, Method::POST, &path, Some(&claim))
            .await
            .is_ok()
        {
            return format!("10.0.0.{address}");
        }
        // The Go program fails here, and its DEL removes the entry again.
        let undo = json!({"spec": {"allocations": {(address.to_string()): null}}});
        let pool = format!("{GROUP}/ippools/10.0.0.0-24");
        send(client, Method::PATCH, &pool, Some(&undo))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn beside_the_go_program_no_address_has_two_owners_and_no_entry_is_lost() {
    let cluster = Cluster::lock().await;
    pool("kube-system", "10.0.0.0/24")
        .create(cluster.client())
        .await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let ours = (0..20).map(|n| {
        call("ADD", &network)
            .container(&format!("c{n}"))
            .pod("default", &format!("ours-{n}"))
            .spawn()
    });
    let ours: Vec<_> = ours.collect();
    let theirs = (0..5).map(|n| {
        let client = cluster.client().clone();
        tokio::spawn(async move {
            let mut given = Vec::new();
            for m in 0..3 {
                let podref = format!("default/theirs-{n}-{m}");
                given.push((go_add(&client, &podref).await, podref));
            }
            given
        })
    });
    let theirs: Vec<_> = theirs.collect();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (n, running) in ours.into_iter().enumerate() {
        let given = addresses(&running.wait().await.expect(0).json()).remove(0);
        let given = given.trim_end_matches("/24").to_owned();
        assert_eq!(owners.insert(given, format!("default/ours-{n}")), None);
    }
    for running in theirs {
        for (given, podref) in running.await.unwrap() {
            assert_eq!(owners.insert(given, podref), None);
        }
    }
    let recorded = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    let recorded: BTreeMap<String, String> = recorded
        .into_iter()
        .map(|(key, entry)| {
            (
                format!("10.0.0.{key}"),
                entry["podref"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(recorded, owners);
    let reserved = reservations(cluster.client()).await;
    assert!(
        owners
            .keys()
            .all(|address| reserved.contains(&format!("kube-system/{address}")))
    );
}

#[tokio::test]
async fn processes_that_are_killed_leave_only_what_the_reconciler_frees() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let mut given = Vec::new();
    for round in 0..6u64 {
        let running: Vec<_> = (0..10)
            .map(|n| {
                let id = format!("c{round}-{n}");
                (
                    n,
                    call("ADD", &network)
                        .container(&id)
                        .pod("default", &format!("web-{round}-{n}"))
                        .spawn(),
                )
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20 * (round + 1))).await;
        for (n, running) in running {
            if n % 2 == 0 {
                running.signal_if_running("KILL");
                running.wait().await;
            } else {
                let add = running.wait().await.expect(0);
                let name = format!("web-{round}-{n}");
                let address = addresses(&add.json())
                    .remove(0)
                    .trim_end_matches("/24")
                    .to_owned();
                pod("default", &name)
                    .shows("net1", &[&address])
                    .create(cluster.client())
                    .await;
                given.push((address, format!("default/{name}")));
            }
        }
    }
    let args = ["--settle", "100ms", "--force"];
    reconciler(cluster.kubeconfig())
        .args(args)
        .output()
        .await
        .expect(0);
    let recorded = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    let mut recorded: Vec<(String, String)> = recorded
        .into_iter()
        .map(|(key, entry)| {
            (
                format!("10.0.0.{key}"),
                entry["podref"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    recorded.sort();
    given.sort();
    assert_eq!(recorded, given);
    assert_eq!(reservations(cluster.client()).await.len(), given.len());
}

#[tokio::test]
async fn a_late_del_leaves_what_the_go_program_has_taken_over() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let add = call("ADD", &network).pod("default", "db-0");
    add.run().await.expect(0);
    // On another node the Go program adds the pod's next container: it rewrites the id alone.
    let path = format!("{GROUP}/ippools/10.0.0.0-24");
    let taken = json!({"spec": {"allocations": {"1": {"id": "c2"}}}});
    send(client, Method::PATCH, &path, Some(&taken))
        .await
        .unwrap();
    for _ in 0..2 {
        call("DEL", &network).run().await.expect(0);
    }
    let entry = entries(client, "kube-system", "10.0.0.0-24").await["1"].clone();
    assert_eq!(entry["id"], "c2");
    assert_eq!(reservations(client).await.len(), 1);
}

#[tokio::test]
async fn an_entry_whose_address_another_pod_has_claimed_is_given_up() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    // The Go program can leave an entry without its reservation, and another range takes the address.
    let pool = pool("kube-system", "10.0.0.0/24");
    pool.entry(1, "default/web", "net1", "old")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/other")
        .create(client)
        .await;
    let network = Network::new(
        &cluster,
        json!({"range": "10.0.0.0/24", "add_timeout": "20s"}),
    );
    let add = call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&add.json()), ["10.0.0.2/24"]);
}

#[tokio::test]
async fn gc_takes_nothing_of_which_nobody_says_whose_network_it_is() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let valid = json!([{"containerID": "other", "ifname": "net1"}]);
    // Two networks share a pool, and no reservation says whose an address is.
    let lan = Network::new(
        &cluster,
        json!({"range": "10.0.0.0/24", "enable_overlapping_ranges": false}),
    );
    let wan = lan.top("name", json!("wan"));
    let add = call("ADD", &wan).pod("default", "web").run().await;
    add.expect(0);
    // The Go program's reservation says nothing of it either.
    let owner = json!({"id": "c-go", "nodename": "node-a"});
    let entry = json!({"id": "c-go", "podref": "default/go", "ifname": "net1", "owner": owner});
    let pool = pool("kube-system", "10.1.0.0/24");
    pool.raw_entry("7", entry).create(client).await;
    let reserved = reservation("kube-system", "10.1.0.7", "default/go").ifname("net1");
    reserved.create(client).await;
    let go = Network::new(&cluster, json!({"range": "10.1.0.0/24"}));
    for network in [&lan, &wan, &go] {
        let gc = call(
            "GC",
            &network.top("cni.dev/valid-attachments", valid.clone()),
        );
        gc.run().await.expect(0);
    }
    for pool in ["10.0.0.0-24", "10.1.0.0-24"] {
        assert_eq!(
            entries(client, "kube-system", pool).await.len(),
            1,
            "{pool}"
        );
    }
    assert_eq!(reservations(client).await.len(), 1);
}

#[tokio::test]
async fn a_repaired_entry_without_a_container_stays_until_its_pod_takes_it_over() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let owner = json!({"id": "", "poduid": "uid-web", "nodename": "node-a"});
    let entry = json!({"id": "", "podref": "default/web", "ifname": "net1", "owner": owner});
    let pool = pool("kube-system", "10.0.0.0/24");
    pool.raw_entry("7", entry.clone()).create(client).await;
    let reserved = reservation("kube-system", "10.0.0.7", "default/web").ifname("net1");
    reserved.container("").create(client).await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let valid = json!([{"containerID": "other", "ifname": "net1"}]);
    let collecting = network.top("cni.dev/valid-attachments", valid);
    call("GC", &collecting).run().await.expect(0);
    call("DEL", &network)
        .container("other")
        .run()
        .await
        .expect(0);
    assert_eq!(
        entries(client, "kube-system", "10.0.0.0-24").await["7"],
        entry
    );
    assert_eq!(reservations(client).await.len(), 1);
    let add = call("ADD", &network).pod("default", "web").run().await;
    assert_eq!(addresses(&add.expect(0).json()), ["10.0.0.7/24"]);
    call("DEL", &network).run().await.expect(0);
    assert!(
        entries(client, "kube-system", "10.0.0.0-24")
            .await
            .is_empty()
    );
    assert!(reservations(client).await.is_empty());
}
