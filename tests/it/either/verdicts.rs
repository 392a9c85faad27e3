//! What is said of each record, and what becomes of it.

use std::collections::BTreeSet;

use serde_json::json;
use whereabouts::reconcile::audit::Verdict;

use super::home::Home;
use super::record::{Record, record};
use super::told::{expected, rows};
use crate::support::objects::{PodBuilder, delete_pod_now, node, pod, send};

const EXEMPT: &str = "whereabouts.cni.cncf.io/reconcile";

/// What stands there for each verdict that neither a flag nor damage leads to.
const SCENE: [(u8, &str, &str); 14] = [
    (1, "PodGone", "Released"),
    (2, "PodFinished", "Released"),
    (3, "PodReplaced", "Released"),
    (4, "AddressNotOnPod", "Released"),
    (5, "InUse", "-"),
    (6, "Starting", "-"),
    (7, "StatusUnreadable", "-"),
    (8, "Terminating", "-"),
    (9, "Protected", "-"),
    (10, "UsedByAnother", "-"),
    (11, "Unowned", "-"),
    (12, "HeldUnreachable", "-"),
    (13, "NodeOutOfService", "Released"),
    (14, "NodeGone", "Released"),
];

/// A pod on the node that answers.
fn on_node_a(name: &str) -> PodBuilder {
    pod("default", name).node("node-a")
}

