//! I/O: addresses for several attachments of one node at once: one look at the pool, their claims
//! side by side, one patch.
//!
//! Only what is simple is done here: new addresses for attachments of which the pool records
//! nothing. Whoever gets none tries alone, and finds what was claimed or recorded for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::StreamExt;

use super::Kubernetes;
use super::claims::Claim;
use super::own::{entry_of, is_for, is_of, recorded};
use super::pools::Change;
use super::queue::{self, Mine, Waited};
use super::settle::check_range;
use super::spool::{Taken, Waiting};
use super::undo::{give_back, take_back};
use crate::allocate::Window;
use crate::record::{Pool, PoolObject};
use crate::retry;
use crate::store::{Attachment, Overlap, Range};

/// How many claims are made side by side: each takes a connection.
const SIDE_BY_SIDE: usize = 8;
/// How often addresses are chosen for those whose address another has claimed.
const ROUNDS: usize = 4;
/// Over how many addresses more the choice is spread at most.
const MAX_SPREAD: usize = 96;
/// How often a patch is tried that fails because others changed the pool.
const TRIES: usize = 8;

/// Somebody who wants an address.
pub(super) struct Wanted<'a> {
    pub(super) attachment: &'a Attachment,
    /// Which it has already.
    pub(super) avoid: &'a BTreeSet<IpAddr>,
}

/// An address that was chosen for somebody.
struct Chosen {
    /// Index of who wants it.
    by: usize,
    address: IpAddr,
    key: String,
    claim: Option<Claim>,
}

/// Does for others what they wait for, together with the own attachment, which gets its address back
/// if it got one here.
///
/// Only who has the turn may do this, and keeps it until the end: who waits goes on alone once the
/// turn is free. All that are `waiting`, served or not, are told what is recorded of them.
pub(super) async fn lead(
    store: &Kubernetes,
    range: &Range<'_>,
    window: &Window,
    own: Wanted<'_>,
    (others, waiting): (Vec<Taken>, Waiting),
) -> Option<IpAddr> {
    let pool_id = store.pool_id(range);
    let found = store.read_pool(&pool_id).await.ok()??;
    waiting.tell(|attachment| recorded(Some(&found), attachment));
    check_range(&found.pool, range).ok()?;
    let asked = others.iter().map(|other| Wanted {
        attachment: &other.wish.attachment,
        avoid: &other.wish.avoid,
    });
    let wanted: Vec<Wanted<'_>> = std::iter::once(own).chain(asked).collect();
    let (chosen, contended) = claim_all(store, range, window, &found, &wanted).await;
    let chosen = record_all(store, range, found, chosen, (&wanted, contended)).await;
    let confirmed = confirmed(store, &chosen, &wanted).await;
    let mut by_index: BTreeMap<usize, Chosen> =
        chosen.into_iter().map(|one| (one.by, one)).collect();
    let own = by_index.remove(&0).map(|chosen| chosen.address);
    let own = own.filter(|_| confirmed.contains(&0));
    let mut left = Vec::new();
    for (index, other) in (1..).zip(others) {
        // Whoever is not served here is dropped, and so may go on alone.
        let Some(chosen) = by_index.remove(&index) else {
            continue;
        };
        if !other.is_wanted() {
            left.push((chosen, other));
        } else if confirmed.contains(&index)
            && let Err(error) = other.answer(chosen.address)
        {
            tracing::debug!(%error, "No answer could be written");
        }
    }
    // Their processes are gone, and nobody else knows of these addresses.
    let recorded = left.iter();
    let recorded = recorded.map(|(chosen, other)| (&*chosen.key, &other.wish.attachment));
    let recorded: Vec<(&str, &Attachment)> = recorded.collect();
    take_back(store, &pool_id, &recorded).await;
    let given: Vec<&Chosen> = left.iter().map(|(chosen, _)| chosen).collect();
    give_back_all(store, &given).await;
    own
}

/// Those who can be served here: of whom nothing is recorded, and only one for each interface.
fn eligible(found: &PoolObject, wanted: &[Wanted<'_>]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (index, Wanted { attachment, .. }) in wanted.iter().enumerate() {
        let is_recorded = found.entries.iter().any(|entry| {
            is_for(entry, &attachment.podref)
                || is_of(entry, &attachment.container, &attachment.interface)
        });
        if !is_recorded && seen.insert((&attachment.podref, &attachment.interface)) {
            all.push(index);
        }
    }
    all
}

