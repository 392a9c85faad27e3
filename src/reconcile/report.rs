//! PURE: what a run tells a person, or a program.

mod ascii;
mod colour;
mod counts;
mod escape;
mod found;
mod pools;
mod remarks;
mod structured;
mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::{Applied, Outcome};
use super::audit::{Action, Audit, Verdict};
use super::findings::Kind;
use super::ledger::Datastore;
use super::nodes::Nodes;
use super::plan::{Plan, Scope};
use super::records::{RecordId, Records};
use super::repair::{Outcome as RepairOutcome, Repaired};
use super::snapshot::Snapshot;
use super::{Mode, Repairs, Run, Settings};

pub use colour::Colours;
pub use escape::escape;
pub use found::FindingRow;

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Orphans and findings, and a summary.
    Table,
    /// The same with container ids and the evidence.
    Wide,
    /// Everything, each record with its verdict.
    Json,
    /// As json.
    Yaml,
    /// One line for each orphan.
    Name,
}

/// Where the snapshot came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A running cluster.
    Cluster,
    /// Dumps.
    Files,
}

/// What the run cost and when it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// When it began, as RFC 3339 in UTC.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Calls to the API server.
    pub api_calls: u64,
    /// Bytes of their answers.
    pub bytes_received: u64,
    /// Calls to etcd, where the records are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_calls: Option<u64>,
}

/// A finished run, ready to be printed.
#[derive(Debug)]
pub struct Report<'a> {
    audit: Audit<'a>,
    plan: &'a Plan,
    applied: Option<&'a Applied>,
    forgotten: Option<&'a str>,
    snapshot: &'a Snapshot,
    repaired: &'a Repaired,
    repairs: Repairs,
    scope: &'a Scope,
    notes: &'a [String],
    nodes: &'a Nodes,
    mode: Mode,
    datastore: Datastore,
    pods: usize,
    now: Timestamp,
    /// Where the snapshot came from.
    pub source: Source,
    /// What the run cost.
    pub cost: Cost,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Conclusion {
    /// All that was to be done is done.
    Completed,
    /// A brake forbade it.
    Refused,
    /// Something failed, or the run was over too early.
    Incomplete,
}

/// Counts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Pools in the cluster.
    pub pools: usize,
    /// Pods in the cluster.
    pub pods: usize,
    /// Entries of pools, in scope.
    pub allocations: usize,
    /// Reservations, in scope.
    pub reservations: usize,
    /// How often each verdict was given, in scope.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Records that should go.
    pub orphans: usize,
    /// Records that this run released.
    pub released: usize,
    /// Records that were gone when their turn came.
    pub already_gone: usize,
    /// Records that changed after they were judged.
    pub changed: usize,
    /// Reservations that stay because their entry stays.
    pub kept_with_entry: usize,
    /// Records whose release failed.
    pub failed: usize,
    /// Records whose turn did not come.
    pub not_started: usize,
    /// Reservations that were put back.
    pub restored: usize,
    /// Findings of two pods with one address, or about to have one, that are not repaired.
    pub conflicts: usize,
    /// Findings that were repaired.
    pub repaired: usize,
}

/// One record in the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row<'a> {
    /// `Allocation` or `Reservation`.
    pub kind: &'static str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The name of the pool or of the reservation.
    pub name: Cow<'a, str>,
    /// The key of an allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<&'a str>,
    /// The whole key, where the records are in etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The address, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The pod that the record names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The interface that the record names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<&'a str>,
    /// The container id of an allocation.
    #[serde(rename = "containerID", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The verdict's name.
    pub verdict: &'static str,
    /// What follows from it: `Keep`, `Warn`, `Wait` or `Release`.
    pub action: &'static str,
    /// What became of it, if it was to be released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    /// The evidence, or why it failed.
    pub reason: String,
}

impl<'a> Report<'a> {
    /// Prepares the report of a run.
    #[must_use]
    pub fn new(run: &'a Run, settings: &'a Settings, source: Source, cost: Cost) -> Self {
        Self {
            audit: run.snapshot.audit(),
            plan: &run.plan,
            applied: run.applied.as_ref(),
            forgotten: run.forgotten.as_deref(),
            snapshot: &run.snapshot,
            repaired: &run.repaired,
            repairs: settings.repairs,
            scope: &settings.scope,
            notes: &run.snapshot.notes,
            nodes: &run.snapshot.nodes,
            mode: settings.mode,
            datastore: settings.datastore,
            pods: run.snapshot.pods.total(),
            now: run.snapshot.grace.now,
            source,
            cost,
        }
    }