async fn uid(home: &Home, name: &str) -> String {
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    let pod = send(home.cluster().client(), http::Method::GET, &path, None).await;
    pod.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn scene(home: &Home) {
    home.has(node("node-a")).await;
    home.has(node("node-silent").unreachable().since(600)).await;
    let off = node("node-off").unreachable().out_of_service();
    home.has(off).await;
    for pod in [
        on_node_a("finished")
            .shows("net1", &["10.0.0.2"])
            .phase("Succeeded"),
        on_node_a("replaced").shows("net2", &["10.0.0.250"]),
        on_node_a("moved")
            .shows("net1", &["10.0.0.99"])
            .phase("Running"),
        on_node_a("in-use")
            .shows("net1", &["10.0.0.5"])
            .phase("Running"),
        on_node_a("starting"),
        on_node_a("unreadable").status_annotation("[{"),
        on_node_a("leaving")
            .shows("net1", &["10.0.0.8"])
            .terminating(),
        on_node_a("exempt")
            .annotation(EXEMPT, "false")
            .phase("Failed"),
        on_node_a("other")
            .shows("net1", &["10.0.0.10"])
            .phase("Running"),
    ] {
        home.has(pod).await;
    }
    let leaving = uid(home, "leaving").await;
    home.put(&[
        record(1, "gone"),
        record(2, "finished").bare(),
        record(3, "replaced"),
        record(4, "moved").bare(),
        record(5, "in-use").bare(),
        record(6, "starting").bare(),
        record(7, "unreadable").bare(),
        record(8, "leaving").uid(&leaving),
        record(9, "exempt").bare(),
        record(10, "whose"),
        record(11, "nobody").bare().podref("nobody"),
        record(12, "held").node("node-silent"),
        record(13, "off").node("node-off"),
        record(14, "lost").node("node-lost"),
    ])
    .await;
}

/// The same without results, as a dry run plans it.
fn planned() -> Vec<(u8, &'static str, &'static str)> {
    let planned = SCENE.map(|(at, verdict, result)| {
        let is_free = result == "Released";
        (at, verdict, if is_free { "Planned" } else { "-" })
    });
    planned.to_vec()
}

pub(super) async fn every_verdict_is_given_and_does_what_its_name_says(home: &Home) {
    scene(home).await;
    let before = home.everything().await;
    let mut seen = BTreeSet::from(["Malformed".to_owned()]);
    let long = ["--release-unreachable-after", "5m"];
    for (args, is_special) in [(&[][..], false), (&["--grace", "2m"], true), (&long, true)] {
        let mut run = home.run().args(["--dry-run"]);
        for argument in args {
            run = run.args([*argument]);
        }
        let dry = run.output().await.expect(0);
        let rows = rows(&dry);
        seen.extend(rows.iter().map(|(_, verdict, _)| verdict.clone()));
        if !is_special {
            assert_eq!(rows, expected(&planned()), "{dry:#?}");
        }
        assert_eq!(home.everything().await, before);
    }
    // What is damaged has a test of its own.
    assert_eq!(seen, Verdict::NAMES.map(str::to_owned).into());
    let done = home.run().output().await.expect(0);
    assert_eq!(rows(&done), expected(&SCENE), "{done:#?}");
    assert_eq!(home.left_at().await, [5, 6, 7, 8, 9, 10, 11, 12]);
    let done = home.run().args(long).output().await.expect(0);
    let found = &rows(&done)[7];
    assert_eq!((&*found.1, &*found.2), ("UnreachableTooLong", "Released"));
    assert_eq!(home.left_at().await, [5, 6, 7, 8, 9, 10, 11]);
}

pub(super) async fn what_was_kept_goes_when_its_reason_does(home: &Home) {
    scene(home).await;
    home.run().output().await.expect(0);
    let client = home.cluster().client();
    let others = [
        "in-use",
        "starting",
        "unreadable",
        "leaving",
        "exempt",
        "other",
    ];
    for pod in others {
        delete_pod_now(client, "default", pod).await;
    }
    node("node-silent").report(client).await;
    let done = home.run().output().await.expect(0);
    let gone = [5, 6, 7, 8, 9, 10].map(|at| (at, "PodGone", "Released"));
    let mut found = gone.to_vec();
    found.extend([(11, "Unowned", "-"), (12, "PodGone", "Released")]);
    assert_eq!(rows(&done), expected(&found), "{done:#?}");
    assert_eq!(home.left_at().await, [11]);
}

pub(super) async fn what_cannot_be_read_is_reported_and_kept(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    home.put_damaged(7).await;
    home.put_damaged(8).await;
    let kept = home.run().args(["--force"]).output().await.expect(0);
    let each = home.each();
    let verdicts = json!({"Malformed": 2 * each, "PodGone": each});
    assert_eq!(kept.json()["summary"]["verdicts"], verdicts, "{kept:#?}");
    assert_eq!(kept.json()["summary"]["released"], each);
    assert_eq!(home.left_at().await, Vec::<u8>::new());
    // Nor by hand.
    home.put(&[record(1, "gone")]).await;
    let whole = home.everything().await;
    for _ in 0..2 {
        let by_hand = home.run().args(["release", "10.0.0.7", "--yes", "--force"]);
        by_hand.output().await.expect(1);
        assert_eq!(home.everything().await, whole);
    }
}

pub(super) async fn a_range_that_is_exempted_is_left_alone(home: &Home) {
    home.put(&[record(1, "gone")]).await;
    home.noting("reconcile", "false").await;
    let kept = home.run().args(["--force"]).output().await.expect(0);
    assert_eq!(rows(&kept), expected(&[(1, "Protected", "-")]), "{kept:#?}");
    let by_hand = home.run().args(["release", "10.0.0.1", "--yes"]);
    let by_hand = by_hand.output().await.expect(1);
    assert!(by_hand.stderr.contains("Protected"), "{by_hand:#?}");
    home.noting("reconcile", "true").await;
    let freed = home.run().output().await.expect(0);
    assert_eq!(rows(&freed), expected(&[(1, "PodGone", "Released")]));
}

pub(super) async fn what_no_pod_has_is_kept(home: &Home) {
    let nobodys = |at: u8, podref: &str| -> Record { record(at, "x").bare().podref(podref) };
    home.put(&[nobodys(1, "web"), nobodys(2, "default/Web_0")])
        .await;
    let before = home.everything().await;
    let kept = home.run().args(["--force"]).output().await.expect(0);
    let found = [(1, "Unowned", "-"), (2, "Unowned", "-")];
    assert_eq!(rows(&kept), expected(&found), "{kept:#?}");
    assert_eq!(home.everything().await, before);
}
