//! Others are at work between two requests of a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use serde_json::json;

use super::home::{Home, Lost};
use super::record::{orphans, record};
use super::told::{expected, rows};
use crate::plugin::call::call;
use crate::support::objects::{Object, delete_pod_now, pod};
use crate::support::proxy::Fault;

/// The plugin gives 10.0.0.1 to a pod whose container then is gone, and so is the pod.
async fn add(home: &Home) {
    let added = call("ADD", &home.network()).container("c-web");
    added.pod("default", "web").run().await.expect(0);
}

pub(super) async fn what_is_taken_over_before_its_release_is_kept(home: &Home) {
    add(home).await;
    home.put(&[record(2, "gone")]).await;
    let wire = home.wire().await;
    let next = call("ADD", &home.network()).container("c-new");
    let next = next.pod("default", "web");
    wire.before_release(async {
        next.run().await.expect(0);
    });
    let done = wire.run().output().await.expect(0);
    let found = [(1, "PodGone", "Changed"), (2, "PodGone", "Released")];
    assert_eq!(rows(&done), expected(&found), "{done:#?}");
    assert_eq!(home.left_at().await, [1]);
    let everything = json!(home.everything().await).to_string();
    assert!(everything.contains("c-new") && !everything.contains("c-web"));
}

pub(super) async fn what_is_freed_and_claimed_anew_before_its_release_is_kept(home: &Home) {
    add(home).await;
    let wire = home.wire().await;
    let (del, add) = (call("DEL", &home.network()), call("ADD", &home.network()));
    wire.before_release(async {
        del.container("c-web").run().await.expect(0);
        let add = add.container("c-other").pod("default", "other");
        add.run().await.expect(0);
    });
    let done = wire.run().output().await.expect(0);
    assert_eq!(
        rows(&done),
        expected(&[(1, "PodGone", "Changed")]),
        "{done:#?}"
    );
    let left: Vec<String> = home.left().await.into_values().collect();
    assert_eq!(left, ["default/other"]);
}

