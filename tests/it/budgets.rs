//! What a call and a run cost the API server, in requests: unlike time, that is exact.

use serde_json::json;

use crate::plugin::call::{Network, call};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, create_all, pod, pool, reservation};
use crate::support::proxy::Proxy;
use crate::support::run::reconciler;

/// The requests since the first `before`, each as its method and resource: `*` lists all objects of
/// a kind, `/` is one of them.
fn requests(proxy: &Proxy, before: usize) -> Vec<String> {
    let log = proxy.log();
    let kind = |path: &str, method: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        let kinds = [
            "ippools",
            "overlappingrangeipreservations",
            "nodeslicepools",
            "nodes",
            "pods",
            "namespaces",
            "cronjobs",
            "network-attachment-definitions",
            "events",
        ];
        let at = parts.iter().rposition(|part| kinds.contains(part));
        let at = at.unwrap_or_else(|| panic!("{path}"));
        let mark = match (method, at + 1 == parts.len()) {
            ("GET", true) => "*",
            ("POST", true) => "",
            _ => "/",
        };
        format!("{method} {}{mark}", parts[at])
    };
    let since = log[before..].iter();
    since.map(|seen| kind(&seen.path, &seen.method)).collect()
}

#[tokio::test]
async fn an_add_takes_four_requests_and_a_del_four_however_much_is_recorded() {
    let cluster = Cluster::lock().await;
    let empty = pool("kube-system", "10.0.0.0/16");
    let full = (1..=2000).fold(empty, |pool, n| {
        pool.entry(
            n,
            &format!("default/other-{n}"),
            "net1",
            &format!("other-{n}"),
        )
    });
    full.create(cluster.client()).await;
    let proxy = Proxy::start(&cluster).await;
    let protected = json!({"range": "10.0.0.0/16"});
    let alone = json!({"range": "10.0.0.0/16", "enable_overlapping_ranges": false});
    for (ipam, add, check, del) in [
        (
            protected,
            &[
                "GET ippools/",
                "POST overlappingrangeipreservations",
                "PATCH ippools/",
                "GET overlappingrangeipreservations/",
            ][..],
            &["GET ippools/", "GET overlappingrangeipreservations/"][..],
            &[
                "GET ippools/",
                "GET overlappingrangeipreservations/",
                "DELETE overlappingrangeipreservations/",
                "PATCH ippools/",
            ][..],
        ),
        (
            alone,
            &["GET ippools/", "PATCH ippools/"],
            &["GET ippools/"],
            &["GET ippools/", "PATCH ippools/"],
        ),
    ] {
        let network = Network::through(&proxy, &cluster, ipam);
        let before = proxy.log().len();
        let added = call("ADD", &network).pod("default", "web").run().await;
        let result = added.expect(0).json();
        assert_eq!(requests(&proxy, before), add);
        let sent: usize = proxy.log()[before..]
            .iter()
            .map(|seen| seen.body.len())
            .sum();
        assert!(sent < 2000, "{sent} bytes");
        let before = proxy.log().len();
        let again = call("ADD", &network).pod("default", "web").run().await;
        assert_eq!(again.expect(0).json(), result);
        assert!(requests(&proxy, before).len() <= add.len());
        let before = proxy.log().len();
        let checked = call("CHECK", &network.previous(&result)).pod("default", "web");
        checked.run().await.expect(0);
        assert_eq!(requests(&proxy, before), check);
        let before = proxy.log().len();
        let deleted = call("DEL", &network).pod("default", "web").run().await;
        deleted.expect(0);
        assert_eq!(requests(&proxy, before), del);
    }
}

#[tokio::test]
async fn a_run_lists_each_kind_once_and_writes_once_for_each_pool_and_reservation() {
    let cluster = Cluster::lock().await;
    let mut records = pool("kube-system", "10.0.0.0/24");
    for n in 1..=8_u8 {
        let (name, address) = (format!("web-{n}"), format!("10.0.0.{n}"));
        let owner = format!("default/{name}");
        records = records.entry(n.into(), &owner, "net1", &name);
        let claim = reservation("kube-system", &address, &owner);
        claim.create(cluster.client()).await;
        if n <= 5 {
            let pod = pod("default", &name).shows("net1", &[&address]);
            pod.create(cluster.client()).await;
        }
    }
    records.create(cluster.client()).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let run = || reconciler(&kubeconfig).args(["-o", "json"]).output();
    let looks = [
        "GET ippools*",
        "GET overlappingrangeipreservations*",
        "GET nodes*",
        // All of them, and then those that have succeeded and those that have failed.
        "GET pods*",
        "GET pods*",
        "GET pods*",
        "GET network-attachment-definitions*",
        "GET cronjobs*",
    ];
    // Each pod is looked at once more for itself, and once more before each of the two writes that
    // follow; a pool is read again before and after the claims go.
    let releases = [
        ["GET pods/"; 3].as_slice(),
        &["GET ippools/", "PATCH ippools/"],
        &["GET pods/"; 3],
        &["DELETE overlappingrangeipreservations/"; 3],
        &["GET ippools/", "POST events"],
    ];
    let report = run().await.expect(0).json();
    let seen = requests(&proxy, 0);
    assert_eq!(seen, [&looks[..], &releases.concat()].concat());
    assert_eq!(report["apiCalls"], seen.len());

    let before = proxy.log().len();
    let few = run().await.expect(0).json();
    assert_eq!(requests(&proxy, before), looks);
    let many = (0..100).map(|n| pod("default", &format!("other-{n}")));
    create_all(cluster.client(), many, 16).await;
    let before = proxy.log().len();
    let many = run().await.expect(0).json();
    assert_eq!(requests(&proxy, before), looks);
    let bytes = |report: &serde_json::Value| report["bytesReceived"].as_u64().unwrap();
    // Their metadata only: a whole pod that runs has 5 kB and more.
    let each = (bytes(&many) - bytes(&few)) / 100;
    assert!(each < 1000, "{each} bytes");
}
