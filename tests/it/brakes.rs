//! A release that looks like a broken view of the cluster is refused.

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, create_all, entries, pod, pool};
use crate::support::proxy::Proxy;
use crate::support::run::reconciler;

/// A pool with so many orphans and so many addresses of one live pod.
async fn records(cluster: &Cluster, orphans: u128, live: u128) {
    let mut object = pool("kube-system", "10.0.0.0/16");
    for offset in 1..=orphans {
        object = object.entry(offset, "default/gone", "net1", "c");
    }
    let mut addresses = Vec::new();
    for offset in orphans + 1..=orphans + live {
        object = object.entry(offset, "default/live", "net1", "c");
        addresses.push(format!("10.0.{}.{}", offset / 256, offset % 256));
    }
    object.create(cluster.client()).await;
    if live > 0 {
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        pod("default", "live")
            .shows("net1", &addresses)
            .create(cluster.client())
            .await;
    }
}

async fn left(cluster: &Cluster) -> usize {
    entries(cluster.client(), "kube-system", "10.0.0.0-16")
        .await
        .len()
}

#[tokio::test]
async fn no_pod_in_sight_and_more_than_ten_addresses_are_refused() {
    let cluster = Cluster::lock().await;
    records(&cluster, 11, 0).await;
    for args in [
        &["-o", "json"][..],
        &["--dry-run", "-o", "json"],
        &["--max-release", "100%", "-o", "json"],
    ] {
        let proxy = Proxy::start(&cluster).await;
        let mut run = reconciler(&proxy.kubeconfig(&cluster, cluster.token()));
        for argument in args {
            run = run.args([argument]);
        }
        let run = run.output().await.expect(4);
        assert_eq!(run.json()["refusal"]["brake"], "NoPods");
        assert_eq!(run.json()["conclusion"], "Refused");
        assert_eq!(proxy.changes(), Vec::<String>::new());
    }
    reconciler(cluster.kubeconfig())
        .args(["--force"])
        .output()
        .await
        .expect(0);
    assert_eq!(left(&cluster).await, 0);

    let cluster = {
        drop(cluster);
        Cluster::lock().await
    };
    records(&cluster, 10, 0).await;
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    assert_eq!(left(&cluster).await, 0);
}

#[tokio::test]
async fn more_than_half_of_over_a_hundred_records_is_refused() {
    for (orphans, live, args, code) in [
        (51, 50, &[][..], 4),
        (50, 51, &[], 0),
        (99, 1, &[], 0),
        (51, 50, &["--max-release", "51%"], 0),
        (51, 50, &["--max-release", "50"], 4),
        (51, 50, &["--max-release=51"], 0),
        (51, 50, &["--force"], 0),
        (2, 50, &["--max-release", "1"], 4),
    ] {
        let cluster = Cluster::lock().await;
        records(&cluster, orphans, live).await;
        let mut run = reconciler(cluster.kubeconfig());
        for argument in args {
            run = run.args([argument]);
        }
        let run = run.output().await;
        assert_eq!(run.code, Some(code), "{orphans} {live} {args:?} {run:#?}");
        let expected = if code == 0 { live } else { orphans + live };
        assert_eq!(left(&cluster).await as u128, expected);
    }
}

#[tokio::test]
async fn a_refused_run_has_its_own_exit_code_whatever_else_is_asked() {
    let cluster = Cluster::lock().await;
    records(&cluster, 11, 0).await;
    let args = ["--dry-run", "--detailed-exitcode"];
    let run = reconciler(cluster.kubeconfig())
        .args(args)
        .output()
        .await
        .expect(4);
    assert!(
        run.stdout
            .contains("refused: 11 addresses are reserved but no pod"),
        "{run:#?}"
    );
    create_all(cluster.client(), [pod("default", "one")], 1).await;
    reconciler(cluster.kubeconfig())
        .args(args)
        .output()
        .await
        .expect(3);
    assert_eq!(left(&cluster).await, 11);
}
