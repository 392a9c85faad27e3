//! I/O: what is looked at beside the lists: some objects again, and some that need not be readable.

use kube::api::Resource;
use serde_json::Value;

use super::list::List;
use crate::api::{IPPool, OverlappingRangeIPReservation};
use crate::client::{CallError, Client};
use crate::reconcile::foreign::{CRON_JOB, CRON_JOBS};
use crate::reconcile::networks::DEFINITIONS;
use crate::reconcile::records::Records;
use crate::reconcile::{POOLS, RESERVATIONS};
use crate::record::{ObjectId, decode};

/// Where the definitions of networks are served, if they are.
const DEFINITIONS_PATH: &str = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions";
const CRON_JOBS_PATH: &str = "/apis/batch/v1/cronjobs";

/// Reads some pools and reservations again; those that are gone are left out.
///
/// Each is a list of one, for which no verb is needed but that of the list of all.
pub async fn read_again(
    client: &Client,
    pools: impl IntoIterator<Item = ObjectId>,
    reservations: impl IntoIterator<Item = ObjectId>,
) -> Result<Records, CallError> {
    let (mut found_pools, mut found_reservations) = (Vec::new(), Vec::new());
    for id in pools {
        let path = IPPool::url_path(&(), Some(&id.namespace));
        let one = one_of(POOLS, path, &id.name, client, decode::pool).await?;
        found_pools.extend(one);
    }
    for id in reservations {
        let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
        let one = one_of(RESERVATIONS, path, &id.name, client, decode::reservation).await?;
        found_reservations.extend(one);
    }
    Ok(Records::new(found_pools, found_reservations))
}

async fn one_of<T>(
    resource: &'static str,
    path: String,
    name: &str,
    client: &Client,
    decode: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<Vec<T>, CallError> {
    let fields = format!("metadata.name={name}");
    let list = List {
        resource,
        path,
        fields: Some(&fields),
        page: 1,
    };
    let collect = |all: &mut Vec<T>, json: &[u8]| {
        all.push(decode(json)?);
        Ok(())
    };
    list.read(client, Vec::new, collect).await
}

/// Reads the definitions of networks, of all namespaces; whoever may not read them does without.
pub async fn read_definitions(client: &Client, page: u32) -> Result<Vec<Value>, CallError> {
    let list = List {
        resource: DEFINITIONS,
        path: DEFINITIONS_PATH.to_owned(),
        fields: None,
        page,
    };
    list.read(client, Vec::new, collect).await
}

/// Reads the `CronJobs` that have the name of ours, of all namespaces.
pub async fn read_cron_jobs(client: &Client, page: u32) -> Result<Vec<Value>, CallError> {
    let fields = format!("metadata.name={CRON_JOB}");
    let list = List {
        resource: CRON_JOBS,
        path: CRON_JOBS_PATH.to_owned(),
        fields: Some(&fields),
        page,
    };
    list.read(client, Vec::new, collect).await
}

fn collect(all: &mut Vec<Value>, json: &[u8]) -> Result<(), serde_json::Error> {
    all.push(serde_json::from_slice(json)?);
    Ok(())
}
