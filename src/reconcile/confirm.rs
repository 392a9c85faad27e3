//! I/O: a second look at pods whose records are suspect although the pod exists.
//!
//! A list is a moment of the past, and a network status is written in steps. So a pod that seems
//! to have been replaced is fetched again, and one that seems to have another address has to look
//! the same twice, a settling time apart on our own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::audit::Verdict;
use super::plan::{Scope, suspects};
use super::snapshot::{Snapshot, read_node, read_pod};
use crate::client::{CallError, Client};
use crate::pod::{PodRef, PodState};

/// Looks again at the pods of all suspect records, and corrects the snapshot.
///
/// # Errors
/// When a pod cannot be looked at: then nothing is known, and nothing may be freed.
pub async fn confirm(
    client: &Client,
    snapshot: &mut Snapshot,
    scope: &Scope,
    settle: Duration,
    at_once: usize,
) -> Result<(), CallError> {
    let mut suspects = pods_of(snapshot, scope, |_| true);
    suspects.extend(pods_of_unknown_nodes(snapshot, scope));
    let first = look(client, suspects, at_once).await?;
    for (pod, state) in &first {
        snapshot
            .pods
            .replace(&snapshot.records, pod, state.as_ref());
    }
    look_at_nodes(client, snapshot, scope).await?;
    let moved = pods_of(snapshot, scope, |v| {
        matches!(v, Verdict::AddressNotOnPod { .. })
    });
    if moved.is_empty() {
        return Ok(());
    }
    let again = Instant::now() + settle;
    if again >= client.deadline() {
        snapshot.notes.push(format!(
            "{} pods seem to have another address than recorded, but --timeout leaves no time to \
             look at them twice; their records are kept",
            moved.len()
        ));
        for pod in moved {
            snapshot.pods.doubt(pod);
        }
        return Ok(());
    }
    tracing::info!(pods = moved.len(), ?settle, "Waiting to look a second time");
    tokio::time::sleep_until(again).await;
    for (pod, state) in look(client, moved, at_once).await? {
        if first.get(&pod) != Some(&state) {
            snapshot.pods.doubt(pod.clone());
        }
        snapshot
            .pods
            .replace(&snapshot.records, &pod, state.as_ref());
    }
    Ok(())
}

/// Pods that are being deleted, on nobody knows which node.
fn pods_of_unknown_nodes(snapshot: &Snapshot, scope: &Scope) -> BTreeSet<PodRef> {
    let audit = snapshot.audit();
    let ids = snapshot.records.ids();
    ids.filter(|id| scope.holds(&snapshot.records, *id) && audit.lacks_node(*id))
        .filter_map(|id| snapshot.records.pod_of(id).cloned())
        .collect()
}

/// Looks again for Nodes whose absence would free something.
async fn look_at_nodes(
    client: &Client,
    snapshot: &mut Snapshot,
    scope: &Scope,
) -> Result<(), CallError> {
    let audit = snapshot.audit();
    let gone = snapshot
        .records
        .ids()
        .filter_map(|id| match audit.verdict(id) {
            Verdict::NodeGone(node) if scope.holds(&snapshot.records, id) => Some(node.to_owned()),
            _ => None,
        });
    for node in gone.collect::<BTreeSet<String>>() {
        let state = read_node(client, &node).await?;
        snapshot.nodes.replace(&node, state);
    }
    Ok(())
}

fn pods_of(
    snapshot: &Snapshot,
    scope: &Scope,
    wanted: impl Fn(&Verdict<'_>) -> bool,
) -> BTreeSet<PodRef> {
    suspects(snapshot.audit(), scope)
        .filter(|(_, verdict)| wanted(verdict))
        .filter_map(|(id, _)| snapshot.records.pod_of(id).cloned())
        .collect()
}

async fn look(
    client: &Client,
    pods: BTreeSet<PodRef>,
    at_once: usize,
) -> Result<BTreeMap<PodRef, Option<PodState>>, CallError> {
    let looks = pods.into_iter().map(|pod| async move {
        let state = read_pod(client, &pod).await?;
        Ok((pod, state))
    });
    futures::stream::iter(looks)
        .buffer_unordered(at_once)
        .try_collect()
        .await
}
