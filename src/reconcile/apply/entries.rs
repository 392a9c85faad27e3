//! I/O: takes entries out of one pool.

use futures::StreamExt;
use json_patch::{Patch, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf};
use kube::api::{PatchParams, Resource};
use kube::core::Request;
use serde_json::Value;

use super::{Outcome, Writing, has_come_back};
use crate::api::IPPool;
use crate::client::{Call, CallError, Client};
use crate::reconcile::POOLS;
use crate::reconcile::ledger::{Cluster, Ledger};
use crate::reconcile::records::RecordId;
use crate::reconcile::snapshot::{Snapshot, read_pool};
use crate::record::{Pool, PoolObject};
use crate::retry;
use crate::text::Text;

/// Entries in one patch; the API server takes 10,000 operations, two for each entry.
pub(in crate::reconcile) const MAX_ENTRIES_A_PATCH: usize = 1000;

/// An entry that is to go.
pub(in crate::reconcile) struct Pending {
    index: usize,
    /// Its key in the pool.
    pub(in crate::reconcile) key: Text,
    /// What was judged, or the same as it was last read.
    pub(in crate::reconcile) judged: Value,
}

/// What an entry that is to go is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reconcile) enum Standing {
    /// What was judged, in these words.
    AsJudged(Value),
    /// Exempted, taken over, or under another range.
    Changed,
    /// Nothing: there is none at its key.
    Gone,
}

/// Releases entries of one pool, and says what became of each.
pub(super) async fn release(
    cluster: &Cluster,
    snapshot: &Snapshot,
    indexes: &[usize],
    how: &Writing,
) -> Vec<(usize, Outcome)> {
    let records = &snapshot.records;
    let mut outcomes = Vec::new();
    for chunk in indexes.chunks(cluster.ledger.entries_a_write()) {
        let mut pending = Vec::new();
        let mut pool = None;
        for (index, entry) in chunk
            .iter()
            .filter_map(|i| Some((*i, records.entries.get(*i)?)))
        {
            pool = Some(records.pool_of(entry));
            match serde_json::from_str(&entry.raw()) {
                Ok(judged) => pending.push(Pending {
                    index,
                    key: entry.key.clone(),
                    judged,
                }),
                Err(error) => outcomes.push((index, Outcome::Failed(error.to_string()))),
            }
        }
        if let Some(pool) = pool {
            let client = &cluster.client;
            let pending = still_orphaned(client, snapshot, pending, how, &mut outcomes).await;
            release_chunk(&cluster.ledger, pool, pending, how, &mut outcomes).await;
        }
    }
    outcomes
}

/// Looks once more whether the pods are still absent whose absence was the reason.
///
/// A mirror pod that somebody deleted is made anew a moment later, while its containers go on, and
/// nothing about the entry changes.
async fn still_orphaned(
    client: &Client,
    snapshot: &Snapshot,
    pending: Vec<Pending>,
    how: &Writing,
    outcomes: &mut Vec<(usize, Outcome)>,
) -> Vec<Pending> {
    let looks = pending.into_iter().map(|entry| async move {
        let pod = snapshot.absent_pod(RecordId::Entry(entry.index));
        let outcome = match pod.filter(|_| how.may_start()) {
            None => None,
            pod => match has_come_back(client, pod).await {
                Ok(false) => None,
                Ok(true) => Some(Outcome::Changed),
                Err(error) => Some(Outcome::Failed(error.to_string())),
            },
        };
        (entry, outcome)
    });
    let looks: Vec<_> = futures::stream::iter(looks)
        .buffered(how.at_once)
        .collect()
        .await;
    let mut rest = Vec::new();
    for (entry, outcome) in looks {
        match outcome {
            None => rest.push(entry),
            Some(outcome) => outcomes.push((entry.index, outcome)),
        }
    }
    rest
}

