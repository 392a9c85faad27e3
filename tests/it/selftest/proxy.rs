//! The proxy changes nothing but what a test asks for, and that for certain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::support::cluster::{Cluster, client_for};
use crate::support::objects::{Object, create_all, pod, send};
use crate::support::proxy::{Fault, Proxy, Seen};

/// The proxy, and a client that knows only the way through it.
async fn proxied(cluster: &Cluster) -> (Proxy, Client) {
    let proxy = Proxy::start(cluster).await;
    let client = client_for(&proxy.kubeconfig(cluster, cluster.token())).await;
    (proxy, client)
}

/// Tries to create a pod through the proxy, and tells whether it is there then.
async fn creates(cluster: &Cluster, client: &Client, name: &str) -> (kube::Result<Pod>, bool) {
    let container = json!({"name": "main", "image": "example.invalid/main"});
    let object = json!({"metadata": {"name": name}, "spec": {"containers": [container]}});
    let object = serde_json::from_value(object).unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let result = pods.create(&PostParams::default(), &object).await;
    let direct: Api<Pod> = Api::namespaced(cluster.client().clone(), "default");
    (result, direct.get_opt(name).await.unwrap().is_some())
}

/// The code and reason of the server's refusal.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        error => panic!("not an answer of the server: {error}"),
    }
}

fn is_post(seen: &Seen) -> bool {
    seen.is("POST", "/pods")
}

#[tokio::test]
async fn without_rules_everything_passes_unchanged() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let pods = (0..300).map(|n| pod("tenant-a", &format!("web-{n}")).shows("net1", &["10.0.0.5"]));
    create_all(cluster.client(), pods, 16).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for accept in [
        "application/json",
        table,
        "application/vnd.kubernetes.protobuf",
    ] {
        let mut answers = Vec::new();
        for client in [cluster.client(), &client] {
            let request = Request::get("/api/v1/pods?limit=200&labelSelector=a%21%3Db")
                .header(http::header::ACCEPT, accept)
                .body(Vec::new().into())
                .unwrap();
            let response = client.send(request).await.unwrap();
            let kind = response.headers()[http::header::CONTENT_TYPE].clone();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            answers.push((kind, body));
        }
        assert!(answers[0].1.len() > 10_000);
        // The table has the age of each pod in seconds, and the second may change in between.
        let comparable = |n: usize| {
            (
                answers[n].0.clone(),
                (accept != table).then(|| &answers[n].1),
            )
        };
        assert_eq!(comparable(0).0, comparable(1).0);
        assert!(
            comparable(0).1 == comparable(1).1,
            "the body for {accept} differs"
        );
    }
    let (created, there) = creates(&cluster, &client, "one").await;
    assert_eq!(created.unwrap().metadata.name.unwrap(), "one");
    assert!(there);

    let log = proxy.log();
    let seen: Vec<_> = log
        .iter()
        .map(|seen| (seen.n, seen.method.as_str()))
        .collect();
    assert_eq!(seen, [(1, "GET"), (2, "GET"), (3, "GET"), (4, "POST")]);
    assert_eq!(log[0].path, "/api/v1/pods");
    assert_eq!(log[0].query, "limit=200&labelSelector=a%21%3Db");
    assert!(log[0].body.is_empty());
    let writes = proxy.writes();
    assert_eq!(writes.len(), 1);
    assert!(String::from_utf8_lossy(&writes[0].body).contains("example.invalid/main"));
}

#[tokio::test]
async fn the_credentials_that_count_are_those_of_the_client() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let account = cluster.service_account_token("default", "selftest").await;
    for (token, code) in [(account.as_str(), 403), ("not-a-token", 401)] {
        let client = client_for(&proxy.kubeconfig(&cluster, token)).await;
        let pods: Api<Pod> = Api::all(client);
        assert_eq!(refusal(pods.list(&ListParams::default()).await).0, code);
    }
}

#[tokio::test]
async fn a_status_is_answered_without_the_server() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    proxy.once(is_post, Fault::Status(409, "Conflict"));
    let (result, there) = creates(&cluster, &client, "one").await;
    assert_eq!(refusal(result), (409, "Conflict".to_owned()));
    assert!(!there);

    proxy.rule(|seen| is_post(seen).then_some(Fault::Status(429, "TooManyRequests")));
    let request = Request::post("/api/v1/namespaces/default/pods").body(Vec::new().into());
    let response = client.send(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[http::header::RETRY_AFTER], "1");

    proxy.heal();
    assert!(creates(&cluster, &client, "one").await.0.is_ok());
}

