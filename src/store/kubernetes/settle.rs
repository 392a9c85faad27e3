//! I/O: ADD for one attachment and one range: choose, claim, record, confirm.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::own::{is_of, own_entry, recorded};
use super::pools::Change;
use super::turn::Turn;
use super::{Kubernetes, claims::Claim};
use crate::allocate::Window;
use crate::client::{CallError, Cause};
use crate::record::{Entry, ObjectId, Pool, PoolObject};
use crate::retry;
use crate::store::{Acquired, Attachment, Error, Overlap, Range};

/// By how many addresses the choice grows with each conflict, and how far: many at once then
/// choose differently, and addresses stay compact.
const SPREAD_STEP: usize = 4;
const MAX_SPREAD: usize = 96;
/// How one attempt to get an address ended.
enum Attempt {
    /// It is recorded, and the claim is ours.
    Done,
    /// Somebody else has it.
    Lost(String),
    /// Something changed meanwhile: another look tells whose it is.
    Again(String),
}

/// Tries until an address is the attachment's, or cannot be.
///
/// What the pod had `before` may be taken over. What came since is that of a container after this
/// call's, on which the runtime has given up without this process being told.
pub(super) async fn settle(
    store: &Kubernetes,
    range: &Range<'_>,
    window: &Window,
    attachment: &Attachment,
    avoid: &BTreeSet<IpAddr>,
    mut before: Option<BTreeSet<Box<str>>>,
    mut turn: Turn,
) -> Result<Acquired, Error> {
    let pool_id = store.pool_id(range);
    // What others have, and which of it this call has tried to get: an entry of this attachment
    // whose address another pod has claimed is of no use to it.
    let mut unavailable = BTreeSet::new();
    let mut lost = BTreeSet::new();
    let mut conflicts: usize = 0;
    let mut pauses = retry::pauses(retry::Patience::UntilTheDeadline);
    loop {
        let found = store.read_pool(&pool_id).await?;
        let before = before.get_or_insert_with(|| recorded(found.as_ref(), attachment));
        let Some(found) = found else {
            store
                .create_pool(&pool_id, &range.config.range.to_string())
                .await?;
            // It is there now, or somebody takes it away again and again.
            tokio::time::sleep(pauses.next().unwrap_or_default()).await;
            continue;
        };
        check_range(&found.pool, range)?;
        let own = own_entry(&found, window, attachment, avoid, &lost);
        // What was recorded by another process for this call was not held before.
        let was_held = own.is_some_and(|(entry, _)| before.contains(&entry.raw));
        let (address, attempt) = if let Some((entry, address)) = own {
            refuse_later(entry, address, attachment, before)?;
            let attempt = take_over(store, range, &found.pool, entry, address, attachment).await?;
            (address, attempt)
        } else {
            let address = choose(window, &found, avoid, &unavailable, conflicts)?;
            (
                address,
                take(store, range, &found.pool, address, attachment, &mut turn).await?,
            )
        };
        let reason = match attempt {
            Attempt::Done => return Ok(Acquired { address, was_held }),
            Attempt::Again(reason) => reason,
            Attempt::Lost(reason) => {
                conflicts = conflicts.saturating_add(1);
                unavailable.insert(address);
                lost.insert(address);
                if range.overlap == Overlap::Protected {
                    unavailable.extend(store.claimed(range.network).await?);
                }
                reason
            }
        };
        tracing::debug!(%address, reason, "Not given");
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                return Err(Error::Contended {
                    pool: pool_id.to_string(),
                    last: reason,
                });
            }
        }
    }
}

/// The container that runs now keeps its address: a DEL of this call's one would free it.
fn refuse_later(
    entry: &Entry,
    address: IpAddr,
    attachment: &Attachment,
    before: &BTreeSet<Box<str>>,
) -> Result<(), Error> {
    let is_later =
        !before.contains(&entry.raw) && !is_of(entry, &attachment.container, &attachment.interface);
    if is_later {
        return Err(Error::Mismatch(format!(
            "{} has got {address} for another container since this call began",
            attachment.podref
        )));
    }
    Ok(())
}

/// A pool of this name for another range would give the keys another meaning.
pub(super) fn check_range(pool: &Pool, range: &Range<'_>) -> Result<(), Error> {
    match &pool.range {
        Ok(recorded) if *recorded == range.config.range => Ok(()),
        _ => Err(Error::Mismatch(format!(
            "pool {} is for the range {:?}, not {}",
            pool.id, pool.range_text, range.config.range
        ))),
    }
}

