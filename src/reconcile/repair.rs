//! I/O: puts back what live pods provably use: an entry or a reservation that is missing.
//!
//! It never overwrites and never takes anything away. Each pod is looked at once more directly before
//! the write; what has changed by then is left alone.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use super::apply::Writing;
use super::findings::{Finding, Kind, Repair, Slot};
use super::ledger::{Cluster, Holder, Ledger};
use super::plan::Scope;
use super::put::{self, Put};
use super::snapshot::{Snapshot, read_pod, read_reservation};
use crate::api::{GROUP, MAX_LABEL, NODE_LABEL, VERSION};
use crate::client::Client;
use crate::pod::{PodRef, PodState, Stage};
use crate::record::ObjectId;
use crate::retry;

/// What became of findings that were to be repaired, by their index.
pub type Repaired = BTreeMap<usize, Outcome>;

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What was missing is there now.
    Repaired,
    /// It is not as it was any more, and is left alone; what has changed.
    Changed(String),
    /// It could not be put back, or not all of it.
    Failed(String),
    /// The run was over before its turn.
    NotStarted,
}

impl Outcome {
    /// Its name, as reports print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Repaired => "Repaired",
            Self::Changed(_) => "Changed",
            Self::Failed(_) => "Failed",
            Self::NotStarted => "NotStarted",
        }
    }
}

/// Whether a finding is to be repaired: only one pod shows the address, as far as all pods say it.
#[must_use]
pub fn is_repairable(snapshot: &Snapshot, finding: &Finding) -> bool {
    let Some(repair) = &finding.repair else {
        return false;
    };
    let sightings = snapshot.pods.sightings(repair.address);
    let is_loose = |pod: &PodRef| *pod != repair.pod;
    let mut loose = snapshot.pods.loose().pods_with(repair.address);
    snapshot.unsure.is_none()
        && sightings.iter().all(|sighting| sighting.pod == repair.pod)
        && !loose.any(is_loose)
}

/// Puts back what can be.
pub async fn repair(
    cluster: &Cluster,
    snapshot: &Snapshot,
    scope: &Scope,
    how: &Writing,
) -> Repaired {
    let findings = snapshot.findings.iter().enumerate();
    let wanted = findings.filter(|(_, finding)| {
        finding.is_in(scope, &snapshot.records) && is_repairable(snapshot, finding)
    });
    let repairs = wanted.filter_map(|(index, finding)| {
        let repair = finding.repair.as_deref()?;
        Some(async move {
            if !how.may_start() {
                return (index, Outcome::NotStarted);
            }
            let done = one(cluster, finding.kind, repair).await;
            (index, done.unwrap_or_else(|outcome| outcome))
        })
    });
    futures::stream::iter(repairs)
        .buffer_unordered(how.at_once)
        .collect()
        .await
}

/// Repairs one; the outcome is an `Err` where it ends early.
async fn one(cluster: &Cluster, kind: Kind, repair: &Repair) -> Result<Outcome, Outcome> {
    let Cluster { client, ledger } = cluster;
    let read = retry::repeat(async || read_pod(client, &repair.pod).await, || true).await;
    let state = read.map_err(failed)?;
    let state = state.filter(|state| uses(state, repair)).ok_or_else(|| {
        let (pod, address) = (&repair.pod, repair.address);
        Outcome::Changed(format!("pod {pod} does not surely use {address} any more"))
    })?;
    match kind {
        Kind::MissingReservation => {
            let container = container_of_entry(ledger, repair).await?;
            put_reservation(client, repair, &state, &container).await?;
        }
        Kind::MissingEntry => {
            let container = container_of_reservation(client, repair).await?;
            put_entry(ledger, repair, &state, &container).await?;
        }
        _ => {
            // The claim first, as ADD does: it is exclusive across all ranges of the network.
            put_reservation(client, repair, &state, "").await?;
            put_entry(ledger, repair, &state, "").await?;
        }
    }
    Ok(Outcome::Repaired)
}

/// Whether a whole pod says beyond doubt that its container has the address.
fn uses(state: &PodState, repair: &Repair) -> bool {
    let mut interfaces = state.status.interfaces.iter();
    let shown = interfaces.any(|interface| {
        *interface.name == *repair.interface && interface.addresses.contains(&repair.address)
    });
    let traits = &state.traits;
    shown && traits.is_settled() && traits.stage == Stage::Running && traits.node.is_some()
}

