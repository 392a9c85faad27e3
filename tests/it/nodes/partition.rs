//! A node that is cut off, with the real controllers that mark, evict and collect its pods.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{node, pod, send};
use crate::verdicts::scene::{Scene, verdicts, web};

/// How long a controller may take for what it does within seconds.
const WITHIN: Duration = Duration::from_mins(2);

/// The controllers that act on nodes and their pods, in a hurry.
const CONTROLLERS: [&str; 5] = [
    "--controllers=node-lifecycle-controller,taint-eviction-controller,pod-garbage-collector-controller",
    "--node-monitor-period=1s",
    "--node-monitor-grace-period=6s",
    "--node-startup-grace-period=6s",
    "--leader-elect=false",
];

const WEB: &str = "/api/v1/namespaces/default/pods/web";

async fn get(cluster: &Cluster, path: &str) -> Option<Value> {
    send(cluster.client(), Method::GET, path, None).await.ok()
}

/// Waits until the pod is as it should be; `None`: it is gone.
async fn until(cluster: &Cluster, said: &str, wanted: impl Fn(Option<&Value>) -> bool) {
    let started = Instant::now();
    loop {
        let pod = get(cluster, WEB).await;
        if wanted(pod.as_ref()) {
            return;
        }
        assert!(started.elapsed() < WITHIN, "not {said}: {pod:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_being_deleted(pod: Option<&Value>) -> bool {
    pod.is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_string())
}

/// A cluster whose node `node-a` has been cut off for so long that its pod is to be evicted.
async fn partitioned() -> Scene {
    let mut scene = Scene::over(Cluster::separate(&Options::default()).await);
    // The kubelet of node-b is heard of again and again, or the controllers would take the fault for
    // their own; that of node-a was heard of once.
    scene.has(node("node-a")).await;
    scene.has(node("node-b")).await;
    let mut web = web().shows("net1", &["10.0.0.5"]).object();
    web["spec"]["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
        "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
    let pods = "/api/v1/namespaces/default/pods";
    let client = scene.cluster.client().clone();
    send(&client, Method::POST, pods, Some(&web)).await.unwrap();
    scene.record(&scene.uid_of_web().await).await;
    scene.has(pod("default", "bystander")).await;
    scene.cluster.start_controllers(&CONTROLLERS);
    tokio::spawn(async move {
        loop {
            node("node-b").report(&client).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    until(&scene.cluster, "evicted", is_being_deleted).await;
    scene
}

#[tokio::test]
async fn a_partitioned_node_keeps_its_addresses_until_it_is_tainted_as_powered_off() {
    let scene = partitioned().await;
    for _ in 0..3 {
        scene.is_kept_as("HeldUnreachable").await;
    }
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    scene.cluster.kubectl(&["taint", "node", "node-a", taint]);
    scene.is_released_as("NodeOutOfService").await;
}

#[tokio::test]
async fn a_partitioned_node_that_is_deleted_gives_its_addresses_back_when_its_pods_are_gone() {
    let scene = partitioned().await;
    scene.is_kept_as("HeldUnreachable").await;
    scene.cluster.kubectl(&["delete", "node", "node-a"]);
    until(&scene.cluster, "collected", |pod| pod.is_none()).await;
    scene.is_released_as("NodeGone").await;
}

#[tokio::test]
async fn a_partitioned_node_that_comes_back_never_lost_an_address() {
    let scene = partitioned().await;
    scene.is_kept_as("HeldUnreachable").await;
    // Its kubelet is heard of again, and has not ended the pod yet.
    node("node-a").report(scene.cluster.client()).await;
    let back = scene.run(&[]).await;
    let kept = verdicts(&back);
    assert!(
        kept == ["Terminating"; 2] || kept == ["HeldUnreachable"; 2],
        "{back:#?}"
    );
    assert_eq!(scene.left().await, [1, 1]);
}
