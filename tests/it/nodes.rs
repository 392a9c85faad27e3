//! Whether a pod's absence is believed depends on its node: beyond one verdict at a time.

mod partition;

use crate::support::objects::{delete_pod_now, node, pool};
use crate::support::proxy::{Proxy, Seen};
use crate::verdicts::scene::{Scene, verdicts, web};

#[tokio::test]
async fn the_pod_says_where_it_is_when_the_record_does_not() {
    let scene = Scene::of("Terminating").await;
    scene.has(node("node-a").unreachable()).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    scene.record_as_go().await;
    scene.is_kept_as("HeldUnreachable").await;
    scene.cluster.kubectl(&["delete", "node", "node-a"]);
    // No Node at all is left: a view without nodes proves nothing.
    scene.is_kept().await;
    scene.has(node("node-b")).await;
    scene.is_released_as("NodeGone").await;
}

#[tokio::test]
async fn a_slice_says_where_its_container_ran() {
    let scene = Scene::of("HeldUnreachable").await;
    scene.has(node("node-a").unreachable()).await;
    let slice = pool("kube-system", "10.0.0.0/28").network("node-a");
    scene.has(slice.entry(5, "default/web", "net1", "c1")).await;
    scene.reserve().await;
    let held = scene.run(&[]).await;
    assert_eq!(verdicts(&held), ["HeldUnreachable"; 2], "{held:#?}");
}

#[tokio::test]
async fn nodes_are_read_after_the_records_and_before_the_pods() {
    let scene = Scene::of("PodGone").await;
    scene.record("before").await;
    let proxy = Proxy::start(&scene.cluster).await;
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    scene.run_through(kubeconfig, &["--dry-run"]).await;
    let paths: Vec<String> = proxy.log().into_iter().map(|seen| seen.path).collect();
    let at = |end: &str| paths.iter().position(|path| path.ends_with(end)).unwrap();
    assert!(
        at("/overlappingrangeipreservations") < at("/nodes"),
        "{paths:#?}"
    );
    assert!(at("/nodes") < at("/pods"), "{paths:#?}");
}

/// Somebody deletes it by force when it has been listed as failed.
#[tokio::test]
async fn a_failed_pod_that_vanishes_while_pods_are_read_is_held_with_its_node() {
    let scene = Scene::of("HeldUnreachable").await;
    scene.has(node("node-a").unreachable()).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).phase("Failed"))
        .await;
    scene.record_as_go().await;
    let proxy = Proxy::start(&scene.cluster).await;
    let client = scene.cluster.client().clone();
    let failed = |seen: &Seen| seen.query.contains("Failed");
    proxy.after(failed, async move {
        delete_pod_now(&client, "default", "web").await;
    });
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    let run = scene.run_through(kubeconfig, &[]).await;
    assert_eq!(verdicts(&run), ["HeldUnreachable"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [1, 1]);
}

#[tokio::test]
async fn strict_holds_what_names_no_node_while_some_node_does_not_answer() {
    let scene = Scene::of("PodGone").await;
    scene.has(node("node-a").unreachable()).await;
    scene.record_as_go().await;
    let dry = scene.run(&["--dry-run"]).await;
    assert_eq!(verdicts(&dry), ["PodGone"; 2]);
    assert!(
        dry.stderr
            .contains("2 records of pods that are gone do not say"),
        "{dry:#?}"
    );
    scene
        .is_kept_as_with("HeldUnreachable", &["--strict"])
        .await;
    node("node-a").report(scene.cluster.client()).await;
    scene.is_released_with(&["--strict"]).await;
}