#[tokio::test]
async fn a_status_after_hides_that_the_server_did_it() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    proxy.once(is_post, Fault::StatusAfter(504));
    let (result, there) = creates(&cluster, &client, "one").await;
    assert_eq!(refusal(result).0, 504);
    assert!(there);
}

#[tokio::test]
async fn connections_end_before_or_after_the_server_did_it() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    for (name, fault, expected) in [
        ("before", Fault::DropConnection, false),
        ("after", Fault::DropAfter, true),
    ] {
        proxy.once(is_post, fault);
        let (result, there) = creates(&cluster, &client, name).await;
        let error = result.unwrap_err();
        assert!(!matches!(error, kube::Error::Api(_)), "{name}: {error}");
        assert_eq!(there, expected, "{name}");
    }
    assert_eq!(proxy.writes().len(), 2);
}

#[tokio::test]
async fn an_answer_is_cut_at_the_very_byte() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    create_all(
        cluster.client(),
        (0..50).map(|n| pod("default", &format!("web-{n}"))),
        16,
    )
    .await;
    for bytes in [0, 1, 1000, 20_000] {
        proxy.once(|seen| seen.is("GET", "/pods"), Fault::CutAfter(bytes));
        let request = Request::get("/api/v1/pods")
            .body(Vec::new().into())
            .unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut received = 0;
        let error = loop {
            match body.frame().await.expect("the body must not end well") {
                Ok(frame) => received += frame.into_data().unwrap().len(),
                Err(error) => break error,
            }
        };
        assert_eq!(received, bytes, "{error}");
    }
}

#[tokio::test]
async fn a_request_hangs_or_is_delayed() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let pods: Api<Pod> = Api::all(client);
    proxy.once(|_| true, Fault::Hang);
    let parameters = ListParams::default();
    let hanging = tokio::time::timeout(Duration::from_millis(300), pods.list(&parameters));
    assert!(hanging.await.is_err());

    let delay = Duration::from_millis(200);
    proxy.once(|_| true, Fault::Delay(delay));
    let started = Instant::now();
    pods.list(&parameters).await.unwrap();
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn hooks_run_once_between_the_client_and_the_server() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let names = async || {
        let list = pods.list(&ListParams::default()).await.unwrap();
        list.items
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect::<Vec<_>>()
    };
    let is_list = |seen: &Seen| seen.is("GET", "/pods");
    let direct = cluster.client().clone();
    proxy.before(is_list, async move {
        pod("default", "before").create(&direct).await;
    });
    let direct = cluster.client().clone();
    proxy.after(is_list, async move {
        pod("default", "later").create(&direct).await;
    });
    assert_eq!(names().await, ["before"]);
    assert_eq!(names().await, ["before", "later"]);
    assert_eq!(names().await, ["before", "later"]);
}

#[tokio::test]
async fn an_after_hook_runs_although_the_answer_is_lost() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let ran = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&ran);
    proxy.after(is_post, async move { mark.store(true, Ordering::Relaxed) });
    proxy.once(is_post, Fault::DropAfter);
    assert!(creates(&cluster, &client, "one").await.0.is_err());
    assert!(ran.load(Ordering::Relaxed));
}

#[tokio::test]
async fn writes_of_every_method_are_seen_as_writes() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map = serde_json::from_value(json!({"metadata": {"name": "selftest"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let path = "/api/v1/namespaces/default/configmaps/selftest";
    let data = json!({"data": {"a": "b"}});
    let patched = send(&client, Method::PATCH, path, Some(&data))
        .await
        .unwrap();
    assert_eq!(patched["data"], data["data"]);
    let read = maps.get("selftest").await.unwrap();
    maps.replace("selftest", &PostParams::default(), &read)
        .await
        .unwrap();
    maps.delete("selftest", &DeleteParams::default())
        .await
        .unwrap();
    let methods: Vec<_> = proxy.writes().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["POST", "PATCH", "PUT", "DELETE"]);
}

#[tokio::test]
async fn a_dropped_proxy_answers_no_more() {
    let cluster = Cluster::lock().await;
    let (proxy, client) = proxied(&cluster).await;
    let pods: Api<Pod> = Api::all(client);
    pods.list(&ListParams::default()).await.unwrap();
    drop(proxy);
    tokio::task::yield_now().await;
    assert!(pods.list(&ListParams::default()).await.is_err());
}
