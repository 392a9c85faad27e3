//! PURE: the metrics of one run, as text for Prometheus.
//!
//! A run is gone before anybody could scrape it, so what it leaves behind speaks of the last run:
//! every value is a gauge that the next run replaces. All series of a bounded set are always there,
//! with 0 where there is nothing to count, because an alert cannot compare with what is absent.

mod push_url;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::reconcile::audit::Verdict;
use crate::reconcile::plan::Refusal;
use text::{Sample, Text, Value};

pub use push_url::{InvalidUrl, PushUrl};

/// What each name begins with.
const PREFIX: &str = "whereabouts_reconciler_";

/// The metric that a failed run takes over from the run before.
const LAST_SUCCESS: &str = "last_success_timestamp_seconds";

/// The kinds of records, as reports name them.
pub const KINDS: [&str; 2] = ["Allocation", "Reservation"];

/// What can fail to be written: the release of a record of either kind, putting back a reservation
/// whose entry came back, or what `--repair` puts back.
pub const WRITES: [&str; 4] = ["Allocation", "Reservation", "Restore", "Repair"];

/// The kinds of conflicts: findings which say that two pods have one address, or can get one at any
/// moment.
pub const CONFLICTS: [&str; 4] = ["UsedByAnother", "TwoPods", "TwoOwners", "Unrecorded"];

/// The kinds of all other findings.
pub const DEFECTS: [&str; 5] = [
    "MissingReservation",
    "MissingEntry",
    "Unusable",
    "TwoPools",
    "Malformed",
];

/// How many, by one label.
pub type Tally = BTreeMap<&'static str, usize>;

/// How many records, by the kind of the record and the verdict on it.
pub type RecordTally = BTreeMap<(&'static str, &'static str), usize>;

/// What a run counted; the default is that of a run which failed before it did anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Records that it released.
    pub released: RecordTally,
    /// Writes that failed, by [`WRITES`].
    pub failures: Tally,
    /// Orphans whose turn did not come before the run was over.
    pub not_started: usize,
    /// Brakes that refused the release, by [`Refusal::BRAKES`].
    pub refusals: Tally,
    /// What it saw; `None` when a part of the view was missing.
    pub view: Option<View>,
}

/// What a run saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Records that should go, whether or not they did.
    pub orphans: RecordTally,
    /// Records that stay.
    pub held: RecordTally,
    /// Conflicts, by [`CONFLICTS`].
    pub conflicts: Tally,
    /// Other findings, by [`DEFECTS`].
    pub defects: Tally,
    /// Every pool of the cluster.
    pub pools: Vec<PoolUse>,
}

/// How full a pool is after the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// `namespace/name`.
    pub pool: String,
    /// How many addresses its range has for pods; `None` when the range cannot be read.
    pub usable: Option<u128>,
    /// How many addresses of it are allocated.
    pub allocated: usize,
}

/// How and when a run ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it only reported.
    pub dry_run: bool,
    /// When a run last succeeded: now, or what [`last_success`] found; `None` leaves it out.
    pub last_success: Option<u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            released: no_records(),
            failures: none_of(&WRITES),
            not_started: 0,
            refusals: none_of(&Refusal::BRAKES),
            view: None,
        }
    }
}

impl Default for View {
    fn default() -> Self {
        Self {
            orphans: no_records(),
            held: no_records(),
            conflicts: none_of(&CONFLICTS),
            defects: none_of(&DEFECTS),
            pools: Vec::new(),
        }
    }
}

