//! I/O: ADD for one attachment and one range: what it has already, or a new address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::Kubernetes;
use super::own::{entry_of, is_of, own_entry, recorded};
use super::pools::Change;
use super::take::{Attempt, Crowd, take};
use super::turn::Turn;
use crate::allocate::Window;
use crate::record::{Entry, Pool};
use crate::store::{Acquired, Attachment, Error, Overlap, Range};

/// Tries until an address is the attachment's, or cannot be.
///
/// What the pod had `before` may be taken over. What came since is that of a container after this
/// call's, on which the runtime has given up without this process being told.
pub(super) async fn settle(
    store: &Kubernetes,
    range: &Range<'_>,
    (window, avoid): (&Window, &BTreeSet<IpAddr>),
    attachment: &Attachment,
    mut before: Option<BTreeSet<Box<str>>>,
    (mut crowd, mut turn): (Crowd, Turn),
) -> Result<Acquired, Error> {
    let pool_id = store.pool_id(range);
    // An entry of this attachment whose address another pod has claimed is of no use to it.
    let mut lost = BTreeSet::new();
    let mut round = 0_usize;
    loop {
        let found = store.read_pool(&pool_id).await?;
        let before = before.get_or_insert_with(|| recorded(found.as_ref(), attachment));
        let Some(found) = found else {
            store
                .create_pool(&pool_id, &range.config.range.to_string())
                .await?;
            // It is there now, or somebody takes it away again and again.
            store
                .pause(round, &pool_id, "pool is not there".to_owned())
                .await?;
            round = round.saturating_add(1);
            continue;
        };
        check_range(&found.pool, range)?;
        let own = own_entry(&found, window, attachment, avoid, &lost);
        // What was recorded by another process for this call was not held before.
        let was_held = own.is_some_and(|(entry, _)| before.contains(&*entry.raw()));
        let attempt = if let Some((entry, address)) = own {
            refuse_later(entry, address, attachment, before)?;
            take_over(store, range, &found.pool, entry, address, attachment).await?
        } else {
            let from = (window, avoid);
            let with = (&mut crowd, &mut turn);
            take(store, range, from, &found, attachment, with).await?
        };
        let reason = match attempt {
            Attempt::Done(address) => return Ok(Acquired { address, was_held }),
            Attempt::Again(reason) => reason,
            Attempt::Lost(address, reason) => {
                lost.insert(address);
                reason
            }
        };
        tracing::debug!(pool = %pool_id, reason, "Not given");
        store.pause(round, &pool_id, reason).await?;
        round = round.saturating_add(1);
    }
}

/// The container that runs now keeps its address: a DEL of this call's one would free it.
fn refuse_later(
    entry: &Entry,
    address: IpAddr,
    attachment: &Attachment,
    before: &BTreeSet<Box<str>>,
) -> Result<(), Error> {
    let is_later = !before.contains(&*entry.raw())
        && !is_of(entry, &attachment.container, &attachment.interface);
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
                let reason = format!("reservation {id} belongs to {holder}");
                return Ok(Attempt::Lost(address, reason));
            }
        }
    }
    let new = entry_of(attachment);
    if serde_json::from_str::<Value>(&entry.raw()).is_ok_and(|old| old == new) {
        return Ok(Attempt::Done(address));
    }
    match store.change(pool, Change::Replace(entry, new)).await {
        Ok(()) => Ok(Attempt::Done(address)),
        Err(error) if error.cause.is_conflict() => Ok(Attempt::Again(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
