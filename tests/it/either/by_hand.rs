//! What a person asks for: one address freed, a run undone, a verdict explained, a record put back.

use http::Method;
use serde_json::{Value, json};

use super::home::Home;
use super::record::{address, orphans, record};
use super::told::{rows, undone};
use crate::plugin::call::{addresses, call};
use crate::support::objects::{delete_pod_now, node, pod, send};
use crate::support::run::Outcome;

async fn release(home: &Home, arguments: &[&str]) -> Outcome {
    let mut run = home.printing("table").args(["release"]);
    for argument in arguments {
        run = run.args([*argument]);
    }
    run.output().await
}

/// An address that a run holds for a node that does not answer, beside one in use.
async fn held(home: &Home) {
    home.has(node("node-silent").unreachable()).await;
    home.has(node("node-a")).await;
    let live = pod("default", "live").shows("net1", &["10.0.0.2"]);
    home.has(live).await;
    home.put(&[
        record(1, "held").node("node-silent"),
        record(2, "live").bare(),
    ])
    .await;
}

pub(super) async fn an_address_is_freed_by_hand_and_its_release_undone(home: &Home) {
    held(home).await;
    home.run().output().await.expect(0);
    let before = home.everything().await;
    let allocation = format!("Allocation {}/1\n", home.pool());
    let dry = release(home, &["10.0.0.1", "--dry-run"])
        .await
        .expect(0)
        .stdout;
    assert!(dry.contains("HeldUnreachable"), "{dry}");
    assert!(
        dry.contains(&format!("would be released: {allocation}")),
        "{dry}"
    );
    let unasked = release(home, &["10.0.0.1"]).await.expect(2);
    assert!(unasked.stderr.contains("give it --yes"), "{unasked:#?}");
    assert_eq!(home.everything().await, before);
    let report = home.cluster().file("");
    let report = report.to_str().unwrap();
    let freed = release(home, &["::ffff:10.0.0.1", "--yes", "--report", report]).await;
    let freed = freed.expect(0).stdout;
    assert!(
        freed.contains(&format!("released: {allocation}")),
        "{freed}"
    );
    let claim = "released: Reservation kube-system/10.0.0.1\n";
    assert_eq!(freed.contains(claim), home.each() == 2, "{freed}");
    assert_eq!(home.left_at().await, [2]);
    home.run().args(["undo", report]).output().await.expect(0);
    assert_eq!(home.everything().await, before);
}

pub(super) async fn what_a_pod_may_use_is_not_freed_by_hand(home: &Home) {
    home.has(node("node-a")).await;
    for pod in [
        pod("default", "in-use").shows("net1", &["10.0.0.1"]),
        pod("default", "starting"),
        pod("default", "terminating")
            .shows("net1", &["10.0.0.3"])
            .terminating(),
        pod("default", "unreadable").status_annotation("{"),
        pod("default", "another").shows("net1", &["10.0.0.5"]),
    ] {
        home.has(pod).await;
    }
    let names = ["in-use", "starting", "terminating", "unreadable", "gone"];
    let records = (1..).zip(names).map(|(at, name)| record(at, name).bare());
    home.put(&records.collect::<Vec<_>>()).await;
    let before = home.everything().await;
    for (at, verdict, advice) in [
        (1, "InUse", "delete pod default/in-use first"),
        (2, "Starting", "delete pod default/starting first"),
        (
            3,
            "Terminating",
            "wait until pod default/terminating is gone",
        ),
        (4, "StatusUnreadable", "delete pod default/unreadable first"),
        (5, "UsedByAnother", "default/another"),
    ] {
        let kept = release(home, &[&address(at), "--yes", "--force"])
            .await
            .expect(1);
        let expected = format!("is not released: {verdict}: ");
        assert!(kept.stderr.contains(&expected), "{kept:#?}");
        assert!(kept.stderr.contains(advice), "{kept:#?}");
    }
    assert_eq!(home.everything().await, before);
    // The advice works.
    delete_pod_now(home.cluster().client(), "default", "in-use").await;
    release(home, &["10.0.0.1", "--yes"]).await.expect(0);
    assert_eq!(home.left_at().await, [2, 3, 4, 5]);
}

