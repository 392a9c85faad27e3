//! I/O: puts a record where none is. It never overwrites anything.

use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use kube::api::{DeleteParams, PatchParams, PostParams, Preconditions, Resource};
use kube::core::Request;
use serde_json::Value;

use super::ledger::Ledger;
use super::snapshot::read_reservation;
use super::{POOLS, RESERVATIONS};
use crate::api::{IPPool, OverlappingRangeIPReservation};
use crate::client::{Call, CallError, Client};
use crate::record::{ObjectId, Pool};
use crate::retry;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The record is there now.
    Done,
    /// The very same record was there already.
    AlreadyThere,
    /// Another record is in its place; whom that names, in words.
    Taken(String),
    /// There is no place for it, and why.
    NoPlace(String),
}

/// Puts an entry into a pool, at a key that is free, while the pool's range is still that text.
///
/// # Errors
/// When a call fails for good; then nobody knows whether the entry is there.
pub async fn entry(
    ledger: &Ledger,
    pool: &ObjectId,
    range_text: &str,
    key: &str,
    value: &Value,
) -> Result<Put, CallError> {
    let put = entries(ledger, pool, range_text, &[(key, value)]).await?;
    Ok(put.into_iter().next().unwrap_or(Put::AlreadyThere))
}

/// Puts no more entries into a pool than go into one write, each at a key that is free; what came of
/// each, in order.
///
/// # Errors
/// When a call fails for good; then nobody knows whether the entries are there.
pub async fn entries(
    ledger: &Ledger,
    pool: &ObjectId,
    range_text: &str,
    new: &[(&str, &Value)],
) -> Result<Vec<Put>, CallError> {
    let keys: Vec<&str> = new.iter().map(|(key, _)| *key).collect();
    let mut conflicts = retry::pauses(retry::Patience::ForConflicts);
    loop {
        let read = async || ledger.read_entries(pool, range_text, &keys).await;
        let read = retry::repeat(read, || true).await?;
        let Some(now) = read else {
            let why = format!("there is no pool {pool}");
            return Ok(vec![Put::NoPlace(why); new.len()]);
        };
        let mut results: Vec<Option<Put>> = Vec::new();
        for (key, value) in new {
            let found = now.entries.iter().find(|entry| *entry.key == **key);
            results.push(found.map(|found| in_place(&found.raw(), value)));
        }
        let filled = |results: Vec<Option<Put>>, rest: Put| {
            let each = results
                .into_iter()
                .map(|put| put.unwrap_or_else(|| rest.clone()));
            each.collect()
        };
        if *now.pool.range_text != *range_text {
            let range = &now.pool.range_text;
            let why = format!("the range of pool {pool} is {range}");
            return Ok(filled(results, Put::NoPlace(why)));
        }
        let free = results.iter().zip(new).filter(|(put, _)| put.is_none());
        let free: Vec<(&str, &Value)> = free.map(|(_, new)| *new).collect();
        if free.is_empty() {
            return Ok(results.into_iter().flatten().collect());
        }
        let add = async || ledger.put_in(&now.pool, &free).await;
        match retry::repeat(add, || true).await {
            Ok(()) => return Ok(filled(results, Put::Done)),
            Err(error) if error.cause.is_conflict() || error.cause.is_not_found() => {
                match conflicts.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// What is in the place of an entry that is to be put.
#[must_use]
pub fn in_place(found: &str, wanted: &Value) -> Put {
    let found_value = serde_json::from_str::<Value>(found).unwrap_or_default();
    if found_value == *wanted {
        return Put::AlreadyThere;
    }
    let podref = found_value.get("podref").and_then(Value::as_str);
    let podref = podref.filter(|podref| !podref.is_empty());
    Put::Taken(podref.unwrap_or(found).to_owned())
}

/// Adds entries to a pool in one patch that holds only if none of the keys is there.
pub(super) async fn add(
    client: &Client,
    pool: &Pool,
    new: &[(&str, &Value)],
) -> Result<(), CallError> {
    let object = pool.id.to_string();
    let call = Call {
        verb: "patch",
        resource: POOLS,
        object: &object,
    };
    let test = |path, value| PatchOperation::Test(TestOperation { path, value });
    let range = PointerBuf::from_tokens(["spec", "range"]);
    let mut operations = vec![test(range, Value::from(&*pool.range_text))];
    for (key, value) in new {
        let path = PointerBuf::from_tokens(["spec", "allocations", key]);
        // The API server lets a test for null pass where the member is missing.
        operations.push(test(path.clone(), Value::Null));
        let value = (*value).clone();
        operations.push(PatchOperation::Add(AddOperation { path, value }));
    }
    let change = kube::api::Patch::Json::<()>(Patch(operations));
    let request = Request::new(IPPool::url_path(&(), Some(&pool.id.namespace))).patch(
        &pool.id.name,
        &PatchParams::default(),
        &change,
    );
    client.stream(&call, request, |_| Ok(())).await
}

/// A reservation that was made here, by what tells it from any other.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Made {
    metadata: MadeMetadata,
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeMetadata {
    uid: String,
    resource_version: String,
}

/// Takes a reservation back that was made here, unless it has changed since.
///
/// # Errors
/// When the call fails for good; then the reservation stays.
pub async fn take_back(client: &Client, id: &ObjectId, made: &Made) -> Result<(), CallError> {
    let object = id.to_string();
    let call = Call {
        verb: "delete",
        resource: RESERVATIONS,
        object: &object,
    };
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: Some(made.metadata.uid.clone()),
        resource_version: Some(made.metadata.resource_version.clone()),
    });
    let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
    let delete = async || {
        let request = Request::new(path.as_str()).delete(&id.name, &params);
        client.stream(&call, request, |_| Ok(())).await
    };
    match retry::repeat(delete, || true).await {
        Err(error) if error.cause.is_conflict() || error.cause.is_not_found() => Ok(()),
        deleted => deleted,
    }
}

/// Creates a reservation where none of that name is.
///
/// # Errors
/// When a call fails for good; then nobody knows whether the reservation is there.
pub async fn reservation(client: &Client, id: &ObjectId, new: &Value) -> Result<Put, CallError> {
    claim(client, id, new).await.map(|(put, _)| put)
}

/// The same, and what was made; nothing where the answer to the call that made it was lost.
///
/// # Errors
/// When a call fails for good; then nobody knows whether the reservation is there.
pub async fn claim(
    client: &Client,
    id: &ObjectId,
    new: &Value,
) -> Result<(Put, Option<Made>), CallError> {
    let object = id.to_string();
    let call = Call {
        verb: "create",
        resource: RESERVATIONS,
        object: &object,
    };
    let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
    let body = new.to_string().into_bytes();
    let create = async || {
        let request = Request::new(path.as_str()).create(&PostParams::default(), body.clone());
        client.call::<Made>(&call, request).await
    };
    let mut again = retry::pauses(retry::Patience::AFewTimes);
    loop {
        let error = match retry::repeat(create, || true).await {
            Ok(made) => return Ok((Put::Done, Some(made))),
            Err(error) if error.cause.is_already_there() => error,
            Err(error) => return Err(error),
        };
        match retry::repeat(async || read_reservation(client, id).await, || true).await? {
            Some(found) if found.get("spec") == new.get("spec") => {
                return Ok((Put::AlreadyThere, None));
            }
            Some(found) => {
                let podref = found.pointer("/spec/podref").and_then(Value::as_str);
                return Ok((Put::Taken(podref.unwrap_or_default().to_owned()), None));
            }
            // It has gone between the two calls.
            None => match again.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
        }
    }
}
