//! What is wrong between the records and the pods of a running cluster, and what only looks like it.

pub(crate) mod definitions;
mod repair;
mod repair_faults;

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, PodBuilder, entries, pod, pool, reservation, send};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Outcome, reconciler};

const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";

/// A range of each family: its text, its pool's name, and what an address begins with.
const FAMILIES: [[&str; 3]; 2] = [
    ["10.0.0.0/24", "10.0.0.0-24", "10.0.0."],
    ["fd00::/64", "fd00---64", "fd00::"],
];

/// A pod that surely runs.
fn running(name: &str, address: &str) -> PodBuilder {
    let pod = pod("default", name).shows("net1", &[address]);
    pod.node("node-a").phase("Running")
}

/// The findings of a report, as kind, address and pods.
fn findings(run: &Outcome) -> Vec<String> {
    let report = run.json();
    let found = report["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    found
        .map(|one| {
            let pods: Vec<String> = one["pods"].as_array().unwrap().iter().map(text).collect();
            let pods = pods.join(",").replace("default/", "");
            format!("{} {} {pods}", text(&one["kind"]), text(&one["address"]))
        })
        .collect()
}

async fn look(cluster: &Cluster, args: &[&str]) -> Outcome {
    let mut run = reconciler(cluster.kubeconfig()).args(["-o", "json", "--settle=100ms"]);
    for argument in args {
        run = run.args([*argument]);
    }
    run.output().await
}

#[tokio::test]
async fn each_kind_is_found_in_both_families_and_changes_nothing() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    for [range, name, start] in FAMILIES {
        let at = |last: &str| format!("{start}{last}");
        let pod = |who: &str| format!("default/{who}-{name}");
        let mut all = pool("kube-system", range);
        for (offset, who) in [(1, "web"), (2, "db"), (3, "bare"), (4, "held")] {
            all = all.entry(offset, &pod(who), "net1", "c");
        }
        all.entry(0, &pod("first"), "net1", "c")
            .raw_entry("none", json!({"id": "c", "podref": pod("x")}))
            .create(client)
            .await;
        pool("kube-system", range)
            .name(&format!("hand-{}", range.len()))
            .create(client)
            .await;
        for (last, who) in [
            ("1", "web"),
            ("2", "db"),
            ("4", "held"),
            ("7", "alone"),
            ("0", "first"),
        ] {
            let reserved = reservation("kube-system", &at(last), &pod(who));
            reserved.ifname("net1").create(client).await;
        }
        let shown = [
            ("web", "1"),
            ("db", "2"),
            ("bare", "3"),
            ("held", "4"),
            ("first", "0"),
            ("alone", "7"),
            ("thief", "4"),
            ("lost", "8"),
            ("twin-a", "9"),
            ("twin-b", "9"),
        ];
        for (who, last) in shown {
            running(&format!("{who}-{name}"), &at(last))
                .create(client)
                .await;
        }
    }
    // The unnamed network has a wider range as well, with one address of another owner.
    pool("kube-system", "10.0.0.0/16")
        .entry(1, "default/rival", "net1", "c")
        .create(client)
        .await;
    running("rival", "10.0.0.1").create(client).await;

    for args in [&["--dry-run"][..], &[]] {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        let run = reconciler(&kubeconfig).args(["-o", "json", "--detailed-exitcode"]);
        let run = args.iter().fold(run, |run, argument| run.args([*argument]));
        let run = run.output().await.expect(5);
        let found = findings(&run);
        let mut expected = vec!["TwoOwners 10.0.0.1 rival,web-10.0.0.0-24".to_owned()];
        for [_, name, start] in FAMILIES {
            let zero = if start == "fd00::" {
                "fd00::"
            } else {
                "10.0.0.0"
            };
            expected.extend([
                format!("UsedByAnother {start}4 held-{name},thief-{name}"),
                format!("TwoPods {start}9 twin-a-{name},twin-b-{name}"),
                format!("Unrecorded {start}8 lost-{name}"),
                format!("MissingReservation {start}3 bare-{name}"),
                format!("MissingEntry {start}7 alone-{name}"),
                format!("Unusable {zero} first-{name}"),
                "TwoPools - ".to_owned(),
                "Malformed - ".to_owned(),
            ]);
        }
        expected.sort();
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(sorted, expected, "{run:#?}");
        let danger: Vec<u64> = run.json()["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["danger"].as_u64().unwrap())
            .collect();
        assert!(danger.is_sorted(), "{danger:?}");
        assert_eq!(run.json()["summary"]["conflicts"], 7, "{run:#?}");
        assert_eq!(proxy.changes(), Vec::<String>::new());
    }
    let table = reconciler(cluster.kubeconfig()).args(["--dry-run", "-o", "wide"]);
    let table = table.output().await.expect(0).stdout;
    for part in [
        "DANGER",
        "Unrecorded",
        "and nothing records it",
        "Possible",
        "--repair",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[tokio::test]
async fn conflicts_are_more_dangerous_than_orphans() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let orphans = pool("kube-system", "10.0.0.0/24").entry(1, "default/gone", "net1", "c");
    orphans.create(client).await;
    running("web", "10.9.0.1").create(client).await;
    look(&cluster, &["--dry-run", "--detailed-exitcode"])
        .await
        .expect(3);
    running("lost", "10.0.0.8").create(client).await;
    look(&cluster, &["--dry-run"]).await.expect(0);
    look(&cluster, &["--dry-run", "--detailed-exitcode"])
        .await
        .expect(5);
    look(
        &cluster,
        &["--dry-run", "--detailed-exitcode", "--max-release", "0"],
    )
    .await
    .expect(4);
    let run = look(&cluster, &["--detailed-exitcode"]).await.expect(5);
    assert_eq!(run.json()["summary"]["released"], 1, "{run:#?}");
    // Of a pool that is out of scope nothing is said.
    let other = ["--dry-run", "--detailed-exitcode", "--pool", "other"];
    look(&cluster, &other).await.expect(0);
}

#[tokio::test]
async fn a_pod_that_was_made_while_the_run_read_is_no_finding() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let full = pool("kube-system", "10.0.0.0/24").entry(1, "default/old", "net1", "c");
    full.entry(3, "default/bystander", "net1", "c")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.3", "default/bystander")
        .ifname("net1")
        .create(client)
        .await;
    running("bystander", "10.0.0.3").create(client).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = client.clone();
    // Two ADDs: of a new address, and of one that had been another's.
    proxy.before(|seen| seen.is("GET", "/pods"), async move {
        let entry = |pod: &str| json!({"id": "c2", "podref": pod, "ifname": "net1"});
        let new = json!({"1": entry("default/heir"), "2": entry("default/new")});
        let change = json!({"spec": {"allocations": new}});
        let path = format!("{GROUP}/ippools/10.0.0.0-24");
        send(&admin, Method::PATCH, &path, Some(&change))
            .await
            .unwrap();
        for (address, name) in [("10.0.0.1", "heir"), ("10.0.0.2", "new")] {
            let pod = format!("default/{name}");
            let reserved = reservation("kube-system", address, &pod).ifname("net1");
            reserved.create(&admin).await;
            running(name, address).create(&admin).await;
        }
    });
    let args = ["--dry-run", "--detailed-exitcode", "-o", "json"];
    let run = reconciler(&kubeconfig).args(args).output().await.expect(0);
    assert_eq!(findings(&run), Vec::<String>::new());
    // And what it says of the old record is what it saw.
    assert_eq!(
        run.json()["records"][0]["verdict"],
        "UsedByAnother",
        "{run:#?}"
    );
}

#[tokio::test]
async fn a_pod_that_is_gone_at_the_second_look_is_no_finding() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24").create(client).await;
    running("lost", "10.0.0.8").create(client).await;
    running("other", "10.0.0.9").create(client).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = client.clone();
    proxy.before(|seen| seen.is("GET", "/pods/"), async move {
        crate::support::objects::delete_pod_now(&admin, "default", "lost").await;
    });
    let run = reconciler(&kubeconfig)
        .args(["--dry-run", "-o", "json"])
        .output()
        .await;
    assert_eq!(findings(&run.expect(0)), ["Unrecorded 10.0.0.9 other"]);
}