pub(super) async fn an_address_that_nothing_records_is_an_error(home: &Home) {
    held(home).await;
    let nothing = format!(
        "is in the range of pool {}, and nothing records it",
        home.pool()
    );
    for (address, said) in [
        ("10.0.0.9", &*nothing),
        ("192.0.2.1", "no pool covers 192.0.2.1"),
        ("fd00::1", "no pool covers fd00::1"),
    ] {
        let run = release(home, &[address, "--yes"]).await.expect(1);
        assert!(run.stderr.contains(said), "{run:#?}");
    }
    let other = release(home, &["10.0.0.1", "--yes", "--pool", "other"])
        .await
        .expect(1);
    assert!(
        other.stderr.contains("no record of 10.0.0.1 is that of"),
        "{other:#?}"
    );
    release(home, &["default/held", "--yes"]).await.expect(2);
    assert_eq!(home.left_at().await, [1, 2]);
}

pub(super) async fn a_held_address_is_explained_and_nothing_is_written(home: &Home) {
    held(home).await;
    home.put(&[record(3, "gone")]).await;
    let before = home.everything().await;
    let explain = async |target: &str, grace: &str| {
        let run = home
            .printing("table")
            .args(["explain", target, "--grace", grace]);
        run.output().await.expect(0).stdout
    };
    for target in ["10.0.0.1", "::ffff:10.0.0.1", "default/held"] {
        let said = explain(target, "0s").await;
        for part in [
            &*format!("10.0.0.1  Allocation {}/1", home.pool()),
            "c-held",
            "uid-held",
            "default/held: there is no such pod",
            "node-silent is not Ready since 20",
            "HeldUnreachable: pod is gone, but node node-silent is not Ready",
            "kubectl taint node node-silent",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let claim = "10.0.0.1  Reservation kube-system/10.0.0.1";
        assert_eq!(said.contains(claim), home.each() == 2, "{said}");
        assert!(!said.contains("default/gone"), "{said}");
    }
    let orphan = explain("10.0.0.3", "0s").await;
    assert!(orphan.contains("PodGone"), "{orphan}");
    let waits = explain("10.0.0.3", "2m").await;
    assert!(waits.contains("free it alone"), "{waits}");
    assert_eq!(home.everything().await, before);
}

/// A run whose report goes into a file, which is given.
async fn released(home: &Home) -> String {
    let report = home.cluster().file("").display().to_string();
    let run = home.run().args(["--report", &report]);
    run.output().await.expect(0);
    report
}

async fn undo(home: &Home, report: &str, dry_run: &str) -> Outcome {
    home.run().args(["undo", report, dry_run]).output().await
}

pub(super) async fn what_was_released_is_put_back_as_it_was(home: &Home) {
    home.put(&[
        record(1, "a"),
        record(2, "b").bare(),
        record(4, "bystander").bare(),
    ])
    .await;
    let lan = home.network();
    let add = call("ADD", &lan).container("c-d").pod("default", "d");
    add.run().await.expect(0);
    let before = home.everything().await;
    let report = released(home).await;
    let after = home.everything().await;
    assert_eq!(home.left_at().await, [4]);
    for (dry_run, result) in [
        ("--dry-run", "Planned"),
        ("--dry-run=false", "PutBack"),
        ("--dry-run=false", "AlreadyThere"),
    ] {
        let back = undo(home, &report, dry_run).await.expect(0);
        let expected = [1, 2, 3].map(|at| (address(at), result.to_owned()));
        assert_eq!(undone(&back), expected.into(), "{back:#?}");
        let is_dry = result == "Planned";
        let there = if is_dry { &after } else { &before };
        assert_eq!(home.everything().await, *there);
    }
    // The plugin knows them by their containers.
    for container in ["c-a", "c-b", "c-d"] {
        call("DEL", &lan).container(container).run().await.expect(0);
    }
    assert_eq!(home.left_at().await, [4]);
}

pub(super) async fn what_is_taken_or_shown_by_another_stays_that_ones(home: &Home) {
    home.put(&[record(1, "a"), record(2, "b"), record(3, "c")])
        .await;
    let report = released(home).await;
    let lan = home.network();
    let other = call("ADD", &lan)
        .container("c-other")
        .pod("default", "other");
    let given = addresses(&other.run().await.expect(0).json());
    assert_eq!(given, ["10.0.0.1/24"]);
    home.has(pod("default", "shows").shows("net1", &["10.0.0.2"]))
        .await;
    let back = undo(home, &report, "--dry-run=false").await.expect(1);
    let expected = [(1, "Taken"), (2, "Taken"), (3, "PutBack")];
    let expected = expected.map(|(at, result)| (address(at), result.to_owned()));
    assert_eq!(undone(&back), expected.into(), "{back:#?}");
    let left: Vec<String> = home.left().await.into_values().collect();
    assert_eq!(left, ["default/other", "default/c"]);
}

pub(super) async fn a_report_that_a_config_map_keeps_is_undone(home: &Home) {
    let client = home.cluster().client();
    let maps = "/api/v1/namespaces/tenant-a/configmaps";
    let kept = format!("{maps}?labelSelector=whereabouts.cni.cncf.io/release-report");
    // Tests before this one may have left some.
    send(client, Method::DELETE, &kept, None).await.unwrap();
    home.put(&orphans(40)).await;
    let before = home.everything().await;
    let run = home
        .run()
        .args(["--keep-reports", "2", "--reports-namespace", "tenant-a"]);
    run.output().await.expect(0);
    assert_eq!(home.left_at().await, Vec::<u8>::new());
    let list = send(client, Method::GET, &kept, None).await;
    let name = list.unwrap()["items"][0]["metadata"]["name"].clone();
    let report = format!("configmap/tenant-a/{}", name.as_str().unwrap());
    let back = undo(home, &report, "--dry-run=false").await.expect(0);
    assert!(
        undone(&back).values().all(|it| it == "PutBack"),
        "{back:#?}"
    );
    assert_eq!(home.everything().await, before);
}

/// Kind, address and repair of each finding.
fn findings(run: &Outcome) -> Vec<[String; 3]> {
    let report = run.json();
    let found = report["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let members = ["kind", "address", "repair"];
    found
        .map(|it| members.map(|member| text(&it[member])))
        .collect()
}

pub(super) async fn what_a_pod_shows_and_nothing_records_is_repaired(home: &Home) {
    home.has(node("node-a")).await;
    home.put(&[record(1, "bystander").bare()]).await;
    let lost = pod("default", "lost").shows("net1", &["10.0.0.3"]);
    home.has(lost.node("node-a").phase("Running")).await;
    let before = home.everything().await;
    for (args, repair) in [
        (["--repair", "--dry-run"], "Planned"),
        (["--repair=false", "--force"], "Possible"),
        (["--repair", "--force"], "Repaired"),
    ] {
        assert_eq!(home.everything().await, before);
        let run = home.run().args(args).output().await.expect(0);
        assert_eq!(
            findings(&run),
            [["Unrecorded", "10.0.0.3", repair]],
            "{run:#?}"
        );
    }
    assert_eq!(home.left_at().await, [1, 3]);
    let again = home.run().args(["--repair"]).output().await.expect(0);
    assert_eq!(findings(&again), Vec::<[String; 3]>::new());
    // The pod's next container has it by ADD, and gives it back by DEL.
    let path = "/api/v1/namespaces/default/pods/lost";
    let pod = send(home.cluster().client(), Method::GET, path, None).await;
    let uid = pod.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let lan = home.network();
    let next = call("ADD", &lan)
        .container("c3")
        .pod("default", "lost")
        .uid(&uid);
    let given = addresses(&next.run().await.expect(0).json());
    assert_eq!(given, ["10.0.0.3/24"]);
    call("DEL", &lan).container("c3").run().await.expect(0);
    assert_eq!(home.left_at().await, [1]);
}

pub(super) async fn one_address_for_two_is_a_conflict(home: &Home) {
    home.put(&[record(1, "one").bare(), record(2, "two").bare()])
        .await;
    for name in ["one", "two"] {
        home.has(pod("default", name).shows("net1", &["10.0.0.1"]))
            .await;
    }
    let before = home.everything().await;
    let run = home
        .run()
        .args(["--repair", "--detailed-exitcode", "--dry-run"]);
    let run = run.output().await.expect(5);
    assert_eq!(
        findings(&run),
        [["UsedByAnother", "10.0.0.1", "-"]],
        "{run:#?}"
    );
    assert_eq!(run.json()["summary"]["conflicts"], json!(1));
    assert_eq!(rows(&run)[0].1, "UsedByAnother");
    assert_eq!(home.everything().await, before);
}
