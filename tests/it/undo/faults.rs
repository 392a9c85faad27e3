//! An undo whose calls fail: it never overwrites, says what it does not know, and can be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::json;

use super::{GROUP, crowd, one, records, results, run_with_report, undo};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pool, reservation, reservations, send};
use crate::support::proxy::{Fault, Proxy};

#[tokio::test]
async fn each_write_that_fails_is_made_good_by_another_undo() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    // 3 reservations and 2 patches.
    for nth in 1..=5 {
        for fault in [
            Fault::Status(403, "Forbidden"),
            Fault::StatusAfter(500),
            Fault::DropAfter,
            Fault::DropConnection,
        ] {
            for kind in ["ippools", "overlappingrangeipreservations"] {
                let path = format!("{GROUP}/namespaces/kube-system/{kind}");
                send(cluster.client(), Method::DELETE, &path, None)
                    .await
                    .unwrap();
            }
            for object in &before {
                let kind = match object["kind"].as_str() {
                    Some("IPPool") => "ippools",
                    _ => "overlappingrangeipreservations",
                };
                let path = format!("{GROUP}/namespaces/kube-system/{kind}");
                send(cluster.client(), Method::POST, &path, Some(object))
                    .await
                    .unwrap();
            }
            let (again, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
            run.expect(0);
            let proxy = Proxy::start(&cluster).await;
            let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
            let writes = Arc::new(AtomicUsize::new(0));
            let said = format!("{nth} {fault:?}");
            let failing = fault.clone();
            proxy.rule(move |seen| {
                let at = || writes.fetch_add(1, Ordering::Relaxed) + 1;
                (seen.is_write() && at() == nth).then(|| failing.clone())
            });
            let first = undo(&kubeconfig, &again).await;
            // Only a refusal is final; all else is tried again.
            let refused = matches!(fault, Fault::Status(403, _));
            assert_eq!(first.code, Some(i32::from(refused)), "{said}: {first:#?}");
            undo(cluster.kubeconfig(), &again).await.expect(0);
            assert_eq!(records(&cluster).await, before, "{said}");
        }
    }
    undo(cluster.kubeconfig(), &report).await.expect(0);
}

/// One orphan with its reservation, freed.
async fn freed(cluster: &Cluster) -> std::path::PathBuf {
    let orphan = pool("kube-system", "10.0.0.0/24").entry(1, "default/gone", "net1", "c1");
    orphan.create(cluster.client()).await;
    let claim = reservation("kube-system", "10.0.0.1", "default/gone").ifname("net1");
    claim.create(cluster.client()).await;
    let (report, run) = run_with_report(cluster, cluster.kubeconfig()).await;
    assert_eq!(run.expect(0).json()["summary"]["released"], 2);
    report
}

#[tokio::test]
async fn an_add_that_takes_the_entry_in_between_gets_it_and_the_claim_is_taken_back() {
    let cluster = Cluster::lock().await;
    let report = freed(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = cluster.client().clone();
    // The Go program's ADD has seen no claim, and writes its entry before ours.
    proxy.before(|seen| seen.method == "PATCH", async move {
        let path = format!("{GROUP}/namespaces/kube-system/ippools/10.0.0.0-24");
        let new = json!({"spec": {"allocations": {"1": {"id": "n", "podref": "default/new", "ifname": "net1"}}}});
        send(&admin, Method::PATCH, &path, Some(&new)).await.unwrap();
    });
    let undone = undo(&kubeconfig, &report).await.expect(1);
    assert_eq!(results(&undone), one("Taken", 2), "{undone:#?}");
    let there = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!(there["1"]["podref"], "default/new");
    assert!(reservations(cluster.client()).await.is_empty());
    let writes = proxy.writes();
    assert_eq!(writes[0].method, "POST", "the claim comes first");
    let delete = String::from_utf8_lossy(&writes.last().unwrap().body).into_owned();
    assert!(
        delete.contains("resourceVersion") && delete.contains("uid"),
        "{delete}"
    );
}

#[tokio::test]
async fn a_claim_that_somebody_else_makes_in_between_stays_and_no_entry_is_put() {
    let cluster = Cluster::lock().await;
    let report = freed(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = cluster.client().clone();
    proxy.before(|seen| seen.method == "POST", async move {
        reservation("kube-system", "10.0.0.1", "default/new")
            .create(&admin)
            .await;
    });
    let undone = undo(&kubeconfig, &report).await.expect(1);
    assert_eq!(results(&undone), one("Taken", 2), "{undone:#?}");
    assert!(
        entries(cluster.client(), "kube-system", "10.0.0.0-24")
            .await
            .is_empty()
    );
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn a_view_that_is_not_complete_puts_nothing_back() {
    let cluster = Cluster::lock().await;
    let report = freed(&cluster).await;
    for part in [
        "/namespaces/kube-system",
        "/ippools",
        "/overlappingrangeipreservations",
        "/pods",
        "/nodes",
    ] {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| {
            seen.path
                .ends_with(part)
                .then_some(Fault::Status(403, "Forbidden"))
        });
        let undone = undo(&kubeconfig, &report).await.expect(1);
        assert!(
            undone.stderr.contains("nothing was put back"),
            "{part}: {undone:#?}"
        );
        assert!(proxy.writes().is_empty(), "{part}");
    }
    undo(cluster.kubeconfig(), &report).await.expect(0);
}
