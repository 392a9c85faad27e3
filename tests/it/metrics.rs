//! What a run leaves behind for Prometheus, checked with the real Pushgateway and promtool.

mod file;
mod rules;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, pool, reservation};
use crate::support::prometheus::{Guard, Pushgateway, Scrape};
use crate::support::proxy::{Fault, Proxy, Seen};
use crate::support::run::{Run, reconciler};

/// `me`, and `p@s:s` as bcrypt, which the Pushgateway asks for.
const USER: &str =
    "basic_auth_users: {me: $2a$04$uCRbPkwt5LAgViY1WyIlI.71sAz1OhDatvGyRIGaaZFTpA40f2CQC}";

/// What is known after a run has released the orphans of [`fill`].
const AFTER_RELEASE: [(&str, f64); 20] = [
    (
        "released_records{kind=\"Allocation\",reason=\"PodGone\"}",
        1.0,
    ),
    (
        "released_records{kind=\"Reservation\",reason=\"PodGone\"}",
        1.0,
    ),
    (
        "released_records{kind=\"Allocation\",reason=\"PodFinished\"}",
        1.0,
    ),
    (
        "released_records{kind=\"Allocation\",reason=\"InUse\"}",
        0.0,
    ),
    (
        "orphan_records{kind=\"Allocation\",reason=\"PodGone\"}",
        1.0,
    ),
    ("held_records{kind=\"Allocation\",reason=\"InUse\"}", 1.0),
    (
        "held_records{kind=\"Allocation\",reason=\"UsedByAnother\"}",
        1.0,
    ),
    ("conflicts{kind=\"UsedByAnother\"}", 1.0),
    ("conflicts{kind=\"Unrecorded\"}", 0.0),
    ("defects{kind=\"Malformed\"}", 1.0),
    ("defects{kind=\"MissingEntry\"}", 0.0),
    ("brake_refusals{reason=\"NoPods\"}", 0.0),
    ("write_failures{kind=\"Allocation\"}", 0.0),
    ("not_started_records", 0.0),
    (
        "pool_usable_addresses{pool=\"kube-system/10.0.0.0-24\"}",
        254.0,
    ),
    (
        "pool_allocated_addresses{pool=\"kube-system/10.0.0.0-24\"}",
        2.0,
    ),
    (
        "pool_usable_addresses{pool=\"tenant-a/fd00---64\"}",
        18_446_744_073_709_551_616.0,
    ),
    ("pool_allocated_addresses{pool=\"tenant-a/fd00---64\"}", 0.0),
    ("pool_allocated_addresses{pool=\"tenant-a/broken\"}", 0.0),
    ("build_info{version=\"0.1.0\"}", 1.0),
];

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64()
}

/// One address that is in use, two that are orphans (one with a reservation), one in conflict.
async fn fill(cluster: &Cluster) {
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/live", "net1", "c1")
        .entry(2, "default/gone", "net1", "c2")
        .entry(3, "default/done", "net1", "c3")
        .entry(4, "default/ghost", "net1", "c4")
        .create(client)
        .await;
    pool("tenant-a", "fd00::/64").create(client).await;
    pool("tenant-a", "10.9.0.0/24")
        .name("broken")
        .range("no range")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.2", "default/gone")
        .create(client)
        .await;
    let live = pod("default", "live").shows("net1", &["10.0.0.1", "10.0.0.4"]);
    live.create(client).await;
    pod("default", "done").phase("Failed").create(client).await;
}

#[tokio::test]
async fn a_run_pushes_what_it_saw_and_did() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let gateway = Pushgateway::start().await;
    let before = now() - 1.0;
    let run = |arguments: [&str; 2]| {
        let run = reconciler(cluster.kubeconfig()).env("IP_RECONCILER_METRICS_PUSH", gateway.url());
        run.args(arguments).output()
    };
    let dry = run(["--dry-run", "--detailed-exitcode"]).await.expect(5);
    assert!(!dry.stderr.contains("metrics"), "{dry:#?}");
    let scrape = gateway.scrape().await;
    scrape.expect("dry_run", 1.0);
    scrape.expect_sum("orphan_records", 3.0);
    scrape.expect_sum("released_records", 0.0);
    scrape.expect(
        "pool_allocated_addresses{pool=\"kube-system/10.0.0.0-24\"}",
        4.0,
    );

    run(["--metrics-push", gateway.url()]).await.expect(0);
    let scrape = gateway.scrape().await;
    scrape.expect("dry_run", 0.0);
    scrape.expect("view_complete", 1.0);
    for (series, value) in AFTER_RELEASE {
        scrape.expect(series, value);
    }
    scrape.expect_sum("released_records", 3.0);
    assert_eq!(
        scrape.get("pool_usable_addresses{pool=\"tenant-a/broken\"}"),
        None
    );
    let success = scrape.get("last_success_timestamp_seconds").unwrap();
    assert!((before..now() + 1.0).contains(&success), "{success}");
    assert_eq!(scrape.get("last_run_timestamp_seconds"), Some(success));
    let duration = scrape.get("run_duration_seconds").unwrap();
    assert!(duration > 0.0 && duration < 60.0, "{duration}");
}

