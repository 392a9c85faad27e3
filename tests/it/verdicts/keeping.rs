//! Verdicts that keep a record and have nothing to do with nodes.

use http::Method;
use serde_json::{Value, json};

use super::scene::{POOL, RESERVATION, Scene, Shown, WEB, verdicts, web};
use crate::support::objects::{delete_pod_now, node, pod, pool, reservation, send};

const EXEMPT: &str = "whereabouts.cni.cncf.io/reconcile";

/// What Multus writes for one interface.
fn shown(interface: &str, address: &str) -> Value {
    json!([{"name": "default/lan", "interface": interface, "ips": [address]}])
}

/// A range that is none, and a reservation whose name is no address.
async fn broken(scene: &Scene) {
    let broken = pool("kube-system", "10.0.0.0/24").range("10.0.0.0/99");
    scene
        .has(broken.entry(5, "default/web", "net1", "c1"))
        .await;
    let unnamed = reservation("kube-system", "", "default/web").name("not-an-address");
    scene.has(unnamed).await;
}

pub(super) async fn malformed(scene: Scene) -> Shown {
    for key in ["x", "-1", "256", "18446744073709551621"] {
        let gone = json!({"id": "c1", "podref": "default/web"});
        let odd = pool("kube-system", "10.0.0.0/24").name("odd");
        scene.has(odd.raw_entry(key, gone)).await;
        let run = scene.run(&[]).await;
        assert_eq!(verdicts(&run), ["Malformed"], "{key}");
        let odd = POOL.replace("10.0.0.0-24", "odd");
        let gone = send(scene.cluster.client(), Method::DELETE, &odd, None).await;
        assert_eq!(gone.unwrap()["status"], "Success");
    }
    broken(&scene).await;
    scene.is_kept().await
}

pub(super) async fn malformed_until_somebody_mends_it(scene: Scene) {
    broken(&scene).await;
    scene.is_kept().await;
    let mended = json!({"spec": {"range": "10.0.0.0/24"}});
    scene.change(POOL, mended).await;
    let run = scene.run(&[]).await;
    assert_eq!(verdicts(&run), ["PodGone", "Malformed"], "{run:#?}");
    assert_eq!(scene.left().await, [0, 1]);
}

async fn nobodys(scene: &Scene, podref: &str) {
    let pool = pool("kube-system", "10.0.0.0/24");
    scene.has(pool.entry(5, podref, "net1", "c1")).await;
    scene
        .has(reservation("kube-system", "10.0.0.5", podref))
        .await;
}

pub(super) async fn unowned(scene: Scene) -> Shown {
    let mut scene = scene;
    for podref in ["", "web", "/web", "default/", "default/web/0"] {
        nobodys(&scene, podref).await;
        scene.is_kept().await;
        scene = scene.anew().await;
    }
    // No pod can have this name.
    nobodys(&scene, "default/Web_0").await;
    scene.is_kept().await
}

pub(super) async fn unowned_until_somebody_names_the_pod(scene: Scene) {
    nobodys(&scene, "web").await;
    scene.is_kept().await;
    let named = json!({"spec": {"allocations": {"5": {"podref": "default/web"}}}});
    scene.change(POOL, named).await;
    let named = json!({"spec": {"podref": "default/web"}});
    scene.change(RESERVATION, named).await;
    scene.is_released_as("PodGone").await;
}

pub(super) async fn protected(scene: Scene) -> Shown {
    let exempt = json!({"metadata": {"annotations": {EXEMPT: "false"}}});
    scene.record("before").await;
    scene.change(POOL, exempt.clone()).await;
    scene.is_kept().await;
    let scene = scene.anew().await;
    scene.record("before").await;
    scene.change(RESERVATION, exempt).await;
    scene.is_kept().await;
    let scene = scene.anew().await;
    scene.record_as_go().await;
    scene
        .has(web().annotation(EXEMPT, "false").phase("Failed"))
        .await;
    scene.is_kept().await
}

pub(super) async fn protected_until_the_annotation_goes(scene: Scene) {
    scene.record("before").await;
    for value in ["false", "true"] {
        let annotated = json!({"metadata": {"annotations": {EXEMPT: value}}});
        scene.change(POOL, annotated).await;
        if value == "false" {
            scene.is_kept().await;
        }
    }
    scene.is_released_as("PodGone").await;
}

