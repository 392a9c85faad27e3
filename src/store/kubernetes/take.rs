//! I/O: a new address: choose, claim, record, confirm.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::time::Instant;

use super::Kubernetes;
use super::claims::Claim;
use super::own::{entry_of, is_of};
use super::pools::Change;
use super::queue::{self, Mine, Waited};
use super::turn::Turn;
use super::undo::{give_back, take_back};
use crate::allocate::Window;
use crate::client::{CallError, Cause};
use crate::record::{Pool, PoolObject};
use crate::retry;
use crate::store::{Attachment, Error, Overlap, Range};

/// By how many addresses the choice grows with each conflict, and how far: many at once then
/// choose differently, and addresses stay compact.
const SPREAD_STEP: usize = 4;
const MAX_SPREAD: usize = 96;
/// How many claims are tried with one look at the pool: who has claimed counts more by then.
const CLAIMS_PER_LOOK: usize = 8;

/// What is known of others that want addresses at the same time.
#[derive(Default)]
pub(super) struct Crowd {
    /// How often one of them was quicker, or was expected to be.
    conflicts: usize,
    /// What they have claimed a moment ago, and the pool does not record yet.
    before: BTreeSet<IpAddr>,
    /// At which addresses one was quicker.
    lost: BTreeSet<IpAddr>,
    /// What is claimed in the network, if that was looked at.
    claimed: Vec<IpAddr>,
    /// Whether somebody died at getting an address for this very attachment.
    pub(super) is_left: bool,
    /// What that one has claimed for it.
    own: BTreeSet<IpAddr>,
}

impl Crowd {
    /// Another one was quicker who wants an address of the same pool, or is expected to be. Who else
    /// there is only helps to choose: if it cannot be read, nobody is known.
    async fn part(&mut self, store: &Kubernetes, range: &Range<'_>, found: &PoolObject) {
        self.conflicts = self.conflicts.saturating_add(1);
        if range.overlap == Overlap::Protected {
            let pool = &found.pool.id;
            let recent = store.recent_claims(range.network, pool).await;
            self.before = queue::unrecorded(&recent.unwrap_or_default(), found);
            self.before.retain(|address| !self.own.contains(address));
        }
    }

    /// Looks what was claimed for this attachment already, which nobody else would use as long as it
    /// lives. This only helps to choose: if it cannot be read, nothing is known.
    async fn find_own(&mut self, store: &Kubernetes, range: &Range<'_>, attachment: &Attachment) {
        if range.overlap == Overlap::Protected {
            let pool = store.pool_id(range);
            let own = store.own_claims(range.network, &pool, attachment).await;
            self.own = own.unwrap_or_default().into_iter().collect();
        }
    }

    /// Another one has had an address for long: looks which others are taken.
    async fn step_over(&mut self, store: &Kubernetes, range: &Range<'_>) -> Result<(), Error> {
        self.claimed = store.claims_in(range.network).await?;
        Ok(())
    }

    /// Whether it leaves fewer addresses than the pool does.
    fn excludes_any(&self) -> bool {
        let Self {
            conflicts: _,
            before,
            lost,
            claimed,
            is_left: _,
            own: _,
        } = self;
        !(before.is_empty() && lost.is_empty() && claimed.is_empty())
    }

    /// Looks what is claimed by others now, and forgets the rest: before a range is called full, which
    /// neither a cache may say nor what was so a while ago.
    async fn look(
        &mut self,
        store: &Kubernetes,
        range: &Range<'_>,
        attachment: &Attachment,
    ) -> Result<(), Error> {
        let mut claimed = Vec::new();
        if range.overlap == Overlap::Protected {
            claimed = store.claims_of_others(range.network, attachment).await?;
        }
        *self = Self {
            conflicts: self.conflicts,
            claimed,
            ..Self::default()
        };
        Ok(())
    }
}

/// How one attempt to get an address ended.
pub(super) enum Attempt {
    /// It is recorded, and the claim is ours.
    Done(IpAddr),
    /// Somebody else has it.
    Lost(IpAddr, String),
    /// Something changed meanwhile: another look tells whose it is.
    Again(String),
}