/// The container that the entry names, which is still that of the pod.
async fn container_of_entry(ledger: &Ledger, repair: &Repair) -> Result<String, Outcome> {
    let Slot { pool, key, .. } = &repair.entry;
    let read = retry::repeat(
        async || ledger.read_again([pool.clone()], None).await,
        || true,
    );
    let records = read.await.map_err(failed)?;
    let mut entries = records.entries.iter();
    let entry = entries.find(|entry| {
        *entry.key == **key
            && entry.owner.pod.as_ref() == Some(&repair.pod)
            && entry.address.as_ref() == Ok(&repair.address)
    });
    let entry = entry.ok_or_else(|| {
        Outcome::Changed(format!("entry {key} of pool {pool} is not what it was"))
    })?;
    let raw: Value = serde_json::from_str(&entry.raw()).unwrap_or_default();
    Ok(text(&raw, "/id"))
}

/// The container that the reservation names, which is still that of the pod; empty where it names
/// none.
async fn container_of_reservation(client: &Client, repair: &Repair) -> Result<String, Outcome> {
    let gone = |id: &ObjectId| Outcome::Changed(format!("reservation {id} is not what it was"));
    let id = repair
        .reservation
        .as_ref()
        .ok_or_else(|| Outcome::Failed("the reservation's name is not known".to_owned()))?;
    let read = retry::repeat(async || read_reservation(client, id).await, || true).await;
    let found = read.map_err(failed)?.ok_or_else(|| gone(id))?;
    if text(&found, "/spec/podref") == repair.pod.to_string() {
        Ok(text(&found, "/spec/containerid"))
    } else {
        Err(gone(id))
    }
}

fn text(object: &Value, pointer: &str) -> String {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Puts the reservation back; nothing to do where the network has none.
async fn put_reservation(
    client: &Client,
    repair: &Repair,
    state: &PodState,
    container: &str,
) -> Result<(), Outcome> {
    let Some(id) = &repair.reservation else {
        return Ok(());
    };
    let pod = repair.pod.to_string();
    let mut spec = json!({"podref": pod, "ifname": repair.interface});
    if !container.is_empty() {
        spec["containerid"] = container.into();
    }
    let node = state
        .traits
        .node
        .as_deref()
        .filter(|node| node.len() < MAX_LABEL);
    let labels: BTreeMap<&str, &str> = node.map(|node| (NODE_LABEL, node)).into_iter().collect();
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "OverlappingRangeIPReservation",
        "metadata": {"name": id.name, "namespace": id.namespace, "labels": labels},
        "spec": spec,
    });
    let put = put::reservation(client, id, &object).await;
    settled(put.map_err(failed)?, &pod, || format!("reservation {id}"))
}

/// Puts the entry back. One that names no container is found by no DEL: it goes when the pod's next
/// container takes it over, or when a run sees that the pod is gone.
async fn put_entry(
    ledger: &Ledger,
    repair: &Repair,
    state: &PodState,
    container: &str,
) -> Result<(), Outcome> {
    let Slot {
        pool,
        range_text,
        key,
    } = &repair.entry;
    let pod = repair.pod.to_string();
    let entry = ledger.entry(&Holder {
        container,
        pod: &pod,
        interface: &repair.interface,
        uid: &state.uid.to_string(),
        node: state.traits.node.as_deref(),
        range_text,
    });
    let put = put::entry(ledger, pool, range_text, key, &entry).await;
    settled(put.map_err(failed)?, &pod, || {
        format!("key {key} of pool {pool}")
    })
}

/// Whether the record is there, for this pod.
fn settled(put: Put, pod: &str, place: impl Fn() -> String) -> Result<(), Outcome> {
    match put {
        Put::Done | Put::AlreadyThere => Ok(()),
        // The same record in other words: the pod's own ADD was faster, or an answer was lost.
        Put::Taken(by) if by == pod => Ok(()),
        Put::Taken(by) => Err(Outcome::Failed(format!(
            "{} now belongs to {by}: two pods have one address, delete one of them",
            place()
        ))),
        Put::NoPlace(why) => Err(Outcome::Changed(why)),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the argument of map_err"
)]
fn failed(error: crate::client::CallError) -> Outcome {
    Outcome::Failed(error.to_string())
}
