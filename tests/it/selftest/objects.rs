//! The builders make what the CNI plugin, Multus and the kubelet would have made.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, create_all, delete_pod_now, entries, pod, pool, reservation, reservations, send,
};

/// The pod as the server has it.
async fn read_pod(cluster: &Cluster, path: &str) -> Value {
    let (namespace, name) = path.split_once('/').unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    send(cluster.client(), Method::GET, &path, None)
        .await
        .unwrap()
}

#[tokio::test]
async fn pools_have_the_names_and_entries_of_the_cni_plugin() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let one = pool("kube-system", "10.0.0.0/24")
        .network("net-a")
        .annotation("example.invalid/a", "b")
        .entry(5, "default/web-0", "net1", "container")
        .raw_entry("x", json!({"id": "", "podref": "default/web-1"}));
    assert_eq!(one.object_name(), "net-a-10.0.0.0-24");
    assert_eq!(pool("kube-system", "fd00::/64").object_name(), "fd00---64");
    one.create(client).await;
    pool("kube-system", "10.0.1.0/24")
        .name("other")
        .create(client)
        .await;

    let expected = BTreeMap::from([
        (
            "5".to_owned(),
            json!({"id": "container", "podref": "default/web-0", "ifname": "net1"}),
        ),
        ("x".to_owned(), json!({"id": "", "podref": "default/web-1"})),
    ]);
    assert_eq!(
        entries(client, "kube-system", "net-a-10.0.0.0-24").await,
        expected
    );
    assert!(entries(client, "kube-system", "other").await.is_empty());
    let range = "--output=jsonpath={.metadata.annotations.example\\.invalid/a} {.spec.range}";
    let get = [
        "get",
        "ippool",
        "--namespace=kube-system",
        "net-a-10.0.0.0-24",
        range,
    ];
    assert_eq!(cluster.kubectl(&get), "b 10.0.0.0/24");
}

#[tokio::test]
async fn reservations_have_the_names_of_the_cni_plugin() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    reservation("kube-system", "10.0.0.5", "default/web-0")
        .create(client)
        .await;
    reservation("kube-system", "fd00::", "default/web-0")
        .network("net-a")
        .ifname("net1")
        .container("abc")
        .annotation("example.invalid/a", "b")
        .create(client)
        .await;
    reservation("tenant-a", "10.0.0.6", "default/web-0")
        .name("no-address")
        .create(client)
        .await;
    let expected = [
        "kube-system/10.0.0.5",
        "kube-system/net-a-fd00--0",
        "tenant-a/no-address",
    ];
    assert!(reservations(client).await.iter().eq(expected.iter()));
    let fields = "--output=jsonpath={.spec} {.metadata.annotations.example\\.invalid/a}";
    let kind = "overlappingrangeipreservation";
    let get = [
        "get",
        kind,
        "--namespace=kube-system",
        "net-a-fd00--0",
        fields,
    ];
    let spec = r#"{"containerid":"abc","ifname":"net1","podref":"default/web-0"} b"#;
    assert_eq!(cluster.kubectl(&get), spec);
}

#[tokio::test]
async fn pods_show_their_networks_as_multus_does() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pod("default", "new")
        .shows("net1", &["10.0.0.5", "fd00::5"])
        .shows("net2", &["10.0.1.5"])
        .annotation("example.invalid/a", "b")
        .label("app", "web")
        .create(client)
        .await;
    pod("default", "old")
        .old_status_key()
        .shows("net1", &["10.0.0.6"])
        .create(client)
        .await;
    pod("default", "broken")
        .status_annotation("[{")
        .create(client)
        .await;

    let new = read_pod(&cluster, "default/new").await;
    let annotations = &new["metadata"]["annotations"];
    let text = annotations["k8s.v1.cni.cncf.io/network-status"]
        .as_str()
        .unwrap();
    let networks: Vec<Value> = serde_json::from_str(text).unwrap();
    let interfaces: Vec<_> = networks
        .iter()
        .map(|network| &network["interface"])
        .collect();
    assert_eq!(interfaces, ["eth0", "net1", "net2"]);
    assert_eq!(networks[0]["default"], true);
    assert_eq!(networks[1]["name"], "default/net1");
    assert_eq!(networks[1]["ips"], json!(["10.0.0.5", "fd00::5"]));
    assert_eq!(annotations["example.invalid/a"], "b");
    assert_eq!(new["metadata"]["labels"], json!({"app": "web"}));

    let old = read_pod(&cluster, "default/old").await;
    let keys: Vec<_> = old["metadata"]["annotations"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(keys, ["k8s.v1.cni.cncf.io/networks-status"]);
    let broken = read_pod(&cluster, "default/broken").await;
    let text = &broken["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
    assert_eq!(text, "[{");
}

#[tokio::test]
async fn pods_are_in_the_state_asked_for() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pod("default", "pending").create(client).await;
    pod("default", "done")
        .node("node-b")
        .phase("Succeeded")
        .create(client)
        .await;
    pod("default", "going")
        .terminating()
        .phase("Running")
        .create(client)
        .await;
    pod("default", "ended")
        .terminating()
        .phase("Failed")
        .create(client)
        .await;
    pod("default", "gone").node("node-a").create(client).await;
    delete_pod_now(client, "default", "gone").await;

    let columns = "--output=custom-columns=:metadata.name,:spec.nodeName,:status.phase,\
                   :metadata.deletionGracePeriodSeconds";
    let table = cluster.kubectl(&["get", "pods", columns, "--no-headers"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["done", "node-b", "Succeeded", "<none>"],
            ["ended", "node-a", "Failed", "3600"],
            ["going", "node-a", "Running", "3600"],
            ["pending", "<none>", "Pending", "<none>"],
        ]
    );
}

#[tokio::test]
async fn many_objects_are_created_and_wiped() {
    let cluster = Cluster::lock().await;
    let pods = (0..300).map(|n| pod("tenant-a", &format!("web-{n}")).shows("net1", &["10.0.0.5"]));
    create_all(cluster.client(), pods, 32).await;
    let names = cluster.kubectl(&["get", "pods", "--namespace=tenant-a", "--output=name"]);
    assert_eq!(names.lines().count(), 300);
    drop(cluster);
    let cluster = Cluster::lock().await;
    assert_eq!(
        cluster.kubectl(&["get", "pods", "--namespace=tenant-a", "--output=name"]),
        ""
    );
}
