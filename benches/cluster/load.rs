//! Fills a cluster with pods, pools and reservations.
//!
//! One pod is created through the API, as kubelet, scheduler and Multus leave it. All others are
//! copies of what the API server stored for it, with another name, uid and address of the same
//! length, so that they cost the server what real ones do.

use std::fmt::Write as _;

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::etcd::Etcd;

/// Pools of a cluster.
const POOLS: u32 = 20;
/// Allocations beyond those of half of the pods, in thousandths of all pods.
const EXTRA_PER_THOUSAND: u32 = 10;
const TIME: &str = "2026-01-01T00:00:00Z";

/// The parts of the first pod that differ in its copies.
const NAME: &str = "pod-000000";
const NAMESPACE: &str = "ns-00";
const ADDRESS: &str = "10.000.000.000";

/// What a cluster is to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Pods; half of them hold an address.
    pub(crate) pods: u32,
    /// Allocations whose pods are gone.
    pub(crate) orphans: u32,
}

impl Size {
    /// How many addresses pods hold that exist.
    fn live(self) -> u32 {
        self.pods / 2 + self.pods * EXTRA_PER_THOUSAND / 1000
    }

    /// How many addresses are allocated.
    pub(crate) fn allocations(self) -> u32 {
        self.live() + self.orphans
    }
}

/// Fills the cluster, and leaves it as a server finds it that has been running for long.
pub(crate) async fn load(client: &Client, etcd: &mut Etcd, size: Size) {
    for prefix in [
        "/registry/pods/",
        "/registry/whereabouts.cni.cncf.io/ippools/",
        "/registry/whereabouts.cni.cncf.io/overlappingrangeipreservations/",
    ] {
        etcd.clear(prefix).await;
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let _ = send(client, Request::post("/api/v1/nodes"), Some(&node)).await;
    let template = template(client, etcd).await;
    for number in 0..size.pods {
        let (namespace, name) = pod_of(number);
        let address = if number < size.live() {
            address_of(number)
        } else {
            elsewhere(number)
        };
        let value = template.copy(&namespace, &name, number, &address);
        etcd.put(&format!("/registry/pods/{namespace}/{name}"), &value)
            .await;
    }
    put_records(etcd, size).await;
    etcd.flush().await;
    // After many writes beside it, a server answers slowly until it sees a new one of the kind.
    for (path, object) in fresh() {
        let _ = send(client, Request::delete(format!("{path}/fresh")), None).await;
        send(client, Request::post(path), Some(&object))
            .await
            .unwrap();
        send(
            client,
            Request::delete(format!("{path}/fresh?gracePeriodSeconds=0")),
            None,
        )
        .await
        .unwrap();
    }
}

fn pod_of(number: u32) -> (String, String) {
    (format!("ns-{:02}", number % 20), format!("pod-{number:06}"))
}

/// Fourteen characters each, like the address in the first pod.
fn address_of(number: u32) -> String {
    let (pool, at) = (number % POOLS, number / POOLS);
    format!("10.{}.{}.{}", 100 + pool, 100 + at / 100, 100 + at % 100)
}

/// An address of the same length that is in no pool.
fn elsewhere(number: u32) -> String {
    address_of(number).replacen("10.1", "10.2", 1)
}

struct Template {
    value: Vec<u8>,
    uid: String,
}

impl Template {
    fn copy(&self, namespace: &str, name: &str, number: u32, address: &str) -> Vec<u8> {
        let uid = format!("{:08x}{}", number, &self.uid[8..]);
        let mut value = self.value.clone();
        for (from, to) in [
            (NAMESPACE, namespace),
            (NAME, name),
            (&self.uid, &uid),
            (ADDRESS, address),
        ] {
            replace(&mut value, from.as_bytes(), to.as_bytes());
        }
        value
    }
}

/// Replaces every occurrence; both have the same length.
fn replace(value: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut at = 0;
    while let Some(found) = value[at..]
        .windows(from.len())
        .position(|part| part == from)
    {
        at += found;
        value[at..at + to.len()].copy_from_slice(to);
        at += to.len();
    }
}

async fn template(client: &Client, etcd: &Etcd) -> Template {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let _ = send(
        client,
        Request::post("/api/v1/namespaces"),
        Some(&namespace),
    )
    .await;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    let _ = send(client, Request::post(accounts), Some(&account)).await;
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let created = send(client, Request::post(&pods), Some(&pod()))
        .await
        .unwrap();
    let uid = created["metadata"]["uid"].as_str().unwrap().to_owned();
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": TIME}));
    let container = json!({"name": "main", "image": "registry.example.com/team/app:1.2.3", "imageID": "",
        "ready": true, "restartCount": 0, "state": {"running": {"startedAt": TIME}}});
    let running = json!({"status": {"phase": "Running", "podIP": "10.244.0.9", "hostIP": "192.0.2.7",
        "conditions": conditions, "containerStatuses": [container]}});
    let status = format!("{pods}/{NAME}/status");
    send(client, Request::patch(status), Some(&running))
        .await
        .unwrap();
    let value = etcd
        .get(&format!("/registry/pods/{NAMESPACE}/{NAME}"))
        .await;
    Template { value, uid }
}

/// A pod with two networks, as deployments make them.
fn pod() -> Value {
    let status = json!([
        {"name": "cbr0", "interface": "eth0", "ips": ["10.244.0.9"], "mac": "b6:1d:5c:0e:00:00", "default": true, "dns": {}},
        {"name": "default/lan", "interface": "net1", "ips": [ADDRESS], "mac": "b6:1d:5c:0e:00:01", "dns": {}},
    ]);
    let variables = (0..8)
        .map(|at| json!({"name": format!("SETTING_{at}"), "value": "some value of a setting"}));
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": NAME, "labels": {"app": "web", "pod-template-hash": "7c5ddbdf54"},
            "annotations": {"k8s.v1.cni.cncf.io/networks": "lan", "k8s.v1.cni.cncf.io/network-status": format!("{status:#}")}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "registry.example.com/team/app:1.2.3",
            "env": variables.collect::<Vec<_>>(), "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}})
}

async fn put_records(etcd: &mut Etcd, size: Size) {
    let mut pools: Vec<String> = vec![String::new(); POOLS as usize];
    for number in 0..size.allocations() {
        let (namespace, mut name) = pod_of(number);
        if number >= size.live() {
            name = format!("gone-{number}");
        }
        let address = address_of(number);
        let at = number / POOLS;
        let offset = (100 + at / 100) * 256 + 100 + at % 100;
        let container = format!("{number:064x}");
        let pool = &mut pools[(number % POOLS) as usize];
        let comma = if pool.is_empty() { "" } else { "," };
        let _ = write!(
            pool,
            r#"{comma}"{offset}":{{"id":"{container}","ifname":"net1","podref":"{namespace}/{name}"}}"#
        );
        let reservation = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": metadata(&address, number, &["podref", "ifname", "containerid"]),
            "spec": {"podref": format!("{namespace}/{name}"), "ifname": "net1", "containerid": container}});
        let key = format!(
            "/registry/whereabouts.cni.cncf.io/overlappingrangeipreservations/kube-system/{address}"
        );
        etcd.put(&key, reservation.to_string().as_bytes()).await;
    }
    for (number, allocations) in (0..).zip(pools) {
        let range = format!("10.{}.0.0/16", 100 + number);
        let name = range.replace('/', "-");
        let metadata = metadata(&name, 900_000 + number, &["range", "allocations"]);
        let pool = format!(
            r#"{{"apiVersion":"whereabouts.cni.cncf.io/v1alpha1","kind":"IPPool","metadata":{metadata},"spec":{{"range":"{range}","allocations":{{{allocations}}}}}}}"#
        );
        let key = format!("/registry/whereabouts.cni.cncf.io/ippools/kube-system/{name}");
        etcd.put(&key, pool.as_bytes()).await;
    }
}