pub(super) async fn used_by_another(scene: Scene) -> Shown {
    scene.record("before").await;
    let other = || pod("tenant-a", "other").shows("net1", &["10.0.0.5"]);
    scene.has(other()).await;
    scene.is_kept().await;
    let scene = scene.anew().await;
    scene.record("before").await;
    // Its containers run until the grace period ends.
    scene.has(other().terminating()).await;
    scene.is_kept().await
}

pub(super) async fn used_by_another_until_that_is_gone(scene: Scene) {
    scene.record("before").await;
    let other = pod("tenant-a", "other").shows("net1", &["10.0.0.5"]);
    scene.has(other).await;
    scene.is_kept().await;
    delete_pod_now(scene.cluster.client(), "tenant-a", "other").await;
    scene.is_released_as("PodGone").await;
}

pub(super) async fn terminating(scene: Scene) -> Shown {
    scene.record_as_go().await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    // A pod that has ended as well: without nodes in sight nobody may have looked.
    scene.is_kept().await;
    let ended = json!({"status": {"phase": "Failed"}});
    scene.change(&format!("{WEB}/status"), ended).await;
    scene.is_kept().await;
    let scene = scene.anew().await;
    scene.has(node("node-a")).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    scene.record(&scene.uid_of_web().await).await;
    scene.is_kept().await
}

pub(super) async fn terminating_until_the_kubelet_is_done(scene: Scene) {
    scene.has(node("node-a")).await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).terminating())
        .await;
    scene.record_as_go().await;
    scene.is_kept().await;
    delete_pod_now(scene.cluster.client(), "default", "web").await;
    scene.is_released_as("PodGone").await;
}

pub(super) async fn in_use(scene: Scene) -> Shown {
    let mut scene = scene;
    let default = json!([{"name": "x", "interface": "eth0", "ips": ["10.0.0.5"], "default": true}]);
    for pod in [
        web().old_status_key().shows("net1", &["10.0.0.5"]),
        web().status_annotation(&default.to_string()),
        web().shows("net1", &["10.1.0.1", "::ffff:10.0.0.5", "fd00::8"]),
        web().status_annotation(&shown("net2", "10.0.0.5/24").to_string()),
    ] {
        scene.record("before").await;
        scene.has(pod).await;
        scene.is_kept().await;
        scene = scene.anew().await;
    }
    scene.record_as_go().await;
    scene
        .has(web().shows("net1", &["10.0.0.5"]).phase("Running"))
        .await;
    scene.is_kept().await
}

pub(super) async fn in_use_until_the_pod_shows_another_address(scene: Scene) {
    scene.record_as_go().await;
    scene.has(web().shows("net1", &["10.0.0.5"])).await;
    scene.is_kept().await;
    scene.web_shows(&shown("net1", "10.0.0.9")).await;
    scene.is_released_as("AddressNotOnPod").await;
}

pub(super) async fn status_unreadable(scene: Scene) -> Shown {
    let mut scene = scene;
    for status in ["[{", "", r#"[{"interface":"net1","ips":["10.0.0.x"]}]"#] {
        // Whether it was replaced cannot be told from such a status.
        scene.record("before").await;
        scene.has(web().status_annotation(status)).await;
        scene.is_kept().await;
        scene = scene.anew().await;
    }
    scene.record_as_go().await;
    scene.has(web().status_annotation("[{")).await;
    scene.is_kept().await
}

pub(super) async fn status_unreadable_until_it_can_be_read(scene: Scene) {
    scene.record_as_go().await;
    scene.has(web().status_annotation("[{")).await;
    scene.is_kept().await;
    scene.web_shows(&shown("net1", "10.0.0.5")).await;
    scene.is_kept_as("InUse").await;
    scene.web_shows(&shown("net1", "10.0.0.9")).await;
    scene.is_released_as("AddressNotOnPod").await;
}

pub(super) async fn starting(scene: Scene) -> Shown {
    scene.record_as_go().await;
    // Neither what another interface shows nor what a broken list leaves out counts against it.
    scene.has(web()).await;
    scene.is_kept().await;
    scene.web_shows(&json!([])).await;
    scene.is_kept().await;
    scene.web_shows(&shown("net2", "10.0.0.250")).await;
    scene.is_kept().await;
    let scene = scene.anew().await;
    scene.has(web()).await;
    scene.record(&scene.uid_of_web().await).await;
    scene.is_kept().await
}

pub(super) async fn starting_until_the_pod_is_gone(scene: Scene) {
    scene.record_as_go().await;
    scene.has(web()).await;
    scene.is_kept().await;
    delete_pod_now(scene.cluster.client(), "default", "web").await;
    scene.is_released_as("PodGone").await;
}
