//! Others are at work between two requests of a run.

use etcd_client::PutOptions;

use super::{add, all, call, crowd, expected, key, keys, network, put, records, run_at};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, pod};
use crate::support::relay::Relay;

/// The transaction that deletes: it names the keys that lead to an address.
fn deletes(message: &str) -> bool {
    message.contains("/whereabouts/v1/containers/")
}

#[tokio::test]
async fn the_same_value_written_anew_is_another_claim() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "web").await;
    let relay = Relay::start(&etcd.host()).await;
    let (first, second) = (call("DEL", &lan), call("ADD", &lan));
    let second = second.container("c-web").pod("default", "web");
    relay.before(deletes, async {
        first.container("c-web").run().await.expect(0);
        second.run().await.expect(0);
    });
    let before = all(&etcd).await;
    let done = run_at(&cluster, &relay.host()).output().await.expect(0);
    assert_eq!(
        records(&done),
        expected(&[("10.0.0.1", "PodGone", "Changed")]),
        "{done:#?}"
    );
    assert_eq!(all(&etcd).await, before);
}

#[tokio::test]
async fn a_range_that_is_exempted_at_the_last_moment_is_not_touched() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let relay = Relay::start(&etcd.host()).await;
    let mut client = etcd.client().await;
    relay.before(deletes, async move {
        let key = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/reconcile";
        client.put(key, "false", None::<PutOptions>).await.unwrap();
    });
    let done = run_at(&cluster, &relay.host()).output().await.expect(0);
    let found = [("10.0.0.1", "PodGone", "Changed")];
    assert_eq!(records(&done), expected(&found), "{done:#?}");
    assert_eq!(keys(&etcd).await, [key("10.0.0.1")]);
}

/// A page that is not the first one: it begins behind a key.
fn continues(message: &str) -> bool {
    message.contains("\0\u{12}") && message.contains("/networks/-/")
}

/// Writes something, and forgets all that was before.
async fn compact(etcd: &Etcd) -> impl Future<Output = ()> + Send + use<> {
    let mut client = etcd.client().await;
    async move {
        let put = client.put("/other", "", None::<PutOptions>).await.unwrap();
        let revision = put.header().unwrap().revision();
        client.compact(revision, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_compaction_in_the_middle_of_the_read_begins_it_anew() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 60).await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    for _ in 0..2 {
        relay.before(continues, compact(&etcd).await);
    }
    let run = run_at(&cluster, &relay.host()).args(["--page-size", "25", "--force"]);
    let done = run.output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 60, "{done:#?}");
    assert_eq!(
        done.stderr.matches("etcd was compacted").count(),
        2,
        "{done:#?}"
    );
    let all = all(&etcd).await;
    assert_eq!(all, [], "{all:?}");
}

#[tokio::test]
async fn an_etcd_that_is_compacted_all_the_time_is_an_error_and_nothing_is_freed() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 60).await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    for _ in 0..4 {
        relay.before(continues, compact(&etcd).await);
    }
    let before = all(&etcd).await;
    let run = run_at(&cluster, &relay.host()).args(["--page-size", "25"]);
    let failed = run.output().await.expect(1);
    assert!(
        failed
            .stderr
            .contains("4 times in a row; nothing was released"),
        "{failed:#?}"
    );
    assert_eq!(all(&etcd).await, before);
}

#[tokio::test]
async fn a_read_is_of_one_moment() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 60).await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    let lan = network(&cluster, &etcd, "10.0.0.0/16");
    let (added, deleted) = (call("ADD", &lan), call("DEL", &lan));
    let added = added.container("c-late").pod("default", "late");
    relay.before(continues, async {
        added.run().await.expect(0);
        deleted.container("c-60").run().await.expect(0);
    });
    let run = run_at(&cluster, &relay.host()).args(["--page-size", "25", "--force"]);
    let done = run.output().await.expect(0);
    let summary = &done.json()["summary"];
    assert_eq!(
        (&summary["released"], &summary["alreadyGone"]),
        (&59.into(), &1.into())
    );
    assert_eq!(keys(&etcd).await, [key("10.0.0.61")]);
}

#[tokio::test]
async fn a_run_takes_few_requests_however_much_is_recorded() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    crowd(&etcd, 500).await;
    put(
        &etcd,
        "/whereabouts/10.9.0.0/24",
        "what an older program left",
    )
    .await;
    pod("default", "bystander").create(cluster.client()).await;
    let relay = Relay::start(&etcd.host()).await;
    let run = || run_at(&cluster, &relay.host()).args(["--force"]);
    let dry = run().args(["--dry-run"]).output().await.expect(0);
    // Addresses of networks, of ranges, annotations, and whose they are.
    assert_eq!(dry.json()["etcdCalls"], 4, "{dry:#?}");
    assert_eq!(relay.log().len(), 4);
    let done = run().output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 500);
    // The first one that frees anything says so; then twelve times so many as go into one transaction: a
    // look, and the delete.
    assert_eq!(done.json()["etcdCalls"], 5 + 2 * 12, "{done:#?}");
    assert_eq!(relay.log().len(), 4 + 5 + 2 * 12);
    let left = all(&etcd).await;
    assert_eq!(left.len(), 1, "{left:?}");
}
