//! Runs from end to end: what they print, how they end, and what they remember.

use serde_json::json;

use super::home::Home;
use super::record::{orphans, record};
use super::told::{expected, rows};
use crate::plugin::call::{addresses, call};
use crate::support::objects::{delete_pod_now, pod};
use crate::support::run::Outcome;

pub(super) async fn the_plugin_knows_what_a_run_has_freed(home: &Home) {
    let lan = home.network();
    let add = async |name: &str| {
        let added = call("ADD", &lan).container(&format!("c-{name}"));
        let added = added.pod("default", name).run().await.expect(0);
        addresses(&added.json()).remove(0)
    };
    for (name, at) in [("web", 1), ("gone", 2), ("done", 3)] {
        let address = format!("10.0.0.{at}");
        assert_eq!(add(name).await, format!("{address}/24"));
        let shown = pod("default", name).shows("net1", &[&address]);
        let phase = if name == "done" { "Failed" } else { "Running" };
        home.has(shown.phase(phase)).await;
    }
    delete_pod_now(home.cluster().client(), "default", "gone").await;
    let done = home.run().output().await.expect(0);
    let found = [
        (1, "InUse", "-"),
        (2, "PodGone", "Released"),
        (3, "PodFinished", "Released"),
    ];
    assert_eq!(rows(&done), expected(&found), "{done:#?}");
    assert_eq!(home.left_at().await, [1]);
    // The lowest is given again, and to a DEL that comes late nothing is left.
    assert_eq!(add("next").await, "10.0.0.2/24");
    for late in ["c-gone", "c-done", "c-web", "c-next"] {
        call("DEL", &lan).container(late).run().await.expect(0);
    }
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

pub(super) async fn a_dry_run_changes_nothing_and_every_format_shows_it(home: &Home) {
    home.put(&[record(1, "gone"), record(2, "bystander").bare()])
        .await;
    let before = home.everything().await;
    for format in ["table", "wide", "yaml", "json"] {
        let dry = home.printing(format).args(["--dry-run", "--grace", "0s"]);
        let seen = dry.output().await.expect(0).stdout;
        for part in ["PodGone", "10.0.0.1", "default/gone"] {
            assert!(seen.contains(part), "{format}: {seen}");
        }
    }
    let names = home.printing("name").args(["--dry-run"]);
    let names = names.output().await.expect(0).stdout;
    assert_eq!(names.lines().count(), home.each(), "{names}");
    for more in [&["--repair"][..], &["--grace", "2m"], &["--force"]] {
        let mut dry = home.run().args(["--dry-run"]);
        for argument in more {
            dry = dry.args([*argument]);
        }
        let dry = dry.output().await.expect(0).json();
        assert_eq!(
            (&dry["dryRun"], &dry["summary"]["released"]),
            (&json!(true), &json!(0))
        );
    }
    assert_eq!(home.everything().await, before);
}

pub(super) async fn the_report_counts(home: &Home) {
    home.put(&[
        record(1, "gone"),
        record(2, "gone"),
        record(3, "bystander").bare(),
    ])
    .await;
    let dry = home.run().args(["--dry-run"]).output().await.expect(0);
    let (dry, each) = (dry.json(), home.each());
    let summary = &dry["summary"];
    for (member, count) in [
        ("pools", 1),
        ("pods", 1),
        ("allocations", 3),
        ("reservations", 3 * (each - 1)),
        ("orphans", 2 * each),
        ("released", 0),
        ("conflicts", 0),
    ] {
        assert_eq!(summary[member], count, "{member}: {summary}");
    }
    let verdicts = json!({"PodGone": 2 * each, "Starting": each});
    assert_eq!(summary["verdicts"], verdicts);
    let pool = &dry["pools"][0];
    assert_eq!(
        (&pool["range"], &pool["allocated"], &pool["usable"]),
        (&json!("10.0.0.0/24"), &json!(3), &json!(254))
    );
    let named = format!(
        "{}/{}",
        pool["namespace"].as_str().unwrap(),
        pool["name"].as_str().unwrap()
    );
    assert_eq!(named, home.pool());
    let row = &dry["records"][0];
    for (member, text) in [
        ("kind", "Allocation"),
        ("offset", "1"),
        ("pod", "default/gone"),
        ("interface", "net1"),
        ("containerID", "c-gone"),
    ] {
        assert_eq!(row[member], text, "{row}");
    }
    let done = home.run().output().await.expect(0).json();
    assert_eq!(done["summary"]["released"], 2 * each);
    assert_eq!(done["conclusion"], "Completed");
    let again = home.run().output().await.expect(0).json();
    assert_eq!(again["summary"]["allocations"], 1);
}

pub(super) async fn exit_codes_say_how_it_ended(home: &Home) {
    home.put(&[
        record(1, "gone"),
        record(2, "one").bare(),
        record(3, "two").bare(),
    ])
    .await;
    let detailed = async |more: &'static str, code: i32| {
        let run = home.run().args(["--detailed-exitcode", more]);
        run.output().await.expect(code)
    };
    detailed("--dry-run", 3).await;
    home.run().args(["--dry-run"]).output().await.expect(0);
    detailed("--max-release=0", 4).await;
    home.run().args(["--grace=soon"]).output().await.expect(2);
    let nowhere = home.run().env("KUBECONFIG", "/none/at/all");
    nowhere.output().await.expect(1);
    assert_eq!(home.left_at().await, [1, 2, 3]);
    for name in ["one", "two"] {
        home.has(pod("default", name).shows("net1", &["10.0.0.2"]))
            .await;
    }
    detailed("--dry-run", 5).await;
    detailed("--dry-run=false", 5).await;
    home.run().output().await.expect(0);
    delete_pod_now(home.cluster().client(), "default", "two").await;
    detailed("--dry-run", 0).await;
    assert_eq!(home.left_at().await, [2]);
}

