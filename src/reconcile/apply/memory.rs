//! I/O: writes down what the next run has to know.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::api::{Patch, PatchParams, Resource};
use kube::core::Request;
use serde_json::{Value, json};

use super::Writing;
use crate::api::{IPPool, OverlappingRangeIPReservation};
use crate::client::{Call, CallError, Client};
use crate::reconcile::ledger::Ledger;
use crate::reconcile::memory::{Carrier, Change};
use crate::reconcile::records::Records;
use crate::reconcile::{POOLS, RESERVATIONS};
use crate::record::ObjectId;
use crate::retry;

/// Writes all changes, and says in one sentence if some could not be written.
pub async fn remember(
    ledger: &Ledger,
    records: &Records,
    changes: Vec<Change>,
    how: &Writing,
) -> Option<String> {
    let writes = changes.into_iter().map(|change| async move {
        if !how.may_start() {
            return Some("the run was over before".to_owned());
        }
        let write = async || ledger.remember(records, &change).await;
        match retry::repeat(write, || how.may_start()).await {
            Ok(()) => None,
            // The object has changed or gone: what was to be remembered of it is no longer true.
            Err(error) if error.cause.is_conflict() || error.cause.is_not_found() => None,
            Err(error) => Some(error.to_string()),
        }
    });
    let problems: Vec<String> = futures::stream::iter(writes)
        .buffer_unordered(how.at_once)
        .filter_map(|problem| async move { problem })
        .collect()
        .await;
    let first = problems.first()?;
    Some(format!(
        "it could not be written down on {} objects since when orphans are seen, so their --grace \
         begins anew: {first}",
        problems.len()
    ))
}

/// Writes the annotations of one object.
pub(in crate::reconcile) async fn write(
    client: &Client,
    records: &Records,
    change: &Change,
) -> Result<(), CallError> {
    let annotations: BTreeMap<_, _> = change.annotations.iter().cloned().collect();
    match change.of {
        Carrier::Pool(index) => match records.pools.get(index) {
            Some(pool) => {
                // Two runs at once may overwrite each other's marks: those are hints, and name
                // what they were made of.
                let metadata = json!({ "annotations": annotations });
                let path = IPPool::url_path(&(), Some(&pool.id.namespace));
                patch(client, POOLS, &path, &pool.id, metadata).await
            }
            None => Ok(()),
        },
        Carrier::Reservation(index) => match records.reservation(index) {
            Some(reservation) => {
                let id = reservation.id();
                let metadata = json!({
                    "annotations": annotations,
                    "uid": reservation.uid(),
                    "resourceVersion": reservation.resource_version(),
                });
                let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
                patch(client, RESERVATIONS, &path, &id, metadata).await
            }
            None => Ok(()),
        },
    }
}

async fn patch(
    client: &Client,
    resource: &'static str,
    path: &str,
    id: &ObjectId,
    metadata: Value,
) -> Result<(), CallError> {
    let object = id.to_string();
    let call = Call {
        verb: "patch",
        resource,
        object: &object,
    };
    let change = Patch::Merge(json!({ "metadata": metadata }));
    let request = Request::new(path).patch(&id.name, &PatchParams::default(), &change);
    client.stream(&call, request, |_, _| Ok(())).await
}
