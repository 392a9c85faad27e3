//! What one run has seen, the next one knows: `--grace`, and the brake's memory.

mod memory;

use std::time::Duration;

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, delete_pod_now, entries, node, pod, pool, reservation, reservations, send,
};
use crate::support::run::{Outcome, reconciler};

const KEY: &str = "whereabouts.cni.cncf.io/first-seen";
const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";
const POOL: &str = "ippools/10.0.0.0-24";

async fn run(cluster: &Cluster, args: &[&str]) -> Outcome {
    let mut run = reconciler(cluster.kubeconfig()).args(["--settle", "100ms", "-o", "json"]);
    for argument in args {
        run = run.args([*argument]);
    }
    run.output().await
}

/// A run as the `CronJob` makes it.
async fn sight(cluster: &Cluster) -> Outcome {
    run(cluster, &["--grace", "2m"]).await.expect(0)
}

/// The verdict on the first record, and why.
fn first(run: &Outcome) -> (String, String) {
    let row = run.json()["records"][0].clone();
    let text = |member: &str| row[member].as_str().unwrap().to_owned();
    (text("verdict"), text("reason"))
}

fn assert_waits(run: &Outcome, why: &str) {
    let (verdict, reason) = first(run);
    assert_eq!(verdict, "WithinGrace", "{run:#?}");
    assert!(reason.contains(why), "{reason}");
}

async fn mark(cluster: &Cluster, object: &str) -> Option<String> {
    let path = format!("{GROUP}/{object}");
    let object = send(cluster.client(), Method::GET, &path, None)
        .await
        .unwrap();
    let mark = &object["metadata"]["annotations"][KEY];
    mark.as_str().map(str::to_owned)
}

async fn set_mark(cluster: &Cluster, object: &str, value: &str) {
    let change = json!({"metadata": {"annotations": {KEY: value}}});
    let path = format!("{GROUP}/{object}");
    send(cluster.client(), Method::PATCH, &path, Some(&change))
        .await
        .unwrap();
}

/// Lets time pass: what was seen at any time was seen so much earlier.
async fn pass(cluster: &Cluster, object: &str, minutes: i64) {
    let text = mark(cluster, object).await.unwrap();
    let start = text.find("20").unwrap();
    let seen = &text[start..start + "2026-11-23T22:10:00Z".len()];
    let at: Timestamp = seen.parse().unwrap();
    let earlier = at - SignedDuration::from_mins(minutes);
    set_mark(
        cluster,
        object,
        &text.replace(seen, &format!("{earlier:.0}")),
    )
    .await;
}

async fn orphan(cluster: &Cluster) {
    pool("kube-system", "10.0.0.0/24")
        .entry(5, "default/web", "net1", "c")
        .create(cluster.client())
        .await;
    reservation("kube-system", "10.0.0.5", "default/web")
        .ifname("net1")
        .create(cluster.client())
        .await;
    pod("default", "bystander").create(cluster.client()).await;
}

async fn records(cluster: &Cluster) -> usize {
    let entries = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    entries.len() + reservations(cluster.client()).await.len()
}

fn web() -> crate::support::objects::PodBuilder {
    pod("default", "web").shows("net1", &["10.0.0.5"])
}

#[tokio::test]
async fn real_time_passes_too() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    let grace = ["--grace", "2s"];
    assert_waits(&run(&cluster, &grace).await.expect(0), "first time");
    tokio::time::sleep(Duration::from_secs(3)).await;
    run(&cluster, &grace).await.expect(0);
    assert_eq!(records(&cluster).await, 0);
}

#[tokio::test]
async fn a_pod_that_comes_back_between_two_runs_starts_the_grace_anew() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    sight(&cluster).await;
    pass(&cluster, POOL, 1).await;
    assert_waits(&sight(&cluster).await, "first seen at");
    web().create(cluster.client()).await;
    pass(&cluster, POOL, 4).await;
    assert_eq!(first(&sight(&cluster).await).0, "InUse");
    assert_eq!(
        (records(&cluster).await, mark(&cluster, POOL).await),
        (2, None)
    );
    delete_pod_now(cluster.client(), "default", "web").await;
    assert_waits(&sight(&cluster).await, "first time");
    assert_eq!(records(&cluster).await, 2);
}

#[tokio::test]
async fn what_no_run_saw_coming_back_is_told_by_the_record_or_by_the_pod() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    sight(&cluster).await;
    pass(&cluster, POOL, 60).await;
    // The same pod was there again, with a container of its own, and is gone once more.
    let again = json!({"spec": {"allocations": {"5": {"id": "c2"}}}});
    let path = format!("{GROUP}/{POOL}");
    send(cluster.client(), Method::PATCH, &path, Some(&again))
        .await
        .unwrap();
    assert_waits(&sight(&cluster).await, "first time");
    pass(&cluster, POOL, 60).await;
    // Now a pod has ended, where none was before.
    web().phase("Succeeded").create(cluster.client()).await;
    assert_waits(
        &sight(&cluster).await,
        "PodFinished, seen for the first time",
    );
    pass(&cluster, POOL, 2).await;
    sight(&cluster).await;
    assert_eq!(records(&cluster).await, 0);
}

