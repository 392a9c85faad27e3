//! PURE: what a run has to remember for the next one, as annotations.
//!
//! Marks are never more than hints: a record is judged anew by each run, and one without a mark
//! only waits longer.

use super::apply::{Applied, Outcome};
use super::audit::{Action, Audit};
use super::grace::Grace;
use super::plan::Scope;
use super::records::RecordId;
use crate::record::Pool;
use crate::record::history::{self, Sample, USE_HISTORY_KEY};
use crate::record::marks::{FIRST_SEEN_KEY, Mark, Marks};

/// Annotations of one object that are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub of: Carrier,
    /// Their keys and values; `None`: there should be none.
    pub annotations: Vec<(&'static str, Option<String>)>,
}

/// What carries the annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Index of a pool.
    Pool(usize),
    /// Index of a reservation.
    Reservation(usize),
}

/// What is to be remembered, and to be forgotten, after the releases.
#[must_use]
pub fn changes(
    audit: &Audit<'_>,
    grace: Grace,
    scope: &Scope,
    applied: Option<&Applied>,
) -> Vec<Change> {
    let records = audit.records();
    let stays = |id: RecordId| {
        let outcome = applied.and_then(|applied| applied.outcomes.get(&id));
        let is_another = matches!(
            outcome,
            Some(Outcome::Released | Outcome::AlreadyGone | Outcome::Changed)
        );
        !is_another && audit.at_first_sight(id).action() == Action::Release
    };
    let mark = |id| {
        Some(Mark {
            at: audit.first_seen(id).unwrap_or(grace.now),
            print: audit.print(id)?,
        })
    };
    let mut wanted: Vec<(Marks, u64)> = vec![Default::default(); records.pools.len()];
    for (index, entry) in records.entries.iter().enumerate() {
        let id = RecordId::Entry(index);
        let Some((marks, allocated)) = wanted.get_mut(entry.pool) else {
            continue;
        };
        if stays(id)
            && let Some(mark) = mark(id)
        {
            marks.add(&entry.key, mark);
        }
        *allocated += u64::from(entry.address.is_ok() && !is_gone(applied, id));
    }
    let pools = records.pools.iter().zip(wanted).enumerate();
    let in_scope = pools.filter(|(_, (pool, _))| scope.holds_pool(&pool.id));
    let of_pools = in_scope.filter_map(|(index, (pool, (mut marks, allocated)))| {
        marks.bound();
        let mut annotations = Vec::new();
        if marks != pool.first_seen {
            annotations.push((FIRST_SEEN_KEY, marks.text()));
        }
        let at = grace.now;
        if matters(pool, allocated)
            && let Some(text) = history::extended(&pool.samples, Sample { at, allocated })
        {
            annotations.push((USE_HISTORY_KEY, Some(text)));
        }
        let of = Carrier::Pool(index);
        (!annotations.is_empty()).then_some(Change { of, annotations })
    });
    let reservations = records.reservations().enumerate();
    let of_reservations = reservations.filter_map(|(index, reservation)| {
        let id = RecordId::Reservation(index);
        // With an entry, that remembers for both.
        let is_alone = reservation.entries.is_empty() && scope.holds(records, id) && stays(id);
        let wanted = is_alone.then(|| mark(id)).flatten();
        let is_to_change =
            wanted != reservation.first_seen && scope.holds(records, id) && !is_gone(applied, id);
        is_to_change.then(|| Change {
            of: Carrier::Reservation(index),
            annotations: vec![(FIRST_SEEN_KEY, wanted.map(|mark| mark.to_string()))],
        })
    });
    of_pools.chain(of_reservations).collect()
}

fn is_gone(applied: Option<&Applied>, id: RecordId) -> bool {
    let outcome = applied.and_then(|applied| applied.outcomes.get(&id));
    matches!(outcome, Some(Outcome::Released | Outcome::AlreadyGone))
}

/// Whether it matters how a pool fills: most have room for years, and are not written for that.
fn matters(pool: &Pool, allocated: u64) -> bool {
    let tenth = pool.usable().map(|usable| usable / 10);
    tenth.is_some_and(|tenth| u128::from(allocated) >= tenth)
}
