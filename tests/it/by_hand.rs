//! `release ADDRESS`: one address, freed by hand.

mod terminal;

use std::path::Path;

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, delete_pod_now, entries, node, pod, pool, reservation, reservations,
};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Outcome, reconciler};

async fn release<const N: usize>(kubeconfig: &Path, arguments: [&str; N]) -> Outcome {
    reconciler(kubeconfig)
        .args(["release"])
        .args(arguments)
        .output()
        .await
}

/// Keys of the pool that are left.
pub(super) async fn left(cluster: &Cluster) -> Vec<String> {
    let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    left.into_keys().collect()
}

/// An address that a run holds for a node that does not answer, beside one in use.
pub(super) async fn held(cluster: &Cluster) {
    let client = cluster.client();
    node("node-a").unreachable().create(client).await;
    let owner = json!({"id": "c1", "poduid": "u1", "nodename": "node-a"});
    let entry = json!({"id": "c1", "podref": "default/held", "ifname": "net1", "owner": owner});
    pool("kube-system", "10.0.0.0/24")
        .raw_entry("1", entry)
        .entry(2, "default/live", "net1", "c2")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/held")
        .ifname("net1")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.2", "default/live")
        .ifname("net1")
        .create(client)
        .await;
    pod("default", "live")
        .shows("net1", &["10.0.0.2"])
        .create(client)
        .await;
}

#[tokio::test]
async fn what_a_pod_may_use_is_refused_with_advice_and_nothing_is_written() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    node("node-a").create(client).await;
    node("node-b").unreachable().create(client).await;
    let exempt = [("whereabouts.cni.cncf.io/reconcile", "false")];
    let replaced = json!({"id": "c8", "poduid": "old", "nodename": "node-b"});
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/in-use", "net1", "c")
        .entry(2, "default/starting", "net1", "c")
        .entry(3, "default/terminating", "net1", "c")
        .entry(4, "default/unreadable", "net1", "c")
        .entry(5, "default/gone", "net1", "c")
        .entry(6, "default/exempt", "net1", "c")
        .raw_entry("7", json!({"id": "c", "podref": "nobody"}))
        .raw_entry(
            "8",
            json!({"id": "c8", "podref": "default/replaced", "ifname": "net1", "owner": replaced}),
        )
        .create(client)
        .await;
    pod("default", "in-use")
        .shows("net1", &["10.0.0.1"])
        .create(client)
        .await;
    pod("default", "starting").create(client).await;
    pod("default", "terminating")
        .shows("net1", &["10.0.0.3"])
        .terminating()
        .create(client)
        .await;
    pod("default", "unreadable")
        .status_annotation("{")
        .create(client)
        .await;
    pod("default", "another")
        .shows("net1", &["10.0.0.5"])
        .create(client)
        .await;
    pod("default", "exempt")
        .annotation(exempt[0].0, exempt[0].1)
        .create(client)
        .await;
    pod("default", "unrecorded")
        .shows("net1", &["10.0.0.7"])
        .create(client)
        .await;
    pod("default", "replaced").create(client).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    for (address, verdict, advice) in [
        ("10.0.0.1", "InUse", "delete pod default/in-use first"),
        ("10.0.0.2", "Starting", "delete pod default/starting first"),
        (
            "10.0.0.3",
            "Terminating",
            "wait until pod default/terminating is gone",
        ),
        (
            "10.0.0.4",
            "StatusUnreadable",
            "delete pod default/unreadable first",
        ),
        ("10.0.0.5", "UsedByAnother", "default/another"),
        ("10.0.0.6", "Protected", "remove the annotation"),
        (
            "10.0.0.7",
            "Unowned",
            "pod default/unrecorded shows the address",
        ),
        (
            "10.0.0.8",
            "HeldUnreachable",
            "delete pod default/replaced first",
        ),
    ] {
        for more in ["--force", "--dry-run"] {
            let run = release(&kubeconfig, [address, "--yes", more])
                .await
                .expect(1);
            let expected = format!("is not released: {verdict}: ");
            assert!(
                run.stderr.contains(&expected) && run.stderr.contains(advice),
                "{address}: {run:#?}"
            );
        }
    }
    assert!(proxy.writes().is_empty(), "{:#?}", proxy.writes());
    // The advice works.
    delete_pod_now(client, "default", "in-use").await;
    delete_pod_now(client, "default", "unrecorded").await;
    release(&kubeconfig, ["10.0.0.1", "--yes"]).await.expect(0);
    release(&kubeconfig, ["10.0.0.7", "--yes"]).await.expect(0);
    assert_eq!(left(&cluster).await, ["2", "3", "4", "5", "6", "8"]);
}

#[tokio::test]
async fn an_address_that_nothing_records_is_an_error() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    for (address, said) in [
        (
            "10.0.0.9",
            "is in the range of pool kube-system/10.0.0.0-24, and nothing records it",
        ),
        ("192.0.2.1", "no pool covers 192.0.2.1"),
        ("fd00::1", "no pool covers fd00::1"),
    ] {
        let run = release(cluster.kubeconfig(), [address, "--yes"])
            .await
            .expect(1);
        assert!(
            run.stderr.contains(said) && run.stdout.is_empty(),
            "{run:#?}"
        );
    }
    release(cluster.kubeconfig(), ["default/held", "--yes"])
        .await
        .expect(2);
    // Pods show it, and that is explained first.
    for name in ["one", "two"] {
        let shown = pod("default", name).shows("net1", &["10.0.0.9"]);
        shown.create(cluster.client()).await;
    }
    let run = release(cluster.kubeconfig(), ["10.0.0.9", "--yes"])
        .await
        .expect(1);
    assert!(
        run.stdout.contains("\n  because     shown by several pods")
            && run.stderr.contains("nothing records 10.0.0.9")
            && run.stderr.lines().count() == 1,
        "{run:#?}"
    );
    let run = release(
        cluster.kubeconfig(),
        ["10.0.0.1", "--yes", "--pool", "other"],
    )
    .await
    .expect(1);
    assert!(
        run.stderr.contains("no record of 10.0.0.1 is that of"),
        "{run:#?}"
    );
}