pub(super) async fn what_is_gone_before_its_release_is_not_missed(home: &Home) {
    add(home).await;
    let wire = home.wire().await;
    let del = call("DEL", &home.network()).container("c-web");
    wire.before_release(async {
        del.run().await.expect(0);
    });
    let done = wire.run().output().await.expect(0);
    assert_eq!(
        rows(&done),
        expected(&[(1, "PodGone", "AlreadyGone")]),
        "{done:#?}"
    );
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

pub(super) async fn a_range_that_is_exempted_during_the_run_is_left_alone(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    let wire = home.wire().await;
    let exempt = home.noting("reconcile", "false");
    wire.proxy.before(|seen| seen.is("GET", "/pods/"), exempt);
    let done = wire.run().output().await.expect(0);
    assert_eq!(done.json()["summary"]["released"], 0, "{done:#?}");
    assert_eq!(home.left_at().await, [1]);
}

pub(super) async fn a_pod_that_comes_during_the_run_keeps_its_address(home: &Home) {
    home.put(&[record(1, "web").bare()]).await;
    let wire = home.wire().await;
    let client = home.cluster().client().clone();
    wire.proxy
        .before(|seen| seen.is("GET", "/pods/web"), async move {
            pod("default", "web").create(&client).await;
        });
    let done = wire.run().output().await.expect(0);
    assert_eq!(
        rows(&done),
        expected(&[(1, "PodGone", "Changed")]),
        "{done:#?}"
    );
    assert_eq!(home.left_at().await, [1]);
}

pub(super) async fn a_release_whose_answer_is_lost_is_looked_at_again(home: &Home) {
    for (lost, result) in [(Lost::Request, "Released"), (Lost::Answer, "AlreadyGone")] {
        home.put(&[record(1, "gone")]).await;
        let wire = home.wire().await;
        wire.lose_release(lost);
        let done = wire.run().output().await.expect(0);
        let found = [(1, "PodGone", result)];
        assert_eq!(rows(&done), expected(&found), "{lost:?} {done:#?}");
        assert_eq!(home.left_at().await, Vec::<u8>::new());
    }
}

pub(super) async fn without_pods_in_view_nothing_is_freed(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    let before = home.everything().await;
    for fault in [Fault::Status(403, "Forbidden"), Fault::CutAfter(100)] {
        let wire = home.wire().await;
        wire.proxy.rule(move |seen| {
            let is_pods = seen.method == Method::GET.as_str() && seen.path.ends_with("/pods");
            is_pods.then(|| fault.clone())
        });
        let blind = wire.run().args(["--timeout", "10s"]).output().await;
        let blind = blind.expect(1);
        assert!(blind.stderr.contains("nothing was released"), "{blind:#?}");
        assert_eq!(home.everything().await, before);
    }
}

pub(super) async fn two_runs_at_once_free_nothing_twice(home: &Home) {
    const ORPHANS: u8 = 100;
    home.put(&orphans(ORPHANS)).await;
    let run = || home.run().args(["--force"]).output();
    let (one, other) = tokio::join!(run(), run());
    let mut released = 0;
    for run in [one, other] {
        let summary = run.expect(0).json()["summary"].clone();
        released += summary["released"].as_u64().unwrap();
    }
    assert_eq!(released, (usize::from(ORPHANS) * home.each()) as u64);
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

pub(super) async fn a_run_that_is_asked_to_stop_starts_nothing_more(home: &Home) {
    const ORPHANS: u8 = 250;
    home.put(&orphans(ORPHANS)).await;
    let wire = home.wire().await;
    let (reached, is_reached) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    wire.before_release(async move {
        reached.send(()).unwrap();
        goes_on.await.unwrap();
    });
    let run = wire.run().args(["--force"]).spawn();
    is_reached.await.unwrap();
    run.signal("TERM");
    // The signal has to be there before the answer is.
    tokio::time::sleep(Duration::from_millis(300)).await;
    go_on.send(()).unwrap();
    let stopped = run.wait().await.expect(1).json();
    let summary = &stopped["summary"];
    let count = |member: &str| summary[member].as_u64().unwrap();
    let all = (usize::from(ORPHANS) * home.each()) as u64;
    assert!(
        count("released") > 0 && count("notStarted") > 0,
        "{summary}"
    );
    assert_eq!(count("released") + count("notStarted"), all, "{summary}");
    // Nothing is left in a state that another run would not understand.
    home.run().args(["--force"]).output().await.expect(0);
    assert_eq!(home.left_at().await, Vec::<u8>::new());
}

pub(super) async fn pods_that_come_and_go_beside_runs_keep_their_addresses_and_leave_none_behind(
    home: &Home,
) {
    const PODS: usize = 60;
    let client = home.cluster().client();
    let lan = home.network();
    let is_over = AtomicBool::new(false);
    let add = async |container: String, name: &str| {
        let added = call("ADD", &lan).container(&container);
        added.pod("default", name).run().await.expect(0);
    };
    let live = async |n: usize| {
        let name = format!("web-{n}");
        pod("default", &name).create(client).await;
        add(format!("c-{name}"), &name).await;
        match n % 3 {
            // It goes, and its node never calls DEL.
            0 => delete_pod_now(client, "default", &name).await,
            // Its container starts anew.
            1 => add(format!("d-{name}"), &name).await,
            _ => {}
        }
    };
    let lives = async {
        let each = futures::stream::iter((0..PODS).map(live));
        each.buffer_unordered(6).collect::<Vec<()>>().await;
        is_over.store(true, Ordering::Relaxed);
    };
    let runs = async {
        while !is_over.load(Ordering::Relaxed) {
            home.run().args(["--force"]).output().await.expect(0);
        }
    };
    tokio::join!(lives, runs);
    home.run().args(["--force"]).output().await.expect(0);
    let mut owners: Vec<String> = home.left().await.into_values().collect();
    owners.sort();
    let alive = (0..PODS).filter(|n| n % 3 != 0);
    let mut alive: Vec<String> = alive.map(|n| format!("default/web-{n}")).collect();
    alive.sort();
    assert_eq!(owners, alive);
}