/// Chooses addresses, the lowest that are free, and claims them; and whether other nodes want
/// addresses of the same pool.
async fn claim_all(
    store: &Kubernetes,
    range: &Range<'_>,
    window: &Window,
    found: &PoolObject,
    wanted: &[Wanted<'_>],
) -> (Vec<Chosen>, bool) {
    let pool = &found.pool.id;
    let recorded = found.entries.iter();
    let recorded = recorded.filter_map(|entry| entry.address.as_ref().ok().copied());
    let avoided = wanted.iter().flat_map(|wanted| wanted.avoid).copied();
    let mut taken: BTreeSet<IpAddr> = recorded.chain(avoided).collect();
    let mut left = eligible(found, wanted);
    let (mut all, mut others) = (Vec::<Chosen>::new(), BTreeSet::new());
    let crowd = store.crowd(pool);
    if range.overlap == Overlap::Protected && crowd > 0 {
        others = pending(store, range, found, &all).await;
    }
    let mut contended = !others.is_empty();
    for round in 0..ROUNDS {
        taken.extend(&others);
        // Whoever begins at the same time has claimed nothing yet.
        let expected = if others.is_empty() { 0 } else { crowd };
        let spread = left.len().saturating_mul(round);
        let spread = spread.max(others.len()).max(expected);
        let chosen = choose(range, window, &taken, &left, spread.min(MAX_SPREAD));
        taken.extend(chosen.iter().map(|chosen| chosen.address));
        let claims = chosen.into_iter();
        let claims = claims.map(|chosen| claim(store, range, &found.pool, chosen, wanted));
        let claims = side_by_side(claims.collect()).await;
        left.clear();
        let mut lost = None;
        for claim in claims {
            match claim {
                Ok(chosen) => all.push(chosen),
                Err(Some(chosen)) => {
                    left.push(chosen.by);
                    lost = lost.max(Some(chosen.address));
                }
                Err(None) => {}
            }
        }
        let Some(lost) = lost else {
            break;
        };
        let holder = store.read_claim(&store.reservation_id(range, lost)).await;
        if matches!(holder, Ok(Some(holder)) if holder.is_recent(pool, store)) {
            others = pending(store, range, found, &all).await;
            store.note_crowd(pool, others.len());
            contended = true;
        } else {
            let claimed = store.claims_in(range.network).await;
            taken.extend(claimed.into_iter().flatten());
        }
    }
    (all, contended)
}

/// What other nodes have claimed for the pool, and is not recorded yet.
async fn pending(
    store: &Kubernetes,
    range: &Range<'_>,
    found: &PoolObject,
    own: &[Chosen],
) -> BTreeSet<IpAddr> {
    let recent = store.recent_claims(range.network, &found.pool.id).await;
    let mut all = queue::unrecorded(&recent.unwrap_or_default(), found);
    all.retain(|address| own.iter().all(|own| own.address != *address));
    all
}

/// The lowest free addresses; or some of so many more, so that nodes part ways.
fn choose(
    range: &Range<'_>,
    window: &Window,
    taken: &BTreeSet<IpAddr>,
    left: &[usize],
    spread: usize,
) -> Vec<Chosen> {
    let count = left.len().saturating_add(spread);
    let mut free: Vec<IpAddr> = window.free(taken).take(count).collect();
    while free.len() > left.len() {
        free.remove(retry::random_below(free.len()));
    }
    let chosen = left.iter().zip(free).filter_map(|(by, address)| {
        let key = range.config.range.offset_of(address)?.to_string();
        Some(Chosen {
            by: *by,
            address,
            key,
            claim: None,
        })
    });
    chosen.collect()
}

/// Claims an address; otherwise says who has to have another one, if that is known to help.
async fn claim(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    chosen: Chosen,
    wanted: &[Wanted<'_>],
) -> Result<Chosen, Option<Chosen>> {
    if range.overlap == Overlap::Ignored {
        return Ok(chosen);
    }
    let Some(Wanted { attachment, .. }) = wanted.get(chosen.by) else {
        return Err(None);
    };
    let id = store.reservation_id(range, chosen.address);
    match store.claim(&id, &pool.id, attachment).await {
        Ok(Some(claim)) => Ok(Chosen {
            claim: Some(claim),
            ..chosen
        }),
        Ok(None) => Err(Some(chosen)),
        Err(error) => {
            tracing::debug!(reservation = %id, %error, "Not claimed");
            Err(None)
        }
    }
}

/// Records all of them with one patch, and with them what other nodes wait for; what cannot be
/// recorded is given back.
async fn record_all(
    store: &Kubernetes,
    range: &Range<'_>,
    mut found: PoolObject,
    mut left: Vec<Chosen>,
    (wanted, mut contended): (&[Wanted<'_>], bool),
) -> Vec<Chosen> {
    let attachment = |chosen: &Chosen| wanted.get(chosen.by).map(|wanted| wanted.attachment);
    let pool = found.pool.id.clone();
    let mut done = Vec::new();
    for conflicts in 0..TRIES {
        let mut others = Vec::new();
        if contended && range.overlap == Overlap::Protected {
            others = wait_for_others(store, range, &mut found, &left, wanted).await;
        }
        let (recorded, open) = sort_out(&found, left, wanted);
        done.extend(recorded);
        left = give_back_lost(store, &found, open).await;
        let own = left.iter().filter_map(|chosen| {
            let entry = entry_of(attachment(chosen)?);
            Some(Change::Add(&chosen.key, entry))
        });
        let mut changes: Vec<Change<'_>> = own.collect();
        if changes.is_empty() {
            return done;
        }
        let keys: BTreeSet<&str> = left.iter().map(|chosen| &*chosen.key).collect();
        let others = others.iter().filter(|(key, _)| !keys.contains(&**key));
        changes.extend(others.map(|(key, owner)| Change::Add(key, entry_of(owner))));
        let Err(error) = store.change_all(&found.pool, changes).await else {
            done.extend(left);
            return done;
        };
        tracing::debug!(%pool, %error, "Not recorded");
        if !error.cause.is_conflict() {
            break;
        }
        tokio::time::sleep(retry::crowd_pause(conflicts)).await;
        match store.read_pool(&pool).await {
            Ok(Some(now)) if now.pool.range_text == found.pool.range_text => found = now,
            _ => break,
        }
        contended = true;
    }
    // They may be recorded all the same: that an answer was lost is no proof.
    let recorded = left.iter();
    let recorded = recorded.filter_map(|chosen| Some((&*chosen.key, attachment(chosen)?)));
    let recorded: Vec<(&str, &Attachment)> = recorded.collect();
    take_back(store, &pool, &recorded).await;
    give_back_all(store, &left.iter().collect::<Vec<_>>()).await;
    done
}

/// Lets those nodes record first that have claimed lower addresses; what is left for this one to record
/// besides its own.
async fn wait_for_others(
    store: &Kubernetes,
    range: &Range<'_>,
    found: &mut PoolObject,
    left: &[Chosen],
    wanted: &[Wanted<'_>],
) -> Vec<(String, Attachment)> {
    let claimed = left.iter().filter_map(|chosen| {
        let place = chosen.claim.as_ref()?.place();
        let Wanted { attachment, .. } = wanted.get(chosen.by)?;
        let address = chosen.address;
        Some(Mine {
            address,
            place,
            attachment,
        })
    });
    let Some(first) = claimed.min_by_key(|mine| mine.place) else {
        return Vec::new();
    };
    // What was claimed before the first of them is not known: they were claimed one after the other.
    let before = BTreeSet::new();
    let (outcome, now) =
        queue::wait(store, range, &found.pool, first, (queue::FOR_MANY, before)).await;
    // Another node may have recorded some of them, or all.
    if let Some(now) = now
        && now.pool.range_text == found.pool.range_text
    {
        *found = now;
    }
    match outcome {
        Waited::Recorded => Vec::new(),
        Waited::Not(others) => others,
    }
}

/// Those that are recorded, and those that are not.
fn sort_out(
    found: &PoolObject,
    all: Vec<Chosen>,
    wanted: &[Wanted<'_>],
) -> (Vec<Chosen>, Vec<Chosen>) {
    all.into_iter().partition(|chosen| {
        wanted
            .get(chosen.by)
            .is_some_and(|owner| queue::is_recorded(found, chosen.address, owner.attachment))
    })
}

/// Gives back those whose key somebody else has; the rest is left.
async fn give_back_lost(store: &Kubernetes, found: &PoolObject, all: Vec<Chosen>) -> Vec<Chosen> {
    let is_free = |chosen: &Chosen| !found.entries.iter().any(|entry| *entry.key == *chosen.key);
    let (free, lost): (Vec<_>, Vec<_>) = all.into_iter().partition(is_free);
    give_back_all(store, &lost.iter().collect::<Vec<_>>()).await;
    free
}

/// Who of them still has its claim: the Go program's DEL deletes reservations by name, whoever owns
/// them. Whoever does not, claims again by itself what is recorded for it.
async fn confirmed(
    store: &Kubernetes,
    chosen: &[Chosen],
    wanted: &[Wanted<'_>],
) -> BTreeSet<usize> {
    let looks = chosen.iter().map(async |chosen| {
        let Some(claim) = &chosen.claim else {
            return Some(chosen.by);
        };
        let Wanted { attachment, .. } = wanted.get(chosen.by)?;
        let now = store.read_claim(&claim.id).await;
        matches!(now, Ok(Some(now)) if now.is_of(attachment)).then_some(chosen.by)
    });
    let looks = side_by_side(looks.collect()).await;
    looks.into_iter().flatten().collect()
}

async fn give_back_all(store: &Kubernetes, chosen: &[&Chosen]) {
    let all = chosen.iter();
    let all = all.map(|chosen| give_back(store, chosen.claim.as_ref()));
    side_by_side(all.collect()).await;
}

/// Waits for all of them, a few at a time; in whatever order they end.
async fn side_by_side<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    futures::stream::iter(all)
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await
}