fn none_of(labels: &[&'static str]) -> Tally {
    labels.iter().map(|label| (*label, 0)).collect()
}

fn no_records() -> RecordTally {
    let each = |kind| {
        Verdict::NAMES
            .iter()
            .map(move |reason| ((kind, *reason), 0))
    };
    KINDS.into_iter().flat_map(each).collect()
}

/// Writes down all metrics of a run.
#[must_use]
pub fn render(ending: &Ending, counts: &Counts) -> String {
    let mut text = Text::new(PREFIX);
    run(&mut text, ending, counts);
    writes(&mut text, counts);
    if let Some(view) = &counts.view {
        records(&mut text, view);
        pools(&mut text, &view.pools);
    }
    text.finish()
}

/// When a run last succeeded, as an earlier text says.
#[must_use]
pub fn last_success(text: &str) -> Option<u64> {
    let samples = text.lines().filter_map(|line| line.strip_prefix(PREFIX));
    let mut values = samples.filter_map(|sample| sample.strip_prefix(LAST_SUCCESS));
    values.find_map(|value| value.trim().parse().ok())
}

fn run(text: &mut Text, ending: &Ending, counts: &Counts) {
    text.gauge(
        "build_info",
        "The program that ran, by its version; always 1.",
        [Sample::one(1).label("version", env!("CARGO_PKG_VERSION"))],
    );
    text.gauge(
        "last_run_timestamp_seconds",
        "When the last run ended, however it did.",
        [Sample::new(Value::Count(ending.at.into()))],
    );
    text.gauge(
        LAST_SUCCESS,
        "When a run last did all that was to be done.",
        ending
            .last_success
            .map(|at| Sample::new(Value::Count(at.into()))),
    );
    text.gauge(
        "run_duration_seconds",
        "How long the last run took.",
        [Sample::new(Value::Seconds(ending.duration))],
    );
    text.gauge(
        "dry_run",
        "Whether the last run only reported.",
        [Sample::one(usize::from(ending.dry_run))],
    );
    text.gauge(
        "view_complete",
        "Whether the last run could read everything; if not, it released nothing.",
        [Sample::one(usize::from(counts.view.is_some()))],
    );
}

fn writes(text: &mut Text, counts: &Counts) {
    text.gauge(
        "released_records",
        "Records that the last run released, by the verdict on them.",
        by_record(&counts.released),
    );
    text.gauge(
        "write_failures",
        "Writes of the last run that failed, by what was to be written.",
        by_label("kind", &counts.failures),
    );
    text.gauge(
        "not_started_records",
        "Orphans whose turn did not come before the last run was over.",
        [Sample::one(counts.not_started)],
    );
    text.gauge(
        "brake_refusals",
        "Whether a brake refused the release in the last run, by brake.",
        by_label("reason", &counts.refusals),
    );
}

fn records(text: &mut Text, view: &View) {
    text.gauge(
        "orphan_records",
        "Records that the last run found to be orphans, released or not, by verdict.",
        by_record(&view.orphans),
    );
    text.gauge(
        "held_records",
        "Records that the last run found to stay, by the verdict on them.",
        by_record(&view.held),
    );
    text.gauge(
        "conflicts",
        "Addresses that two pods have, or can get at any moment, by what shows it.",
        by_label("kind", &view.conflicts),
    );
    text.gauge(
        "defects",
        "Records that contradict each other or the definition of their network, by what is wrong.",
        by_label("kind", &view.defects),
    );
}

fn pools(text: &mut Text, pools: &[PoolUse]) {
    let sample = |pool: &PoolUse, value| Sample::new(value).label("pool", &pool.pool);
    text.gauge(
        "pool_usable_addresses",
        "Addresses that the range of a pool has for pods.",
        pools
            .iter()
            .filter_map(|pool| Some(sample(pool, Value::Count(pool.usable?)))),
    );
    text.gauge(
        "pool_allocated_addresses",
        "Addresses of a pool that are allocated after the last run.",
        pools
            .iter()
            .map(|pool| sample(pool, Value::of(pool.allocated))),
    );
}

fn by_label<'a>(label: &'static str, tally: &'a Tally) -> impl Iterator<Item = Sample> + 'a {
    let sample =
        move |(value, count): (&&'static str, &usize)| Sample::one(*count).label(label, value);
    tally.iter().map(sample)
}

fn by_record(tally: &RecordTally) -> impl Iterator<Item = Sample> + '_ {
    tally.iter().map(|((kind, reason), count)| {
        Sample::one(*count)
            .label("kind", kind)
            .label("reason", reason)
    })
}
