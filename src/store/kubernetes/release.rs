//! I/O: DEL and GC for one range.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::own::{is_of, text_of};
use super::pools::Change;
use super::{Kubernetes, label};
use crate::record::{Entry, PoolObject, readings};
use crate::store::{Error, Garbage, Overlap, Range};

/// Frees what a container's interface holds: its claim first, then the entry, so that a claim
/// which the pod's next container renews meanwhile survives.
pub(super) async fn release(
    store: &Kubernetes,
    range: &Range<'_>,
    container: &str,
    interface: &str,
) -> Result<(), Error> {
    let taken = take_out(store, range, |entry| is_of(entry, container, interface)).await?;
    // A claim without an entry is that of an ADD which was killed in between. To look for it costs
    // the server a look at all claims, so that is done only when there was no entry, or its claim
    // was being changed.
    if taken || range.overlap == Overlap::Ignored {
        return Ok(());
    }
    drop_unrecorded(store, range, container, interface).await
}

/// Deletes claims that never reached the pool.
///
/// One whose address is recorded for the pod is in use, whatever container it names: the Go program
/// takes an entry over for the pod's next container and leaves the claim as it is.
async fn drop_unrecorded(
    store: &Kubernetes,
    range: &Range<'_>,
    container: &str,
    interface: &str,
) -> Result<(), Error> {
    let pool_id = store.pool_id(range);
    let pool_label = label(&pool_id.name);
    let mut claims = store.claims_of(container).await?;
    claims.retain(|claim| {
        let of_pool = claim.pool.as_deref() == Some(pool_label.as_str());
        let named = claim.interface.as_deref();
        of_pool && named.is_none_or(|name| name == interface)
    });
    if claims.is_empty() {
        return Ok(());
    }
    let found = store.read_pool(&pool_id).await?;
    let entries = || found.iter().flat_map(|found| &found.entries);
    for claim in claims {
        let addresses = readings(&claim.id.name).into_iter();
        let addresses: Vec<IpAddr> = addresses
            .filter(|(network, _)| *network == range.network)
            .map(|(_, address)| address)
            .collect();
        let is_recorded = entries().any(|entry| {
            let address = entry.address.as_ref().ok();
            address.is_some_and(|address| addresses.contains(address))
        });
        if !addresses.is_empty() && !is_recorded {
            store.drop_claim(&claim).await?;
        }
    }
    Ok(())
}

/// Frees what containers of this node hold, other than the valid ones.
///
/// Networks with the same range share its pool, and each is told its own containers only: an
/// address is left alone unless its claim says that it is this network's.
pub(super) async fn collect(
    store: &Kubernetes,
    range: &Range<'_>,
    garbage: &Garbage<'_>,
) -> Result<(), Error> {
    let Garbage {
        network,
        node,
        valid,
    } = garbage;
    if valid.is_empty() || node.is_empty() {
        return Ok(());
    }
    let found = store.read_pool(&store.pool_id(range)).await?;
    let mut doomed = BTreeSet::new();
    for entry in found.iter().flat_map(|found| &found.entries) {
        // The node that stands beside an id which was rewritten is none: it is the container's before.
        // An entry that was put back for a pod may name no container at all.
        let id = text_of(entry, "/id");
        let is_garbage =
            entry.owner.node.as_deref() == Some(*node) && !id.is_empty() && !valid.contains(&id);
        if is_garbage && is_claimed_in(store, range, network, entry).await? {
            doomed.insert((entry.key.clone(), entry.raw().into_owned()));
        }
    }
    if doomed.is_empty() {
        return Ok(());
    }
    // Only what was looked at: a container may have come meanwhile.
    let is_doomed = |entry: &Entry| doomed.contains(&(entry.key.clone(), entry.raw().into_owned()));
    take_out(store, range, is_doomed).await.map(drop)
}

/// Whether an entry's address is known to be claimed in this CNI network: the entry does not say it.
async fn is_claimed_in(
    store: &Kubernetes,
    range: &Range<'_>,
    network: &str,
    entry: &Entry,
) -> Result<bool, Error> {
    let (Overlap::Protected, Ok(address)) = (range.overlap, &entry.address) else {
        return Ok(false);
    };
    let id = store.reservation_id(range, *address);
    let claimed_in = store.read_claim(&id).await?.and_then(|claim| claim.network);
    Ok(claimed_in.is_some_and(|name| name == label(network)))
}

/// Takes all entries out that are `meant`, each with its claim; whether there were any, and all of
/// their claims are gone.
async fn take_out(
    store: &Kubernetes,
    range: &Range<'_>,
    meant: impl Fn(&Entry) -> bool,
) -> Result<bool, Error> {
    let pool_id = store.pool_id(range);
    let (mut turn, mut any, mut clean) = (None, false, true);
    let mut conflicts = 0_usize;
    loop {
        let Some(found) = store.read_pool(&pool_id).await? else {
            return Ok(false);
        };
        if turn.is_none() && found.entries.iter().any(&meant) {
            // Only now: most ranges hold nothing of what is looked for.
            turn = store.turn_now(&pool_id);
            if turn.is_none() {
                turn = Some(store.turn(&pool_id).await);
                continue;
            }
        }
        let mut last = None;
        for entry in found.entries.iter().filter(|entry| meant(entry)) {
            any = true;
            clean &= drop_claim_of(store, range, entry).await?;
            last = remove(store, &found, entry).await?.or(last);
        }
        let Some(last) = last else {
            return Ok(any && clean);
        };
        store.pause(conflicts, &pool_id, last).await?;
        conflicts = conflicts.saturating_add(1);
    }
}

/// Deletes the claim behind an entry, if it is that container's; whether none is left.
async fn drop_claim_of(
    store: &Kubernetes,
    range: &Range<'_>,
    entry: &Entry,
) -> Result<bool, Error> {
    let (Overlap::Protected, Ok(address)) = (range.overlap, &entry.address) else {
        return Ok(true);
    };
    let id = store.reservation_id(range, *address);
    let claim = store.read_claim(&id).await?.filter(|claim| {
        let (podref, container) = (text_of(entry, "/podref"), text_of(entry, "/id"));
        // The Go program names no container; its pod and interface have to do.
        let interface = entry.owner.interface.as_deref();
        claim.podref == podref
            && claim.container.as_deref().is_none_or(|id| id == container)
            && (claim.interface.is_none() || claim.interface.as_deref() == interface)
    });
    match claim {
        Some(claim) => Ok(store.drop_claim(&claim).await?),
        None => Ok(true),
    }
}

/// Takes one entry out; a conflict is said and looked at again.
async fn remove(
    store: &Kubernetes,
    found: &PoolObject,
    entry: &Entry,
) -> Result<Option<String>, Error> {
    match store.change(&found.pool, Change::Remove(entry)).await {
        Ok(()) => Ok(None),
        Err(error) if error.cause.is_conflict() => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