/// The lowest free address, or one of the lowest where others are about to record theirs: of those
/// that claimed for the same pool there may be as many again who have not got one yet.
fn choose(
    window: &Window,
    found: &PoolObject,
    avoid: &BTreeSet<IpAddr>,
    crowd: &Crowd,
) -> Result<IpAddr, Error> {
    let recorded = found
        .entries
        .iter()
        .filter_map(|entry| entry.address.as_ref().ok().copied());
    let mut taken: BTreeSet<IpAddr> = recorded
        .chain(avoid.iter().copied())
        .chain(crowd.lost.iter().copied())
        .collect();
    let is_free = |address: &&IpAddr| {
        window.holds(**address) && !window.excludes(**address) && !taken.contains(*address)
    };
    if let Some(own) = crowd.own.iter().find(is_free) {
        return Ok(*own);
    }
    taken.extend(&crowd.before);
    taken.extend(&crowd.claimed);
    let contended = crowd.conflicts.saturating_sub(1);
    let spread = contended
        .saturating_mul(SPREAD_STEP)
        .max(crowd.before.len())
        .min(MAX_SPREAD);
    let free: Vec<IpAddr> = window.free(&taken).take(spread.saturating_add(1)).collect();
    match free.get(retry::random_below(free.len())) {
        Some(address) => Ok(*address),
        None => window
            .lowest(&taken)
            .map_err(|full| Error::Exhausted(full.to_string())),
    }
}

/// Claims and records a free address; the turn ends when it is recorded.
pub(super) async fn take(
    store: &Kubernetes,
    range: &Range<'_>,
    (window, avoid): (&Window, &BTreeSet<IpAddr>),
    found: &PoolObject,
    attachment: &Attachment,
    (crowd, turn): (&mut Crowd, &mut Turn),
) -> Result<Attempt, Error> {
    let pool = &found.pool;
    let is_protected = range.overlap == Overlap::Protected;
    if std::mem::take(&mut crowd.is_left) {
        crowd.find_own(store, range, attachment).await;
    }
    if is_protected && crowd.conflicts == 0 && store.crowd(&pool.id) > 0 {
        crowd.part(store, range, found).await;
        // Nobody is there after all.
        if crowd.before.is_empty() {
            crowd.conflicts = 0;
        }
    }
    let is_full = |crowd: &Crowd| choose(window, found, avoid, crowd).is_err();
    if crowd.excludes_any() && is_full(crowd) && !is_full(&Crowd::default()) {
        crowd.look(store, range, attachment).await?;
    }
    for round in 0..CLAIMS_PER_LOOK {
        let address = match choose(window, found, avoid, crowd) {
            // Some may have become free since the pool was read.
            Err(Error::Exhausted(reason)) if round > 0 => return Ok(Attempt::Again(reason)),
            chosen => chosen?,
        };
        let claim = match range.overlap {
            Overlap::Ignored => None,
            Overlap::Protected => {
                match claim(store, range, &found.pool, address, attachment).await? {
                    Ok(claim) => Some(claim),
                    Err(Holder { text, is_recent }) => {
                        tracing::debug!(%address, holder = text, "Not claimed");
                        crowd.lost.insert(address);
                        if is_recent {
                            crowd.part(store, range, found).await;
                            store.note_crowd(&pool.id, crowd.before.len());
                        } else {
                            crowd.step_over(store, range).await?;
                        }
                        continue;
                    }
                }
            }
        };
        let waited = match &claim {
            Some(claim) if crowd.conflicts > 0 => {
                let mine = Mine {
                    address,
                    place: claim.place(),
                    attachment,
                };
                let mut before = crowd.before.clone();
                before.remove(&address);
                queue::wait(store, range, &found.pool, mine, (queue::FOR_ONE, before))
                    .await
                    .0
            }
            _ => Waited::Not(Vec::new()),
        };
        let claimed = (address, claim, waited);
        let attempt = write(store, range, &found.pool, claimed, attachment, turn).await?;
        if let Attempt::Lost(address, _) = attempt {
            crowd.lost.insert(address);
            crowd.part(store, range, found).await;
        }
        return Ok(attempt);
    }
    Ok(Attempt::Again("others were quicker".to_owned()))
}

