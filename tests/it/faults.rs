//! A part of the view that is missing frees nothing; a write that fails loses nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{Object, create_all, entries, pod, pool, reservation, reservations};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::{Outcome, reconciler};

/// What the program lists, in this order, and how its messages call it.
const LISTS: [(&str, &str); 5] = [
    ("/ippools", "list ippools.whereabouts.cni.cncf.io"),
    (
        "/overlappingrangeipreservations",
        "list overlappingrangeipreservations.whereabouts.cni.cncf.io",
    ),
    ("/pods", "list pods"),
    ("Succeeded", "list pods"),
    ("Failed", "list pods"),
];

/// Whether a request belongs to the list of that path, or of that phase.
fn lists(seen: &Seen, what: &str) -> bool {
    let by_phase = seen.query.contains("fieldSelector");
    match what.strip_prefix('/') {
        Some(_) => seen.method == "GET" && seen.path.ends_with(what) && !by_phase,
        None => seen.query.contains(what),
    }
}

/// One orphan with its reservation, one pod that holds an address, and some to fill pages with.
async fn one_orphan(cluster: &Cluster) {
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/gone", "net1", "c1")
        .entry(2, "default/live", "net1", "c2")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/gone")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.2", "default/live")
        .create(client)
        .await;
    pod("default", "live")
        .shows("net1", &["10.0.0.2"])
        .create(client)
        .await;
}

async fn assert_nothing_freed(cluster: &Cluster) {
    assert_eq!(
        entries(cluster.client(), "kube-system", "10.0.0.0-24")
            .await
            .len(),
        2
    );
    assert_eq!(reservations(cluster.client()).await.len(), 2);
}

async fn assert_freed(cluster: &Cluster) {
    let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["2"]);
    let left: Vec<String> = reservations(cluster.client()).await.into_iter().collect();
    assert_eq!(left, ["kube-system/10.0.0.2"]);
}

/// A read that failed: exit code 1, a message that names the call, nothing on standard output.
fn assert_failed_read(run: &Outcome, call: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:#?}");
    assert!(
        run.stderr.contains(call) && run.stderr.contains("nothing was released"),
        "{run:#?}"
    );
}

#[tokio::test]
async fn no_list_that_fails_frees_anything() {
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    for (what, call) in LISTS {
        for fault in [
            Fault::Status(429, "TooManyRequests"),
            Fault::Status(500, "InternalError"),
            Fault::Status(403, "Forbidden"),
            Fault::CutAfter(60),
            Fault::DropConnection,
            Fault::DropAfter,
        ] {
            let proxy = Proxy::start(&cluster).await;
            let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
            let said = format!("{what} {fault:?}");
            proxy.rule(move |seen| lists(seen, what).then(|| fault.clone()));
            let run = reconciler(&kubeconfig).output().await;
            assert_failed_read(&run, call);
            assert!(proxy.writes().is_empty(), "{said}");
        }
    }
    assert_nothing_freed(&cluster).await;
}

#[tokio::test]
async fn a_server_that_stops_answering_ends_the_run_in_time() {
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    for (what, call) in LISTS {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| lists(seen, what).then_some(Fault::Hang));
        let started = Instant::now();
        let run = reconciler(&kubeconfig)
            .args(["--timeout", "2s"])
            .output()
            .await;
        assert_failed_read(&run, call);
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        assert!(run.stderr.contains("--timeout"), "{run:#?}");
    }
    assert_nothing_freed(&cluster).await;
}

#[tokio::test]
async fn a_page_that_is_cut_frees_nothing() {
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    let more = (0..40).map(|n| pod("tenant-a", &format!("filler-{n}")));
    create_all(cluster.client(), more, 16).await;
    for page in 1..=3 {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        let mut pages = 0;
        proxy.rule(move |seen| {
            pages += usize::from(lists(seen, "/pods"));
            (lists(seen, "/pods") && pages == page).then_some(Fault::CutAfter(3000))
        });
        let run = reconciler(&kubeconfig)
            .args(["--page-size", "10"])
            .output()
            .await;
        assert_failed_read(&run, "list pods");
    }
    assert_nothing_freed(&cluster).await;
}

