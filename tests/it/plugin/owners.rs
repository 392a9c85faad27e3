//! Whose an address is: pods that have it already, and callers without Kubernetes.

use serde_json::json;

use super::call::{Network, addresses, call};
use super::{assert_nothing_left, keys};
use crate::support::cluster::Cluster;
use crate::support::objects::{entries, reservations};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::Running;

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

#[tokio::test]
async fn a_repeated_add_that_fails_frees_nothing_of_the_container_that_runs() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let ranges = json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}]});
    let network = Network::through(&proxy, &cluster, ranges);
    let add = || call("ADD", &network).pod("default", "web");
    add().run().await.expect(0);
    proxy.rule(|seen| {
        let is_second = seen.path.contains("/ippools/fd00");
        is_second.then_some(Fault::Status(500, "InternalError"))
    });
    add().run().await.expect(1);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1]);
    assert_eq!(reservations(cluster.client()).await.len(), 2);
    // Another container's first range is given back.
    let other = call("ADD", &network).container("c2").pod("default", "api");
    other.run().await.expect(1);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1]);
}

#[tokio::test]
async fn an_add_whose_time_is_over_gives_back_what_it_had_from_other_ranges() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let ranges = json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}],
        "add_timeout": "2s"});
    let network = Network::through(&proxy, &cluster, ranges);
    proxy.rule(|seen| seen.path.contains("/ippools/fd00").then_some(Fault::Hang));
    let add = call("ADD", &network).pod("default", "web");
    add.run().await.expect(1);
    assert_nothing_left(&cluster, "10.0.0.0-24").await;
}

#[tokio::test]
async fn an_add_that_waited_for_its_turn_takes_nothing_from_the_container_after_it() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    call("STATUS", &network).run().await.expect(0);
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("kube-system.10.0.0.0-24.lock");
    let lock = std::fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    let proxy = Proxy::start(&cluster).await;
    let (reached, waits) = tokio::sync::oneshot::channel();
    let is_look = |seen: &Seen| seen.is("GET", "/ippools/");
    proxy.after(is_look, async move { reached.send(()).unwrap() });
    let late = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
    let late = late.with("lock_dir", json!(folder.path()));
    let late = call("ADD", &late).pod("default", "web").spawn();
    waits.await.unwrap();
    next_container(&network).await;
    lock.unlock().unwrap();
    stays_without(&cluster, &network, late).await;
}

/// The runtime gives up on the pod's container, and its next one gets the address.
async fn next_container(network: &Network) {
    call("DEL", network).run().await.expect(0);
    let next = call("ADD", network).container("c2").pod("default", "web");
    let next = next.run().await.expect(0);
    assert_eq!(addresses(&next.json()), ["10.0.0.1/24"]);
}

/// The late ADD fails, and another DEL of its container frees nothing.
async fn stays_without(cluster: &Cluster, network: &Network, late: Running) {
    let late = late.wait().await.expect(1).json();
    let msg = late["msg"].as_str().unwrap();
    assert!(msg.contains("since this call began"), "{msg}");
    call("DEL", network).run().await.expect(0);
    let recorded = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!((recorded.len(), &recorded["1"]["id"]), (1, &json!("c2")));
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}