/// Records what was claimed.
async fn write(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    (address, claim, waited): (IpAddr, Option<Claim>, Waited),
    attachment: &Attachment,
    turn: &mut Turn,
) -> Result<Attempt, Error> {
    let Some(offset) = range.config.range.offset_of(address) else {
        return Err(Error::Mismatch(format!(
            "{address} is outside of {}",
            range.config.range
        )));
    };
    let key = offset.to_string();
    let recorded = match waited {
        Waited::Recorded => Ok(None),
        Waited::Not(others) => {
            let own = Mine {
                address,
                place: claim.as_ref().map_or(u64::MAX, Claim::place),
                attachment,
            };
            record(store, range, pool, (&key, own), others).await
        }
    };
    match (recorded, claim) {
        (Ok(None), None) => Ok(Attempt::Done(address)),
        (Ok(None), Some(claim)) => {
            turn.end();
            confirm(store, pool, (&key, address), &claim, attachment).await
        }
        (Ok(Some(holder)), claim) => {
            give_back(store, claim.as_ref()).await;
            Ok(Attempt::Lost(address, holder))
        }
        (Err(error), claim) => {
            take_back(store, &pool.id, &[(&key, attachment)]).await;
            give_back(store, claim.as_ref()).await;
            Err(error.into())
        }
    }
}

/// Who has claimed an address.
struct Holder {
    text: String,
    /// Whether it was a moment ago, and for the same pool.
    is_recent: bool,
}

/// Makes the claim, or finds one that an earlier attempt of the same attachment left; otherwise
/// says who has it.
async fn claim(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    address: IpAddr,
    attachment: &Attachment,
) -> Result<Result<Claim, Holder>, Error> {
    let id = store.reservation_id(range, address);
    if let Some(claim) = store.claim(&id, &pool.id, attachment).await? {
        return Ok(Ok(claim));
    }
    let changing = |text| Holder {
        text,
        is_recent: true,
    };
    match store.read_claim(&id).await? {
        None => Ok(Err(changing(format!("reservation {id} came and went")))),
        Some(found) if found.is_of(attachment) && !found.may_run_elsewhere(attachment) => {
            match store.renew(&found, &pool.id, attachment).await {
                Ok(claim) => Ok(Ok(claim)),
                Err(error) if error.cause.is_conflict() => Ok(Err(changing(error.to_string()))),
                Err(error) => Err(error.into()),
            }
        }
        Some(found) => Ok(Err(Holder {
            text: format!("reservation {id} belongs to {}", found.podref),
            is_recent: found.is_recent(&pool.id, store),
        })),
    }
}

/// Records the entry under a key that is free, and with it what others wait for; otherwise says who
/// has it.
async fn record(
    store: &Kubernetes,
    range: &Range<'_>,
    pool: &Pool,
    (key, mine): (&str, Mine<'_>),
    mut others: Vec<(String, Attachment)>,
) -> Result<Option<String>, CallError> {
    let Mine { attachment, .. } = mine;
    let mut conflicts = 0_usize;
    loop {
        let own = Change::Add(key, entry_of(attachment));
        let all = others
            .iter()
            .map(|(key, owner)| Change::Add(key, entry_of(owner)));
        let all = std::iter::once(own).chain(all).collect();
        let Err(error) = store.change_all(pool, all).await else {
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
        if Instant::now() >= store.client.deadline() {
            return Err(error);
        }
        tokio::time::sleep(retry::crowd_pause(conflicts)).await;
        conflicts = conflicts.saturating_add(1);
        if range.overlap == Overlap::Protected {
            match queue::wait(
                store,
                range,
                &now.pool,
                mine,
                (queue::FOR_ONE, BTreeSet::new()),
            )
            .await
            .0
            {
                Waited::Recorded => return Ok(None),
                Waited::Not(more) => others = more,
            }
        }
    }
}

/// Reads the claim again: the Go program's DEL deletes reservations by name, whoever owns them.
async fn confirm(
    store: &Kubernetes,
    pool: &Pool,
    (key, address): (&str, IpAddr),
    claim: &Claim,
    attachment: &Attachment,
) -> Result<Attempt, Error> {
    let mut held = store.read_claim(&claim.id).await;
    if matches!(held, Ok(None)) {
        held = store.claim(&claim.id, &pool.id, attachment).await;
    }
    match held {
        Ok(Some(now)) if now.is_of(attachment) => Ok(Attempt::Done(address)),
        Ok(_) => {
            take_back(store, &pool.id, &[(key, attachment)]).await;
            Ok(Attempt::Lost(
                address,
                format!("reservation {} was taken by another", claim.id),
            ))
        }
        Err(error) => {
            take_back(store, &pool.id, &[(key, attachment)]).await;
            give_back(store, Some(claim)).await;
            Err(error.into())
        }
    }
}