#[tokio::test]
async fn what_cannot_be_looked_at_again_is_left_out_and_stops_no_release() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    for fault in [
        Fault::Status(500, "InternalError"),
        Fault::Status(403, "Forbidden"),
    ] {
        let orphan = pool("kube-system", "10.0.0.0/24").entry(1, "default/gone", "net1", "c");
        orphan.create(client).await;
        running("lost", "10.0.0.8").create(client).await;
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| seen.is("GET", "/pods/lost").then(|| fault.clone()));
        let run = |repair: &'static str| {
            let args = ["-o", "json", "--detailed-exitcode", repair];
            reconciler(&kubeconfig).args(args).output()
        };
        let report = run("--repair=false").await.expect(0);
        assert_eq!(findings(&report), Vec::<String>::new());
        assert_eq!(report.json()["summary"]["released"], 1, "{report:#?}");
        let remark = report.json()["remarks"].to_string();
        assert!(remark.contains("could not be looked at again"), "{remark}");
        // Whoever asked for a repair has not got it.
        run("--repair").await.expect(1);
        assert!(
            entries(client, "kube-system", "10.0.0.0-24")
                .await
                .is_empty()
        );
        let path = format!("{GROUP}/ippools/10.0.0.0-24");
        send(client, Method::DELETE, &path, None).await.unwrap();
        crate::support::objects::delete_pod_now(client, "default", "lost").await;
    }
}

#[tokio::test]
async fn an_address_is_explained_with_its_findings() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let pool = pool("kube-system", "10.0.0.0/24").entry(4, "default/web", "net1", "c");
    pool.create(client).await;
    for (name, address) in [
        ("web", "10.0.0.4"),
        ("thief", "10.0.0.4"),
        ("lost", "10.0.0.8"),
    ] {
        running(name, address).create(client).await;
    }
    let explain = async |target: &str| {
        let run = reconciler(cluster.kubeconfig()).args(["explain", target]);
        run.output().await.expect(0).stdout
    };
    for (target, parts) in [
        (
            "10.0.0.8",
            [
                "Finding Unrecorded, danger 2 of 6",
                "pod default/lost shows it",
                "--repair",
            ],
        ),
        (
            "default/lost",
            [
                "10.0.0.8  Finding Unrecorded",
                "kube-system/10.0.0.0-24",
                "--repair",
            ],
        ),
        (
            "10.0.0.4",
            [
                "Allocation kube-system",
                "Finding UsedByAnother, danger 1",
                "delete one of the two",
            ],
        ),
        (
            "default/thief",
            [
                "Finding UsedByAnother",
                "recorded for pod default/web",
                "so does the first",
            ],
        ),
    ] {
        let said = explain(target).await;
        for part in parts {
            assert!(said.contains(part), "{target}, {part}: {said}");
        }
    }
}
