//! What was released is put back.

use super::{add, all, key, network, put, run, show, value};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, pod};
use crate::support::run::Outcome;

/// What became of each record.
fn results(undone: &Outcome) -> Vec<String> {
    let undone = undone.json();
    let rows = undone["records"].as_array().unwrap().iter();
    rows.map(|row| row["result"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_was_released_is_put_back_where_nothing_has_taken_its_place() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    for pod in ["a", "b", "c"] {
        add(&lan, "default", pod).await;
    }
    let first = key("10.0.0.1");
    let strange = value(&etcd, &first)
        .await
        .unwrap()
        .replace('}', r#","more":[1.5,null]}"#);
    put(&etcd, &first, &strange).await;
    let before = all(&etcd).await;
    let report = cluster.file("");
    let report = report.to_str().unwrap();
    let done = run(&cluster, &etcd).args(["--report", report]);
    assert_eq!(
        done.output().await.expect(0).json()["summary"]["released"],
        3
    );
    assert_eq!(all(&etcd).await, []);

    let undo = || run(&cluster, &etcd).args(["undo", report]);
    let planned = undo().args(["--dry-run"]).output().await.expect(0);
    assert_eq!(results(&planned), ["Planned"; 3], "{planned:#?}");
    assert_eq!(all(&etcd).await, []);
    let undone = undo().output().await.expect(0);
    assert_eq!(results(&undone), ["PutBack"; 3], "{undone:#?}");
    let there = undo().output().await.expect(0);
    assert_eq!(results(&there), ["AlreadyThere"; 3], "{there:#?}");
    let names =
        |all: &[(String, String)]| all.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let after = all(&etcd).await;
    assert_eq!(names(&after), names(&before));
    for ((_, before), (_, after)) in before.iter().zip(&after).filter(|(it, _)| !it.1.is_empty()) {
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(before), read(after));
    }
    // The plugin knows them by their containers.
    for pod in ["a", "b", "c"] {
        let del = super::call("DEL", &lan).container(&format!("c-{pod}"));
        del.run().await.expect(0);
    }
    assert_eq!(all(&etcd).await, []);
}

#[tokio::test]
async fn what_is_taken_or_shown_by_another_stays_that_ones() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    for pod in ["a", "b", "c"] {
        add(&lan, "default", pod).await;
    }
    let report = cluster.file("");
    let report = report.to_str().unwrap();
    run(&cluster, &etcd)
        .args(["--report", report])
        .output()
        .await
        .expect(0);
    assert_eq!(add(&lan, "default", "other").await, "10.0.0.1");
    show(&cluster, "shows", "10.0.0.2").await;
    let before = all(&etcd).await;
    let undone = run(&cluster, &etcd)
        .args(["undo", report])
        .output()
        .await
        .expect(1);
    assert_eq!(
        results(&undone),
        ["Taken", "Taken", "PutBack"],
        "{undone:#?}"
    );
    let after = all(&etcd).await;
    assert!(before.iter().all(|it| after.contains(it)) && after.len() == before.len() + 3);
}

#[tokio::test]
async fn a_kept_report_is_undone_and_only_where_its_records_were() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    pod("default", "bystander").create(cluster.client()).await;
    super::crowd(&etcd, 60).await;
    let before = all(&etcd).await;
    let kept = ["--keep-reports", "2", "--reports-namespace", "tenant-a"];
    let done = run(&cluster, &etcd).args(kept).output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 60);
    let name = cluster.kubectl(&[
        "get",
        "configmap",
        "-n",
        "tenant-a",
        "-o",
        "name",
        "-l",
        "whereabouts.cni.cncf.io/release-report",
    ]);
    let name = name.trim().replace("configmap/", "configmap/tenant-a/");
    let elsewhere = crate::support::run::reconciler(cluster.kubeconfig());
    let elsewhere = elsewhere.args(["undo", &name]).output().await.expect(2);
    assert!(
        elsewhere.stderr.contains("--datastore etcd"),
        "{elsewhere:#?}"
    );
    let undone = run(&cluster, &etcd)
        .args(["undo", &name])
        .output()
        .await
        .expect(0);
    assert_eq!(results(&undone), ["PutBack"; 60], "{undone:#?}");
    assert_eq!(all(&etcd).await.len(), before.len());
}
