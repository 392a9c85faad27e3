//! PURE: what a run has to remember for the next one, as annotations.
//!
//! Marks are never more than hints: a record is judged anew by each run, and one without a mark
//! only waits longer.

use super::apply::{Applied, Outcome};
use super::audit::{Action, Audit};
use super::grace::Grace;
use super::plan::Scope;
use super::records::RecordId;
use crate::record::marks::{Mark, Marks};

/// An annotation that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub of: Carrier,
    /// Its value; `None`: there should be none.
    pub value: Option<String>,
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
    let mut wanted: Vec<Marks> = records.pools.iter().map(|_| Marks::default()).collect();
    for (index, entry) in records.entries.iter().enumerate() {
        let id = RecordId::Entry(index);
        if let Some(marks) = wanted.get_mut(entry.pool).filter(|_| stays(id))
            && let Some(mark) = mark(id)
        {
            marks.add(&entry.key, mark);
        }
    }
    let pools = records.pools.iter().zip(wanted).enumerate();
    let of_pools = pools.filter_map(|(index, (pool, mut marks))| {
        marks.bound();
        let is_to_change = scope.holds_pool(&pool.id) && marks != pool.first_seen;
        is_to_change.then(|| Change {
            of: Carrier::Pool(index),
            value: marks.text(),
        })
    });
    let reservations = records.reservations.iter().enumerate();
    let of_reservations = reservations.filter_map(|(index, reservation)| {
        let id = RecordId::Reservation(index);
        // With an entry, that remembers for both.
        let is_alone = reservation.entries.is_empty() && scope.holds(records, id) && stays(id);
        let wanted = is_alone.then(|| mark(id)).flatten();
        let is_to_change = wanted != reservation.first_seen.as_deref().copied()
            && scope.holds(records, id)
            && !is_gone(applied, id);
        is_to_change.then(|| Change {
            of: Carrier::Reservation(index),
            value: wanted.map(|mark| mark.to_string()),
        })
    });
    of_pools.chain(of_reservations).collect()
}

fn is_gone(applied: Option<&Applied>, id: RecordId) -> bool {
    let outcome = applied.and_then(|applied| applied.outcomes.get(&id));
    matches!(outcome, Some(Outcome::Released | Outcome::AlreadyGone))
}