#[tokio::test]
async fn damaged_marks_and_those_of_the_future_start_the_grace_anew() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    sight(&cluster).await;
    let good = mark(&cluster, POOL).await.unwrap();
    pass(&cluster, POOL, -60).await;
    let future = mark(&cluster, POOL).await.unwrap();
    for bad in [
        "",
        "[]",
        "{}",
        &good[..20],
        &future,
        &good.replace("\"5:", "\"6:"),
    ] {
        set_mark(&cluster, POOL, bad).await;
        assert_waits(&sight(&cluster).await, "first time");
        let mended = mark(&cluster, POOL).await.unwrap();
        assert_eq!(mended[22..], good[22..], "{bad}");
        assert_eq!(records(&cluster).await, 2);
    }
    pass(&cluster, POOL, 2).await;
    sight(&cluster).await;
    assert_eq!(records(&cluster).await, 0);
}

#[tokio::test]
async fn a_reservation_without_an_entry_remembers_for_itself() {
    let cluster = Cluster::lock().await;
    pod("default", "bystander").create(cluster.client()).await;
    let object = reservation("kube-system", "10.0.0.5", "default/web");
    object.create(cluster.client()).await;
    let path = "overlappingrangeipreservations/10.0.0.5";
    assert_waits(&sight(&cluster).await, "first time");
    set_mark(&cluster, path, "yesterday").await;
    assert_waits(&sight(&cluster).await, "first time");
    assert_waits(&sight(&cluster).await, "first seen at");
    pass(&cluster, path, 1).await;
    web().create(cluster.client()).await;
    assert_eq!(first(&sight(&cluster).await).0, "InUse");
    assert_eq!(mark(&cluster, path).await, None);
    delete_pod_now(cluster.client(), "default", "web").await;
    assert_waits(&sight(&cluster).await, "first time");
    // Taken over meanwhile by another container of the pod.
    pass(&cluster, path, 60).await;
    let taken = json!({"spec": {"containerid": "c2"}});
    let whole = format!("{GROUP}/{path}");
    send(cluster.client(), Method::PATCH, &whole, Some(&taken))
        .await
        .unwrap();
    assert_waits(&sight(&cluster).await, "first time");
    pass(&cluster, path, 2).await;
    sight(&cluster).await;
    assert!(reservations(cluster.client()).await.is_empty());
}

#[tokio::test]
async fn a_node_has_to_be_ready_for_that_long() {
    let cluster = Cluster::lock().await;
    node("node-a").unreachable().create(cluster.client()).await;
    let owner = json!({"id": "c", "nodename": "node-a"});
    let entry = json!({"id": "c", "podref": "default/web", "ifname": "net1", "owner": owner});
    let pool = pool("kube-system", "10.0.0.0/24").raw_entry("5", entry);
    pool.create(cluster.client()).await;
    pod("default", "bystander").create(cluster.client()).await;
    assert_eq!(first(&sight(&cluster).await).0, "HeldUnreachable");
    assert_eq!(mark(&cluster, POOL).await, None);
    node("node-a").report(cluster.client()).await;
    sight(&cluster).await;
    pass(&cluster, POOL, 10).await;
    assert_waits(
        &sight(&cluster).await,
        "node node-a has been Ready only since 20",
    );
    assert_eq!(records(&cluster).await, 1);
    node("node-a").since(121).report(cluster.client()).await;
    sight(&cluster).await;
    assert_eq!(records(&cluster).await, 0);
}

#[tokio::test]
async fn nothing_is_remembered_without_grace_nor_in_a_dry_run() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    let dry = run(&cluster, &["--grace", "2m", "--dry-run"])
        .await
        .expect(0);
    assert_waits(&dry, "first time");
    assert_eq!(mark(&cluster, POOL).await, None);
    let elsewhere = ["--grace", "2m", "--namespace", "elsewhere"];
    run(&cluster, &elsewhere).await.expect(0);
    assert_eq!(mark(&cluster, POOL).await, None);
    sight(&cluster).await;
    assert!(mark(&cluster, POOL).await.is_some());
    run(&cluster, &elsewhere).await.expect(0);
    assert!(mark(&cluster, POOL).await.is_some());
    run(&cluster, &[]).await.expect(0);
    assert_eq!(records(&cluster).await, 0);
}

#[tokio::test]
async fn a_length_that_is_none_is_refused() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    for bad in ["--grace=-2m", "--grace=soon", "--grace=2"] {
        let run = run(&cluster, &[bad]).await.expect(2);
        assert!(run.stderr.contains("--grace"), "{run:#?}");
    }
    assert_eq!(records(&cluster).await, 2);
}

/// The records of a run, by verdict.
fn verdicts(run: &Outcome) -> Value {
    run.json()["summary"]["verdicts"].clone()
}