fn metadata(name: &str, number: u32, fields: &[&str]) -> Value {
    let fields = fields.iter().map(|field| (format!("f:{field}"), json!({})));
    let fields: serde_json::Map<String, Value> = fields.collect();
    json!({"name": name, "namespace": "kube-system", "uid": format!("{number:08x}-0000-4000-8000-000000000000"),
        "creationTimestamp": TIME, "generation": 1,
        "managedFields": [{"manager": "whereabouts", "operation": "Update", "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "time": TIME, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}}]})
}

/// One object of each kind that is listed, by where it is created.
fn fresh() -> [(&'static str, Value); 3] {
    let of_group = |kind: &str, spec: Value| json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": kind, "metadata": {"name": "fresh"}, "spec": spec});
    let mut pod = pod();
    pod["metadata"]["name"] = json!("fresh");
    [
        ("/api/v1/namespaces/ns-00/pods", pod),
        (
            "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools",
            of_group(
                "IPPool",
                json!({"range": "192.0.2.0/24", "allocations": {}}),
            ),
        ),
        (
            "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations",
            of_group("OverlappingRangeIPReservation", json!({"podref": "a/b"})),
        ),
    ]
}

async fn send(
    client: &Client,
    request: http::request::Builder,
    body: Option<&Value>,
) -> kube::Result<Value> {
    let is_patch = request.method_ref() == Some(&http::Method::PATCH);
    let content = if is_patch {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
    let request = request
        .header(http::header::CONTENT_TYPE, content)
        .body(body);
    client.request(request.unwrap()).await
}
