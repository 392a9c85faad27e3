//! What a run has freed is put back from its report, and nothing is ever overwritten.

mod faults;
mod kept;
mod saved;

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{Object, entries, pod, pool, reservation, reservations, send};
use crate::support::run::{Outcome, reconciler};

pub(super) const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1";

/// What of an object is not the server's.
fn own_part(mut object: Value) -> Value {
    for member in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        object["metadata"].as_object_mut().unwrap().remove(member);
    }
    object
}

/// All records, but for what the server sets.
pub(super) async fn records(cluster: &Cluster) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in ["ippools", "overlappingrangeipreservations"] {
        let path = format!("{GROUP}/{kind}");
        let list = send(cluster.client(), Method::GET, &path, None)
            .await
            .unwrap();
        let items = list["items"].as_array().unwrap().iter();
        all.extend(items.map(|item| own_part(item.clone())));
    }
    all
}

/// Orphans of every kind beside an address in use: with a reservation, without, a reservation alone,
/// in both families, and in a named network.
pub(super) async fn crowd(cluster: &Cluster) {
    let client = cluster.client();
    let owner = json!({"id": "c1", "poduid": "u1", "nodename": "node-x"});
    pool("kube-system", "10.0.0.0/24")
        .raw_entry(
            "1",
            json!({"id": "c1", "podref": "default/gone-1", "ifname": "net1", "owner": owner}),
        )
        .entry(2, "default/live", "net1", "c2")
        .entry(3, "default/gone-3", "net1", "c3")
        .annotation("example.com/note", "keep me")
        .create(client)
        .await;
    pool("kube-system", "fd00::/64")
        .network("blue-net")
        .raw_entry("5", json!({"id": "c5", "podref": "default/gone-1"}))
        .create(client)
        .await;
    let with = |address: &str, of: &str| reservation("kube-system", address, of);
    with("10.0.0.1", "default/gone-1")
        .ifname("net1")
        .create(client)
        .await;
    with("10.0.0.2", "default/live").create(client).await;
    with("10.0.0.77", "default/gone-7").create(client).await;
    let blue = with("fd00::5", "default/gone-1").network("blue-net");
    blue.annotation("example.com/who", "me \u{fc} \"quoted\"")
        .create(client)
        .await;
    let labels =
        json!({"metadata": {"labels": {"whereabouts.cni.cncf.io/node": "node-x", "a/b": "c"}}});
    let path = format!("{GROUP}/namespaces/kube-system/overlappingrangeipreservations/10.0.0.1");
    send(client, Method::PATCH, &path, Some(&labels))
        .await
        .unwrap();
    pod("default", "live")
        .shows("net1", &["10.0.0.2"])
        .create(client)
        .await;
}

/// A run that saves its report in a file, which is given.
pub(super) async fn run_with_report(cluster: &Cluster, kubeconfig: &Path) -> (PathBuf, Outcome) {
    let path = cluster.file("");
    let run = reconciler(kubeconfig).args(["--report", path.to_str().unwrap(), "-o", "json"]);
    (path, run.output().await)
}

pub(super) async fn undo(kubeconfig: &Path, report: &Path) -> Outcome {
    let run = reconciler(kubeconfig).args(["undo", report.to_str().unwrap(), "-o", "json"]);
    run.output().await
}

/// How often each result is in the answer of an undo.
pub(super) fn results(undone: &Outcome) -> Vec<(String, usize)> {
    let answer = undone.json();
    let mut counts = std::collections::BTreeMap::new();
    for record in answer["records"].as_array().unwrap() {
        let result = record["result"].as_str().unwrap().to_owned();
        *counts.entry(result).or_default() += 1;
    }
    counts.into_iter().collect()
}

pub(super) fn one(result: &str, count: usize) -> Vec<(String, usize)> {
    vec![(result.to_owned(), count)]
}

