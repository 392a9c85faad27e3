//! Whether a pod's absence is believed depends on its node.

mod partition;

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, delete_pod_now, entries, node, pod, pool, reservation, reservations, send,
};
use crate::support::proxy::Proxy;
use crate::support::run::{Outcome, reconciler};

/// Records 10.0.0.5 for `default/web` with this uid, as our plugin does on `node-a`.
async fn record(cluster: &Cluster, uid: &str) {
    let owner = json!({"id": "c1", "poduid": uid, "nodename": "node-a"});
    let entry = json!({"id": "c1", "podref": "default/web", "ifname": "net1", "owner": owner});
    let pool = pool("kube-system", "10.0.0.0/24").raw_entry("5", entry);
    pool.create(cluster.client()).await;
    reserve(cluster).await;
}

/// Records it as the Go program does.
async fn record_without_node(cluster: &Cluster) {
    let pool = pool("kube-system", "10.0.0.0/24").entry(5, "default/web", "net1", "c1");
    pool.create(cluster.client()).await;
    reserve(cluster).await;
}

async fn reserve(cluster: &Cluster) {
    let reservation = reservation("kube-system", "10.0.0.5", "default/web").ifname("net1");
    reservation.create(cluster.client()).await;
    pod("default", "bystander").create(cluster.client()).await;
}

async fn run(cluster: &Cluster, args: &[&str]) -> Outcome {
    let mut run = reconciler(cluster.kubeconfig()).args(["--settle", "100ms", "-o", "json"]);
    for argument in args {
        run = run.args([*argument]);
    }
    run.output().await.expect(0)
}

/// The verdicts of the entry and of its reservation, and whether both are still there.
fn verdicts(run: &Outcome) -> Vec<Value> {
    let report = run.json();
    let records = report["records"].as_array().unwrap();
    records.iter().map(|row| row["verdict"].clone()).collect()
}

async fn is_recorded(cluster: &Cluster) -> bool {
    let entry = !entries(cluster.client(), "kube-system", "10.0.0.0-24")
        .await
        .is_empty();
    let reservation = !reservations(cluster.client()).await.is_empty();
    assert_eq!(entry, reservation);
    entry
}

async fn assert_kept(cluster: &Cluster, verdict: &str) -> Outcome {
    let run = run(cluster, &[]).await;
    assert_eq!(verdicts(&run), [verdict; 2], "{run:#?}");
    assert!(is_recorded(cluster).await);
    run
}

async fn assert_released(cluster: &Cluster, verdict: &str) {
    let run = run(cluster, &[]).await;
    assert_eq!(verdicts(&run), [verdict; 2], "{run:#?}");
    assert!(!is_recorded(cluster).await);
}