/// What is recorded of an attachment.
pub(super) fn entry_of(attachment: &Attachment) -> Value {
    let Attachment {
        container,
        interface,
        podref,
        pod_uid,
        node,
        network: _,
    } = attachment;
    let mut owner = json!({ "id": container });
    for (member, value) in [("poduid", pod_uid), ("nodename", node)] {
        if let Some(value) = value {
            owner[member] = json!(value);
        }
    }
    json!({"id": container, "podref": podref, "ifname": interface, "owner": owner})
}

/// The lowest free address. The first conflict only shows what other ranges have taken; after more of
/// them it is one of the lowest, so that many at once part ways.
fn choose(
    window: &Window,
    found: &PoolObject,
    avoid: &BTreeSet<IpAddr>,
    lost: &BTreeSet<IpAddr>,
    conflicts: usize,
) -> Result<IpAddr, Error> {
    let recorded = found
        .entries
        .iter()
        .filter_map(|entry| entry.address.as_ref().ok().copied());
    let taken: BTreeSet<IpAddr> = recorded
        .chain(avoid.iter().copied())
        .chain(lost.iter().copied())
        .collect();
    let contended = conflicts.saturating_sub(1);
    let spread = contended.saturating_mul(SPREAD_STEP).min(MAX_SPREAD);
    let free: Vec<IpAddr> = window.free(&taken).take(spread.saturating_add(1)).collect();
    match free.get(retry::random_below(free.len())) {
        Some(address) => Ok(*address),
        None => window
            .lowest(&taken)
            .map_err(|full| Error::Exhausted(full.to_string())),
    }
}

/// Claims and records a free address; the turn ends when it is recorded.
async fn take(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    address: IpAddr,
    attachment: &Attachment,
    turn: &mut Turn,
) -> Result<Attempt, Error> {
    let claim = match range.overlap {
        Overlap::Ignored => None,
        Overlap::Protected => match claim(store, range, pool, address, attachment).await? {
            Ok(claim) => Some(claim),
            Err(holder) => return Ok(Attempt::Lost(holder)),
        },
    };
    let Some(offset) = range.config.range.offset_of(address) else {
        return Err(Error::Mismatch(format!(
            "{address} is outside of {}",
            range.config.range
        )));
    };
    let key = offset.to_string();
    let recorded = record(store, pool, &key, attachment).await;
    match (recorded, claim) {
        (Ok(None), None) => Ok(Attempt::Done),
        (Ok(None), Some(claim)) => {
            turn.end();
            confirm(store, pool, &key, &claim, attachment).await
        }
        (Ok(Some(holder)), claim) => {
            give_back(store, claim.as_ref()).await;
            Ok(Attempt::Lost(holder))
        }
        (Err(error), claim) => {
            take_back(store, &pool.id, &[(&key, attachment)]).await;
            give_back(store, claim.as_ref()).await;
            Err(error.into())
        }
    }
}

/// Makes the claim, or finds one that an earlier attempt of the same attachment left; otherwise
/// says who has it.
async fn claim(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    address: IpAddr,
    attachment: &Attachment,
) -> Result<Result<Claim, String>, Error> {
    let id = store.reservation_id(range, address);
    if let Some(claim) = store.claim(&id, &pool.id, attachment).await? {
        return Ok(Ok(claim));
    }
    match store.read_claim(&id).await? {
        None => Ok(Err(format!("reservation {id} came and went"))),
        Some(found) if found.is_of(attachment) && !found.may_run_elsewhere(attachment) => {
            match store.renew(&found, &pool.id, attachment).await {
                Ok(claim) => Ok(Ok(claim)),
                Err(error) if error.cause.is_conflict() => Ok(Err(error.to_string())),
                Err(error) => Err(error.into()),
            }
        }
        Some(found) => Ok(Err(format!("reservation {id} belongs to {}", found.podref))),
    }
}

