//! I/O: where many nodes record in one pool at once, one of them does it for all.
//!
//! The API server works a patch out again whenever another one was quicker, so each of N at once
//! costs it N. But claims show who is about to record: whoever has been in another's way leaves it to
//! the node with the oldest claim, which records all that it finds with one patch. This is for speed
//! only: what keeps records right are the guards of each write, and whoever is not recorded does it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::claimed::Claimed;
use super::own::is_of;
use super::{Kubernetes, label};
use crate::record::{ObjectId, Pool, PoolObject};
use crate::retry;
use crate::store::{Attachment, Range};

/// How long whoever records for many of its node waits before the first look, and whoever records for
/// itself alone: so long at least, and up to twice that. Half as long again each time, but not longer than
/// [`LONGEST`].
pub(super) const FOR_MANY: Duration = Duration::from_millis(120);
pub(super) const FOR_ONE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_millis(500);
/// How long to wait where nobody gets any further, since they may be dead; and how much longer at most
/// for each of them, so that one steps in before all others and records for them as well.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(100));
/// For how many others one patch records.
const MAX_OTHERS: usize = 100;

/// A claim that is to be recorded.
#[derive(Clone, Copy)]
pub(super) struct Mine<'a> {
    pub(super) address: IpAddr,
    /// As of [`super::claims::Claim::place`].
    pub(super) place: u64,
    pub(super) attachment: &'a Attachment,
}

/// How the wait for other nodes ended.
pub(super) enum Waited {
    /// Another one has recorded it.
    Recorded,
    /// Nobody has: it is to be recorded, and with it what others have claimed, by their keys.
    Not(Vec<(String, Attachment)>),
}

/// Waits until what is known to be claimed `before` is recorded, or that takes too long, or another
/// node has recorded what is `mine`; and the pool as it was seen last.
///
/// The looks are at the server's cache. It is not older than the pool as it was `seen`, which did not
/// record what is mine: so what is recorded there was recorded for this call, and not for one before it.
/// Whoever cannot be waited for is not: the patch tells what is wrong.
pub(super) async fn wait(
    store: &Kubernetes,
    range: &Range<'_>,
    seen: &Pool,
    mine: Mine<'_>,
    (mut pause, mut before): (Duration, BTreeSet<IpAddr>),
) -> (Waited, Option<PoolObject>) {
    let pool = &seen.id;
    let patience = |before: &BTreeSet<IpAddr>| {
        let (patience, each) = PATIENCE;
        let others = u32::try_from(before.len()).unwrap_or(u32::MAX);
        Instant::now() + patience + retry::random_within(each.saturating_mul(others))
    };
    let mut until = patience(&before);
    loop {
        // Most are recorded after that, and need not know who else waits.
        tokio::time::sleep(pause.saturating_add(retry::random_within(pause))).await;
        pause = (pause.saturating_mul(3) / 2).min(LONGEST);
        let Ok(Some(now)) = store.glance_at_pool(pool, Some(seen)).await else {
            return (Waited::Not(Vec::new()), None);
        };
        if is_recorded(&now, mine.address, mine.attachment) {
            return (Waited::Recorded, Some(now));
        }
        let (recorded, were) = (recorded(&now), before.len());
        before.retain(|address| !recorded.contains(address));
        if before.len() < were {
            until = patience(&before);
        }
        let is_over = Instant::now() > until;
        if !before.is_empty() && !is_over {
            continue;
        }
        // A claim that is in the cache still, and was recorded and given up before the pool was looked at,
        // becomes an entry that nobody has: waste, for the reconciler.
        let Ok(claims) = store.recent_owners(range.network, pool).await else {
            return (Waited::Not(Vec::new()), Some(now));
        };
        // The own claim is there too, and has another place when anybody has changed it; and maybe one
        // that an earlier call made, which was killed.
        let waiting = claims.iter().filter(|claim| {
            claim.address != mine.address
                && claim.owner.as_ref() != Some(mine.attachment)
                && !recorded.contains(&claim.address)
        });
        let waiting: Vec<&Claimed> = waiting.collect();
        // Some may have claimed between the first list and this node's own claim.
        let ahead = waiting.iter().filter(|claim| claim.place < mine.place);
        before = ahead.map(|claim| claim.address).collect();
        if before.is_empty() || is_over {
            return (Waited::Not(others(range, pool, &waiting, mine)), Some(now));
        }
        tracing::debug!(%pool, before = before.len(), "Others record before");
        until = patience(&before);
    }
}

/// Whether a pool records an address for an attachment.
pub(super) fn is_recorded(found: &PoolObject, address: IpAddr, attachment: &Attachment) -> bool {
    found.entries.iter().any(|entry| {
        entry.address.as_ref() == Ok(&address)
            && is_of(entry, &attachment.container, &attachment.interface)
    })
}

/// What others have claimed for the pool after this one, and wait to have recorded. Whoever claimed
/// before it and has not got any further is dead.
fn others(
    range: &Range<'_>,
    pool: &ObjectId,
    waiting: &[&Claimed],
    mine: Mine<'_>,
) -> Vec<(String, Attachment)> {
    // A label that is not the whole name may be that of several pools.
    if label(&pool.name) != *pool.name {
        return Vec::new();
    }
    let others = waiting.iter().filter(|claim| claim.place > mine.place);
    let keyed = others.filter_map(|claim| {
        let key = range.config.range.offset_of(claim.address)?.to_string();
        Some((key, claim.owner.clone()?))
    });
    keyed.take(MAX_OTHERS).collect()
}

fn recorded(found: &PoolObject) -> BTreeSet<IpAddr> {
    let addresses = found.entries.iter();
    addresses
        .filter_map(|entry| entry.address.as_ref().ok().copied())
        .collect()
}

/// Those addresses that the pool does not record yet.
pub(super) fn unrecorded(claims: &[IpAddr], found: &PoolObject) -> BTreeSet<IpAddr> {
    let recorded = recorded(found);
    let all = claims.iter().copied();
    all.filter(|address| !recorded.contains(address)).collect()
}