/// Servers behind one address may be of different versions, and something in between may know JSON only.
#[tokio::test]
async fn pages_in_either_encoding_are_one_list() {
    const JSON: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    let more = (0..25).map(|n| pod("tenant-a", &format!("filler-{n}")));
    create_all(cluster.client(), more, 16).await;
    for in_json in [|_: usize| false, |page| page % 2 == 0, |_| true] {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        let mut pages = 0;
        proxy.rule(move |seen| {
            pages += usize::from(seen.path.ends_with("/pods"));
            let is_meant = seen.path.ends_with("/pods") && in_json(pages);
            is_meant.then_some(Fault::Accept(JSON))
        });
        let args = ["--page-size", "10", "--dry-run", "-o", "json"];
        let run = reconciler(&kubeconfig).args(args).output().await.expect(0);
        let summary = &run.json()["summary"];
        assert_eq!(summary["pods"], 26, "{summary}");
        assert_eq!(summary["verdicts"], json!({"InUse": 2, "PodGone": 2}));
    }
}

/// A control plane that forgets the past at once when its store is compacted.
async fn forgetful() -> Cluster {
    let flag = "--feature-gates=ListFromCacheSnapshot=false".to_owned();
    Cluster::separate(&Options {
        apiserver: vec![flag],
        ..Options::default()
    })
    .await
}

