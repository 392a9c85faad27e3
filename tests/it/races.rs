//! What others do between two calls of the program is respected.

mod last_moment;

use http::Method;
use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, create_all, entries, pod, pool, reservation, reservations, send,
};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::reconciler;

const POOL: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-24";
const RESERVATION: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/\
    overlappingrangeipreservations/10.0.0.1";

/// A pool with one entry, its reservation, and a pod that has nothing to do with them.
async fn one_record(cluster: &Cluster) -> (Proxy, std::path::PathBuf) {
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/web-0", "net1", "c1")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/web-0")
        .ifname("net1")
        .create(client)
        .await;
    pod("default", "bystander").create(client).await;
    let proxy = Proxy::start(cluster).await;
    let kubeconfig = proxy.kubeconfig(cluster, cluster.token());
    (proxy, kubeconfig)
}

fn first_patch(seen: &Seen) -> bool {
    seen.is("PATCH", "/ippools/")
}

fn first_delete(seen: &Seen) -> bool {
    seen.is("DELETE", "/overlappingrangeipreservations/")
}

/// Changes the pool by a merge patch, as an administrator.
fn merge(
    cluster: &Cluster,
    path: &'static str,
    change: serde_json::Value,
) -> impl Future<Output = ()> + use<> {
    let client = cluster.client().clone();
    async move {
        send(&client, Method::PATCH, path, Some(&change))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_pod_created_after_the_reservations_were_read_keeps_its_address() {
    let cluster = Cluster::lock().await;
    for list in ["/ippools", "/overlappingrangeipreservations"] {
        let (proxy, kubeconfig) = one_record(&cluster).await;
        let client = cluster.client().clone();
        proxy.after(move |seen| seen.path.ends_with(list), async move {
            pod("default", "web-0")
                .shows("net1", &["10.0.0.1"])
                .create(&client)
                .await;
        });
        reconciler(&kubeconfig).output().await.expect(0);
        assert_eq!(
            entries(cluster.client(), "kube-system", "10.0.0.0-24")
                .await
                .len(),
            1
        );
        assert_eq!(reservations(cluster.client()).await.len(), 1);
        assert!(proxy.writes().is_empty());
        break_up(&cluster).await;
    }
}

/// Removes what `one_record` made, and the pod of that name.
async fn break_up(cluster: &Cluster) {
    for (path, name) in [
        (POOL, ""),
        (RESERVATION, ""),
        (
            "/api/v1/namespaces/default/pods",
            "/web-0?gracePeriodSeconds=0",
        ),
        (
            "/api/v1/namespaces/default/pods",
            "/bystander?gracePeriodSeconds=0",
        ),
    ] {
        let _ = send(
            cluster.client(),
            Method::DELETE,
            &format!("{path}{name}"),
            None,
        )
        .await;
    }
}

#[tokio::test]
async fn an_entry_taken_over_between_plan_and_apply_stays_with_its_reservation() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    let taken = json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/web-0", "ifname": "net1"}}}});
    proxy.before(first_patch, merge(&cluster, POOL, taken));
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(run.json()["summary"]["changed"], 1, "{run:#?}");
    assert_eq!(run.json()["summary"]["keptWithEntry"], 1, "{run:#?}");
    let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!(left["1"]["id"], "c2");
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn a_pool_whose_range_changed_keeps_everything() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    proxy.before(
        first_patch,
        merge(&cluster, POOL, json!({"spec": {"range": "10.1.0.0/24"}})),
    );
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(run.json()["summary"]["released"], 0, "{run:#?}");
    assert_eq!(
        entries(cluster.client(), "kube-system", "10.0.0.0-24")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn a_reservation_that_was_rewritten_stays() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    proxy.before(
        first_delete,
        merge(
            &cluster,
            RESERVATION,
            json!({"spec": {"podref": "default/web-1"}}),
        ),
    );
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    let summary = run.json()["summary"].clone();
    assert_eq!(
        (&summary["released"], &summary["changed"]),
        (&json!(1), &json!(1)),
        "{run:#?}"
    );
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn a_reservation_recreated_under_the_same_name_stays() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    let client = cluster.client().clone();
    proxy.before(first_delete, async move {
        send(&client, Method::DELETE, RESERVATION, None)
            .await
            .unwrap();
        reservation("kube-system", "10.0.0.1", "default/web-0")
            .ifname("net1")
            .create(&client)
            .await;
    });
    reconciler(&kubeconfig).output().await.expect(0);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn an_entry_that_comes_back_gets_its_reservation_back() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    // What the Go plugin does: it finds the reservation of its pod, does not write it, and records
    // the entry; our delete comes in between.
    let back = json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/web-0", "ifname": "net1"}}}});
    proxy.before(first_delete, merge(&cluster, POOL, back));
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(run.json()["summary"]["restored"], 1, "{run:#?}");
    let restored = send(cluster.client(), Method::GET, RESERVATION, None)
        .await
        .unwrap();
    let expected = json!({"podref": "default/web-0", "ifname": "net1", "containerid": "c2"});
    assert_eq!(restored["spec"], expected);
}

#[tokio::test]
async fn an_orphan_without_an_entry_that_gets_one_meanwhile_gets_its_reservation_back() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    merge(
        &cluster,
        POOL,
        json!({"spec": {"allocations": {"1": null}}}),
    )
    .await;
    let back = json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/web-0", "ifname": "net1"}}}});
    proxy.before(first_delete, merge(&cluster, POOL, back));
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(run.json()["summary"]["restored"], 1, "{run:#?}");
}

#[tokio::test]
async fn a_reservation_taken_by_another_meanwhile_is_reported_and_not_overwritten() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    let client = cluster.client().clone();
    let back = merge(
        &cluster,
        POOL,
        json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/web-0", "ifname": "net1"}}}}),
    );
    proxy.after(first_delete, async move {
        back.await;
        reservation("kube-system", "10.0.0.1", "default/thief")
            .create(&client)
            .await;
    });
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(1);
    assert!(
        run.json()["remarks"]
            .to_string()
            .contains("now belongs to default/thief"),
        "{run:#?}"
    );
    let kept = send(cluster.client(), Method::GET, RESERVATION, None)
        .await
        .unwrap();
    assert_eq!(kept["spec"]["podref"], "default/thief");
}

