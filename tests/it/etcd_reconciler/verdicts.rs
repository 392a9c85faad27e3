//! What is judged, and how.

use serde_json::json;

use super::{add, all, call, key, keys, network, pod, put, records, run, value};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, node};

#[tokio::test]
async fn what_no_pod_of_kubernetes_has_is_never_freed() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    let bare = call("ADD", &lan).env("CNI_ARGS", "K8S_POD_NAME=web");
    bare.run().await.expect(0);
    let none = call("ADD", &lan).container("c2").env("CNI_ARGS", "");
    let none = none.run().await;
    let before = all(&etcd).await;
    let kept = run(&cluster, &etcd).args(["--force"]).output().await;
    let kept = kept.expect(0);
    let rows = records(&kept);
    assert!(!rows.is_empty() && none.code.is_some(), "{kept:#?}");
    assert!(
        rows.iter().all(|(_, verdict, _)| verdict == "Unowned"),
        "{kept:#?}"
    );
    assert_eq!(all(&etcd).await, before);
    // A person may, who knows better.
    let freed = run(&cluster, &etcd).args(["release", "10.0.0.1", "--yes"]);
    freed.output().await.expect(0);
    assert!(!keys(&etcd).await.contains(&key("10.0.0.1")));
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_kept() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let whole = value(&etcd, &key("10.0.0.1")).await.unwrap();
    let of_gone = |range: &str| whole.replace("10.0.0.0/24", range);
    let ranges = "/whereabouts/v1/ranges/-";
    for (key, value) in [
        (key("10.0.0.7"), "10.0.0.7 c7 default/gone".to_owned()),
        (key("10.0.0.8"), whole.replace('}', "")),
        (key("10.0.0.9"), of_gone("10.9.0.0/24")),
        (key("10.0.0.10"), of_gone("everything")),
        (key("192.168.0.1"), "{}".to_owned()),
        (
            format!("{ranges}/10.1.0.0-24/{:032x}", 0xffff_0a01_0001_u64),
            of_gone("10.1.0.0/25"),
        ),
        (
            "/whereabouts/v1/networks/-/10.0.0.11".to_owned(),
            whole.clone(),
        ),
    ] {
        put(&etcd, &key, &value).await;
    }
    let before = all(&etcd).await;
    let explained = async || {
        let explain = run(&cluster, &etcd).args(["explain", "10.0.0.7"]);
        let explained = explain.output().await.expect(0);
        assert!(
            explained.stdout.contains("Malformed: key"),
            "{explained:#?}"
        );
    };
    explained().await;
    let kept = run(&cluster, &etcd).args(["--force"]).output().await;
    let kept = kept.expect(0);
    let said = kept.json();
    let summary = &said["summary"];
    assert_eq!(
        summary["verdicts"],
        json!({"Malformed": 7, "PodGone": 1}),
        "{kept:#?}"
    );
    assert_eq!(summary["released"], 1);
    let reasons = said["records"].to_string() + &said["findings"].to_string();
    for part in [
        key("10.0.0.7"),
        "10.0.0.9 is not in its range 10.9.0.0/24".to_owned(),
        "everything".to_owned(),
        "its range 10.1.0.0/25 is not that of its key".to_owned(),
        "these keys name no address".to_owned(),
    ] {
        assert!(reasons.contains(&part), "{part}: {kept:#?}");
    }
    let gone: Vec<_> = before
        .iter()
        .filter(|(key, _)| !key.contains("c-gone") && !key.contains("/gone/"))
        .collect();
    let after = all(&etcd).await;
    assert_eq!(after.len(), gone.len() - 1);
    assert!(!after.iter().any(|(it, _)| *it == key("10.0.0.1")));
    // Nothing says now of which range it is.
    explained().await;
}

#[tokio::test]
async fn a_cluster_with_both_datastores_has_each_cleaned_by_its_own_run() {
    use crate::support::objects::{entries, pool, send};
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/old", "net1", "c-old")
        .create(client)
        .await;
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    pod("default", "bystander").create(client).await;
    // Tests before this one may have left some.
    let path = "/api/v1/namespaces/kube-system/events";
    let events =
        async || send(client, http::Method::GET, path, None).await.unwrap()["items"].clone();
    let before = events().await;
    let of_etcd = run(&cluster, &etcd).output().await.expect(0);
    assert_eq!(of_etcd.json()["summary"]["released"], 1);
    assert_eq!(keys(&etcd).await, Vec::<String>::new());
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 1);
    // No event, no annotation, nothing.
    assert_eq!(events().await, before);
}

#[tokio::test]
async fn definitions_say_which_datastore_a_network_has() {
    use crate::audit::definitions::{define, with_multus};
    use crate::support::objects::pool;
    let (cluster, etcd) = (with_multus().await, Etcd::start());
    let client = cluster.client();
    let of_etcd = json!({"type": "whereabouts", "datastore": "etcd", "range": "10.0.0.0/24"});
    define(&cluster, "net1", &of_etcd).await;
    let of_kubernetes =
        json!({"type": "whereabouts", "datastore": "kubernetes", "range": "10.0.0.0/24"});
    define(&cluster, "net2", &of_kubernetes).await;
    let in_pool = pool("kube-system", "10.0.0.0/24").entry(2, "default/two", "net2", "c");
    in_pool.create(client).await;
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    assert_eq!(add(&lan, "default", "one").await, "10.0.0.1");
    node("node-ready").create(client).await;
    // Each has its address from its own datastore, and nothing records the other ones'.
    for (name, interface, address) in [
        ("one", "net1", "10.0.0.1"),
        ("two", "net2", "10.0.0.2"),
        ("lost-one", "net1", "10.0.0.8"),
        ("lost-two", "net2", "10.0.0.9"),
    ] {
        let shown = pod("default", name).shows(interface, &[address]);
        shown
            .node("node-ready")
            .phase("Running")
            .create(client)
            .await;
    }
    let unrecorded = |run: &crate::support::run::Outcome| {
        let said = run.json();
        let found = said["findings"].as_array().unwrap().iter();
        let found = found.filter(|it| it["kind"] == "Unrecorded");
        let found = found.map(|it| it["address"].as_str().unwrap().to_owned());
        found.collect::<Vec<_>>()
    };
    let seen = run(&cluster, &etcd)
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    assert_eq!(unrecorded(&seen), ["10.0.0.8"], "{seen:#?}");
    let seen = crate::support::run::reconciler(cluster.kubeconfig());
    let seen = seen
        .args(["--dry-run", "-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(unrecorded(&seen), ["10.0.0.9"], "{seen:#?}");
}
