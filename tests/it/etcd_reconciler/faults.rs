//! etcd goes away, and comes again.

use std::sync::{Arc, Mutex};

use super::{add, all, crowd, network, records, run, run_at};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, pod};
use crate::support::relay::Relay;

#[tokio::test]
async fn an_etcd_that_stops_in_the_middle_loses_nothing_and_the_next_run_goes_on() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 100).await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    let etcd = Arc::new(Mutex::new(etcd));
    // The second delete.
    let shared = Arc::clone(&etcd);
    let is_second = |message: &str| message.contains("/containers/c-43/");
    relay.before(is_second, async move {
        shared.lock().unwrap().stop();
    });
    let failed = run_at(&cluster, &relay.host()).args(["--timeout", "20s"]);
    let failed = failed.output().await.expect(1);
    let summary = &failed.json()["summary"];
    assert_eq!(
        (&summary["released"], &summary["failed"]),
        (&42.into(), &58.into()),
        "{failed:#?}"
    );
    let mut etcd = Arc::try_unwrap(etcd).ok().unwrap().into_inner().unwrap();
    etcd.start_again();
    assert_eq!(all(&etcd).await.len(), 3 * 58);
    let done = run(&cluster, &etcd).output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 58);
    assert_eq!(all(&etcd).await, []);
}

#[tokio::test]
async fn without_etcd_or_without_pods_nothing_is_freed() {
    let (cluster, mut etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let before = all(&etcd).await;
    let proxy = crate::support::proxy::Proxy::start(&cluster).await;
    proxy.rule(|seen| {
        let is_pods = seen.method == "GET" && seen.path.ends_with("/pods");
        is_pods.then_some(crate::support::proxy::Fault::Status(403, "Forbidden"))
    });
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let blind = run(&cluster, &etcd).env("KUBECONFIG", kubeconfig.to_str().unwrap());
    let blind = blind.output().await.expect(1);
    assert!(blind.stderr.contains("nothing was released"), "{blind:#?}");
    assert_eq!(all(&etcd).await, before);
    etcd.stop();
    let away = run(&cluster, &etcd)
        .args(["--timeout", "10s"])
        .output()
        .await;
    let away = away.expect(1);
    assert!(away.stderr.contains(&etcd.host()), "{away:#?}");
    etcd.start_again();
    assert_eq!(all(&etcd).await, before);
}

#[tokio::test]
async fn an_etcd_that_says_nothing_ends_the_run_in_time() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 50).await;
    pod("default", "bystander").create(cluster.client()).await;
    for is_late in [
        (|message: &str| message.contains("/whereabouts/v1/networks/")) as fn(&str) -> bool,
        |message| message.contains("/containers/c-1/"),
    ] {
        let relay = Relay::start(&etcd.host()).await;
        relay.before(is_late, std::future::pending());
        let late = run_at(&cluster, &relay.host()).args(["--timeout", "3s"]);
        let late = late.output().await.expect(1);
        let said = format!("{}{}", late.stdout, late.stderr);
        assert!(
            said.contains("the time for the whole run is over"),
            "{late:#?}"
        );
        assert_eq!(all(&etcd).await.len(), 3 * 50);
    }
}

#[tokio::test]
async fn a_run_that_is_asked_to_stop_starts_no_further_delete() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 100).await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    let (reached, is_reached) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    let is_first = |message: &str| message.contains("/containers/c-1/");
    relay.before(is_first, async move {
        reached.send(()).unwrap();
        goes_on.await.unwrap();
    });
    let run = run_at(&cluster, &relay.host()).spawn();
    is_reached.await.unwrap();
    run.signal("TERM");
    // The signal has to be there before the answer is.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    go_on.send(()).unwrap();
    let stopped = run.wait().await.expect(1);
    let summary = &stopped.json()["summary"];
    assert_eq!(
        (&summary["released"], &summary["notStarted"]),
        (&42.into(), &58.into()),
        "{stopped:#?}"
    );
    assert_eq!(records(&stopped).len(), 100);
    assert_eq!(all(&etcd).await.len(), 3 * 58);
}