#[tokio::test]
async fn of_several_claims_one_has_to_be_chosen() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/a", "net1", "c")
        .create(client)
        .await;
    pool("kube-system", "10.0.0.0/24")
        .network("blue")
        .entry(1, "default/b", "net1", "c")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/c")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/b")
        .network("blue")
        .create(client)
        .await;
    let run = release(cluster.kubeconfig(), ["10.0.0.1", "--yes"])
        .await
        .expect(2);
    for said in [
        "held by 3 claims",
        "Allocation kube-system/10.0.0.0-24/1 of default/a",
        "Allocation kube-system/blue-10.0.0.0-24/1 with Reservation kube-system/blue-10.0.0.1 of default/b",
        "Reservation kube-system/10.0.0.1 of default/c",
        "--pool or --pod",
    ] {
        assert!(run.stderr.contains(said), "{said}: {run:#?}");
    }
    let run = release(
        cluster.kubeconfig(),
        ["10.0.0.1", "--yes", "--pool", "10.0.0.0-24"],
    )
    .await
    .expect(2);
    assert!(run.stderr.contains("held by 2 claims"), "{run:#?}");
    release(
        cluster.kubeconfig(),
        ["10.0.0.1", "--yes", "--pod", "default/c"],
    )
    .await
    .expect(0);
    release(
        cluster.kubeconfig(),
        ["10.0.0.1", "--yes", "--pool", "blue-10.0.0.0-24"],
    )
    .await
    .expect(0);
    assert!(reservations(client).await.is_empty());
    assert_eq!(left(&cluster).await, ["1"]);
    release(cluster.kubeconfig(), ["10.0.0.1", "--yes"])
        .await
        .expect(0);
    assert!(left(&cluster).await.is_empty());
}

#[tokio::test]
async fn ipv6_in_any_spelling() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "2001:db8::/64")
        .entry(0x1a, "default/gone", "net1", "c")
        .create(client)
        .await;
    reservation("kube-system", "2001:db8::1a", "default/gone")
        .create(client)
        .await;
    release(cluster.kubeconfig(), ["2001:0DB8:0:0::001A", "-y"])
        .await
        .expect(0);
    assert!(
        entries(client, "kube-system", "2001-db8---64")
            .await
            .is_empty()
    );
    assert!(reservations(client).await.is_empty());
}

#[tokio::test]
async fn without_a_terminal_it_wants_yes_and_reads_nothing() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let run = reconciler(&kubeconfig)
        .args(["release", "10.0.0.1"])
        .stdin("y\n");
    let run = run.output().await.expect(2);
    assert!(run.stderr.contains("give it --yes"), "{run:#?}");
    assert!(proxy.log().is_empty());
}

#[tokio::test]
async fn a_pod_that_comes_at_the_last_moment_keeps_its_address() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = cluster.client().clone();
    proxy.before(|seen| seen.is("GET", "/pods/held"), async move {
        pod("default", "held").create(&admin).await;
    });
    let run = release(&kubeconfig, ["10.0.0.1", "--yes"]).await.expect(1);
    assert!(
        run.stdout.contains("kept, it has changed meanwhile"),
        "{run:#?}"
    );
    assert_eq!(left(&cluster).await, ["1", "2"]);
    assert!(proxy.writes().is_empty());
}

#[tokio::test]
async fn a_write_that_fails_is_an_error_and_the_reservation_stays_with_its_entry() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    proxy.rule(|seen| {
        seen.is("PATCH", "/ippools")
            .then_some(Fault::Status(403, "Forbidden"))
    });
    let run = release(&kubeconfig, ["10.0.0.1", "--yes"]).await.expect(1);
    assert!(run.stdout.contains("grant the verb \"patch\""), "{run:#?}");
    assert!(
        run.stdout.contains("kept with its entry: Reservation"),
        "{run:#?}"
    );
    assert_eq!(reservations(cluster.client()).await.len(), 2);
}

#[tokio::test]
async fn without_any_pod_in_sight_the_brake_holds_and_force_overrides_it() {
    let cluster = Cluster::lock().await;
    let all = (1..=11).fold(pool("kube-system", "10.0.0.0/24"), |pool, offset| {
        pool.entry(offset, "default/gone", "net1", "c")
    });
    all.create(cluster.client()).await;
    let run = release(cluster.kubeconfig(), ["10.0.0.1", "--yes"])
        .await
        .expect(4);
    assert!(run.stderr.contains("no pod at all is visible"), "{run:#?}");
    assert_eq!(left(&cluster).await.len(), 11);
    release(cluster.kubeconfig(), ["10.0.0.1", "--yes", "--force"])
        .await
        .expect(0);
    assert_eq!(left(&cluster).await.len(), 10);
}