pub(super) async fn brakes_hold_and_force_overrides_them(home: &Home) {
    const ORPHANS: u8 = 101;
    home.put(&orphans(ORPHANS)).await;
    let client = home.cluster().client();
    delete_pod_now(client, "default", "bystander").await;
    let before = home.everything().await;
    let refused = async |brake: &str| {
        for dry_run in ["--dry-run", "--dry-run=false"] {
            let refused = home.run().args([dry_run]).output().await.expect(4);
            assert_eq!(refused.json()["refusal"]["brake"], brake, "{refused:#?}");
            assert_eq!(refused.json()["conclusion"], "Refused");
        }
    };
    refused("NoPods").await;
    home.has(pod("default", "bystander")).await;
    refused("MaxRelease").await;
    assert_eq!(home.everything().await, before);
    let forced = home.run().args(["--force"]).output().await.expect(0);
    let released = &forced.json()["summary"]["released"];
    assert_eq!(*released, usize::from(ORPHANS) * home.each());
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

/// A run as the `CronJob` makes it.
async fn sight(home: &Home) -> Outcome {
    home.run().args(["--grace", "2m"]).output().await.expect(0)
}

/// It saw what has to wait, for this reason.
fn assert_waits(run: &Outcome, why: &str) {
    assert_eq!(rows(run), expected(&[(1, "WithinGrace", "-")]), "{run:#?}");
    let report = run.json();
    let reason = report["records"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(why), "{reason}");
}

const MARKS: &str = "first-seen";

pub(super) async fn an_orphan_goes_when_it_was_seen_for_long_enough(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    let dry = home.run().args(["--grace", "2m", "--dry-run"]);
    assert_waits(&dry.output().await.expect(0), "first time");
    assert_eq!(home.note(MARKS).await, None);
    assert_waits(&sight(home).await, "PodGone, seen for the first time");
    let marks = home.note(MARKS).await.unwrap();
    assert!(marks.contains("\"1:"), "{marks}");
    assert_waits(&sight(home).await, "PodGone, first seen at 20");
    assert_eq!(home.note(MARKS).await, Some(marks));
    // Its pod is back, and gone again: that begins anew.
    home.pass(10).await;
    let back = pod("default", "gone").shows("net1", &["10.0.0.1"]);
    home.has(back).await;
    let found = [(1, "InUse", "-")];
    assert_eq!(rows(&sight(home).await), expected(&found));
    assert_eq!(home.note(MARKS).await, None);
    delete_pod_now(home.cluster().client(), "default", "gone").await;
    assert_waits(&sight(home).await, "first time");
    home.pass(2).await;
    let done = sight(home).await;
    assert_eq!(
        rows(&done),
        expected(&[(1, "PodGone", "Released")]),
        "{done:#?}"
    );
    // With it goes what was remembered of it.
    assert_eq!(
        (home.left_at().await, home.note(MARKS).await),
        (vec![], None)
    );
}

pub(super) async fn another_record_in_its_place_waits_anew_and_marks_of_nothing_go(home: &Home) {
    let lan = home.network();
    let add = async |container: &str| {
        let add = call("ADD", &lan).container(container);
        add.pod("default", container).run().await.expect(0);
    };
    let del = async |container: &str| {
        let del = call("DEL", &lan).container(container);
        del.run().await.expect(0);
    };
    add("c1").await;
    sight(home).await;
    home.pass(3).await;
    del("c1").await;
    add("c2").await;
    assert_waits(&sight(home).await, "first time");
    home.noting(MARKS, "[damaged").await;
    assert_waits(&sight(home).await, "first time");
    del("c2").await;
    assert!(home.note(MARKS).await.is_some());
    assert_eq!(rows(&sight(home).await), []);
    assert_eq!(home.note(MARKS).await, None);
}

pub(super) async fn a_brake_lets_pass_what_was_seen_a_quarter_of_an_hour_ago(home: &Home) {
    home.put(&orphans(101)).await;
    sight(home).await;
    home.pass(10).await;
    let refused = home.run().args(["--grace", "2m"]).output().await.expect(4);
    assert_eq!(refused.json()["refusal"]["brake"], "MaxRelease");
    home.pass(5).await;
    // Without grace nothing is remembered, and everything counts.
    home.run().output().await.expect(4);
    assert_eq!(home.left_at().await.len(), 101);
    sight(home).await;
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

pub(super) async fn one_pool_can_be_chosen(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    let before = home.everything().await;
    let of = async |pool: &str| home.run().args(["--pool", pool]).output().await;
    let elsewhere = of("10.0.1.0-24").await;
    assert_eq!(elsewhere.json()["summary"]["released"], 0, "{elsewhere:#?}");
    assert_eq!(home.everything().await, before);
    let name = home.pool();
    let name = name.split_once('/').unwrap().1;
    let done = of(name).await.expect(0);
    assert_eq!(
        rows(&done),
        expected(&[(1, "PodGone", "Released")]),
        "{done:#?}"
    );
}

pub(super) async fn how_full_a_range_is_is_remembered_once_an_hour(home: &Home) {
    const HISTORY: &str = "use-history";
    let used = |from: u8, to: u8| {
        let all = (from..=to).map(|at| record(at, "bystander").bare());
        all.collect::<Vec<_>>()
    };
    // Less than a tenth of 254 addresses.
    home.put(&used(1, 24)).await;
    sight(home).await;
    home.put(&used(25, 25)).await;
    home.run().output().await.expect(0);
    assert_eq!(home.note(HISTORY).await, None);
    sight(home).await;
    let first = home.note(HISTORY).await.unwrap();
    assert!(first.ends_with("Z=25"), "{first}");
    home.put(&used(26, 26)).await;
    sight(home).await;
    assert_eq!(home.note(HISTORY).await, Some(first));
    let earlier = "2026-01-01T00:00:00Z=9 damaged 2026-01-01T01:00:00Z=0";
    home.noting(HISTORY, earlier).await;
    sight(home).await;
    let text = home.note(HISTORY).await.unwrap();
    assert!(text.ends_with("Z=26") && !text.contains(' '), "{text}");
}
