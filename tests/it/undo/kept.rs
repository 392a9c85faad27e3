//! `--keep-reports`: the last runs that freed something, as config maps.

use std::fmt::Write as _;

use http::Method;
use serde_json::{Value, json};

use super::{crowd, one, records, results};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, create_all, pod, pool, reservation, send};
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Outcome, reconciler};

const PLACE: &str = "/api/v1/namespaces/tenant-b/configmaps";
const LABEL: &str = "whereabouts.cni.cncf.io/release-report";

async fn config_maps(cluster: &Cluster) -> Vec<Value> {
    let list = send(cluster.client(), Method::GET, PLACE, None)
        .await
        .unwrap();
    list["items"].as_array().unwrap().clone()
}

async fn names(cluster: &Cluster) -> Vec<String> {
    let all = config_maps(cluster).await;
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    all.iter().map(name).collect()
}

async fn empty(cluster: &Cluster) {
    send(cluster.client(), Method::DELETE, PLACE, None)
        .await
        .unwrap();
}

async fn orphan(cluster: &Cluster, address: &str) {
    let orphan = reservation("kube-system", address, "default/gone");
    orphan.create(cluster.client()).await;
}

async fn keeping(kubeconfig: &std::path::Path, most: &str) -> Outcome {
    let run =
        reconciler(kubeconfig).args(["--keep-reports", most, "--reports-namespace", "tenant-b"]);
    run.args(["-o", "json"]).output().await
}

#[tokio::test]
async fn the_last_two_of_three_reports_stay_and_strangers_are_untouched() {
    let cluster = Cluster::lock().await;
    empty(&cluster).await;
    let foreign = [
        json!({"metadata": {"name": "coredns", "labels": {LABEL: "true"}}}),
        json!({"metadata": {"name": "ip-reconciler-report-0"}, "data": {"a": "b"}}),
    ];
    for object in &foreign {
        send(cluster.client(), Method::POST, PLACE, Some(object))
            .await
            .unwrap();
    }
    let mut made: Vec<String> = Vec::new();
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        orphan(&cluster, address).await;
        keeping(cluster.kubeconfig(), "2").await.expect(0);
        let all = names(&cluster).await;
        let ours = all
            .into_iter()
            .filter(|name| name.starts_with("ip-reconciler-report-2"));
        let new: Vec<String> = ours.filter(|name| !made.contains(name)).collect();
        assert_eq!(new.len(), 1);
        made.extend(new);
    }
    assert!(made.is_sorted(), "{made:?}");
    // A run that frees nothing keeps nothing, nor does a dry run.
    keeping(cluster.kubeconfig(), "2").await.expect(0);
    let left = ["coredns", "ip-reconciler-report-0", &*made[1], &*made[2]];
    assert_eq!(names(&cluster).await, left);

    let listed = cluster.kubectl(&[
        "get",
        "configmap",
        "-n",
        "tenant-b",
        "-l",
        LABEL,
        "-o",
        "name",
    ]);
    assert!(listed.contains(&made[2]), "{listed}");
    let undo = async |report: String| {
        let run = reconciler(cluster.kubeconfig()).args(["undo", &report, "-o", "json"]);
        run.args(["--reports-namespace", "tenant-b"]).output().await
    };
    let undone = undo(format!("configmap/{}", made[1])).await.expect(0);
    assert_eq!(results(&undone), one("PutBack", 1));
    let undone = undo(format!("configmap/tenant-b/{}", made[2]))
        .await
        .expect(0);
    assert_eq!(undone.json()["records"][0]["name"], "10.0.0.3");
    assert_eq!(records(&cluster).await.len(), 2);
    for (report, said) in [
        (
            format!("configmap/{}", made[0]),
            "not found; kubectl get configmap -A -l whereabouts.cni.cncf.io/release-report",
        ),
        ("configmap/coredns".to_owned(), "no complete report"),
        ("configmap/default/none".to_owned(), "not found"),
    ] {
        let undone = undo(report).await.expect(2);
        assert!(undone.stderr.contains(said), "{undone:#?}");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_kept_is_a_warning() {
    let cluster = Cluster::lock().await;
    empty(&cluster).await;
    let client = cluster.client();
    for (method, said) in [
        ("POST", "no report of this run is kept"),
        ("PUT", "but not what became of it"),
        ("GET", "older kept reports could not be removed"),
    ] {
        crowd(&cluster).await;
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| {
            seen.is(method, "/configmaps")
                .then_some(Fault::Status(403, "Forbidden"))
        });
        let run = keeping(&kubeconfig, "1").await.expect(0);
        let answer = run.json();
        assert_eq!(answer["summary"]["released"], 6, "{run:#?}");
        let remarks = answer["remarks"].to_string();
        assert!(
            remarks.contains(said) && remarks.contains("configmaps"),
            "{said}: {remarks}"
        );
        for kind in ["ippools", "overlappingrangeipreservations"] {
            let path = format!("{}/namespaces/kube-system/{kind}", super::GROUP);
            send(client, Method::DELETE, &path, None).await.unwrap();
        }
        crate::support::objects::delete_pod_now(client, "default", "live").await;
    }
}

#[tokio::test]
async fn a_run_that_released_nothing_of_its_plan_takes_its_report_away() {
    let cluster = Cluster::lock().await;
    empty(&cluster).await;
    orphan(&cluster, "10.0.0.1").await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = cluster.client().clone();
    let is_report = |seen: &crate::support::proxy::Seen| seen.is("POST", "/configmaps");
    proxy.after(is_report, async move {
        pod("default", "gone").create(&admin).await;
    });
    let run = keeping(&kubeconfig, "5").await.expect(0);
    assert_eq!(run.json()["summary"]["changed"], 1, "{run:#?}");
    assert!(names(&cluster).await.is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_cut_and_that_is_said() {
    let cluster = Cluster::lock().await;
    empty(&cluster).await;
    // Ids that cannot be made shorter: 12,000 of them are more than a megabyte.
    let mut seed = 1u64;
    let mut id = || {
        let mut text = String::new();
        while text.len() < 200 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            write!(text, "{seed:016x}").unwrap();
        }
        text
    };
    let pools = (0..4).map(|pool_number| {
        let range = format!("10.{pool_number}.0.0/16");
        (1..=3_000u128).fold(pool("kube-system", &range), |pool, offset| {
            pool.entry(offset, &format!("default/gone-{offset}"), "net1", &id())
        })
    });
    let pools: Vec<_> = pools.collect();
    create_all(cluster.client(), pools, 1).await;
    let run =
        reconciler(cluster.kubeconfig()).args(["--keep-reports", "1", "--force", "-o", "json"]);
    let run = run
        .args(["--reports-namespace", "tenant-b"])
        .output()
        .await
        .expect(0);
    let answer = run.json();
    assert_eq!(answer["summary"]["released"], 12_000);
    let remarks = answer["remarks"].to_string();
    assert!(
        remarks.contains("of 12000 records: more do not fit"),
        "{remarks}"
    );
    let name = names(&cluster).await.remove(0);
    let report = format!("configmap/tenant-b/{name}");
    let undone = reconciler(cluster.kubeconfig()).args(["undo", &report, "-o", "json"]);
    let undone = undone.output().await.expect(0);
    let back = undone.json()["records"].as_array().unwrap().len();
    assert!(back > 6_000 && back < 12_000, "{back}");
    assert_eq!(results(&undone), one("PutBack", back));
    let remarks = undone.json()["remarks"].to_string();
    assert!(
        remarks.contains(&format!("lacks {} records", 12_000 - back)),
        "{remarks}"
    );
}
