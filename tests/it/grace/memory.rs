//! The brake's memory, and what happens when a run cannot remember.

use http::Method;
use serde_json::json;

use super::{POOL, mark, orphan, pass, records, run, sight, verdicts};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, pool, reservation, send};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::reconciler;

/// A deployment that was scaled down from 120 to one, without any DEL.
async fn scale_down(cluster: &Cluster) {
    let mut object = pool("kube-system", "10.0.0.0/24").entry(200, "default/web", "net1", "c");
    for offset in 1..120 {
        object = object.entry(offset, "default/gone", "net1", "c");
    }
    object.create(cluster.client()).await;
    super::web().create(cluster.client()).await;
}

async fn left(cluster: &Cluster) -> usize {
    entries(cluster.client(), "kube-system", "10.0.0.0-24")
        .await
        .len()
}

#[tokio::test]
async fn new_orphans_still_count_beside_old_ones() {
    let cluster = Cluster::lock().await;
    scale_down(&cluster).await;
    run(&cluster, &["--grace", "2m"]).await.expect(0);
    pass(&cluster, POOL, 20).await;
    let mut more = serde_json::Map::new();
    for offset in 121..200 {
        let entry = json!({"id": "c", "podref": "default/more", "ifname": "net1"});
        more.insert(offset.to_string(), entry);
    }
    let change = json!({"spec": {"allocations": more}});
    let path = format!("{}/{POOL}", super::GROUP);
    send(cluster.client(), Method::PATCH, &path, Some(&change))
        .await
        .unwrap();
    // The old ones go, the new ones wait.
    run(&cluster, &["--grace", "2m"]).await.expect(0);
    assert_eq!(left(&cluster).await, 80);
    pass(&cluster, POOL, 5).await;
    let refused = run(&cluster, &["--grace", "2m", "--max-release", "20"]).await;
    assert_eq!(refused.code, Some(4), "{refused:#?}");
    assert_eq!(left(&cluster).await, 80);
}

#[tokio::test]
async fn no_pod_in_sight_is_refused_however_long() {
    let cluster = Cluster::lock().await;
    let mut object = pool("kube-system", "10.0.0.0/24");
    for offset in 1..=11 {
        object = object.entry(offset, "default/gone", "net1", "c");
    }
    object.create(cluster.client()).await;
    run(&cluster, &["--grace", "2m"]).await.expect(0);
    pass(&cluster, POOL, 60).await;
    let refused = run(&cluster, &["--grace", "2m"]).await.expect(4);
    assert_eq!(refused.json()["refusal"]["brake"], "NoPods");
    assert_eq!(left(&cluster).await, 11);
}

#[tokio::test]
async fn a_run_that_cannot_remember_says_so_and_has_failed() {
    for (part, code) in [("/ippools/", 403), ("/overlappingrange", 500)] {
        let cluster = Cluster::lock().await;
        orphan(&cluster).await;
        reservation("kube-system", "10.0.0.9", "default/web")
            .create(cluster.client())
            .await;
        let proxy = Proxy::start(&cluster).await;
        proxy.rule(move |seen| {
            seen.is("PATCH", part)
                .then_some(Fault::Status(code, "Forbidden"))
        });
        let through = proxy.kubeconfig(&cluster, cluster.token());
        let run = reconciler(&through).args(["--grace", "2m", "-o", "json"]);
        let run = run.output().await.expect(1);
        let said = run.json()["remarks"].to_string();
        assert!(said.contains("since when orphans are seen"), "{said}");
        assert_eq!(verdicts(&run), json!({"WithinGrace": 3}));
        assert_eq!(records(&cluster).await, 3);
    }
}

#[tokio::test]
async fn marks_go_with_their_records_and_a_healthy_run_writes_nothing() {
    let cluster = Cluster::lock().await;
    orphan(&cluster).await;
    sight(&cluster).await;
    let forget = json!({"spec": {"allocations": {"5": null}}});
    let path = format!("{}/{POOL}", super::GROUP);
    send(cluster.client(), Method::PATCH, &path, Some(&forget))
        .await
        .unwrap();
    super::web().create(cluster.client()).await;
    sight(&cluster).await;
    assert_eq!(mark(&cluster, POOL).await, None);
    pod("default", "other").create(cluster.client()).await;
    let proxy = Proxy::start(&cluster).await;
    let through = proxy.kubeconfig(&cluster, cluster.token());
    let run = reconciler(&through).args(["--grace", "2m"]);
    run.output().await.expect(0);
    assert!(proxy.writes().is_empty());
}