#[tokio::test]
async fn after_an_undo_every_record_is_as_before_and_a_second_one_is_harmless() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    assert_eq!(run.expect(0).json()["summary"]["released"], 6);
    assert_ne!(records(&cluster).await, before);

    let dry =
        reconciler(cluster.kubeconfig()).args(["undo", report.to_str().unwrap(), "--dry-run"]);
    let dry = dry.output().await.expect(0);
    assert!(
        dry.stdout
            .contains("6 of 6 records would be put back: dry run."),
        "{dry:#?}"
    );
    assert_ne!(records(&cluster).await, before);

    let undone = undo(cluster.kubeconfig(), &report).await.expect(0);
    assert_eq!(results(&undone), one("PutBack", 6));
    assert_eq!(records(&cluster).await, before);
    let answer = undone.json();
    let mut all = answer["records"].as_array().unwrap().iter();
    let blue = all.find(|record| record["name"] == "blue-net-fd00--5");
    assert_eq!(blue.unwrap()["address"], "fd00::5", "{undone:#?}");
    assert!(
        undone.json()["remarks"][0]
            .as_str()
            .unwrap()
            .contains("suspend"),
        "{undone:#?}"
    );

    let versions = cluster.kubectl(&[
        "get",
        "ippools,overlappingrangeipreservations",
        "-A",
        "-o",
        "yaml",
    ]);
    let again = undo(cluster.kubeconfig(), &report).await.expect(0);
    assert_eq!(results(&again), one("AlreadyThere", 6));
    let after = cluster.kubectl(&[
        "get",
        "ippools,overlappingrangeipreservations",
        "-A",
        "-o",
        "yaml",
    ]);
    assert_eq!(versions, after);
    // And the next run releases them once more, as the remark says.
    let again = reconciler(cluster.kubeconfig())
        .args(["-o", "json"])
        .output()
        .await;
    assert_eq!(again.expect(0).json()["summary"]["released"], 6);
}

#[tokio::test]
async fn members_that_nobody_knows_come_back_too() {
    let cluster = Cluster::separate(&Options::default()).await;
    let client = cluster.client();
    for kind in ["ippools", "overlappingrangeipreservations"] {
        let open = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object",
                "x-kubernetes-preserve-unknown-fields": true}}}]}});
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind}.whereabouts.cni.cncf.io"
        );
        send(client, Method::PATCH, &path, Some(&open))
            .await
            .unwrap();
    }
    // The API server takes a moment to serve the new schema.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let stranger = json!({"id": "c", "podref": "default/gone", "ifname": "net1",
        "colour": {"b": 1, "a": [1.5, {}, ""]}, "owner": {"id": "c", "poduid": "u", "shoe": 43}});
    pool("kube-system", "10.0.0.0/24")
        .raw_entry("1", stranger)
        .create(client)
        .await;
    let claim = reservation("kube-system", "10.0.0.1", "default/gone").ifname("net1");
    claim.create(client).await;
    let path = format!("{GROUP}/namespaces/kube-system/overlappingrangeipreservations/10.0.0.1");
    let more = json!({"spec": {"extra": {"z": [0, "\u{1}"]}}});
    send(client, Method::PATCH, &path, Some(&more))
        .await
        .unwrap();
    let before = records(&cluster).await;
    assert!(
        before
            .iter()
            .any(|object| object["spec"]["extra"] == more["spec"]["extra"])
    );
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    assert_eq!(run.expect(0).json()["summary"]["released"], 2);
    undo(cluster.kubeconfig(), &report).await.expect(0);
    assert_eq!(records(&cluster).await, before);
}

#[tokio::test]
async fn a_report_also_comes_from_standard_input_and_packed() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let before = records(&cluster).await;
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    let text = std::fs::read_to_string(&report).unwrap();
    let undone = reconciler(cluster.kubeconfig())
        .args(["undo", "-"])
        .stdin(&text);
    let undone = undone.output().await.expect(0);
    assert!(
        undone.stdout.contains("6 of 6 records put back."),
        "{undone:#?}"
    );
    assert_eq!(records(&cluster).await, before);
    assert!(
        std::process::Command::new("gzip")
            .arg(&report)
            .status()
            .unwrap()
            .success()
    );
    let packed = report.with_file_name(format!("{}.gz", report.file_name().unwrap().display()));
    assert_eq!(
        results(&undo(cluster.kubeconfig(), &packed).await.expect(0)),
        one("AlreadyThere", 6)
    );
}

#[tokio::test]
async fn what_has_another_holder_is_named_and_left_alone() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let client = cluster.client();
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    // 10.0.0.1 has a new entry and a new claim; 10.0.0.3 is recorded in an overlapping pool; a pod
    // shows fd00::5 without any record; 10.0.0.77 has a new claim.
    let path = format!("{GROUP}/namespaces/kube-system/ippools/10.0.0.0-24");
    let new = json!({"spec": {"allocations": {"1": {"id": "n1", "podref": "default/new-1", "ifname": "net1"}}}});
    send(client, Method::PATCH, &path, Some(&new))
        .await
        .unwrap();
    reservation("kube-system", "10.0.0.1", "default/new-1")
        .create(client)
        .await;
    pool("kube-system", "10.0.0.0/16")
        .entry(3, "default/new-3", "net1", "n3")
        .create(client)
        .await;
    pod("default", "new-5")
        .shows("net1", &["fd00::5"])
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.77", "default/new-7")
        .create(client)
        .await;
    let before = records(&cluster).await;
    for dry_run in ["--dry-run", "--dry-run=false"] {
        let run = reconciler(cluster.kubeconfig());
        let run = run.args(["undo", report.to_str().unwrap(), "-o", "json", dry_run]);
        let undone = run.output().await.expect(1);
        assert_eq!(results(&undone), one("Taken", 6), "{undone:#?}");
        let reasons = undone.json()["records"].to_string();
        for reason in [
            "it is recorded for default/new-1",
            "Allocation kube-system/10.0.0.0-16/3 records it for default/new-3",
            "pod default/new-5 shows it",
            "it is recorded for default/new-7",
        ] {
            assert!(reasons.contains(reason), "{reason}: {reasons}");
        }
        assert_eq!(records(&cluster).await, before);
    }
}

