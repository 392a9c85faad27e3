//! What a person sees beside the verdicts: events, how full pools are, colours, progress.

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, node, pod, pool, reservation, send};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Run, reconciler};

const EVENTS: &str = "/api/v1/namespaces/kube-system/events";

/// One address of each fate: released, in conflict, in use.
async fn three_addresses(cluster: &Cluster) {
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(5, "default/gone", "net1", "c1")
        .entry(6, "default/other", "net1", "c2")
        .entry(7, "default/web", "net1", "c3")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.5", "default/gone")
        .create(client)
        .await;
    pod("default", "web")
        .shows("net1", &["10.0.0.6", "10.0.0.7"])
        .create(client)
        .await;
    // An event of the same name would count as said.
    send(client, Method::DELETE, EVENTS, None).await.unwrap();
}

/// Type, reason and message of each event.
async fn events(cluster: &Cluster) -> Vec<(String, String, String)> {
    let list = send(cluster.client(), Method::GET, EVENTS, None)
        .await
        .unwrap();
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let mut events: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            assert_eq!(event["involvedObject"]["kind"], "IPPool");
            (
                text(event, "type"),
                text(event, "reason"),
                text(event, "message"),
            )
        })
        .collect();
    events.sort();
    events
}

fn event(kind: &str, reason: &str, message: &str) -> (String, String, String) {
    (kind.to_owned(), reason.to_owned(), message.to_owned())
}

fn quick(kubeconfig: &std::path::Path) -> Run {
    reconciler(kubeconfig).args(["--settle", "100ms"])
}

#[tokio::test]
async fn events_on_the_pool_say_what_was_released_and_what_is_in_conflict() {
    let cluster = Cluster::lock().await;
    three_addresses(&cluster).await;
    quick(cluster.kubeconfig())
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    quick(cluster.kubeconfig())
        .args(["--events=false", "--pool", "none"])
        .output()
        .await
        .expect(0);
    assert_eq!(events(&cluster).await, []);
    let conflict = event(
        "Warning",
        "AddressConflict",
        "1 address in conflict: 10.0.0.6 UsedByAnother (default/other, default/web)",
    );
    let released = event(
        "Normal",
        "Released",
        "1 address released from gone pods: 10.0.0.5 (default/gone)",
    );
    for _ in 0..2 {
        quick(cluster.kubeconfig()).output().await.expect(0);
        // The conflict stays, and is not said again within the hour.
        let said = events(&cluster).await;
        let conflicts = said.iter().filter(|event| **event == conflict).count();
        assert!((1..=2).contains(&conflicts), "{said:?}");
        assert!(said.contains(&released), "{said:?}");
    }
    let described = cluster.kubectl(&["describe", "ippool", "-n", "kube-system", "10.0.0.0-24"]);
    assert!(described.contains("AddressConflict"), "{described}");
}

#[tokio::test]
async fn a_refusal_is_an_event_on_each_pool_and_many_addresses_are_one() {
    let cluster = Cluster::lock().await;
    let mut object = pool("kube-system", "10.0.0.0/24");
    for offset in 1..=20 {
        object = object.entry(offset, "default/gone\u{1b}[2J", "net1", "c");
        object = object.entry(offset + 100, "default/gone", "net1", "c");
    }
    object.create(cluster.client()).await;
    send(cluster.client(), Method::DELETE, EVENTS, None)
        .await
        .unwrap();
    quick(cluster.kubeconfig()).output().await.expect(4);
    let said = events(&cluster).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].1, "ReleaseRefused");
    assert!(said[0].2.contains("no pod at all is visible"), "{said:?}");
    quick(cluster.kubeconfig())
        .args(["--force"])
        .output()
        .await
        .expect(0);
    let said = events(&cluster).await;
    let released = said.iter().find(|event| event.1 == "Released").unwrap();
    assert!(
        released
            .2
            .starts_with("20 addresses released from gone pods: 10.0.0.101 (default/gone), ")
            && released.2.ends_with(", ..."),
        "{released:?}"
    );
}

