//! I/O: how an attachment gets its address: the one that its pod has, or a free one.
//!
//! A change whose answer is lost may have been made, or be made later. So each try looks anew at what
//! the pod has, and its claim holds only as long as nothing was added to that.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::time::Instant;

use super::connect::{Connection, Failure};
use super::layout::{Record, pod_prefix};
use super::records::{self, Held, Look};
use super::{TAKING_BACK, free, is_in, pause, search};
use crate::allocate::Window;
use crate::retry;
use crate::store::{Acquired, Attachment, Error, Overlap, Range};

/// By how many addresses the choice grows with each conflict, and how far: many at once then choose
/// differently, and addresses stay compact.
const SPREAD_STEP: usize = 8;
const MAX_SPREAD: usize = 96;

/// An ADD to one range.
pub(super) struct Add<'a> {
    store: &'a Connection,
    range: &'a Range<'a>,
    window: &'a Window,
    avoid: &'a BTreeSet<IpAddr>,
    attachment: &'a Attachment,
    /// What the pod had when it began.
    before: Option<Vec<Held>>,
    /// What could not be made this call's as it was: it was changed, which another look shows, or
    /// another range has the address.
    stuck: Vec<Held>,
    conflicts: usize,
    /// Whether it may have recorded an address, though it does not know.
    may_have_claimed: bool,
}

/// Why a try gave no address.
enum Again {
    /// Somebody was quicker.
    Conflict(String),
    /// etcd may answer later.
    Failure(Failure),
}

impl<'a> Add<'a> {
    pub(super) fn new(
        store: &'a Connection,
        range: &'a Range<'a>,
        attachment: &'a Attachment,
        avoid: &'a BTreeSet<IpAddr>,
    ) -> Result<Self, Error> {
        let window = range.config.window.as_ref();
        Ok(Self {
            store,
            range,
            window: window.map_err(|reason| Error::Exhausted(reason.clone()))?,
            avoid,
            attachment,
            before: None,
            stuck: Vec::new(),
            conflicts: 0,
            may_have_claimed: false,
        })
    }

    /// Gets an address; what may be left of a failure is taken back.
    pub(super) async fn run(mut self) -> Result<Acquired, Error> {
        let mut tries = 0_usize;
        let failed = loop {
            let reason = match self.attempt().await {
                Ok(Ok(acquired)) => return Ok(acquired),
                Ok(Err(Again::Conflict(reason))) => {
                    self.conflicts = self.conflicts.saturating_add(1);
                    reason
                }
                Ok(Err(Again::Failure(failure))) => Error::from(failure).to_string(),
                Err(error) => break error,
            };
            tracing::debug!(reason, "Not given");
            if let Err(error) = pause(self.store, self.range, tries, reason).await {
                break error;
            }
            tries = tries.saturating_add(1);
        };
        if self.may_have_claimed
            && let Err(error) = self.take_back().await
        {
            tracing::warn!(%error, "An address may be left for the DEL of its container");
        }
        Err(failed)
    }

    /// One try.
    async fn attempt(&mut self) -> Result<Result<Acquired, Again>, Error> {
        let prefix = pod_prefix(&self.attachment.podref, &self.attachment.interface);
        let Look { found, revision } = records::behind(self.store, &prefix).await?;
        let own = found.into_iter().filter(|held| {
            is_in(self.range, held)
                && held.record.podref == self.attachment.podref
                && held.record.ifname == self.attachment.interface
        });
        let own: Vec<Held> = own.collect();
        if self.before.is_none() {
            self.before = Some(own.clone());
        }
        let usable = own.into_iter().filter(|held| self.is_usable(held));
        match usable.min_by_key(|held| held.key.address) {
            Some(held) => self.take_over(held).await,
            None => self.claim(revision).await,
        }
    }

    fn is_usable(&self, held: &Held) -> bool {
        let address = held.key.address;
        self.window.holds(address)
            && !self.avoid.contains(&address)
            && !self.stuck.contains(held)
            && held.record.may_be_taken_over(self.attachment)
    }

    /// What the pod has becomes this container's, and is protected as the range says.
    async fn take_over(&mut self, held: Held) -> Result<Result<Acquired, Again>, Error> {
        let acquired = self.acquired(held.key.address);
        if !self.had(|before| *before == held) && !self.is_ours(&held.record) {
            return Err(Error::Mismatch(format!(
                "{} has got {} for another container since this call began",
                self.attachment.podref, held.key.address
            )));
        }
        let new = Record::of(self.attachment, self.range);
        let is_protected = held.key.range.is_none() || self.range.overlap == Overlap::Ignored;
        if held.record == new && is_protected {
            return Ok(Ok(acquired));
        }
        let replaced = records::replace(self.store, self.range, &held, &new).await;
        if matches!(replaced, Ok(false)) {
            self.stuck.push(held);
        }
        done(replaced, acquired)
    }

    /// A free address becomes this container's.
    async fn claim(&mut self, looked: i64) -> Result<Result<Acquired, Again>, Error> {
        let address = self.choose().await?;
        let new = Record::of(self.attachment, self.range);
        self.may_have_claimed = true;
        let created = records::create(self.store, self.range, (address, &new), looked).await;
        done(created, self.acquired(address))
    }

    /// A container may be running with what the pod had, and with anything that it had itself; other
    /// than what this call has got it from another part of the range.
    fn acquired(&self, address: IpAddr) -> Acquired {
        let was_held = self.had(|held| {
            let is_of_another_part = self.avoid.contains(&held.key.address);
            held.key.address == address || (self.is_ours(&held.record) && !is_of_another_part)
        });
        Acquired { address, was_held }
    }

    fn had(&self, is_it: impl Fn(&Held) -> bool) -> bool {
        self.before.iter().flatten().any(is_it)
    }

    fn is_ours(&self, record: &Record) -> bool {
        record.is_of(&self.attachment.container, &self.attachment.interface)
    }

    /// The lowest free address; after conflicts one of the lowest, so that many at once part ways.
    async fn choose(&self) -> Result<IpAddr, Error> {
        let wanted = self.conflicts.saturating_mul(SPREAD_STEP).min(MAX_SPREAD);
        let wanted = wanted.saturating_add(1);
        let free = search::free(self.store, self.range, self.window, self.avoid, wanted).await?;
        let chosen = free.get(retry::random_below(free.len())).copied();
        let range = self.window.range();
        chosen.ok_or_else(|| Error::Exhausted(format!("no free address in {range}")))
    }

    /// Frees what this call may have recorded, and nothing that was there before it.
    async fn take_back(&self) -> Result<(), Error> {
        let Attachment {
            container,
            interface,
            ..
        } = self.attachment;
        let until = self.store.deadline().max(Instant::now() + TAKING_BACK);
        let before = self.before.iter().flatten();
        let kept: BTreeSet<IpAddr> = before.map(|held| held.key.address).collect();
        let store = self.store.until(until);
        free(&store, self.range, (container, interface), &kept).await
    }
}

fn done(
    changed: Result<bool, Failure>,
    acquired: Acquired,
) -> Result<Result<Acquired, Again>, Error> {
    let address = acquired.address;
    match changed {
        Ok(true) => Ok(Ok(acquired)),
        Ok(false) => Ok(Err(Again::Conflict(format!("{address} was just taken")))),
        Err(failure) if failure.is_passing => Ok(Err(Again::Failure(failure))),
        Err(failure) => Err(failure.into()),
    }
}