#[tokio::test]
async fn a_pool_that_somebody_keeps_changing_is_cleaned_all_the_same() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let (proxy, kubeconfig) = one_record(&cluster).await;
    let mut big = pool("kube-system", "10.2.0.0/16");
    for offset in 1..400 {
        big = big.entry(offset, "default/gone", "net1", &format!("c{offset}"));
    }
    big.create(client).await;
    // Each patch of ours is preceded by one of somebody else, and an entry of ours is lost to one.
    let path = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.2.0.0-16";
    for round in 0..3 {
        let seen_before = std::sync::atomic::AtomicUsize::new(0);
        let nth = move |seen: &Seen| {
            seen.is("PATCH", "/ippools/10.2")
                && seen_before.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == round
        };
        let key = (round + 10).to_string();
        let change = json!({"spec": {"allocations": {
            key: {"id": "taken", "podref": "default/new", "ifname": "net1"},
            (60000 + round).to_string(): {"id": "x", "podref": "default/bystander", "ifname": "net1"}}}});
        proxy.before(nth, merge(&cluster, path, change));
    }
    let noise = {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let entry = json!({"id": "y", "podref": "default/bystander", "ifname": "net1"});
                let change = json!({"spec": {"allocations": {(50000 + n).to_string(): entry}}});
                send(&client, Method::PATCH, path, Some(&change))
                    .await
                    .unwrap();
            }
        })
    };
    let run = reconciler(&kubeconfig)
        .args(["-o", "json", "--force"])
        .output()
        .await
        .expect(0);
    noise.abort();
    assert_eq!(run.json()["summary"]["changed"], 3, "{run:#?}");
    let left = entries(client, "kube-system", "10.2.0.0-16").await;
    let orphans: Vec<_> = left
        .values()
        .filter(|entry| entry["podref"] == "default/gone")
        .collect();
    assert!(orphans.is_empty(), "{orphans:?}");
    assert_eq!(
        left.values().filter(|entry| entry["id"] == "taken").count(),
        3
    );
}

/// Orphans in ten pools, each with its reservation, and as many pods that hold addresses.
async fn many(cluster: &Cluster, per_pool: u128) {
    let client = cluster.client();
    let mut records = Vec::new();
    let mut pods = Vec::new();
    for network in 0..10 {
        let mut object = pool("kube-system", &format!("10.{network}.0.0/16"));
        for offset in 1..=per_pool {
            let address = |offset: u128| format!("10.{network}.{}.{}", offset / 256, offset % 256);
            let gone = format!("default/gone-{network}-{offset}");
            let live = format!("live-{network}-{offset}");
            object = object.entry(2 * offset, &gone, "net1", "c");
            object = object.entry(2 * offset + 1, &format!("default/{live}"), "net1", "c");
            records.push(reservation("kube-system", &address(2 * offset), &gone));
            let shown = address(2 * offset + 1);
            records.push(reservation(
                "kube-system",
                &shown,
                &format!("default/{live}"),
            ));
            pods.push(pod("default", &live).shows("net1", &[&shown]));
        }
        object.create(client).await;
    }
    create_all(client, records, 32).await;
    create_all(client, pods, 32).await;
}

