//! I/O: where many nodes record in one pool at once, they do it one after the other.
//!
//! The API server works a patch out again whenever another one was quicker, so each of N at once
//! costs it N. But claims show who is about to record: whoever has been in another's way waits as
//! long as those with lower addresses need. This is for speed only: what keeps records right are the
//! guards of each write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::claims::Claimed;
use super::{Kubernetes, label};
use crate::record::PoolObject;
use crate::store::Attachment;

/// How long the API server takes to change an empty pool, with all that leads there.
const CHANGE: Duration = Duration::from_millis(20);
/// How much longer for each entry of it.
const PER_ENTRY: Duration = Duration::from_micros(50);
/// Whoever claimed so long before the latest claim has recorded it, or never will.
const RECENT: SignedDuration = SignedDuration::from_secs(20);
/// With so many before it nobody waits.
const AT_ONCE: usize = 4;
/// How long to wait before each look how far they are.
const LOOKS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(2);
/// How long to wait where none of them gets any further: they may be dead.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until those nodes are done that claimed lower addresses than `mine` for this pool, or take
/// too long.
pub(super) async fn wait(
    store: &Kubernetes,
    found: &PoolObject,
    claims: &[Claimed],
    mine: IpAddr,
    attachment: &Attachment,
) {
    let mut before = before(&waiting(claims, found), mine, attachment.node.as_deref());
    let entries = u32::try_from(found.entries.len()).unwrap_or(u32::MAX);
    let each = CHANGE.saturating_add(PER_ENTRY.saturating_mul(entries));
    let mut last_step = Instant::now();
    while before.len() > AT_ONCE && last_step.elapsed() < PATIENCE {
        let all = each.saturating_mul(u32::try_from(before.len()).unwrap_or(u32::MAX));
        let pause = all.clamp(*LOOKS.start(), *LOOKS.end());
        tracing::debug!(pool = %found.pool.id, before = before.len(), ?pause, "Others record before");
        tokio::time::sleep(pause).await;
        // Whoever cannot be waited for is not: the patch tells what is wrong.
        let Ok(Some(now)) = store.read_pool(&found.pool.id).await else {
            break;
        };
        let (recorded, were) = (recorded(&now), before.len());
        before.retain(|address| !recorded.contains(address));
        if before.len() < were {
            last_step = Instant::now();
        }
    }
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

/// One address for each node that records before this one: it records all that it has claimed with
/// one patch.
fn before(waiting: &[&Claimed], mine: IpAddr, node: Option<&str>) -> BTreeSet<IpAddr> {
    let ours = node.map(label);
    let lower = waiting
        .iter()
        .filter(|claim| claim.address < mine && (claim.node.is_none() || claim.node != ours));
    let mut of_nodes = BTreeMap::new();
    for claim in lower {
        // Without a name of a node each is one.
        let name = claim.node.clone().ok_or(claim.address);
        of_nodes.entry(name).or_insert(claim.address);
    }
    of_nodes.into_values().collect()
}