/// Records the entry under a key that is free; otherwise says who has it.
async fn record(
    store: &Kubernetes,
    pool: &Pool,
    key: &str,
    attachment: &Attachment,
) -> Result<Option<String>, CallError> {
    let mut pauses = retry::pauses(retry::Patience::UntilTheDeadline);
    loop {
        let change = Change::Add(key, entry_of(attachment));
        let Err(error) = store.change(pool, change).await else {
            return Ok(None);
        };
        // A test failed, or others changed the pool faster than the server could follow.
        let is_contended = error.cause.is_conflict() || matches!(error.cause, Cause::Silent { .. });
        if !is_contended {
            return Err(error);
        }
        let now = store.read_pool(&pool.id).await?;
        let Some(now) = now.filter(|now| now.pool.range_text == pool.range_text) else {
            return Ok(Some(format!("pool {} was replaced", pool.id)));
        };
        if let Some(entry) = now.entries.iter().find(|entry| *entry.key == *key) {
            let ours = is_of(entry, &attachment.container, &attachment.interface);
            return Ok((!ours).then(|| format!("pool {} records it for another", pool.id)));
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

/// Reads the claim again: the Go program's DEL deletes reservations by name, whoever owns them.
async fn confirm(
    store: &Kubernetes,
    pool: &Pool,
    key: &str,
    claim: &Claim,
    attachment: &Attachment,
) -> Result<Attempt, Error> {
    let mut held = store.read_claim(&claim.id).await;
    if matches!(held, Ok(None)) {
        held = store.claim(&claim.id, &pool.id, attachment).await;
    }
    match held {
        Ok(Some(now)) if now.is_of(attachment) => Ok(Attempt::Done),
        Ok(_) => {
            take_back(store, &pool.id, &[(key, attachment)]).await;
            Ok(Attempt::Lost(format!(
                "reservation {} was taken by another",
                claim.id
            )))
        }
        Err(error) => {
            take_back(store, &pool.id, &[(key, attachment)]).await;
            give_back(store, Some(claim)).await;
            Err(error.into())
        }
    }
}

/// Makes an entry of the same attachment ours, with its claim.
async fn take_over(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    entry: &Entry,
    address: IpAddr,
    attachment: &Attachment,
) -> Result<Attempt, Error> {
    if range.overlap == Overlap::Protected {
        // The claim first: without it the address may be somebody else's by now.
        let id = store.reservation_id(range, address);
        match store.read_claim(&id).await? {
            None if store.claim(&id, &pool.id, attachment).await?.is_some() => {}
            None => return Ok(Attempt::Again(format!("reservation {id} was just made"))),
            Some(found) if found.may_be_of(attachment) => {
                match store.renew(&found, &pool.id, attachment).await {
                    Ok(_) => {}
                    Err(error) if error.cause.is_conflict() => {
                        return Ok(Attempt::Again(error.to_string()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Some(found) => {
                let holder = found.podref;
                return Ok(Attempt::Lost(format!(
                    "reservation {id} belongs to {holder}"
                )));
            }
        }
    }
    let new = entry_of(attachment);
    if serde_json::from_str::<Value>(&entry.raw).is_ok_and(|old| old == new) {
        return Ok(Attempt::Done);
    }
    match store.change(pool, Change::Replace(entry, new)).await {
        Ok(()) => Ok(Attempt::Done),
        Err(error) if error.cause.is_conflict() => Ok(Attempt::Again(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// After a failure: takes entries out again that were recorded all the same.
pub(super) async fn take_back(store: &Kubernetes, pool: &ObjectId, meant: &[(&str, &Attachment)]) {
    if meant.is_empty() {
        return;
    }
    let store = &store.for_taking_back();
    let Ok(Some(now)) = store.read_pool(pool).await else {
        return;
    };
    let is_meant = |entry: &Entry| {
        meant.iter().any(|(key, attachment)| {
            *entry.key == **key && is_of(entry, &attachment.container, &attachment.interface)
        })
    };
    let ours = now.entries.iter().filter(|entry| is_meant(entry));
    let changes: Vec<Change<'_>> = ours.map(Change::Remove).collect();
    if !changes.is_empty()
        && let Err(error) = store.change_all(&now.pool, changes).await
    {
        tracing::warn!(%pool, %error, "Entries are left for the reconciler");
    }
}

/// After a failure: deletes the claim again.
pub(super) async fn give_back(store: &Kubernetes, claim: Option<&Claim>) {
    if let Some(claim) = claim
        && let Err(error) = store.for_taking_back().drop_claim(claim).await
    {
        tracing::warn!(reservation = %claim.id, %error, "A claim is left for the reconciler");
    }
}
