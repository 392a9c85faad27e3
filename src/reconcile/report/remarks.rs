//! PURE: what a person should read beside the records.

use super::{Report, Source, Verdict};

impl Report<'_> {
    /// What a person should read beside the records.
    pub fn remarks(&self) -> impl Iterator<Item = String> + '_ {
        let refusal = self
            .plan
            .refusal
            .iter()
            .map(|refusal| format!("refused: {refusal}"));
        let problems = self
            .applied
            .iter()
            .flat_map(|applied| applied.problems.iter().cloned());
        let restored = self.applied.iter().flat_map(|applied| &applied.restored);
        let restored =
            restored.map(|id| format!("reservation {id} was put back: its entry came back"));
        let unread = self.records().pools.iter().filter_map(|pool| {
            let reason = pool.range.as_ref().err()?;
            Some(format!(
                "pool {} cannot be read, its entries are kept: {reason}",
                pool.id
            ))
        });
        let nothing = self.ids().next().is_none() && self.scope.is_narrow();
        let nothing =
            nothing.then(|| "no record is in the scope of --namespace and --pool: they name where records are, not pods".to_owned());
        let unconfirmed = self.unconfirmed();
        let unconfirmed = (unconfirmed > 0).then(|| {
            format!("{unconfirmed} verdicts rest on one look at a pod; a live run looks again before it releases")
        });
        let unsure = self.count_without_node();
        let unsure = (unsure > 0).then(|| {
            format!(
                "{unsure} records of pods that are gone do not say on which node they were, while some \
                 node is not Ready; --strict holds them"
            )
        });
        self.notes
            .iter()
            .cloned()
            .chain(self.snapshot.unsure.clone())
            .chain(unsure)
            .chain(refusal)
            .chain(problems)
            .chain(self.forgotten.map(str::to_owned))
            .chain(restored)
            .chain(unread)
            .chain(nothing)
            .chain(unconfirmed)
    }

    /// How many records go because their pod is gone, although their node may be unreachable.
    fn count_without_node(&self) -> usize {
        if !self.nodes.has_unreachable() {
            return 0;
        }
        let gone = self
            .ids()
            .filter(|id| self.audit.verdict(*id) == Verdict::PodGone);
        gone.filter(|id| self.audit.place_of(*id).is_none()).count()
    }

    fn unconfirmed(&self) -> usize {
        if self.source == Source::Cluster {
            return 0;
        }
        self.ids()
            .filter(|id| self.audit.verdict(*id).needs_confirmation())
            .count()
    }
}
