//! PURE: a run in numbers, for its metrics.

use super::{Action, Kind, Outcome, RecordId, RepairOutcome, Report};
use crate::metrics::{Counts, PoolUse, View};

impl Report<'_> {
    /// Counts what the metrics of the run say.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let mut view = View::default();
        for id in self.ids() {
            let verdict = self.audit.verdict(id);
            let label = (kind(id), verdict.name());
            let found = match verdict.action() {
                Action::Release => &mut view.orphans,
                Action::Keep | Action::Warn | Action::Wait => &mut view.held,
            };
            *found.entry(label).or_default() += 1;
            match self.outcome(id) {
                Some(Outcome::Released) => *counts.released.entry(label).or_default() += 1,
                Some(Outcome::Failed(_)) => *counts.failures.entry(kind(id)).or_default() += 1,
                Some(Outcome::NotStarted) => counts.not_started += 1,
                Some(Outcome::AlreadyGone | Outcome::Changed | Outcome::KeptWithEntry) | None => {}
            }
        }
        for kind in Kind::ALL {
            let tally = if kind.is_conflict() {
                &mut view.conflicts
            } else {
                &mut view.defects
            };
            tally.insert(kind.name(), self.count_findings(|other| other == kind));
        }
        let unrepaired = self
            .repairs()
            .filter(|done| matches!(done, RepairOutcome::Failed(_)));
        *counts.failures.entry("Repair").or_default() += unrepaired.count();
        if let Some(applied) = self.applied {
            *counts.failures.entry("Restore").or_default() += applied.problems.len();
        }
        if let Some(refusal) = &self.plan.refusal {
            counts.refusals.insert(refusal.brake(), 1);
        }
        view.pools = self.pools();
        counts.view = Some(view);
        counts
    }

    pub(super) fn outcome(&self, id: RecordId) -> Option<&Outcome> {
        self.applied?.outcomes.get(&id)
    }

    fn pools(&self) -> Vec<PoolUse> {
        let rows = self.pool_rows();
        rows.iter()
            .map(|row| {
                let (pool, usable, allocated) = row.usage();
                PoolUse {
                    pool,
                    usable,
                    allocated: usize::try_from(allocated).unwrap_or(usize::MAX),
                }
            })
            .collect()
    }
}

fn kind(id: RecordId) -> &'static str {
    match id {
        RecordId::Entry(_) => "Allocation",
        RecordId::Reservation(_) => "Reservation",
    }
}
