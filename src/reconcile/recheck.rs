//! I/O: a second look at what seems wrong, so that no moment between two writes is reported.
//!
//! Pools are read first and pods last: a pod that was made in between shows an address whose entry
//! has not been seen. So the pods are looked at again, and **after them** the records: whatever a
//! status shows was recorded before it was written. Nothing here is needed for a release, so nothing
//! here makes a run fail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt};

use super::audit::Audit;
use super::findings::{self, Finding, Place, Protection};
use super::foreign;
use super::ledger::Cluster;
use super::pods::Pods;
use super::records::Records;
use super::snapshot::{Snapshot, read_cron_jobs, read_definitions, read_pod, read_whole_pod};
use crate::client::{CallError, Client};
use crate::ip;
use crate::pod::{PodRef, PodState};
use crate::record::decode::{self, SeenPod};
use crate::record::{ObjectId, reservation_name};

/// So many findings are looked at a second time; the worst come first.
const MAX_CHECKED: usize = 1_000;

/// Finds what is wrong, and keeps what still is after a second look.
pub async fn recheck(cluster: &Cluster, snapshot: &mut Snapshot, page: u32, at_once: usize) {
    let client = &cluster.client;
    // Whoever may not read them, or has none, does without.
    for object in read_definitions(client, page).await.unwrap_or_default() {
        if let Some(id) = decode::id(&object) {
            snapshot.networks.see(&id, &object);
        }
    }
    look_for_go_program(client, snapshot, page).await;
    let (found, protection) = snapshot.find();
    let (passing, lasting): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.kind.may_pass());
    let (checked, left) = passing.split_at(passing.len().min(MAX_CHECKED));
    if !left.is_empty() {
        snapshot.notes.push(format!(
            "{} more findings are left out: {MAX_CHECKED} are looked at in one run",
            left.len()
        ));
    }
    let missed = snapshot.pods.loose().missed();
    if missed > 0 {
        snapshot.unsure = Some(format!(
            "{missed} addresses that pods show without a record were not looked at: there are too many"
        ));
    }
    match confirmed(cluster, snapshot, &protection, checked, at_once).await {
        Ok(confirmed) => snapshot.findings = confirmed,
        Err(error) => {
            let count = checked.len();
            snapshot.unsure = Some(format!(
                "{count} findings are left out, because they could not be looked at again: {error}"
            ));
        }
    }
    snapshot.findings.extend(lasting);
}

/// What is still wrong.
async fn confirmed(
    cluster: &Cluster,
    snapshot: &Snapshot,
    protection: &Protection,
    found: &[Finding],
    at_once: usize,
) -> Result<Vec<Finding>, CallError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let pods: BTreeSet<PodRef> = found.iter().flat_map(|one| one.pods.clone()).collect();
    let looks = pods.into_iter().map(|pod| async move {
        let state = read_pod(&cluster.client, &pod).await?;
        Ok::<_, CallError>((pod, state))
    });
    let states: BTreeMap<PodRef, Option<PodState>> = futures::stream::iter(looks)
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let (pools, reservations) = concerned(snapshot, protection, found);
    let records = cluster.ledger.read_again(pools, reservations).await?;
    let mut now = Pods::asked_by(&records);
    for (pod, state) in states {
        if let Some(state) = state {
            now.see(&records, SeenPod { pod, state });
        }
    }
    let audit = Audit::new(&records, &now, &snapshot.nodes, snapshot.grace);
    let again = findings::find(&audit, &snapshot.networks, protection);
    let still = again
        .into_iter()
        .filter(|now| found.iter().any(|before| before.is_same(now)));
    Ok(still.collect())
}

/// The pools and reservations that can say something about these findings.
fn concerned(
    snapshot: &Snapshot,
    protection: &Protection,
    found: &[Finding],
) -> (BTreeSet<ObjectId>, BTreeSet<ObjectId>) {
    let records = &snapshot.records;
    let (mut pools, mut reservations) = (BTreeSet::new(), BTreeSet::new());
    for finding in found {
        match &finding.place {
            Place::Pool(id) => pools.insert(id.clone()),
            Place::Reservation(id) => reservations.insert(id.clone()),
        };
        let Some(address) = finding.address else {
            continue;
        };
        for pool in covering(records, address) {
            pools.insert(pool.clone());
            let network = protection.network(pool).unwrap_or_default();
            reservations.insert(ObjectId {
                namespace: pool.namespace.clone(),
                name: reservation_name(network, address).into(),
            });
        }
        let there = records.reservations_at(address);
        reservations.extend(there.map(|(_, reservation)| reservation.id()));
    }
    (pools, reservations)
}

fn covering(records: &Records, address: IpAddr) -> impl Iterator<Item = &ObjectId> {
    let covers = move |range: &ip::IpRange| range.contains(address);
    let pools = records
        .pools
        .iter()
        .filter(move |pool| pool.range.as_ref().is_ok_and(covers));
    pools.map(|pool| &pool.id)
}

/// Notes whether a part of the Go program runs that frees addresses.
async fn look_for_go_program(client: &Client, snapshot: &mut Snapshot, page: u32) {
    let mut remarks = BTreeSet::new();
    for pod in snapshot.pods.suspects().pods() {
        if let Ok(Some(json)) = read_whole_pod(client, pod).await
            && let Ok(object) = serde_json::from_str(json.get())
            && let Some(part) = foreign::of_pod(&object)
        {
            remarks.insert(part.remark(&format!("pod {pod}")));
        }
    }
    for job in read_cron_jobs(client, page).await.unwrap_or_default() {
        if let (Some(part), Some(id)) = (foreign::of_cron_job(&job), decode::id(&job)) {
            remarks.insert(part.remark(&format!("CronJob {id}")));
        }
    }
    snapshot.notes.extend(remarks);
}
