//! Verdicts that rest on the node of a record.

use super::scene::{Scene, Shown, verdicts, web};
use crate::support::objects::{NodeBuilder, Object, node, pod};
use crate::support::proxy::Proxy;

const POWERED_OFF: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

/// A Node that has not been heard of for ten minutes.
fn silent() -> NodeBuilder {
    node("node-a").unreachable().since(600)
}

/// Records the address for the pod that is there.
async fn record_web(scene: &Scene) {
    scene.record(&scene.uid_of_web().await).await;
}

pub(super) async fn held_unreachable(scene: Scene) -> Shown {
    let mut scene = scene;
    let shown = || web().shows("net1", &["10.0.0.5"]);
    let moved = pod("default", "web")
        .shows("net1", &["10.0.0.9"])
        .node("node-b");
    for (said, web, own_uid) in [
        ("pod is being deleted", shown().terminating(), true),
        ("pod has ended", shown().phase("Failed"), true),
        ("pod was replaced", moved, false),
    ] {
        scene.has(silent()).await;
        scene.has(node("node-b")).await;
        scene.has(web).await;
        if own_uid {
            record_web(&scene).await;
        } else {
            scene.record("before").await;
        }
        says(&scene.is_kept().await, said);
        scene = scene.anew().await;
    }
    scene.has(silent()).await;
    scene.record("before").await;
    let held = scene.is_kept().await;
    says(&held, "pod is gone");
    held
}

/// The evidence and the advice of a report.
fn says(held: &Shown, said: &str) {
    let report = held.run.json();
    let reason = report["records"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with(said), "{reason}");
    let advice = format!("kubectl taint node node-a {POWERED_OFF}");
    assert!(reason.contains(&advice), "{reason}");
}

pub(super) async fn held_unreachable_until_a_taint_a_deletion_or_its_return(scene: Scene) {
    let mut scene = scene;
    for (advice, verdict) in [
        ("taint", "NodeOutOfService"),
        ("delete", "NodeGone"),
        ("wait", "PodGone"),
    ] {
        scene.has(silent()).await;
        scene.has(node("node-b")).await;
        scene.record("before").await;
        scene.is_kept().await;
        match advice {
            "taint" => scene
                .cluster
                .kubectl(&["taint", "node", "node-a", POWERED_OFF]),
            "delete" => scene.cluster.kubectl(&["delete", "node", "node-a"]),
            _ => {
                node("node-a").report(scene.cluster.client()).await;
                String::new()
            }
        };
        scene.is_released_as(verdict).await;
        scene = scene.anew().await;
    }
}

pub(super) async fn unreachable_too_long(scene: Scene) -> Shown {
    scene.has(silent()).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    record_web(&scene).await;
    scene.is_kept_as("HeldUnreachable").await;
    let args = ["--release-unreachable-after", "5m"];
    scene.is_released_with(&args).await;
    let scene = scene.anew().await;
    scene.has(silent()).await;
    scene.record("before").await;
    scene.is_released_with(&args).await
}

pub(super) async fn unreachable_too_long_stops_at_what_is_used_or_not_long_enough(scene: Scene) {
    scene.has(silent()).await;
    scene.record("before").await;
    let long = ["--release-unreachable-after", "1h"];
    scene.is_kept_as_with("HeldUnreachable", &long).await;
    // A pod that lives elsewhere shows the address.
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .node("node-b");
    scene.has(web).await;
    let args = ["--release-unreachable-after", "5m"];
    scene.is_kept_as_with("InUse", &args).await;
    // A pod in its place does not prove that the one before it has ended.
    let scene = scene.anew().await;
    scene.has(silent()).await;
    scene.record("before").await;
    scene.has(pod("default", "web").node("node-b")).await;
    scene.is_kept_as_with("Starting", &args).await;
}

pub(super) async fn node_out_of_service(scene: Scene) -> Shown {
    scene.has(silent().out_of_service()).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    record_web(&scene).await;
    scene.is_released().await;
    let scene = scene.anew().await;
    scene.has(silent().out_of_service()).await;
    scene.record("before").await;
    scene.is_released().await
}

pub(super) async fn node_out_of_service_stops_at_a_kubelet_that_answers_and_a_pod_that_lives(
    scene: Scene,
) {
    scene.has(node("node-a").out_of_service()).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    record_web(&scene).await;
    scene.is_kept_as("Terminating").await;
    let scene = scene.anew().await;
    scene.has(silent().out_of_service()).await;
    scene.has(web().shows("net1", &["10.0.0.5"])).await;
    record_web(&scene).await;
    scene.is_kept_as("InUse").await;
}

pub(super) async fn node_gone(scene: Scene) -> Shown {
    scene.has(node("node-b")).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    record_web(&scene).await;
    scene.is_released().await;
    let scene = scene.anew().await;
    scene.has(node("node-b")).await;
    scene.record("before").await;
    scene.is_released().await
}

pub(super) async fn node_gone_stops_at_a_node_that_is_there_after_all(scene: Scene) {
    scene.has(node("node-b")).await;
    scene.record("before").await;
    let proxy = Proxy::start(&scene.cluster).await;
    let client = scene.cluster.client().clone();
    // The Node comes (back) while the pods are read, and its kubelet is not heard of.
    proxy.before(|seen| seen.is("GET", "/api/v1/pods"), async move {
        silent().create(&client).await;
    });
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    let run = scene.run_through(kubeconfig, &[]).await;
    assert_eq!(verdicts(&run), ["HeldUnreachable"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [1, 1]);
    // In a view without any Node nothing is concluded from them.
    let scene = scene.anew().await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    record_web(&scene).await;
    scene.is_kept_as("Terminating").await;
}