#[tokio::test]
async fn a_pod_that_came_back_keeps_its_new_record() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let client = cluster.client();
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    let path = format!("{GROUP}/namespaces/kube-system/ippools/10.0.0.0-24");
    let new = json!({"spec": {"allocations": {"1": {"id": "new", "podref": "default/gone-1", "ifname": "net1"}}}});
    send(client, Method::PATCH, &path, Some(&new))
        .await
        .unwrap();
    reservation("kube-system", "10.0.0.1", "default/gone-1")
        .container("new")
        .create(client)
        .await;
    let undone = undo(cluster.kubeconfig(), &report).await.expect(1);
    let mut expected = one("PutBack", 4);
    expected.extend(one("Taken", 2));
    assert_eq!(results(&undone), expected, "{undone:#?}");
    let there = entries(client, "kube-system", "10.0.0.0-24").await;
    assert_eq!(there["1"]["id"], "new");
    assert!(there.contains_key("3"));
}

#[tokio::test]
async fn a_pool_that_is_gone_or_has_another_range_is_not_made() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let client = cluster.client();
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    run.expect(0);
    let pools = format!("{GROUP}/namespaces/kube-system/ippools");
    let blue = format!("{pools}/blue-net-fd00---64");
    send(client, Method::DELETE, &blue, None).await.unwrap();
    let other = json!({"spec": {"range": "10.0.0.4/24"}});
    let path = format!("{pools}/10.0.0.0-24");
    send(client, Method::PATCH, &path, Some(&other))
        .await
        .unwrap();
    let undone = undo(cluster.kubeconfig(), &report).await.expect(1);
    let mut expected = one("NoPlace", 5);
    expected.extend(one("PutBack", 1));
    assert_eq!(results(&undone), expected, "{undone:#?}");
    let said = undone.json()["records"].to_string();
    assert!(
        said.contains("there is no pool kube-system/blue-net-fd00---64"),
        "{said}"
    );
    assert!(
        said.contains("the range of pool kube-system/10.0.0.0-24 is 10.0.0.4/24"),
        "{said}"
    );
    // Only the reservation that had no entry is back.
    let left: Vec<String> = reservations(client).await.into_iter().collect();
    assert_eq!(left, ["kube-system/10.0.0.2", "kube-system/10.0.0.77"]);
}

#[tokio::test]
async fn a_report_that_is_not_right_is_refused_and_changes_nothing() {
    let cluster = Cluster::lock().await;
    crowd(&cluster).await;
    let (report, run) = run_with_report(&cluster, cluster.kubeconfig()).await;
    let run = run.expect(0);
    let before = records(&cluster).await;
    let text = std::fs::read_to_string(&report).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}: {text}");
        text.replace(from, to)
    };
    let uid = serde_json::from_str::<Value>(&text).unwrap()["cluster"].clone();
    for (text, said) in [
        (
            with(uid.as_str().unwrap(), "other"),
            "is that of another cluster",
        ),
        (
            with("v1alpha1\",\n  \"kind\": \"Rel", "v9\",\n  \"kind\": \"Rel"),
            "v9",
        ),
        (text[..text.len() / 2].to_owned(), "no complete report"),
        (text[..text.len() - 2].to_owned(), "no complete report"),
        (run.stdout.clone(), "ReconcileReport"),
        ("hello".to_owned(), "no complete report"),
        (String::new(), "no complete report"),
        (
            with(
                "\"namespace\": \"kube-system\"",
                "\"namespace\": \"../../pods\"",
            ),
            "is no object's name",
        ),
        (with("\"allocations\"", "\"alloc\""), "missing field"),
    ] {
        let file = cluster.file(&text);
        let undone = undo(cluster.kubeconfig(), &file).await.expect(2);
        assert!(
            undone.stderr.contains(said) && undone.stdout.is_empty(),
            "{said}: {undone:#?}"
        );
    }
    let missing = Path::new("no-such-report.json");
    let undone = undo(cluster.kubeconfig(), missing).await.expect(2);
    assert!(
        undone.stderr.contains("cannot read the report"),
        "{undone:#?}"
    );
    assert_eq!(records(&cluster).await, before);
}