#[tokio::test]
async fn a_thousand_orphans_in_ten_pools_go_in_one_run_and_pages_are_whole() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    many(&cluster, 100).await;
    create_all(
        client,
        (0..1000).map(|n| pod("tenant-a", &format!("other-{n}"))),
        32,
    )
    .await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let args = ["--page-size", "100", "-o", "json"];
    let run = reconciler(&kubeconfig).args(args).output().await.expect(0);
    let summary = run.json()["summary"].clone();
    assert_eq!(summary["pods"], 2000);
    assert_eq!(
        (&summary["orphans"], &summary["released"]),
        (&json!(2000), &json!(2000)),
        "{summary}"
    );
    assert_eq!(summary["verdicts"], json!({"InUse": 2000, "PodGone": 2000}));
    let pages = proxy
        .log()
        .iter()
        .filter(|seen| seen.path.ends_with("/pods") && !seen.query.contains("field"))
        .count();
    assert_eq!(pages, 20);
    assert_eq!(reservations(client).await.len(), 1000);
    for network in 0..10 {
        let left = entries(client, "kube-system", &format!("10.{network}.0.0-16")).await;
        assert_eq!(left.len(), 100);
        assert!(
            left.values()
                .all(|entry| entry["podref"].as_str().unwrap().contains("live"))
        );
    }
}

#[tokio::test]
async fn two_runs_at_once_free_nothing_twice() {
    let cluster = Cluster::lock().await;
    many(&cluster, 20).await;
    let runs = [0; 3].map(|_| {
        reconciler(cluster.kubeconfig())
            .args(["-o", "json"])
            .spawn()
    });
    let mut released = 0;
    for run in runs {
        let run = run.wait().await.expect(0);
        released += run.json()["summary"]["released"].as_u64().unwrap();
    }
    assert_eq!(released, 400);
    assert_eq!(reservations(cluster.client()).await.len(), 200);
}

#[tokio::test]
async fn a_signal_in_the_middle_of_the_writes_ends_the_run_in_good_order() {
    let cluster = Cluster::lock().await;
    many(&cluster, 20).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    proxy.rule(|seen| {
        seen.is_write()
            .then_some(Fault::Delay(std::time::Duration::from_millis(300)))
    });
    let args = ["--concurrency", "2", "-o", "json"];
    let run = reconciler(&kubeconfig).args(args).spawn();
    while proxy.writes().len() < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    run.signal("TERM");
    let run = run.wait().await.expect(1);
    let report = run.json();
    assert_eq!(report["conclusion"], "Incomplete");
    let count = |what: &str| report["summary"][what].as_u64().unwrap();
    assert!(
        count("released") > 0 && count("notStarted") > 0,
        "{}",
        report["summary"]
    );
    // What the report says is what has happened.
    let mut left = 0;
    for network in 0..10 {
        left += entries(
            cluster.client(),
            "kube-system",
            &format!("10.{network}.0.0-16"),
        )
        .await
        .len();
    }
    let gone = 400 - left + 400 - reservations(cluster.client()).await.len();
    assert_eq!(gone as u64, count("released"), "{run:#?}");
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    assert_eq!(reservations(cluster.client()).await.len(), 200);
}

#[tokio::test]
async fn a_signal_while_reading_changes_nothing_and_a_second_one_ends_at_once() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    proxy.rule(|seen| seen.path.ends_with("/pods").then_some(Fault::Hang));
    let run = reconciler(&kubeconfig).spawn();
    while !proxy.log().iter().any(|seen| seen.path.ends_with("/pods")) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    run.signal("INT");
    let run = run.wait().await.expect(1);
    assert!(
        run.stderr.contains("interrupted") && run.stdout.is_empty(),
        "{run:#?}"
    );

    proxy.heal();
    proxy.rule(|seen| seen.is_write().then_some(Fault::Hang));
    let before = proxy.writes().len();
    let run = reconciler(&kubeconfig).spawn();
    while proxy.writes().len() == before {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    run.signal("TERM");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    run.signal("TERM");
    run.wait().await.expect(130);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}