/// A run behind a proxy that pushes; it has to end with that exit code.
async fn run(proxy: &Proxy, cluster: &Cluster, gateway: &Pushgateway, code: i32) -> Scrape {
    run_with(["-o", "name"], proxy, cluster, gateway, code).await
}

async fn run_with(
    arguments: [&str; 2],
    proxy: &Proxy,
    cluster: &Cluster,
    gateway: &Pushgateway,
    code: i32,
) -> Scrape {
    let run = reconciler(&proxy.kubeconfig(cluster, cluster.token())).args(arguments);
    let run = run.args(["--metrics-push", gateway.url()]);
    run.output().await.expect(code);
    gateway.scrape().await
}

const SUCCESS: &str = "last_success_timestamp_seconds";

#[tokio::test]
async fn a_brake_or_a_write_that_fails_is_pushed_and_is_no_success() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let gateway = Pushgateway::start().await;
    let proxy = Proxy::start(&cluster).await;
    let scrape = run_with(["--max-release", "0"], &proxy, &cluster, &gateway, 4).await;
    scrape.expect("brake_refusals{reason=\"MaxRelease\"}", 1.0);
    assert_eq!(scrape.get(SUCCESS), None);

    let is_release = |seen: &Seen| seen.is("PATCH", "ippools");
    proxy.once(is_release, Fault::Status(403, "Forbidden"));
    let scrape = run(&proxy, &cluster, &gateway, 1).await;
    scrape.expect("brake_refusals{reason=\"MaxRelease\"}", 0.0);
    scrape.expect("write_failures{kind=\"Allocation\"}", 2.0);
    assert_eq!(scrape.get(SUCCESS), None);

    let scrape = run(&proxy, &cluster, &gateway, 0).await;
    scrape.expect("write_failures{kind=\"Allocation\"}", 0.0);
    assert!(scrape.get(SUCCESS).is_some());
}

#[tokio::test]
async fn an_incomplete_view_leaves_the_last_success_and_a_success_replaces_all() {
    let cluster = Cluster::lock().await;
    fill(&cluster).await;
    let gateway = Pushgateway::start().await;
    let proxy = Proxy::start(&cluster).await;
    let success = run(&proxy, &cluster, &gateway, 0).await.get(SUCCESS);

    tokio::time::sleep(Duration::from_millis(1100)).await;
    let is_pods = |seen: &Seen| seen.is("GET", "/pods");
    proxy.once(is_pods, Fault::Status(403, "Forbidden"));
    let scrape = run(&proxy, &cluster, &gateway, 1).await;
    scrape.expect("view_complete", 0.0);
    assert_eq!(scrape.get(SUCCESS), success);
    assert!(scrape.get("last_run_timestamp_seconds") > success);
    // What it could not see is what the last run saw; what it did is known.
    scrape.expect("conflicts{kind=\"UsedByAnother\"}", 1.0);
    scrape.expect_sum("released_records", 0.0);

    cluster.kubectl(&["delete", "ippool", "-n", "tenant-a", "fd00---64"]);
    let scrape = run(&proxy, &cluster, &gateway, 0).await;
    scrape.expect("view_complete", 1.0);
    assert!(scrape.get(SUCCESS) > success);
    let gone = "pool_allocated_addresses{pool=\"tenant-a/fd00---64\"}";
    assert_eq!(scrape.get(gone), None);
}

