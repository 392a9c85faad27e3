//! Verdicts that release a record and have nothing to do with nodes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::{Scene, Shown, WEB, verdicts, web};
use crate::support::objects::{Object, delete_pod_now, node, pod};
use crate::support::proxy::{Proxy, Seen};

pub(super) async fn pod_finished(scene: Scene) -> Shown {
    scene.record_as_go().await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).phase("Succeeded"))
        .await;
    scene.is_released().await;
    let scene = scene.anew().await;
    // On a node that answers also while it is being deleted.
    scene.has(node("node-a")).await;
    scene
        .has(
            web()
                .shows("net1", &["10.0.0.5"])
                .terminating()
                .phase("Failed"),
        )
        .await;
    scene.record(&scene.uid_of_web().await).await;
    scene.is_released().await
}

pub(super) async fn pod_finished_stops_at_a_pod_that_runs(scene: Scene) {
    scene
        .has(web().shows("net1", &["10.0.0.5"]).phase("Running"))
        .await;
    scene.record(&scene.uid_of_web().await).await;
    scene.is_kept_as("InUse").await;
    let ended = json!({"status": {"phase": "Failed"}});
    scene.change(&format!("{WEB}/status"), ended).await;
    scene.is_released().await;
}

pub(super) async fn pod_replaced(scene: Scene) -> Shown {
    scene.record("before").await;
    // What it shows says nothing of the interface: the uid alone counts.
    scene.has(web().shows("net2", &["10.0.0.250"])).await;
    scene.is_released().await
}

pub(super) async fn pod_replaced_stops_at_a_mirror_pod_and_without_a_status(scene: Scene) {
    scene.record("before").await;
    scene.has(web()).await;
    scene.is_kept_as("Starting").await;
    let scene = scene.anew().await;
    scene.record("before").await;
    let mirror = web().annotation("kubernetes.io/config.mirror", "x");
    scene.has(mirror.shows("net2", &["10.0.0.250"])).await;
    scene.is_kept_as("Starting").await;
    let scene = scene.anew().await;
    scene.record("before").await;
    scene.has(web().shows("net2", &["10.0.0.5"])).await;
    scene.is_kept_as("InUse").await;
    let scene = scene.anew().await;
    // A fresh look finds that the pod has the address now.
    scene.record("before").await;
    scene.has(web().shows("net2", &["10.0.0.250"])).await;
    let proxy = Proxy::start(&scene.cluster).await;
    let client = scene.cluster.client().clone();
    proxy.before(|seen| seen.is("GET", "/pods/web"), async move {
        delete_pod_now(&client, "default", "web").await;
        let web = web().shows("net1", &["10.0.0.5"]);
        web.create(&client).await;
    });
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    let run = scene.run_through(kubeconfig, &[]).await;
    assert_eq!(verdicts(&run), ["InUse"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [1, 1]);
}

pub(super) async fn address_not_on_pod(scene: Scene) -> Shown {
    scene.has(web().shows("net1", &["10.0.0.9"])).await;
    scene.record(&scene.uid_of_web().await).await;
    let started = Instant::now();
    let shown = scene.is_released_with(&["--settle", "2s"]).await;
    assert!(started.elapsed().as_secs() >= 2);
    shown
}

pub(super) async fn address_not_on_pod_stops_at_every_doubt(scene: Scene) {
    scene.has(web().shows("net1", &["10.0.0.9"])).await;
    scene.record_as_go().await;
    // The second look finds another address than the first.
    let proxy = Proxy::start(&scene.cluster).await;
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    let client = scene.cluster.client().clone();
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let second = move |seen: &Seen| {
        seen.is("GET", "/pods/web") && looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1
    };
    proxy.before(second, async move {
        let status = json!([{"interface": "net1", "ips": ["10.0.0.8"]}]).to_string();
        let change = json!({"metadata": {"annotations": {
            "k8s.v1.cni.cncf.io/network-status": status}}});
        let patch = http::Method::PATCH;
        let sent = crate::support::objects::send(&client, patch, WEB, Some(&change)).await;
        sent.unwrap();
    });
    let run = scene.run_through(kubeconfig, &[]).await;
    assert_eq!(verdicts(&run), ["Starting"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [1, 1]);
    // Its sandbox is being made anew, as the kubelet says.
    let condition = json!({"type": "PodReadyToStartContainers", "status": "False"});
    let status = json!({"status": {"conditions": [condition]}});
    scene.change(&format!("{WEB}/status"), status).await;
    scene.is_kept_as("Starting").await;
    // Its node is cut off: what it did last may never have been written.
    let scene = scene.anew().await;
    scene.has(node("node-a").unreachable()).await;
    scene.has(web().shows("net1", &["10.0.0.9"])).await;
    scene.record_as_go().await;
    scene.is_kept_as("Starting").await;
    // It shows addresses of the other family only.
    let scene = scene.anew().await;
    scene.has(web().shows("net1", &["fd00::9"])).await;
    scene.record_as_go().await;
    scene.is_kept_as("Starting").await;
}

pub(super) async fn pod_gone(scene: Scene) -> Shown {
    scene.has(node("node-a")).await;
    // One of that name in another namespace is another pod.
    scene
        .has(pod("tenant-a", "web").shows("net1", &["10.0.0.9"]))
        .await;
    scene.record("before").await;
    scene.is_released().await;
    let scene = scene.anew().await;
    scene.record_as_go().await;
    scene.is_released().await
}

pub(super) async fn pod_gone_stops_at_a_pod_of_that_name(scene: Scene) {
    scene.record_as_go().await;
    scene.has(web()).await;
    scene.is_kept_as("Starting").await;
    // Also if it comes when the pods have been read, in the last moment before the write.
    delete_pod_now(scene.cluster.client(), "default", "web").await;
    let proxy = Proxy::start(&scene.cluster).await;
    let client = scene.cluster.client().clone();
    proxy.before(|seen| seen.is("GET", "/pods/web"), async move {
        web().create(&client).await;
    });
    let kubeconfig = proxy.kubeconfig(&scene.cluster, scene.cluster.token());
    let run = scene.run_through(kubeconfig, &[]).await;
    assert_eq!(verdicts(&run), ["PodGone"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [1, 1]);
}

pub(super) async fn within_grace(scene: Scene) -> Shown {
    scene.record_as_go().await;
    scene.is_kept_with(&["--grace", "2m"]).await;
    // Run after run, as long as it lasts.
    scene.is_kept_with(&["--grace", "2m"]).await
}

pub(super) async fn within_grace_until_it_is_over_or_the_pod_is_back(scene: Scene) {
    let grace = ["--grace", "2s"];
    scene.record_as_go().await;
    scene.is_kept_with(&grace).await;
    scene.has(web().shows("net1", &["10.0.0.5"])).await;
    scene.is_kept_as_with("InUse", &grace).await;
    delete_pod_now(scene.cluster.client(), "default", "web").await;
    scene.is_kept_with(&grace).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let run = scene.run(&grace).await;
    assert_eq!(verdicts(&run), ["PodGone"; 2], "{run:#?}");
    assert_eq!(scene.left().await, [0, 0]);
}
