//! PURE: how long a record has been seen as an orphan.

use k8s_openapi::jiff::Timestamp;

use super::{Action, Audit, Place, RecordId, Standing, Verdict};
use crate::reconcile::grace::Waiting;
use crate::record::marks::Print;

impl<'a> Audit<'a> {
    /// What an orphan still waits for.
    pub(super) fn waiting(&self, id: RecordId, verdict: &Verdict<'a>) -> Option<Waiting<'a>> {
        if verdict.action() != Action::Release || !self.grace.remembers() {
            return None;
        }
        let entries = self.entries_of(id);
        if entries.is_empty() {
            return self.waiting_alone(id);
        }
        // A reservation goes with its entries, and has no memory of its own then.
        entries
            .iter()
            .find_map(|index| self.waiting_alone(RecordId::Entry(*index)))
    }

    fn waiting_alone(&self, id: RecordId) -> Option<Waiting<'a>> {
        let ready = match self.place_of(id) {
            Some(Place {
                node,
                standing: Standing::Ready,
            }) => self.nodes.since(node).map(|since| (node, since)),
            _ => None,
        };
        self.grace.waiting(self.seen_since(id), ready)
    }

    /// Since when the record has been seen as it is now, by runs that remember.
    #[must_use]
    pub fn first_seen(&self, id: RecordId) -> Option<Timestamp> {
        let entries = self.entries_of(id);
        if entries.is_empty() {
            return self.seen_since(id);
        }
        let each = entries
            .iter()
            .map(|index| self.seen_since(RecordId::Entry(*index)));
        // The youngest: one that was never seen so is younger than all others.
        each.map(|since| since.unwrap_or(Timestamp::MAX))
            .max()
            .filter(|since| *since <= self.grace.now)
    }

    /// Whether another complete run has seen the orphan as one, long ago.
    #[must_use]
    pub fn is_confirmed(&self, id: RecordId) -> bool {
        self.grace.remembers() && self.grace.is_confirmed(self.first_seen(id))
    }

    fn entries_of(&self, id: RecordId) -> &'a [usize] {
        match id {
            RecordId::Entry(_) => &[],
            RecordId::Reservation(index) => {
                let reservation = self.records.reservation(index);
                reservation.map_or(&[], |reservation| reservation.entries)
            }
        }
    }

    fn seen_since(&self, id: RecordId) -> Option<Timestamp> {
        let mark = match id {
            RecordId::Entry(index) => {
                let entry = self.records.entries.get(index)?;
                self.records.pool_of(entry).first_seen.get(&entry.key)
            }
            RecordId::Reservation(index) => self.records.reservation(index)?.first_seen,
        };
        // Most records have no mark, and then no fingerprint needs to be taken.
        self.grace.since(Some(mark?), self.print(id)?)
    }

    /// The fingerprint of a record and of the pod that is, or is not, behind it.
    #[must_use]
    pub fn print(&self, id: RecordId) -> Option<Print> {
        let pod = self.records.pod_of(id)?;
        let uid = self.pods.get(pod).map(|state| state.uid.to_string());
        let uid = uid.unwrap_or_default();
        Some(match id {
            RecordId::Entry(index) => Print::of(&[&self.records.entries.get(index)?.raw(), &uid]),
            RecordId::Reservation(index) => {
                let own = self.records.reservation(index)?.print.to_string();
                Print::of(&[&own, &uid])
            }
        })
    }
}