/// What a run says whose metrics cannot be pushed; it does its work all the same.
async fn warning(cluster: &Cluster, adapt: impl FnOnce(Run) -> Run) -> String {
    let orphan = pool("kube-system", "10.7.0.0/24").entry(1, "default/gone", "net1", "c1");
    orphan.create(cluster.client()).await;
    let run = adapt(reconciler(cluster.kubeconfig()))
        .output()
        .await
        .expect(0);
    assert!(run.stdout.contains("1 released"), "{run:#?}");
    assert!(
        entries(cluster.client(), "kube-system", "10.7.0.0-24")
            .await
            .is_empty()
    );
    cluster.kubectl(&["delete", "ippool", "-n", "kube-system", "10.7.0.0-24"]);
    run.stderr
}

#[tokio::test]
async fn a_pushgateway_that_fails_costs_a_warning_and_nothing_else() {
    let cluster = Cluster::lock().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let gateway = Pushgateway::start().await;
    let odd = format!("{}/metrics/job/x/label", gateway.url());
    let no_path = format!("{}/somewhere", gateway.url());
    for (url, said) in [
        (
            "http://me:s3cret@127.0.0.1:1",
            "cannot push metrics to http://127.0.0.1:1/metrics/job/ip-reconciler: Connection refused",
        ),
        (
            "http://me:s3cret@gate.invalid",
            "to http://gate.invalid/metrics/job/ip-reconciler: ",
        ),
        (&silent, "no answer within 5s"),
        (&odd, "the server answered 400: odd number"),
        (&no_path, "the server answered 404"),
        // It speaks no TLS.
        (
            &gateway.url().replace("http:", "https:"),
            "cannot push metrics to https://127.0.0.1:",
        ),
    ] {
        let started = Instant::now();
        let stderr = warning(&cluster, |run| {
            run.args(["--log-level=trace", "--metrics-push", url])
        });
        let stderr = stderr.await;
        let warnings: Vec<_> = stderr
            .lines()
            .filter(|line| line.contains("WARN"))
            .collect();
        assert!(
            matches!(warnings[..], [line] if line.contains(said)),
            "{said}: {stderr}"
        );
        assert!(!stderr.contains("s3cret"), "{stderr}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    let stderr = warning(&cluster, |run| {
        run.args(["--log-format=json", "--metrics-push=http://127.0.0.1:1"])
    });
    assert!(
        stderr
            .await
            .contains(r#""level":"WARN","message":"cannot push metrics"#)
    );
    let stderr = warning(&cluster, |run| run.env("IP_RECONCILER_METRICS_PUSH", ""));
    assert!(!stderr.await.contains("WARN"));
}

#[tokio::test]
async fn a_pushgateway_with_tls_and_a_password_gets_them() {
    let cluster = Cluster::lock().await;
    let ca = cluster.ca_file();
    let folder = ca.parent().unwrap().display();
    let config = format!(
        "tls_server_config: {{cert_file: {folder}/server.crt, key_file: {folder}/server.key}}\n{USER}\n"
    );
    let gateway = Pushgateway::guarded(&Guard {
        config: &config,
        ca: Some(&ca),
        credentials: Some(("me", "p@s:s")),
    })
    .await;
    let trusted = ca.display().to_string();
    let with = |userinfo: &str| gateway.url().replace("//", &format!("//{userinfo}@"));
    let run = |url: String, trusted: &str| {
        let run = reconciler(cluster.kubeconfig()).env("IP_RECONCILER_METRICS_PUSH", &url);
        let run = run.env("IP_RECONCILER_LOG_LEVEL", "trace");
        run.env("SSL_CERT_FILE", trusted).output()
    };
    let wrong = run(with("me:wr0ng"), &trusted).await.expect(0);
    assert!(
        wrong.stderr.contains("the server answered 401"),
        "{wrong:#?}"
    );
    // As it is, and as the header has it.
    for secret in ["wr0ng", "bWU6d3Iwbmc="] {
        assert!(!wrong.stderr.contains(secret), "{wrong:#?}");
    }
    let strange = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/cli/other-authority.pem"
    );
    let unknown = run(with("me:p%40s%3As"), strange).await.expect(0);
    assert!(
        unknown.stderr.contains("invalid peer certificate"),
        "{unknown:#?}"
    );
    assert_eq!(gateway.scrape().await.get("view_complete"), None);

    let right = run(with("me:p%40s%3As"), &trusted).await.expect(0);
    assert!(!right.stderr.contains("WARN"), "{right:#?}");
    gateway.scrape().await.expect("view_complete", 1.0);
}