#[tokio::test]
async fn events_that_cannot_be_written_cost_a_warning_and_nothing_else() {
    let cluster = Cluster::lock().await;
    three_addresses(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    proxy.rule(|seen| {
        seen.is("POST", "/events")
            .then_some(Fault::Status(403, "Forbidden"))
    });
    let through = proxy.kubeconfig(&cluster, cluster.token());
    let run = quick(&through)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert!(
        run.stderr.contains("the run itself is not affected"),
        "{run:#?}"
    );
    assert_eq!(run.json()["summary"]["released"], 2);
}

#[tokio::test]
async fn the_wide_table_shows_how_full_pools_are_and_for_how_long_they_do() {
    let cluster = Cluster::lock().await;
    let an_hour_ago = Timestamp::now() - SignedDuration::from_hours(2);
    let history = format!("{an_hour_ago:.0}=27");
    let mut object = pool("kube-system", "10.0.0.0/24")
        .annotation("whereabouts.cni.cncf.io/use-history", &history);
    for offset in 1..=127 {
        object = object.entry(offset, "default/starting", "net1", "c");
    }
    object.create(cluster.client()).await;
    pool("kube-system", "fd00::/64")
        .create(cluster.client())
        .await;
    pool("kube-system", "10.1.0.0/24")
        .range("nonsense")
        .create(cluster.client())
        .await;
    pod("default", "starting").create(cluster.client()).await;
    let wide = reconciler(cluster.kubeconfig())
        .args(["-o", "wide"])
        .output()
        .await
        .expect(0)
        .stdout;
    let line = |name: &str| wide.lines().find(|line| line.contains(name)).unwrap();
    let full = line("10.0.0.0-24");
    assert!(
        full.contains("[##########..........]  50%   127         254"),
        "{wide}"
    );
    assert!(full.ends_with("2h"), "{wide}");
    let empty = line("fd00---64");
    assert!(empty.contains("[....................]   0%   0"), "{wide}");
    assert!(line("nonsense").contains("   -   "), "{wide}");
    let json = reconciler(cluster.kubeconfig()).args(["-o", "json"]);
    let pools = json.output().await.expect(0).json()["pools"].clone();
    assert_eq!(pools[0]["allocated"], 127);
    assert!(pools[0]["exhaustedInSeconds"].as_u64().unwrap() > 9000);
    assert_eq!(pools[1]["range"], "nonsense");
    assert_eq!(pools[1].get("usable"), None);
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_those_who_want_them() {
    let cluster = Cluster::lock().await;
    three_addresses(&cluster).await;
    let run = |args: &[&str]| {
        let mut run = reconciler(cluster.kubeconfig()).args(["--dry-run"]);
        for argument in args {
            run = run.args([*argument]);
        }
        run
    };
    let is_coloured = |text: &str| text.contains('\u{1b}');
    for args in [
        &[][..],
        &["--color=never"],
        &["--color=always", "-o", "json"],
    ] {
        let said = run(args).output().await.expect(0).stdout;
        assert!(!is_coloured(&said), "{args:?} {said}");
    }
    let said = run(&["--color=always"]).output().await.expect(0).stdout;
    assert!(
        said.contains("\u{1b}[1m\u{1b}[31m") || said.contains("\u{1b}[31m"),
        "{said:?}"
    );
    // On a terminal, as `script` of util-linux makes one.
    let program = env!("CARGO_BIN_EXE_ip-reconciler");
    let on_a_terminal = |no_color: &str| {
        let mut command = std::process::Command::new("script");
        command
            .args(["-qec", &format!("{program} --dry-run"), "/dev/null"])
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color);
        Run::of(command, String::new())
    };
    let table = |said: &str| {
        let start = said.find("NAMESPACE").unwrap_or_default();
        said[start.saturating_sub(8)..].to_owned()
    };
    let said = on_a_terminal("").output().await.expect(0).stdout;
    assert!(table(&said).contains("\u{1b}[3"), "{said:?}");
    assert!(said.contains("Reading pods"), "{said:?}");
    let said = on_a_terminal("1").output().await.expect(0).stdout;
    assert!(!table(&said).contains("\u{1b}[3"), "{said:?}");
}

#[tokio::test]
async fn explain_shows_the_evidence() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    node("node-a").create(client).await;
    pool("kube-system", "10.0.0.0/24")
        .entry(5, "default/web", "net1", "c")
        .create(client)
        .await;
    let web = pod("default", "web").shows("net1", &["10.0.0.5"]);
    web.node("node-a").phase("Running").create(client).await;
    let path = "/api/v1/namespaces/default/pods/web";
    let web = send(client, Method::GET, path, None).await.unwrap();
    let text = |member: &str| web["metadata"][member].as_str().unwrap().to_owned();
    let (uid, version, created) = (
        text("uid"),
        text("resourceVersion"),
        text("creationTimestamp"),
    );
    let seen = format!("version {version}, created {created}, node node-a, phase Running");
    let said = reconciler(cluster.kubeconfig())
        .args(["explain", "10.0.0.5"])
        .output()
        .await
        .expect(0)
        .stdout;
    assert!(said.contains(&uid) && said.contains(&seen), "{said}");
    let dump = cluster.kubectl(&[
        "get",
        "ippools,overlappingrangeipreservations,nodes,pods",
        "-A",
        "-o",
        "json",
    ]);
    let offline = reconciler(cluster.kubeconfig())
        .args(["explain", "10.0.0.5", "--snapshot", "-"])
        .stdin(&dump)
        .output()
        .await
        .expect(0)
        .stdout;
    assert!(
        offline.contains(&uid) && offline.contains(&seen),
        "{offline}"
    );
    let object: Value = serde_json::from_str(&dump).unwrap();
    assert_ne!(object["items"], json!([]));
}
