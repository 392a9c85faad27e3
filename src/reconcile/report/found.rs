//! PURE: the findings in a report.

use serde::Serialize;

use super::Report;
use crate::reconcile::findings::{Finding, Kind, Place, Slot};
use crate::reconcile::repair::{Outcome, is_repairable};
use crate::reconcile::{Mode, Repairs};

/// One finding in the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingRow<'a> {
    /// The kind's name.
    pub kind: &'static str,
    /// From 1, an outage now, to 6, disorder.
    pub danger: u8,
    /// The address, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it stands in: `Pool` or `Reservation`.
    pub place: &'static str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The pods that it concerns.
    pub pods: Vec<String>,
    /// The evidence.
    pub reason: String,
    /// What an operator can do.
    pub advice: &'static str,
    /// What became of it, or could, if it can be repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<&'static str>,
}

impl<'a> Report<'a> {
    /// Every finding in scope, the most dangerous first.
    pub fn findings(&self) -> impl Iterator<Item = FindingRow<'a>> + '_ {
        self.found()
            .map(|(index, finding)| self.finding_row(index, finding))
    }

    /// How many findings of a kind there are, without those that were repaired.
    #[must_use]
    pub fn count_findings(&self, wanted: impl Fn(Kind) -> bool) -> usize {
        let found = self.found().filter(|(_, finding)| wanted(finding.kind));
        found
            .filter(|(index, _)| self.repaired.get(index) != Some(&Outcome::Repaired))
            .count()
    }

    /// What became of the findings that were to be repaired.
    pub fn repairs(&self) -> impl Iterator<Item = &'a Outcome> {
        self.repaired.values()
    }

    /// The places of the entries that were put back.
    pub(super) fn repaired_slots(&self) -> impl Iterator<Item = &'a Slot> + '_ {
        let findings = &self.snapshot.findings;
        let repaired = self.repaired.iter();
        let done = repaired.filter(|(_, outcome)| **outcome == Outcome::Repaired);
        done.filter_map(|(index, _)| findings.get(*index))
            .filter(|finding| finding.kind != Kind::MissingReservation)
            .filter_map(|finding| Some(&finding.repair.as_deref()?.entry))
    }

    fn found(&self) -> impl Iterator<Item = (usize, &'a Finding)> + '_ {
        let all = self.snapshot.findings.iter().enumerate();
        all.filter(|(_, finding)| finding.is_in(self.scope, &self.snapshot.records))
    }

    fn finding_row(&self, index: usize, finding: &'a Finding) -> FindingRow<'a> {
        let outcome = self.repaired.get(&index);
        let id = finding.place.id();
        FindingRow {
            kind: finding.kind.name(),
            danger: finding.kind.danger(),
            address: finding.address.map(|address| address.to_string()),
            place: match finding.place {
                Place::Pool(_) => "Pool",
                Place::Reservation(_) => "Reservation",
            },
            namespace: &id.namespace,
            name: &id.name,
            pods: finding.pods.iter().map(ToString::to_string).collect(),
            reason: match outcome {
                Some(Outcome::Failed(why) | Outcome::Changed(why)) => {
                    format!("{}; {why}", finding.evidence)
                }
                Some(Outcome::Repaired | Outcome::NotStarted) | None => finding.evidence.clone(),
            },
            advice: match outcome {
                Some(Outcome::Repaired) => "nothing more: it is repaired",
                _ => finding.advice(),
            },
            repair: match outcome {
                Some(outcome) => Some(outcome.name()),
                None if !is_repairable(self.snapshot, finding) => None,
                None if self.repairs == Repairs::Off => Some("Possible"),
                None if self.plan.refusal.is_some() => Some("Refused"),
                None if self.mode == Mode::DryRun => Some("Planned"),
                None => Some("NotStarted"),
            },
        }
    }
}
