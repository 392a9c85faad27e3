//! Others are at work between two requests of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::PutOptions;
use futures::StreamExt;

use super::{add, all, call, crowd, expected, key, keys, network, put, records, run_at, value};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, delete_pod_now, pod};
use crate::support::relay::Relay;

/// The transaction that deletes: it names the keys that lead to an address.
fn deletes(message: &str) -> bool {
    message.contains("/whereabouts/v1/containers/")
}

#[tokio::test]
async fn an_address_that_is_taken_over_before_the_delete_is_kept() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "web").await;
    add(&lan, "default", "gone").await;
    let relay = Relay::start(&etcd.host()).await;
    let again = call("ADD", &lan).container("c-new").pod("default", "web");
    relay.before(deletes, async {
        again.run().await.expect(0);
    });
    let done = run_at(&cluster, &relay.host()).output().await.expect(0);
    let found = [
        ("10.0.0.1", "PodGone", "Changed"),
        ("10.0.0.2", "PodGone", "Released"),
    ];
    assert_eq!(records(&done), expected(&found), "{done:#?}");
    assert_eq!(keys(&etcd).await, [key("10.0.0.1")]);
    assert!(
        value(&etcd, &key("10.0.0.1"))
            .await
            .unwrap()
            .contains("c-new")
    );
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
async fn what_is_gone_or_exempted_at_the_last_moment_is_not_touched() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    let blue = lan.with("network_name", serde_json::json!("blue"));
    add(&lan, "default", "gone").await;
    add(&blue, "default", "late").await;
    let relay = Relay::start(&etcd.host()).await;
    let del = call("DEL", &lan).container("c-gone");
    relay.before(
        |message| deletes(message) && message.contains("c-gone"),
        async {
            del.run().await.expect(0);
        },
    );
    let mut client = etcd.client().await;
    relay.before(
        |message| deletes(message) && message.contains("c-late"),
        async move {
            let key = "/whereabouts/v1/annotations/networks/blue/10.0.0.0-24/reconcile";
            client.put(key, "false", None::<PutOptions>).await.unwrap();
        },
    );
    let done = run_at(&cluster, &relay.host()).output().await.expect(0);
    let found = [
        ("10.0.0.1", "PodGone", "AlreadyGone"),
        ("10.0.0.1", "PodGone", "Changed"),
    ];
    assert_eq!(records(&done), expected(&found), "{done:#?}");
    assert_eq!(keys(&etcd).await.len(), 1);
}

#[tokio::test]
async fn a_pod_that_comes_before_its_record_is_deleted_keeps_it() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "web").await;
    let proxy = crate::support::proxy::Proxy::start(&cluster).await;
    let client = cluster.client().clone();
    proxy.before(|seen| seen.is("GET", "/pods/web"), async move {
        pod("default", "web").create(&client).await;
    });
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let run =
        crate::support::run::reconciler(&kubeconfig).args(["--datastore", "etcd", "-o", "json"]);
    let done = run
        .args(["--etcd-host", &etcd.host()])
        .output()
        .await
        .expect(0);
    assert_eq!(
        records(&done),
        expected(&[("10.0.0.1", "PodGone", "Changed")]),
        "{done:#?}"
    );
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
async fn a_lost_answer_is_looked_at_again() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    for (pod, happens) in [("a", "before"), ("b", "after")] {
        add(&lan, "default", pod).await;
        let relay = Relay::start(&etcd.host()).await;
        if happens == "before" {
            relay.cut_before(deletes);
        } else {
            relay.cut_after(deletes);
        }
        let done = run_at(&cluster, &relay.host()).output().await.expect(0);
        let result = if happens == "before" {
            "Released"
        } else {
            "AlreadyGone"
        };
        let found = [("10.0.0.1", "PodGone", result)];
        assert_eq!(records(&done), expected(&found), "{done:#?}");
        assert_eq!(all(&etcd).await, []);
    }
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

#[tokio::test]
async fn pods_that_come_and_go_beside_runs_keep_their_addresses_and_leave_none_behind() {
    const PODS: usize = 60;
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let client = cluster.client().clone();
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = Arc::clone(&is_over);
    let life = async {
        let each = (0..PODS).map(|n| {
            let (client, lan) = (client.clone(), lan.clone());
            async move {
                let name = format!("web-{n}");
                pod("default", &name).create(&client).await;
                let added = call("ADD", &lan).container(&format!("c-{name}"));
                added.pod("default", &name).run().await.expect(0);
                match n % 3 {
                    // It goes, and its node never calls DEL.
                    0 => delete_pod_now(&client, "default", &name).await,
                    // Its container starts anew.
                    1 => {
                        let again = call("ADD", &lan).container(&format!("d-{name}"));
                        again.pod("default", &name).run().await.expect(0);
                    }
                    _ => {}
                }
            }
        });
        futures::stream::iter(each)
            .buffer_unordered(6)
            .collect::<Vec<()>>()
            .await;
        is_over.store(true, Ordering::Relaxed);
    };
    let runs = async {
        while !watch.load(Ordering::Relaxed) {
            let run = run_at(&cluster, &etcd.host()).args(["--force"]);
            run.output().await.expect(0);
        }
    };
    tokio::join!(life, runs);
    let last = run_at(&cluster, &etcd.host()).args(["--force"]);
    last.output().await.expect(0);
    let all = all(&etcd).await;
    let of_addresses = all.iter().filter(|(key, _)| key.contains("/v1/networks/"));
    let mut owners: Vec<String> = of_addresses
        .map(|(_, value)| {
            let record: serde_json::Value = serde_json::from_str(value).unwrap();
            record["podref"].as_str().unwrap().to_owned()
        })
        .collect();
    owners.sort();
    let mut alive: Vec<String> = (0..PODS)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("default/web-{n}"))
        .collect();
    alive.sort();
    assert_eq!(owners, alive);
    assert_eq!(all.len(), 3 * alive.len());
}
