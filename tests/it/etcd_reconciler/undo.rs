//! What was released is put back.

use super::{add, all, key, network, put, run, value};
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
async fn members_that_nobody_knows_come_back_too() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    pod("default", "bystander").create(cluster.client()).await;
    let lan = network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    let at = key("10.0.0.1");
    let known = value(&etcd, &at).await.unwrap();
    let strange = known.replace('}', r#","more":[1.5,null]}"#);
    put(&etcd, &at, &strange).await;
    let report = cluster.file("");
    let report = report.to_str().unwrap();
    let done = run(&cluster, &etcd).args(["--report", report]);
    done.output().await.expect(0);
    assert_eq!(all(&etcd).await, []);
    let undone = run(&cluster, &etcd).args(["undo", report]);
    let undone = undone.output().await.expect(0);
    assert_eq!(results(&undone), ["PutBack"], "{undone:#?}");
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let back = value(&etcd, &at).await.unwrap();
    assert_eq!(read(&back), read(&strange));
}

#[tokio::test]
async fn a_kept_report_is_undone_only_where_its_records_were() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    pod("default", "bystander").create(cluster.client()).await;
    // Tests before this one may have left some.
    let kept = "whereabouts.cni.cncf.io/release-report";
    cluster.kubectl(&["delete", "configmap", "-n", "tenant-a", "-l", kept]);
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
