//! I/O: puts a record where none is. It never overwrites anything.

use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use kube::api::{PatchParams, PostParams, Resource};
use kube::core::Request;
use serde_json::Value;

use super::snapshot::{read_pool, read_reservation};
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
    client: &Client,
    pool: &ObjectId,
    range_text: &str,
    key: &str,
    value: &Value,
) -> Result<Put, CallError> {
    let mut conflicts = retry::pauses(retry::Patience::ForConflicts);
    loop {
        let read = retry::repeat(async || read_pool(client, pool).await, || true).await?;
        let Some(now) = read else {
            return Ok(Put::NoPlace(format!("there is no pool {pool}")));
        };
        if let Some(found) = now.entries.iter().find(|entry| *entry.key == *key) {
            let same = serde_json::from_str::<Value>(&found.raw).is_ok_and(|now| now == *value);
            return Ok(if same {
                Put::AlreadyThere
            } else {
                let owner = found.owner.pod.as_ref().map(ToString::to_string);
                Put::Taken(owner.unwrap_or_else(|| found.raw.to_string()))
            });
        }
        if *now.pool.range_text != *range_text {
            let range = &now.pool.range_text;
            return Ok(Put::NoPlace(format!("the range of pool {pool} is {range}")));
        }
        let add = async || add(client, &now.pool, key, value).await;
        match retry::repeat(add, || true).await {
            Ok(()) => return Ok(Put::Done),
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

async fn add(client: &Client, pool: &Pool, key: &str, value: &Value) -> Result<(), CallError> {
    let object = pool.id.to_string();
    let call = Call {
        verb: "patch",
        resource: POOLS,
        object: &object,
    };
    let path = PointerBuf::from_tokens(["spec", "allocations", key]);
    let test = |path, value| PatchOperation::Test(TestOperation { path, value });
    let operations = vec![
        test(
            PointerBuf::from_tokens(["spec", "range"]),
            Value::from(&*pool.range_text),
        ),
        // The API server lets a test for null pass where the member is missing.
        test(path.clone(), Value::Null),
        PatchOperation::Add(AddOperation {
            path,
            value: value.clone(),
        }),
    ];
    let change = kube::api::Patch::Json::<()>(Patch(operations));
    let request = Request::new(IPPool::url_path(&(), Some(&pool.id.namespace))).patch(
        &pool.id.name,
        &PatchParams::default(),
        &change,
    );
    client.stream(&call, request, |_| Ok(())).await
}

/// Creates a reservation where none of that name is.
///
/// # Errors
/// When a call fails for good; then nobody knows whether the reservation is there.
pub async fn reservation(client: &Client, id: &ObjectId, new: &Value) -> Result<Put, CallError> {
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
        client.stream(&call, request, |_| Ok(())).await
    };
    let mut again = retry::pauses(retry::Patience::AFewTimes);
    loop {
        let error = match retry::repeat(create, || true).await {
            Ok(()) => return Ok(Put::Done),
            Err(error) if error.cause.is_already_there() => error,
            Err(error) => return Err(error),
        };
        match retry::repeat(async || read_reservation(client, id).await, || true).await? {
            Some(found) if found.get("spec") == new.get("spec") => return Ok(Put::AlreadyThere),
            Some(found) => {
                let podref = found.pointer("/spec/podref").and_then(Value::as_str);
                return Ok(Put::Taken(podref.unwrap_or_default().to_owned()));
            }
            // It has gone between the two calls.
            None => match again.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
        }
    }
}
