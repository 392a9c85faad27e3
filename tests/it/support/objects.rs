//! Builders for the objects that a test starts from, and a look at what is left of them (I/O).

mod node;
mod pod;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::StreamExt;
use http::{Method, Request};
use kube::Client;
use serde_json::Value;

pub(crate) use node::{NodeBuilder, node};
pub(crate) use pod::{PodBuilder, pod};
pub(crate) use records::{pool, reservation};

/// Where the API server serves the objects of Whereabouts.
const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1";

/// What can be put into the cluster.
pub(crate) trait Object {
    /// Creates the object; panics with the server's message if it refuses.
    async fn create(&self, client: &Client);
}

/// Creates thousands of objects, so many at a time.
pub(crate) async fn create_all<O: Object>(
    client: &Client,
    objects: impl IntoIterator<Item = O>,
    concurrency: usize,
) {
    futures::stream::iter(objects)
        .for_each_concurrent(
            concurrency,
            |object| async move { object.create(client).await },
        )
        .await;
}

/// The allocations of a pool, by offset.
pub(crate) async fn entries(
    client: &Client,
    namespace: &str,
    pool: &str,
) -> BTreeMap<String, Value> {
    let path = format!("{GROUP}/namespaces/{namespace}/ippools/{pool}");
    let mut pool = send(client, Method::GET, &path, None).await.unwrap();
    serde_json::from_value(pool["spec"]["allocations"].take()).unwrap_or_default()
}

/// The allocations of all pools, by their address.
pub(crate) async fn all_entries(client: &Client) -> Vec<(IpAddr, Value)> {
    let path = format!("{GROUP}/ippools");
    let list = send(client, Method::GET, &path, None).await.unwrap();
    let mut all = Vec::new();
    for pool in list["items"].as_array().unwrap() {
        let range = pool["spec"]["range"].as_str().unwrap();
        let first: IpAddr = range.split('/').next().unwrap().parse().unwrap();
        let entries: BTreeMap<String, Value> =
            serde_json::from_value(pool["spec"]["allocations"].clone()).unwrap_or_default();
        for (offset, entry) in entries {
            let offset: u128 = offset.parse().unwrap();
            let address = match first {
                IpAddr::V4(v4) => {
                    let offset = u32::try_from(offset).unwrap();
                    IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() + offset))
                }
                IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() + offset)),
            };
            all.push((address, entry));
        }
    }
    all
}

/// All overlapping-range reservations, as `namespace/name`.
pub(crate) async fn reservations(client: &Client) -> BTreeSet<String> {
    let path = format!("{GROUP}/overlappingrangeipreservations");
    let list = send(client, Method::GET, &path, None).await.unwrap();
    let name = |item: &Value| {
        let metadata = &item["metadata"];
        Some(format!(
            "{}/{}",
            metadata["namespace"].as_str()?,
            metadata["name"].as_str()?
        ))
    };
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(name)
        .collect()
}

/// Deletes a pod without grace, as if its kubelet had done its part.
pub(crate) async fn delete_pod_now(client: &Client, namespace: &str, name: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0");
    send(client, Method::DELETE, &path, None).await.unwrap();
}

/// Sends one request; the content type is the one that its method has in this API.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> kube::Result<Value> {
    let content = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let body = body
        .map(|body| body.to_string().into_bytes())
        .unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content)
        .body(body)
        .unwrap();
    client.request(request).await
}

/// Sends the request that makes an object.
async fn post(client: &Client, path: &str, object: &Value) {
    if let Err(error) = send(client, Method::POST, path, Some(object)).await {
        panic!("cannot create {object}: {error}");
    }
}
