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
use super::snapshot::{Snapshot, read_pod};
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
    let first = look(client, pods_of(snapshot, scope, |_| true), at_once).await?;
    for (pod, state) in &first {
        snapshot.pods.replace(&snapshot.records, pod, state.clone());
    }
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
        snapshot.pods.replace(&snapshot.records, &pod, state);
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
