//! etcd goes away, and comes again.

use std::sync::{Arc, Mutex};

use super::{add, all, crowd, network, run, run_at};
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
async fn without_etcd_the_run_fails_and_the_next_one_goes_on() {
    let (cluster, mut etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let before = all(&etcd).await;
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
