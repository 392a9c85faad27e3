//! `--report`: what a run is about to release is written down first.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{crowd, one, records, results, run_with_report, undo};
use crate::support::cluster::Cluster;
use crate::support::objects::reservations;
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::reconciler;

fn read(path: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_killed_run_leaves_a_report_of_what_it_was_about_to_release() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let report = cluster.file("");
    // Entries go, and the first delete of a reservation never comes back.
    proxy.rule(|seen| (seen.method == "DELETE").then_some(Fault::Hang));
    let run = reconciler(&kubeconfig)
        .args(["--report", report.to_str().unwrap()])
        .spawn();
    while !proxy.writes().iter().any(|seen| seen.method == "DELETE") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(read(&report)["finished"], false);
    run.signal("KILL");
    assert_eq!(run.wait().await.code, None);
    assert_ne!(records(&cluster).await, before);
    let undone = undo(cluster.kubeconfig(), &report).await.expect(0);
    let mut expected = one("AlreadyThere", 3);
    expected.extend(one("PutBack", 3));
    assert_eq!(results(&undone), expected, "{undone:#?}");
    assert_eq!(records(&cluster).await, before);
    let remarks = undone.json()["remarks"].to_string();
    assert!(remarks.contains("did not come to its end"), "{remarks}");
}

#[tokio::test]
async fn an_interrupted_run_says_how_far_it_got() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let report = cluster.file("");
    proxy.rule(|seen| {
        let is_patch = seen.method == "PATCH";
        is_patch.then_some(Fault::Delay(std::time::Duration::from_millis(500)))
    });
    let arguments = ["--report", report.to_str().unwrap(), "--concurrency", "1"];
    let run = reconciler(&kubeconfig).args(arguments).spawn();
    while proxy.writes().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    run.signal("TERM");
    run.wait().await.expect(1);
    let saved = read(&report);
    assert_eq!(saved["finished"], true);
    let said = saved.to_string();
    assert!(
        said.contains("NotStarted") && said.contains("\"Released\""),
        "{said}"
    );
    let undone = undo(cluster.kubeconfig(), &report).await.expect(0);
    assert!(
        results(&undone).contains(&("NotReleased".to_owned(), 4)),
        "{undone:#?}"
    );
    assert_eq!(records(&cluster).await, before);
}

#[tokio::test]
async fn the_report_is_private_and_of_every_run_also_one_that_frees_nothing() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    assert_eq!(
        fs::metadata(&report).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let saved = read(&report);
    assert_eq!(
        (
            &saved["finished"],
            saved["allocations"].as_array().unwrap().len()
        ),
        (&true.into(), 3)
    );
    let path = report.to_str().unwrap();
    reconciler(cluster.kubeconfig())
        .args(["--report", path])
        .output()
        .await
        .expect(0);
    assert_eq!(read(&report)["allocations"], serde_json::json!([]));
    let undone = undo(cluster.kubeconfig(), &report).await.expect(0);
    assert_eq!(results(&undone), []);
}

#[tokio::test]
async fn what_cannot_be_saved_is_not_released() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    for path in ["/no-such-folder/report.json", "/dev/null", "/"] {
        let run = reconciler(&kubeconfig)
            .args(["--report", path])
            .output()
            .await
            .expect(2);
        assert!(
            run.stderr.contains("cannot write the report to /") && !run.stderr.contains(".tmp"),
            "{run:#?}"
        );
    }
    assert!(proxy.log().is_empty(), "{:#?}", proxy.log());
    // The cluster's identity, and a reservation as it is.
    for part in ["/namespaces/kube-system", "metadata.name"] {
        proxy.heal();
        proxy.rule(move |seen| {
            let is_meant = seen.path.ends_with(part) || seen.query.contains(part);
            is_meant.then_some(Fault::Status(403, "Forbidden"))
        });
        let (report, run) = run_with_report(&cluster, &kubeconfig).await;
        let run = run.expect(1);
        assert!(
            run.stderr.contains("saved for --report") && run.stdout.is_empty(),
            "{run:#?}"
        );
        assert_eq!(fs::read_to_string(report).unwrap(), "");
    }
    assert!(proxy.writes().is_empty());
    assert_eq!(records(&cluster).await, before);
}

#[tokio::test]
async fn a_report_goes_only_with_what_releases() {
    let cluster = Cluster::lock().await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/crashed-node.yaml");
    let report = cluster.file("{}");
    let report = report.to_str().unwrap();
    let run = || reconciler(cluster.kubeconfig()).env_remove("KUBECONFIG");
    run()
        .args(["--report", report, "--dry-run"])
        .output()
        .await
        .expect(2);
    run()
        .args(["--report", report, "--snapshot", example])
        .output()
        .await
        .expect(2);
    run()
        .args(["--report", report, "undo", report])
        .output()
        .await
        .expect(2);
    run()
        .args(["undo", report, "--snapshot", example])
        .output()
        .await
        .expect(2);
    run()
        .args(["release", "10.0.0.1", "--snapshot", example])
        .output()
        .await
        .expect(2);
    run()
        .args(["--keep-reports", "-1"])
        .output()
        .await
        .expect(2);
    assert!(reservations(cluster.client()).await.is_empty());
}
