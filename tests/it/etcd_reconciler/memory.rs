//! What one run has seen, the next one knows.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{add, all, expected, keys, network, pod, put, records, run, value};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::Object;
use crate::support::run::Outcome;

const MARKS: &str = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/first-seen";

async fn sight(cluster: &Cluster, etcd: &Etcd) -> Outcome {
    let run = run(cluster, etcd).args(["--grace", "2m"]);
    run.output().await.expect(0)
}

/// Lets three minutes pass.
async fn pass(etcd: &Etcd) {
    let text = value(etcd, MARKS).await.unwrap();
    let seen = &text[2..2 + "2026-11-23T22:10:00Z".len()];
    let at: Timestamp = seen.parse().unwrap();
    let earlier = format!("{:.0}", at - SignedDuration::from_mins(3));
    put(etcd, MARKS, &text.replace(seen, &earlier)).await;
}

#[tokio::test]
async fn an_orphan_goes_when_it_was_seen_for_long_enough() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    pod("default", "bystander").create(cluster.client()).await;
    add(&lan, "default", "gone").await;
    let dry = run(&cluster, &etcd).args(["--grace", "2m", "--dry-run"]);
    dry.output().await.expect(0);
    assert_eq!(value(&etcd, MARKS).await, None);
    for _ in 0..2 {
        let waits = sight(&cluster, &etcd).await;
        assert_eq!(
            records(&waits),
            expected(&[("10.0.0.1", "WithinGrace", "-")])
        );
        assert!(value(&etcd, MARKS).await.unwrap().contains("Z\":\"1:"));
    }
    pass(&etcd).await;
    let done = sight(&cluster, &etcd).await;
    assert_eq!(
        records(&done),
        expected(&[("10.0.0.1", "PodGone", "Released")])
    );
    // With it goes what was remembered of it.
    assert_eq!(all(&etcd).await, []);
}

#[tokio::test]
async fn another_record_in_its_place_waits_anew_and_marks_of_nothing_go() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    pod("default", "bystander").create(cluster.client()).await;
    add(&lan, "default", "gone").await;
    sight(&cluster, &etcd).await;
    pass(&etcd).await;
    let del = |container: &str| super::call("DEL", &lan).container(container).run();
    del("c-gone").await.expect(0);
    add(&lan, "default", "other").await;
    let waits = sight(&cluster, &etcd).await;
    assert_eq!(
        records(&waits),
        expected(&[("10.0.0.1", "WithinGrace", "-")])
    );
    del("c-other").await.expect(0);
    assert!(value(&etcd, MARKS).await.is_some());
    let done = sight(&cluster, &etcd).await;
    assert_eq!(
        (records(&done), keys(&etcd).await),
        (Vec::new(), Vec::new())
    );
    assert_eq!(all(&etcd).await, []);
}
