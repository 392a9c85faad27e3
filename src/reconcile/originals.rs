//! I/O: reservations as they are, before a run deletes them: a snapshot keeps only what is judged.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use kube::api::{GetParams, Resource};
use kube::core::Request;
use serde_json::Value;

use super::plan::Plan;
use super::records::Records;
use super::saved::own_part;
use super::snapshot::read_reservation;
use crate::client::{Call, CallError, Client};

/// `namespaces`, as roles and messages spell it.
const NAMESPACES: &str = "namespaces";
/// The namespace that every cluster has from its beginning to its end.
const OF_THE_CLUSTER: &str = "kube-system";

/// Reads the reservations of a plan, by their index, without what the server sets, which is most of
/// them. One that has gone is left out.
///
/// # Errors
/// When one cannot be read: it could not be put back.
pub async fn read_originals(
    client: &Client,
    records: &Records,
    plan: &Plan,
    at_once: usize,
) -> Result<HashMap<usize, Value>, CallError> {
    let planned = plan.reservations.iter();
    let reads = planned.filter_map(|index| {
        let id = records.reservation(*index)?.id();
        Some(async move {
            let object = read_reservation(client, &id).await?;
            Ok((*index, object.as_ref().map(own_part)))
        })
    });
    let read: Vec<(usize, Option<Value>)> = futures::stream::iter(reads)
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let there = read.into_iter();
    Ok(there
        .filter_map(|(at, object)| Some((at, object?)))
        .collect())
}

/// What tells this cluster from all others: the uid of the namespace `kube-system`.
pub async fn read_cluster_uid(client: &Client) -> Result<String, CallError> {
    let call = Call {
        verb: "get",
        resource: NAMESPACES,
        object: OF_THE_CLUSTER,
    };
    let path = k8s_openapi::api::core::v1::Namespace::url_path(&(), None);
    let request = Request::new(path).get(OF_THE_CLUSTER, &GetParams::default());
    let object: Value = client.call(&call, request).await?;
    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
    uid.filter(|uid| !uid.is_empty())
        .map(ToOwned::to_owned)
        .ok_or_else(|| call.unreadable("the namespace has no uid"))
}
