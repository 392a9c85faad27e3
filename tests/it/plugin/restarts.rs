//! A pod of a `StatefulSet` starts again under its old name while the reconciler frees what the
//! container before it held.

use serde_json::json;

use super::call::{Network, addresses, call};
use super::keys;
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, reservations};
use crate::support::proxy::Proxy;
use crate::support::run::reconciler;

/// Runs the reconciler with a new ADD of the pod before its request that matches.
async fn add_before(method: &'static str, path: &'static str) {
    let cluster = Cluster::lock().await;
    pod("default", "bystander").create(cluster.client()).await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let add = call("ADD", &network).pod("default", "db-0").uid("old");
    add.run().await.expect(0);

    let proxy = Proxy::start(&cluster).await;
    let client = cluster.client().clone();
    let again = network.clone();
    proxy.before(move |seen| seen.is(method, path), async move {
        let add = call("ADD", &again).container("c2");
        let add = add.pod("default", "db-0").uid("new").run().await.expect(0);
        let given = addresses(&add.json()).remove(0);
        assert_eq!(given, "10.0.0.1/24");
        let given = given.trim_end_matches("/24");
        pod("default", "db-0")
            .shows("net1", &[given])
            .create(&client)
            .await;
    });
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    reconciler(&kubeconfig)
        .args(["--settle", "100ms"])
        .output()
        .await
        .expect(0);

    let entry = entries(cluster.client(), "kube-system", "10.0.0.0-24").await["1"].clone();
    assert_eq!(entry["id"], "c2", "{method} {path}");
    let left: Vec<String> = reservations(cluster.client()).await.into_iter().collect();
    assert_eq!(left, ["kube-system/10.0.0.1"], "{method} {path}");
    let check =
        network.previous(&json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/24"}]}));
    call("CHECK", &check).container("c2").run().await.expect(0);
    // The old container's DEL may still come.
    call("DEL", &network).run().await.expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1]);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn before_the_pods_are_read() {
    add_before("GET", "/api/v1/pods").await;
}

#[tokio::test]
async fn before_the_entry_is_taken_out() {
    add_before("PATCH", "/ippools/").await;
}

#[tokio::test]
async fn before_the_reservation_is_deleted() {
    add_before("DELETE", "/overlappingrangeipreservations/").await;
}

#[tokio::test]
async fn before_the_pool_is_looked_at_once_more() {
    let cluster = Cluster::lock().await;
    pod("default", "bystander").create(cluster.client()).await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let again = network.clone();
    call("ADD", &network)
        .pod("default", "db-0")
        .run()
        .await
        .expect(0);
    let proxy = Proxy::start(&cluster).await;
    proxy.after(
        |seen| seen.is("DELETE", "/overlappingrangeipreservations/"),
        async move {
            let add = call("ADD", &again).container("c2").pod("default", "db-0");
            add.run().await.expect(0);
        },
    );
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    reconciler(&kubeconfig).output().await.expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1]);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}