async fn uid_of_web(cluster: &Cluster) -> String {
    let path = "/api/v1/namespaces/default/pods/web";
    let pod = send(cluster.client(), Method::GET, path, None)
        .await
        .unwrap();
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn held_unreachable_while_a_node_does_not_answer_whatever_the_pod_object_says() {
    let shown = || {
        pod("default", "web")
            .shows("net1", &["10.0.0.5"])
            .node("node-a")
    };
    let moved = || {
        pod("default", "web")
            .shows("net1", &["10.0.0.9"])
            .node("node-b")
    };
    for (said, web, own_uid) in [
        ("pod is gone", None, true),
        ("pod is being deleted", Some(shown().terminating()), true),
        ("pod has ended", Some(shown().phase("Failed")), true),
        ("pod was replaced", Some(moved()), false),
    ] {
        let cluster = Cluster::lock().await;
        node("node-a").unreachable().create(cluster.client()).await;
        node("node-b").create(cluster.client()).await;
        let mut uid = "before".to_owned();
        if let Some(web) = web {
            web.create(cluster.client()).await;
            if own_uid {
                uid = uid_of_web(&cluster).await;
            }
        }
        record(&cluster, &uid).await;
        let run = assert_kept(&cluster, "HeldUnreachable").await;
        let report = run.json();
        let reason = report["records"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(said), "{reason}");
        let advice =
            "kubectl taint node node-a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
        assert!(reason.contains(advice), "{reason}");
    }
}

#[tokio::test]
async fn what_stops_holding_is_a_taint_or_the_nodes_return_or_its_deletion() {
    for (advice, verdict) in [
        ("taint", "NodeOutOfService"),
        ("delete", "NodeGone"),
        ("wait", "PodGone"),
    ] {
        let cluster = Cluster::lock().await;
        node("node-a").unreachable().create(cluster.client()).await;
        node("node-b").create(cluster.client()).await;
        record(&cluster, "u").await;
        assert_kept(&cluster, "HeldUnreachable").await;
        match advice {
            "taint" => {
                let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
                cluster.kubectl(&["taint", "node", "node-a", taint]);
            }
            "delete" => {
                cluster.kubectl(&["delete", "node", "node-a"]);
            }
            _ => node("node-a").report(cluster.client()).await,
        }
        assert_released(&cluster, verdict).await;
    }
}

#[tokio::test]
async fn the_pod_says_where_it_is_when_the_record_does_not() {
    let cluster = Cluster::lock().await;
    node("node-a").unreachable().create(cluster.client()).await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .terminating();
    web.create(cluster.client()).await;
    record_without_node(&cluster).await;
    assert_kept(&cluster, "HeldUnreachable").await;
    cluster.kubectl(&["delete", "node", "node-a"]);
    // No Node at all is left: a view without nodes proves nothing.
    assert_kept(&cluster, "Terminating").await;
    node("node-b").create(cluster.client()).await;
    assert_released(&cluster, "NodeGone").await;
}

#[tokio::test]
async fn a_slice_says_where_its_container_ran() {
    let cluster = Cluster::lock().await;
    node("node-a").unreachable().create(cluster.client()).await;
    let slice = pool("kube-system", "10.0.0.0/28").network("node-a");
    let slice = slice.entry(5, "default/web", "net1", "c1");
    slice.create(cluster.client()).await;
    reserve(&cluster).await;
    let held = run(&cluster, &[]).await;
    assert_eq!(verdicts(&held), ["HeldUnreachable"; 2], "{held:#?}");
}

#[tokio::test]
async fn terminating_on_a_node_that_answers_is_kept_until_the_kubelet_is_done() {
    let cluster = Cluster::lock().await;
    node("node-a").create(cluster.client()).await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .terminating();
    web.create(cluster.client()).await;
    record_without_node(&cluster).await;
    assert_kept(&cluster, "Terminating").await;
    delete_pod_now(cluster.client(), "default", "web").await;
    assert_released(&cluster, "PodGone").await;
}

#[tokio::test]
async fn pod_finished_on_a_node_that_answers_is_released_also_while_it_is_deleted() {
    let cluster = Cluster::lock().await;
    node("node-a").create(cluster.client()).await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .terminating();
    web.phase("Failed").create(cluster.client()).await;
    record(&cluster, &uid_of_web(&cluster).await).await;
    assert_released(&cluster, "PodFinished").await;
}

#[tokio::test]
async fn out_of_service_says_nothing_of_a_pod_that_lives() {
    let cluster = Cluster::lock().await;
    node("node-a")
        .unreachable()
        .out_of_service()
        .create(cluster.client())
        .await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .node("node-a");
    web.create(cluster.client()).await;
    record(&cluster, &uid_of_web(&cluster).await).await;
    assert_kept(&cluster, "InUse").await;
}

#[tokio::test]
async fn the_taint_alone_frees_nothing_on_a_node_that_answers() {
    let cluster = Cluster::lock().await;
    node("node-a")
        .out_of_service()
        .create(cluster.client())
        .await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .terminating();
    web.create(cluster.client()).await;
    record(&cluster, &uid_of_web(&cluster).await).await;
    assert_kept(&cluster, "Terminating").await;
}

#[tokio::test]
async fn node_gone_is_believed_only_after_a_fresh_look() {
    let cluster = Cluster::lock().await;
    node("node-b").create(cluster.client()).await;
    record(&cluster, "u").await;
    let proxy = Proxy::start(&cluster).await;
    let client = cluster.client().clone();
    // The Node comes (back) while the pods are read, and its kubelet is not heard of.
    proxy.before(|seen| seen.is("GET", "/api/v1/pods"), async move {
        node("node-a").unreachable().create(&client).await;
    });
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let run = reconciler(&kubeconfig)
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(verdicts(&run), ["HeldUnreachable"; 2], "{run:#?}");
    assert!(is_recorded(&cluster).await);
}

#[tokio::test]
async fn nodes_are_read_after_the_records_and_before_the_pods() {
    let cluster = Cluster::lock().await;
    record(&cluster, "u").await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    reconciler(&kubeconfig)
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    let paths: Vec<String> = proxy.log().into_iter().map(|seen| seen.path).collect();
    let at = |end: &str| paths.iter().position(|path| path.ends_with(end)).unwrap();
    assert!(
        at("/overlappingrangeipreservations") < at("/nodes"),
        "{paths:#?}"
    );
    assert!(at("/nodes") < at("/pods"), "{paths:#?}");
}

#[tokio::test]
async fn strict_holds_what_names_no_node_while_some_node_does_not_answer() {
    let cluster = Cluster::lock().await;
    node("node-a").unreachable().create(cluster.client()).await;
    record_without_node(&cluster).await;
    let dry = run(&cluster, &["--dry-run"]).await;
    assert_eq!(verdicts(&dry), ["PodGone"; 2]);
    assert!(
        dry.stderr
            .contains("2 records of pods that are gone do not say"),
        "{dry:#?}"
    );
    let strict = run(&cluster, &["--strict"]).await;
    assert_eq!(verdicts(&strict), ["HeldUnreachable"; 2], "{strict:#?}");
    assert!(is_recorded(&cluster).await);
    node("node-a").report(cluster.client()).await;
    let strict = run(&cluster, &["--strict"]).await;
    assert_eq!(verdicts(&strict), ["PodGone"; 2], "{strict:#?}");
    assert!(!is_recorded(&cluster).await);
}

#[tokio::test]
async fn time_alone_frees_only_what_the_operator_says() {
    let cluster = Cluster::lock().await;
    node("node-a")
        .unreachable()
        .since(600)
        .create(cluster.client())
        .await;
    record(&cluster, "u").await;
    assert_kept(&cluster, "HeldUnreachable").await;
    let early = run(&cluster, &["--release-unreachable-after", "1h"]).await;
    assert_eq!(verdicts(&early), ["HeldUnreachable"; 2], "{early:#?}");
    assert!(is_recorded(&cluster).await);
    let late = run(&cluster, &["--release-unreachable-after", "5m"]).await;
    assert_eq!(verdicts(&late), ["UnreachableTooLong"; 2], "{late:#?}");
    assert!(!is_recorded(&cluster).await);
}

#[tokio::test]
async fn time_alone_never_frees_what_a_live_pod_shows() {
    let cluster = Cluster::lock().await;
    node("node-a")
        .unreachable()
        .since(600)
        .create(cluster.client())
        .await;
    let web = pod("default", "web")
        .shows("net1", &["10.0.0.5"])
        .node("node-b");
    web.create(cluster.client()).await;
    record(&cluster, "before").await;
    let late = run(&cluster, &["--release-unreachable-after", "5m"]).await;
    assert_eq!(verdicts(&late), ["InUse"; 2], "{late:#?}");
    assert!(is_recorded(&cluster).await);
}