/// Writes until all entries are gone or changed, or asking again is of no use.
async fn release_chunk(
    ledger: &Ledger,
    pool: &Pool,
    mut pending: Vec<Pending>,
    how: &Writing,
    outcomes: &mut Vec<(usize, Outcome)>,
) {
    let mut failures = retry::pauses(retry::Patience::AFewTimes);
    let mut conflicts = retry::pauses(retry::Patience::ForConflicts);
    let mut last_error = None;
    let all = |pending: Vec<Pending>, outcome: Outcome| {
        pending
            .into_iter()
            .map(move |entry| (entry.index, outcome.clone()))
    };
    loop {
        if !how.may_start() {
            let outcome = last_error.map_or(Outcome::NotStarted, Outcome::Failed);
            return outcomes.extend(all(pending, outcome));
        }
        // Also before the first write: since the pool was read it may have been exempted.
        let look = async || ledger.look_again(pool, &pending).await;
        match retry::repeat(look, || how.may_start()).await {
            Ok(standings) => pending = still_as_judged(standings, pending, outcomes),
            Err(error) => {
                return outcomes.extend(all(pending, Outcome::Failed(error.to_string())));
            }
        }
        if pending.is_empty() {
            return;
        }
        let error = match ledger.take_out(pool, &pending).await {
            Ok(()) => return outcomes.extend(all(pending, Outcome::Released)),
            Err(error) if error.cause.is_not_found() => {
                return outcomes.extend(all(pending, Outcome::AlreadyGone));
            }
            Err(error) => error,
        };
        tracing::debug!(pool = %pool.id, %error, "Release was refused; reading the pool again");
        let pause = if error.cause.is_conflict() {
            conflicts.next()
        } else {
            failures.next().filter(|_| error.cause.is_passing())
        };
        let Some(pause) = pause else {
            return outcomes.extend(all(pending, Outcome::Failed(error.to_string())));
        };
        last_error = Some(error.to_string());
        tokio::time::sleep(pause).await;
    }
}

/// Removes the entries in one patch that holds only if all of them are still what was judged.
///
/// There is no test on the resource version: an ADD for another address must not defeat it.
pub(in crate::reconcile) async fn patch(
    client: &Client,
    pool: &Pool,
    pending: &[Pending],
) -> Result<(), CallError> {
    let object = pool.id.to_string();
    let call = Call {
        verb: "patch",
        resource: POOLS,
        object: &object,
    };
    let at = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied());
    let range = Value::from(&*pool.range_text);
    let mut operations = vec![PatchOperation::Test(TestOperation {
        path: at(&["spec", "range"]),
        value: range,
    })];
    for entry in pending {
        let path = at(&["spec", "allocations", &entry.key]);
        let value = entry.judged.clone();
        operations.push(PatchOperation::Test(TestOperation {
            path: path.clone(),
            value,
        }));
        operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }
    let patch = kube::api::Patch::Json::<()>(Patch(operations));
    let request = Request::new(IPPool::url_path(&(), Some(&pool.id.namespace))).patch(
        &pool.id.name,
        &PatchParams::default(),
        &patch,
    );
    client.stream(&call, request, |_| Ok(())).await
}

/// Reads the pool for what is now at the entries' keys.
pub(in crate::reconcile) async fn look_again(
    client: &Client,
    judged: &Pool,
    pending: &[Pending],
) -> Result<Vec<Standing>, CallError> {
    let Some(PoolObject { pool, entries }) = read_pool(client, &judged.id).await? else {
        return Ok(vec![Standing::Gone; pending.len()]);
    };
    let standing = |entry: &Pending| {
        let Some(found) = entries.iter().find(|found| found.key == entry.key) else {
            return Standing::Gone;
        };
        let is_meant = pool.range_text == judged.range_text && !pool.protected;
        let now = serde_json::from_str::<Value>(&found.raw()).ok();
        let as_judged = now.filter(|now| is_meant && *now == entry.judged);
        as_judged.map_or(Standing::Changed, Standing::AsJudged)
    };
    Ok(pending.iter().map(standing).collect())
}

/// Sorts out what is gone and what changed; the rest may be tried again.
fn still_as_judged(
    standings: Vec<Standing>,
    pending: Vec<Pending>,
    outcomes: &mut Vec<(usize, Outcome)>,
) -> Vec<Pending> {
    let mut rest = Vec::new();
    for (entry, standing) in pending.into_iter().zip(standings) {
        match standing {
            Standing::AsJudged(judged) => rest.push(Pending { judged, ..entry }),
            Standing::Gone => outcomes.push((entry.index, Outcome::AlreadyGone)),
            Standing::Changed => outcomes.push((entry.index, Outcome::Changed)),
        }
    }
    rest
}