/// Makes etcd forget everything but the present.
async fn compact(etcd: String, client: kube::Client) {
    // A write, so that the present is later than the page that was read.
    let address = format!("10.9.9.{}", reservations(&client).await.len());
    reservation("tenant-b", &address, "default/x")
        .create(&client)
        .await;
    let etcdctl = |path: &str, body: &str| {
        let body = body.to_owned();
        let url = format!("{etcd}{path}");
        tokio::task::spawn_blocking(move || post(&url, &body))
    };
    let range = etcdctl("/v3/kv/range", r#"{"key":"AA==","limit":"1"}"#)
        .await
        .unwrap();
    let revision = range["header"]["revision"].as_str().unwrap().to_owned();
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    etcdctl("/v3/kv/compaction", &body).await.unwrap();
}

/// A POST to etcd's gateway, which speaks plain HTTP here.
fn post(url: &str, body: &str) -> serde_json::Value {
    use std::io::{Read, Write};
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!("POST /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_list_that_expired_is_read_again_from_its_start() {
    let cluster = forgetful().await;
    one_orphan(&cluster).await;
    let more = (0..30).map(|n| pod("tenant-a", &format!("filler-{n}")));
    create_all(cluster.client(), more, 16).await;

    // Once: the list starts again, and the run goes on.
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let second_page = |seen: &Seen| lists(seen, "/pods") && seen.query.contains("continue=");
    proxy.before(
        second_page,
        compact(cluster.etcd_url(), cluster.client().clone()),
    );
    let dry = ["--page-size", "10", "--dry-run", "-o", "json"];
    let run = reconciler(&kubeconfig).args(dry).output().await.expect(0);
    assert!(run.stderr.contains("List expired"), "{run:#?}");
    assert_eq!(run.json()["summary"]["pods"], 31);
    assert_eq!(run.json()["summary"]["verdicts"]["InUse"], 2);

    // Every time: the run gives up.
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    for restart in 0..4 {
        let seen_before = AtomicUsize::new(0);
        let nth = move |seen: &Seen| {
            second_page(seen) && seen_before.fetch_add(1, Ordering::Relaxed) == restart
        };
        proxy.before(nth, compact(cluster.etcd_url(), cluster.client().clone()));
    }
    let run = reconciler(&kubeconfig)
        .args(["--page-size", "10"])
        .output()
        .await;
    assert_failed_read(&run, "list pods");
    assert!(run.stderr.contains("expired"), "{run:#?}");
    assert!(proxy.writes().is_empty());
}

#[tokio::test]
async fn every_write_that_fails_for_a_moment_is_done_in_the_end() {
    for (method, what) in [
        ("PATCH", "/ippools/"),
        ("DELETE", "/overlappingrangeipreservations/"),
    ] {
        for fault in [
            Fault::Status(429, "TooManyRequests"),
            Fault::Status(500, "InternalError"),
            Fault::Status(503, "ServiceUnavailable"),
            Fault::StatusAfter(500),
            Fault::StatusAfter(504),
            Fault::DropConnection,
            Fault::DropAfter,
        ] {
            let cluster = Cluster::lock().await;
            one_orphan(&cluster).await;
            let proxy = Proxy::start(&cluster).await;
            let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
            let said = format!("{method} {fault:?}");
            proxy.once(move |seen| seen.is(method, what), fault);
            let run = reconciler(&kubeconfig)
                .args(["-o", "json"])
                .output()
                .await
                .expect(0);
            let summary = &run.json()["summary"];
            let done =
                summary["released"].as_u64().unwrap() + summary["alreadyGone"].as_u64().unwrap();
            assert_eq!(done, 2, "{said}: {run:#?}");
            assert_freed(&cluster).await;
        }
    }
}

#[tokio::test]
async fn a_write_that_keeps_failing_is_reported_and_leaves_only_waste() {
    for (method, what, released) in [
        ("PATCH", "/ippools/10", 0),
        ("DELETE", "/overlappingrangeipreservations/", 1),
    ] {
        for (code, reason) in [
            (403, "Forbidden"),
            (500, "InternalError"),
            (409, "Conflict"),
            (422, "Invalid"),
        ] {
            let cluster = Cluster::lock().await;
            one_orphan(&cluster).await;
            let second = pool("tenant-a", "10.1.0.0/24").network("other");
            second
                .entry(1, "default/gone", "net1", "c")
                .create(cluster.client())
                .await;
            let proxy = Proxy::start(&cluster).await;
            let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
            proxy.rule(move |seen| seen.is(method, what).then_some(Fault::Status(code, reason)));
            let run = reconciler(&kubeconfig).args(["-o", "json"]).output().await;
            let report = run.json();
            // A reservation whose precondition fails has changed: the next run looks at it again.
            let changed = method == "DELETE" && matches!(code, 409 | 422);
            assert_eq!(run.code, Some(i32::from(!changed)), "{run:#?}");
            assert_eq!(
                report["conclusion"],
                if changed { "Completed" } else { "Incomplete" }
            );
            assert_eq!(report["summary"]["released"], released + 1, "{run:#?}");
            // One bad pool never stops the others.
            assert!(
                entries(cluster.client(), "tenant-a", "other-10.1.0.0-24")
                    .await
                    .is_empty()
            );
            // The reservation never goes before its entry.
            assert_eq!(reservations(cluster.client()).await.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_pod_that_cannot_be_looked_at_twice_frees_nothing() {
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    pool("tenant-a", "10.1.0.0/24")
        .entry(1, "default/moved", "net1", "c")
        .create(cluster.client())
        .await;
    pod("default", "moved")
        .shows("net1", &["10.1.0.9"])
        .create(cluster.client())
        .await;
    for fault in [
        Fault::Status(429, "TooManyRequests"),
        Fault::Status(404, ""),
        Fault::DropAfter,
    ] {
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| seen.path.ends_with("/pods/moved").then(|| fault.clone()));
        let run = reconciler(&kubeconfig)
            .args(["--settle", "1s"])
            .output()
            .await;
        assert_failed_read(&run, "get pods default/moved");
        assert!(proxy.writes().is_empty());
    }
    assert_nothing_freed(&cluster).await;
}

#[tokio::test]
async fn the_end_of_the_time_stops_the_writes_and_says_how_far_they_got() {
    let cluster = Cluster::lock().await;
    one_orphan(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    proxy.rule(|seen| seen.is("PATCH", "/ippools/").then_some(Fault::Hang));
    let started = Instant::now();
    let args = ["--timeout", "3s", "-o", "json"];
    let run = reconciler(&kubeconfig).args(args).output().await.expect(1);
    assert!(started.elapsed() < Duration::from_secs(15));
    let report = run.json();
    assert_eq!(report["conclusion"], json!("Incomplete"), "{run:#?}");
    assert_eq!(report["summary"]["released"], 0);
    assert_nothing_freed(&cluster).await;
}

#[tokio::test]
async fn a_pool_that_cannot_be_read_again_is_a_failure_that_is_reported() {
    let is_read = |seen: &Seen| seen.is("GET", "/ippools/");
    // Before the patch, and after the deletes: the entry could have come back.
    for before_patch in [true, false] {
        let cluster = Cluster::lock().await;
        one_orphan(&cluster).await;
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        let mut fails = before_patch;
        proxy.rule(move |seen| {
            fails |= seen.is("DELETE", "/");
            (fails && is_read(seen)).then_some(Fault::Status(500, "InternalError"))
        });
        let run = reconciler(&kubeconfig)
            .args(["-o", "json"])
            .output()
            .await
            .expect(1);
        assert_eq!(run.json()["conclusion"], "Incomplete");
        let released = if before_patch { 0 } else { 2 };
        assert_eq!(run.json()["summary"]["released"], released, "{run:#?}");
        let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
        assert_eq!(left.len(), if before_patch { 2 } else { 1 });
        assert!(
            run.stdout
                .contains("get ippools.whereabouts.cni.cncf.io kube-system/10.0.0.0-24")
        );
    }
}
