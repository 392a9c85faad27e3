//! Whose an address is: pods that have it already, and callers without Kubernetes.

use serde_json::json;

use super::call::{Network, addresses, call};
use super::{assert_nothing_left, keys};
use crate::support::cluster::Cluster;

#[tokio::test]
async fn containers_that_no_pod_could_be_named_after_are_served_as_well() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    for args in [
        // As podman says it.
        "IgnoreUnknown=1;K8S_POD_NAME=my_container",
        "K8S_POD_NAMESPACE=Default;K8S_POD_NAME=Web_0",
    ] {
        let add = || call("ADD", &network).env("CNI_ARGS", args);
        let first = add().run().await.expect(0).json();
        assert_eq!(addresses(&first), ["10.0.0.1/24"], "{args}");
        let again = add().container("c2").run().await.expect(0).json();
        assert_eq!(addresses(&again), ["10.0.0.1/24"], "{args}");
        let check = call("CHECK", &network.previous(&again)).container("c2");
        check.env("CNI_ARGS", args).run().await.expect(0);
        assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1], "{args}");
        call("DEL", &network).container("c2").run().await.expect(0);
        assert_nothing_left(&cluster, "10.0.0.0-24").await;
    }
}

#[tokio::test]
async fn parts_of_one_range_keep_their_addresses_when_they_overlap() {
    let cluster = Cluster::lock().await;
    let ranges = json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "10.0.0.10-10.0.0.20/24"},
        {"range": "10.0.0.0/24"}]});
    let network = Network::new(&cluster, ranges);
    let given = ["10.0.0.1/24", "10.0.0.10/24", "10.0.0.2/24"];
    // Entries of a pool have no order of their own: once would be chance.
    for n in 0..8 {
        let add = call("ADD", &network).container(&format!("c{n}"));
        let add = add.pod("default", "web").run().await.expect(0);
        assert_eq!(addresses(&add.json()), given);
    }
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 2, 10]);
}
