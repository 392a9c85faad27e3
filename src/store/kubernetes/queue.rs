//! I/O: where many nodes record in one pool at once, one of them does it for all.
//!
//! The API server works a patch out again whenever another one was quicker, so each of N at once
//! costs it N. But claims show who is about to record: whoever has been in another's way leaves it to
//! the node with the lowest claim, which records all that it finds with one patch. This is for speed
//! only: what keeps records right are the guards of each write, and whoever is not recorded does it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::claims::Claimed;
use super::own::is_of;
use super::{Kubernetes, label};
use crate::record::PoolObject;
use crate::retry;
use crate::store::{Attachment, Range};

/// Whoever claimed so long before the latest claim has recorded it, or never will.
const RECENT: SignedDuration = SignedDuration::from_secs(10);
/// How long to wait before each look: so long at least, and up to twice that.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait where nobody gets any further: they may be dead.
const PATIENCE: Duration = Duration::from_secs(3);
/// For how many others one patch records.
const MAX_OTHERS: usize = 100;

/// How the wait for other nodes ended.
pub(super) enum Waited {
    /// Another one has recorded it.
    Recorded,
    /// Nobody has: it is to be recorded, and with it what others have claimed, by their keys.
    Not(Vec<(String, Attachment)>),
}

/// Waits until those nodes are done that claimed lower addresses than `mine` for this pool, or take
/// too long, or have recorded it.
pub(super) async fn wait(
    store: &Kubernetes,
    range: &Range<'_>,
    found: &PoolObject,
    mine: IpAddr,
    attachment: &Attachment,
) -> Waited {
    let pool = &found.pool.id;
    // Whoever cannot be waited for is not: the patch tells what is wrong.
    let Ok(claims) = store.claims_in(range.network).await else {
        return Waited::Not(Vec::new());
    };
    let waiting = waiting(&claims, found).into_iter();
    let lower = waiting.filter(|claim| claim.address < mine);
    let mut before: BTreeSet<IpAddr> = lower.map(|claim| claim.address).collect();
    let mut last_step = Instant::now();
    while !before.is_empty() {
        tracing::debug!(%pool, before = before.len(), "Others record before");
        tokio::time::sleep(LOOK.saturating_add(retry::random_within(LOOK))).await;
        let Ok(Some(now)) = store.read_pool(pool).await else {
            return Waited::Not(Vec::new());
        };
        if is_recorded(&now, mine, attachment) {
            return Waited::Recorded;
        }
        let (recorded, were) = (recorded(&now), before.len());
        before.retain(|address| !recorded.contains(address));
        if before.len() < were {
            last_step = Instant::now();
        } else if last_step.elapsed() > PATIENCE {
            return Waited::Not(Vec::new());
        }
    }
    Waited::Not(others(store, range, found, mine).await)
}

/// Whether a pool records an address for an attachment.
pub(super) fn is_recorded(found: &PoolObject, address: IpAddr, attachment: &Attachment) -> bool {
    found.entries.iter().any(|entry| {
        entry.address.as_ref() == Ok(&address)
            && is_of(entry, &attachment.container, &attachment.interface)
    })
}

/// What others have claimed for the pool and wait to have recorded.
async fn others(
    store: &Kubernetes,
    range: &Range<'_>,
    found: &PoolObject,
    mine: IpAddr,
) -> Vec<(String, Attachment)> {
    let pool = &found.pool.id;
    // A label that is not the whole name may be that of several pools.
    if label(&pool.name) != *pool.name {
        return Vec::new();
    }
    let (claims, now) = tokio::join!(store.claims_for(range.network, pool), store.read_pool(pool));
    let (Ok(claims), Ok(Some(now))) = (claims, now) else {
        return Vec::new();
    };
    let waiting = waiting(&claims, &now).into_iter();
    let others = waiting.filter(|claim| claim.address != mine);
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

/// The claims for a pool that it does not record yet.
pub(super) fn waiting<'a>(claims: &'a [Claimed], found: &PoolObject) -> Vec<&'a Claimed> {
    let pool = label(&found.pool.id.name);
    let recorded = recorded(found);
    let latest = claims.iter().filter_map(|claim| claim.created).max();
    let is_recent = |at: Timestamp| latest.is_some_and(|latest| latest.duration_since(at) < RECENT);
    let all = claims.iter().filter(|claim| {
        claim.pool.as_deref() == Some(&*pool)
            && claim.created.is_some_and(is_recent)
            && !recorded.contains(&claim.address)
    });
    all.collect()
}
