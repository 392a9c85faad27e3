//! Ranges that are cut into slices, one for each node.

use serde_json::{Value, json};

use super::call::{Network, addresses, call};
use super::keys;
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, reservations, send};
use crate::support::run::reconciler;

const SLICES: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/nodeslicepools";

async fn cut(cluster: &Cluster, name: &str, slices: &[(&str, &str)]) {
    let slices: Vec<Value> = slices
        .iter()
        .map(|(node, range)| json!({"nodeName": node, "sliceRange": range}))
        .collect();
    let pool = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "NodeSlicePool",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"range": "10.0.0.0/16", "sliceSize": "/28"}, "status": {"allocations": slices}});
    let created = send(cluster.client(), http::Method::POST, SLICES, Some(&pool));
    created.await.unwrap();
}

#[tokio::test]
async fn each_node_allocates_from_its_slice() {
    let cluster = Cluster::lock().await;
    let slices = [
        ("node-b", "10.0.0.0/28"),
        ("node-a", "10.0.0.16/28"),
        ("", "10.0.0.32/28"),
    ];
    // Named after the network, as there is no `network_name`.
    cut(&cluster, "lan", &slices).await;
    let ipam = json!({"range": "10.0.0.0/16", "node_slice_size": "/28", "exclude": ["10.0.0.17"],
        "ipRanges": [{"range": "fd00::/64"}]});
    let network = Network::new(&cluster, ipam);
    let add = call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    // With the prefix length of the whole range, and what is excluded stays so.
    assert_eq!(addresses(&add.json()), ["10.0.0.18/16", "fd00::1/64"]);
    assert_eq!(keys(&cluster, "node-a-10.0.0.16-28").await, [2]);
    assert_eq!(keys(&cluster, "fd00---64").await, [1]);
    let other = call("ADD", &network)
        .container("c2")
        .env("NODENAME", "node-b");
    let other = other.pod("default", "db").run().await.expect(0);
    assert_eq!(addresses(&other.json()), ["10.0.0.1/16", "fd00::2/64"]);

    let previous = network.previous(&add.json());
    call("CHECK", &previous).run().await.expect(0);
    call("STATUS", &network).run().await.expect(0);
    // The reconciler finds entry and reservation of a slice to belong together.
    pod("default", "db")
        .shows("net1", &["10.0.0.1", "fd00::2"])
        .create(cluster.client())
        .await;
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    assert!(keys(&cluster, "node-a-10.0.0.16-28").await.is_empty());
    assert_eq!(keys(&cluster, "node-b-10.0.0.0-28").await, [1]);
    assert_eq!(reservations(cluster.client()).await.len(), 2);
    call("DEL", &network)
        .container("c2")
        .env("NODENAME", "node-b")
        .run()
        .await
        .expect(0);
    assert!(
        entries(cluster.client(), "kube-system", "node-b-10.0.0.0-28")
            .await
            .is_empty()
    );
    assert!(reservations(cluster.client()).await.is_empty());
}

#[tokio::test]
async fn a_full_slice_is_full_however_wide_the_range() {
    let cluster = Cluster::lock().await;
    cut(&cluster, "blue", &[("node-a", "10.0.0.16/30")]).await;
    let ipam = json!({"range": "10.0.0.0/16", "node_slice_size": "30", "network_name": "blue"});
    let network = Network::new(&cluster, ipam);
    for container in ["c1", "c2"] {
        let add = call("ADD", &network).container(container);
        add.pod("default", container).run().await.expect(0);
    }
    assert_eq!(keys(&cluster, "blue-node-a-10.0.0.16-30").await, [1, 2]);
    let add = call("ADD", &network).container("c3").pod("default", "c3");
    let add = add.run().await.expect(1).json();
    assert!(
        add["msg"].as_str().unwrap().contains("range: 10.0.0.16/30"),
        "{add}"
    );
    assert_eq!(
        call("STATUS", &network).run().await.expect(1).json()["code"],
        50
    );
}

#[tokio::test]
async fn a_node_without_a_slice_gets_nothing_and_can_still_take_back() {
    let cluster = Cluster::lock().await;
    let ipam = json!({"range": "10.0.0.0/16", "node_slice_size": "/28", "network_name": "blue"});
    let network = Network::new(&cluster, ipam);
    let refused = async |said: &str| {
        let add = call("ADD", &network)
            .pod("default", "web")
            .run()
            .await
            .expect(1)
            .json();
        let msg = add["msg"].as_str().unwrap().to_owned();
        assert_eq!(
            msg,
            format!("error at storage engine: NodeSlicePool kube-system/blue: {said}")
        );
        assert_eq!(
            call("STATUS", &network).run().await.expect(1).json()["code"],
            50
        );
        call("DEL", &network).run().await.expect(0);
    };
    refused("there is no such NodeSlicePool").await;
    cut(&cluster, "blue", &[("node-b", "10.0.0.0/28")]).await;
    refused("it has no slice for node node-a").await;
    cluster.kubectl(&["-n", "kube-system", "delete", "nodeslicepool", "blue"]);
    cut(
        &cluster,
        "blue",
        &[("node-a", "10.9.0.0/28"), ("node-b", "10.0.0.0/28")],
    )
    .await;
    refused("slice 10.9.0.0/28 of node node-a is not in 10.0.0.0/16").await;
    cluster.kubectl(&["-n", "kube-system", "delete", "nodeslicepool", "blue"]);
    cut(&cluster, "blue", &[("node-a", "nonsense")]).await;
    let range = "range \"nonsense\" is not an address and a prefix length, such as 10.0.0.0/24 or fd00::/64";
    refused(range).await;
}

#[tokio::test]
async fn what_a_container_has_of_other_ranges_is_taken_back_without_a_slice() {
    let cluster = Cluster::lock().await;
    cut(&cluster, "lan", &[("node-a", "10.0.0.16/28")]).await;
    let ipam = json!({"range": "10.0.0.0/16", "node_slice_size": "/28",
        "ipRanges": [{"range": "fd00::/64"}]});
    let network = Network::new(&cluster, ipam);
    let add = call("ADD", &network).pod("default", "web");
    add.run().await.expect(0);
    cluster.kubectl(&["-n", "kube-system", "delete", "nodeslicepool", "lan"]);
    call("DEL", &network).run().await.expect(0);
    assert!(keys(&cluster, "fd00---64").await.is_empty());
    assert_eq!(keys(&cluster, "node-a-10.0.0.16-28").await, [1]);
}
