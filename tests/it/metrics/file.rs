//! The file for node-exporter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fill;
use crate::support::cluster::Cluster;
use crate::support::objects::entries;
use crate::support::prometheus::{Scrape, promtool};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Outcome, reconciler};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/crashed-node.yaml");

/// The file as promtool and a reader of the tests see it.
async fn read(path: &Path) -> Scrape {
    let text = fs::read_to_string(path).unwrap();
    let check = promtool(&["check", "metrics"], &text).await.expect(0);
    assert_eq!((check.stdout, check.stderr), (String::new(), String::new()));
    Scrape::read(&text)
}

fn names_in(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir(folder).unwrap().map(name);
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn the_file_is_replaced_by_a_rename_and_valid() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ip-reconciler.prom");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Whoever has the old file open goes on reading the old text.
    let other_name = folder.path().join("other-name");
    fs::hard_link(&path, &other_name).unwrap();
    reconciler(cluster.kubeconfig())
        .args(["--metrics-file", path.to_str().unwrap()])
        .output()
        .await
        .expect(0);
    assert_eq!(fs::read_to_string(&other_name).unwrap(), "old");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    fs::remove_file(other_name).unwrap();
    assert_eq!(names_in(folder.path()), ["ip-reconciler.prom"]);
    let scrape = read(&path).await;
    scrape.expect_sum("released_records", 3.0);
    scrape.expect("view_complete", 1.0);
}

#[tokio::test]
async fn a_run_that_fails_takes_the_last_success_over() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ip-reconciler.prom");
    let run = || {
        let run = reconciler(&proxy.kubeconfig(&cluster, cluster.token()));
        run.env("IP_RECONCILER_METRICS_FILE", path.to_str().unwrap())
            .output()
    };
    let no_pods = || {
        let pods = |seen: &crate::support::proxy::Seen| seen.is("GET", "/pods");
        proxy.once(pods, Fault::Status(403, "Forbidden"));
    };
    no_pods();
    run().await.expect(1);
    let scrape = read(&path).await;
    scrape.expect("view_complete", 0.0);
    scrape.expect("brake_refusals{reason=\"NoPods\"}", 0.0);
    assert_eq!(scrape.get("last_success_timestamp_seconds"), None);
    assert_eq!(scrape.get("conflicts{kind=\"UsedByAnother\"}"), None);

    run().await.expect(0);
    let success = read(&path).await.get("last_success_timestamp_seconds");
    assert!(success.is_some());
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    for _ in 0..2 {
        no_pods();
        run().await.expect(1);
        let scrape = read(&path).await;
        assert_eq!(scrape.get("last_success_timestamp_seconds"), success);
        assert!(scrape.get("last_run_timestamp_seconds") > success);
    }
    // No cluster at all is a failed run as well.
    let run = reconciler(Path::new("/nonexistent"))
        .args(["--metrics-file", path.to_str().unwrap()])
        .output()
        .await;
    run.expect(1);
    let scrape = read(&path).await;
    scrape.expect("view_complete", 0.0);
    assert_eq!(scrape.get("last_success_timestamp_seconds"), success);
}

fn assert_refused(run: &Outcome, text: &str) {
    assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{run:#?}");
    assert!(run.stderr.contains(text), "{text:?} is not in {run:#?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_before_anything_is_done() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("file"), "").unwrap();
    for (path, reason) in [
        (path("absent/metrics.prom"), "No such file or directory"),
        (path("file/metrics.prom"), "Not a directory"),
        (path("."), "it is no regular file"),
        ("/dev/null".to_owned(), "it is no regular file"),
        ("/proc/metrics.prom".to_owned(), "/proc/metrics.prom: "),
    ] {
        let run = reconciler(&proxy.kubeconfig(&cluster, cluster.token()))
            .args(["--metrics-file", &path])
            .output()
            .await;
        assert_refused(&run, &format!("cannot write metrics to {path}: "));
        assert_refused(&run, reason);
    }
    assert!(proxy.log().is_empty());
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[tokio::test]
async fn a_folder_that_vanishes_meanwhile_costs_a_warning_and_nothing_else() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let path = gone.join("metrics.prom");
    proxy.rule(move |seen| {
        if seen.is("GET", "/pods") && gone.exists() {
            fs::remove_dir(&gone).unwrap();
        }
        None
    });
    let run = reconciler(&proxy.kubeconfig(&cluster, cluster.token()))
        .args(["--metrics-file", path.to_str().unwrap()])
        .output()
        .await
        .expect(0);
    let said = format!("cannot write metrics to {}: No such file", path.display());
    assert!(run.stderr.contains("WARN"), "{run:#?}");
    assert!(run.stderr.contains(&said), "{run:#?}");
    let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!(left.len(), 2);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_and_no_password_is_shown() {
    let offline = || reconciler(Path::new("/nonexistent"));
    for url in [
        "gate:9091",
        "ftp://me:s3cret@gate",
        "http://me:s3cret@",
        "http://me:s3cret@gate/?token=s3cret",
        "http://me:s3cret@gate/ x",
    ] {
        let by_flag = offline().args(["--metrics-push", url]).output().await;
        let by_variable = offline().env("IP_RECONCILER_METRICS_PUSH", url);
        for run in [by_flag, by_variable.output().await] {
            assert_refused(&run, "--metrics-push cannot be used: ");
            assert!(!run.stderr.contains("s3cret"), "{run:#?}");
        }
    }
    for outlet in ["--metrics-push=http://gate", "--metrics-file=metrics.prom"] {
        let arguments = ["--snapshot", EXAMPLE, outlet];
        assert_refused(
            &offline().args(arguments).output().await,
            "a dump's metrics would pass for the cluster's",
        );
    }
    let help = offline()
        .env("IP_RECONCILER_METRICS_PUSH", "http://me:s3cret@gate")
        .args(["--help"])
        .output()
        .await
        .expect(0);
    assert!(!help.stdout.contains("s3cret"), "{help:#?}");
}