    /// Prints it.
    pub fn print(&self, format: Format, colours: Colours, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => table::print(self, table::Width::Narrow, colours, out),
            Format::Wide => {
                pools::print(self, out)?;
                table::print(self, table::Width::Wide, colours, out)
            }
            Format::Json => structured::json(self, out),
            Format::Yaml => structured::yaml(self, out),
            Format::Name => table::print_names(self, out),
        }
    }

    /// How the run ended.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        let Summary {
            failed,
            not_started,
            ..
        } = self.summary();
        let problems = self
            .applied
            .is_some_and(|applied| !applied.problems.is_empty());
        let unrepaired = self.repairs().any(|outcome| {
            matches!(
                outcome,
                RepairOutcome::Failed(_) | RepairOutcome::NotStarted
            )
        });
        let unsure = self.repairs == Repairs::On && self.snapshot.unsure.is_some();
        let wrong = problems || unrepaired || unsure || self.forgotten.is_some();
        if self.plan.refusal.is_some() {
            Conclusion::Refused
        } else if failed > 0 || not_started > 0 || wrong {
            Conclusion::Incomplete
        } else {
            Conclusion::Completed
        }
    }

    fn records(&self) -> &'a Records {
        self.audit.records()
    }

    fn ids(&self) -> impl Iterator<Item = RecordId> + '_ {
        self.records()
            .ids()
            .filter(|id| self.scope.holds(self.records(), *id))
    }

    /// Every record in scope.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> + '_ {
        self.ids().filter_map(|id| self.row(id))
    }

    /// Records that are no ordinary use.
    pub fn odd_rows(&self) -> impl Iterator<Item = Row<'a>> + '_ {
        let odd = self
            .ids()
            .filter(|id| self.audit.verdict(*id).action() != Action::Keep);
        odd.filter_map(|id| self.row(id))
    }

    fn row(&self, id: RecordId) -> Option<Row<'a>> {
        let verdict = self.audit.verdict(id);
        let outcome = self.applied.and_then(|applied| applied.outcomes.get(&id));
        let row = Row {
            kind: "",
            namespace: "",
            name: Cow::default(),
            offset: None,
            key: None,
            address: None,
            pod: self.records().pod_of(id).map(ToString::to_string),
            interface: None,
            container_id: None,
            verdict: verdict.name(),
            action: match verdict.action() {
                Action::Keep => "Keep",
                Action::Warn => "Warn",
                Action::Wait => "Wait",
                Action::Release => "Release",
            },
            result: self.result(&verdict, outcome),
            reason: match outcome {
                Some(Outcome::Failed(error)) => error.clone(),
                _ => verdict.to_string(),
            },
        };
        match id {
            RecordId::Entry(index) => {
                let entry = self.records().entries.get(index)?;
                let object = self.records().pool_of(entry);
                let (pool, at) = (&object.id, entry.address.as_ref().ok());
                let (container_id, podref) = id_and_podref(&entry.raw());
                Some(Row {
                    kind: "Allocation",
                    namespace: &pool.namespace,
                    name: Cow::Borrowed(&pool.name),
                    offset: Some(&entry.key),
                    key: at.and_then(|address| self.datastore.key_of(object, *address)),
                    address: entry.address.as_ref().ok().map(ToString::to_string),
                    pod: row.pod.or(podref),
                    interface: entry.owner.interface.as_deref(),
                    container_id,
                    ..row
                })
            }
            RecordId::Reservation(index) => {
                let reservation = self.records().reservation(index)?;
                let owner = reservation.owner.ok();
                Some(Row {
                    kind: "Reservation",
                    namespace: reservation.namespace(),
                    name: reservation.name(),
                    address: reservation.addresses.first().map(ToString::to_string),
                    interface: owner.and_then(|owner| owner.interface.as_deref()),
                    ..row
                })
            }
        }
    }

    fn result(&self, verdict: &Verdict<'_>, outcome: Option<&Outcome>) -> Option<&'static str> {
        if verdict.action() != Action::Release {
            return None;
        }
        Some(match outcome {
            Some(outcome) => outcome.name(),
            None if self.plan.refusal.is_some() => "Refused",
            None if self.mode == Mode::DryRun => "Planned",
            None => "NotStarted",
        })
    }

    /// Counts everything.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut allocations = 0;
        let mut verdicts = BTreeMap::new();
        for id in self.ids() {
            allocations += usize::from(matches!(id, RecordId::Entry(_)));
            *verdicts.entry(self.audit.verdict(id).name()).or_default() += 1;
        }
        let records: usize = verdicts.values().sum();
        let outcomes = || {
            self.applied
                .iter()
                .flat_map(|applied| applied.outcomes.values())
        };
        let count = |wanted: fn(&Outcome) -> bool| outcomes().filter(|o| wanted(o)).count();
        Summary {
            pools: self.records().pools.len(),
            pods: self.pods,
            allocations,
            reservations: records - allocations,
            verdicts,
            orphans: self.plan.len(),
            released: count(|outcome| matches!(outcome, Outcome::Released)),
            already_gone: count(|outcome| matches!(outcome, Outcome::AlreadyGone)),
            changed: count(|outcome| matches!(outcome, Outcome::Changed)),
            kept_with_entry: count(|outcome| matches!(outcome, Outcome::KeptWithEntry)),
            failed: count(|outcome| matches!(outcome, Outcome::Failed(_))),
            not_started: count(|outcome| matches!(outcome, Outcome::NotStarted)),
            restored: self.applied.map_or(0, |applied| applied.restored.len()),
            conflicts: self.count_findings(Kind::is_conflict),
            repaired: self
                .repairs()
                .filter(|done| **done == RepairOutcome::Repaired)
                .count(),
        }
    }
}

/// What an entry says in its own words, readable or not.
fn id_and_podref(raw: &str) -> (Option<String>, Option<String>) {
    #[derive(Deserialize)]
    struct Fields {
        // As etcd has it.
        #[serde(alias = "container")]
        id: Option<String>,
        podref: Option<String>,
    }
    let fields = serde_json::from_str(raw).unwrap_or(Fields {
        id: None,
        podref: None,
    });
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    (said(fields.id), said(fields.podref))
}
