//! PURE: how full each pool is, and for how long it will do.

use std::collections::HashMap;
use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Outcome, RecordId, Report, escape};
use crate::reconcile::exhaustion::{in_words, time_left};
use crate::record::Pool;

/// Of so many characters is a bar.
const BAR: u128 = 20;

/// One pool of the cluster, in scope or not: how full it is does not depend on who looks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolRow<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) range: &'a str,
    /// How many addresses the range has for pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    usable: Option<u64>,
    /// How many of them are allocated, after the run.
    allocated: u64,
    /// How long the others last, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_in_seconds: Option<u64>,
    #[serde(skip)]
    exact: Option<u128>,
}

impl Report<'_> {
    /// How full each pool is after the run.
    pub(super) fn pool_rows(&self) -> Vec<PoolRow<'_>> {
        let records = self.records();
        let mut allocated: Vec<u64> = vec![0; records.pools.len()];
        for (index, entry) in records.entries.iter().enumerate() {
            let outcome = self.outcome(RecordId::Entry(index));
            let is_gone = matches!(outcome, Some(Outcome::Released | Outcome::AlreadyGone));
            // An entry that holds no address of the range takes none from it either.
            if !is_gone
                && entry.address.is_ok()
                && let Some(allocated) = allocated.get_mut(entry.pool)
            {
                *allocated += 1;
            }
        }
        for (at, count) in self.repaired_entries() {
            if let Some(allocated) = allocated.get_mut(at) {
                *allocated += count;
            }
        }
        let pools = records.pools.iter().zip(allocated);
        pools
            .map(|(pool, count)| self.pool_row(pool, count))
            .collect()
    }

    /// How many entries were put back, by the index of their pool.
    fn repaired_entries(&self) -> HashMap<usize, u64> {
        let mut counts = HashMap::new();
        for slot in self.repaired_slots() {
            let mut pools = self.records().pools.iter();
            if let Some(at) = pools.position(|pool| pool.id == slot.pool) {
                *counts.entry(at).or_default() += 1;
            }
        }
        counts
    }

    fn pool_row<'a>(&self, pool: &'a Pool, allocated: u64) -> PoolRow<'a> {
        let exact = pool.usable();
        let left = exact.and_then(|usable| time_left(&pool.samples, allocated, usable, self.now));
        PoolRow {
            namespace: &pool.id.namespace,
            name: &pool.id.name,
            range: &pool.range_text,
            usable: exact.map(|usable| usable.try_into().unwrap_or(u64::MAX)),
            allocated,
            exhausted_in_seconds: left.map(|left| left.as_secs()),
            exact,
        }
    }
}

impl PoolRow<'_> {
    /// Its name, and how many addresses are allocated of how many.
    pub(super) fn usage(&self) -> (String, Option<u128>, u64) {
        let name = format!("{}/{}", self.namespace, self.name);
        (name, self.exact, self.allocated)
    }

    fn bar(&self) -> String {
        let Some(usable) = self.exact.filter(|usable| *usable > 0) else {
            return "-".to_owned();
        };
        let share = |of: u128| u128::from(self.allocated).saturating_mul(of) / usable;
        // What is in use shows, and what is full alone is a full bar.
        let filled = share(BAR).clamp(u128::from(self.allocated > 0), BAR);
        let filled = usize::try_from(filled).unwrap_or_default();
        let empty = usize::try_from(BAR).unwrap_or_default() - filled;
        let percent = share(100);
        format!(
            "[{}{}] {percent:>3}%",
            "#".repeat(filled),
            ".".repeat(empty)
        )
    }
}

/// A number that a person can take in.
fn short(number: u128) -> String {
    match number.checked_ilog10() {
        Some(digits) if digits >= 9 => format!("10^{digits}"),
        _ => number.to_string(),
    }
}

/// The pools as a table.
pub(super) fn print(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let rows = report.pool_rows();
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "NAMESPACE",
        "POOL",
        "RANGE",
        "USE",
        "ALLOCATED",
        "USABLE",
        "FULL IN",
    ]);
    for row in &rows {
        let left = row.exhausted_in_seconds.map(std::time::Duration::from_secs);
        table.add_row([
            escape(row.namespace).into_owned(),
            escape(row.name).into_owned(),
            escape(row.range).into_owned(),
            row.bar(),
            row.allocated.to_string(),
            row.exact.map_or_else(|| "-".to_owned(), short),
            left.map_or_else(|| "-".to_owned(), in_words),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out)
}
