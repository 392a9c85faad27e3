//! Every test gets an empty cluster with access control, whatever the test before did.

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, client_for};
use crate::support::objects::{Object, pod, pool, reservation, reservations, send};

/// The HTTP code of the answer to listing all pods with `token`.
async fn code_for(cluster: &Cluster, token: &str) -> u16 {
    let client = client_for(&cluster.kubeconfig_for(token, &cluster.url())).await;
    let pods: Api<Pod> = Api::all(client);
    match pods.list(&ListParams::default()).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn access_control_is_on() {
    let cluster = Cluster::lock().await;
    let account = cluster
        .service_account_token("kube-system", "selftest")
        .await;
    assert_eq!(code_for(&cluster, &account).await, 403);
    assert_eq!(code_for(&cluster, "not-a-token").await, 401);
    assert_eq!(code_for(&cluster, cluster.token()).await, 200);
    let again = cluster
        .service_account_token("kube-system", "selftest")
        .await;
    assert_eq!(code_for(&cluster, &again).await, 403);
}

#[tokio::test]
async fn what_a_test_leaves_is_gone_for_the_next() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    cluster.namespace("selftest").await;
    for namespace in ["default", "tenant-a", "tenant-b", "selftest"] {
        pod(namespace, "plain").create(client).await;
        pod(namespace, "going")
            .phase("Running")
            .terminating()
            .create(client)
            .await;
        pool(namespace, "10.0.0.0/24").create(client).await;
        reservation(namespace, "10.0.0.5", "default/web-0")
            .create(client)
            .await;
    }
    let held = json!({"metadata": {"finalizers": ["example.invalid/held"]}});
    for path in [
        "/api/v1/namespaces/tenant-a/pods/plain",
        "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/tenant-b/ippools/10.0.0.0-24",
    ] {
        send(client, Method::PATCH, path, Some(&held))
            .await
            .unwrap();
    }
    let node = json!({"metadata": {"name": "node-a"}});
    send(client, Method::POST, "/api/v1/nodes", Some(&node))
        .await
        .unwrap();
    drop(cluster);

    let cluster = Cluster::lock().await;
    let kinds = "pods,nodes,ippools,overlappingrangeipreservations,nodeslicepools";
    let left = cluster.kubectl(&["get", kinds, "--all-namespaces", "--output=json"]);
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["items"], json!([]));
    assert!(reservations(cluster.client()).await.is_empty());
}

#[tokio::test]
async fn a_test_that_panics_leaves_the_cluster_usable() {
    let panicking = tokio::spawn(async {
        let cluster = Cluster::lock().await;
        pod("default", "left").create(cluster.client()).await;
        panic!("this panic is part of the test");
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let cluster = Cluster::lock().await;
    assert_eq!(cluster.kubectl(&["get", "pods", "--output=name"]), "");
}

#[tokio::test]
#[should_panic(expected = "kubectl get no-such-kind: error: the server doesn't have")]
async fn a_failure_of_kubectl_fails_the_test_with_its_message() {
    Cluster::lock().await.kubectl(&["get", "no-such-kind"]);
}

#[tokio::test]
async fn files_of_a_test_go_with_the_control_plane() {
    let cluster = Cluster::lock().await;
    let (one, two) = (cluster.file("one"), cluster.file("two"));
    assert_ne!(one, two);
    assert!(one.starts_with(cluster.kubeconfig().parent().unwrap()));
    assert_eq!(std::fs::read_to_string(one).unwrap(), "one");
    assert_eq!(
        std::fs::read_to_string(cluster.ca_file()).unwrap(),
        cluster.ca()
    );
}
