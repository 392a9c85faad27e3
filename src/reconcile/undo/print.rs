//! PURE: what an undo tells a person, or a program.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::{Fate, Mode, SavedEntry, Undone};
use crate::ip::IpRange;
use crate::reconcile::ledger::Datastore;
use crate::reconcile::report::{Format, escape};
use crate::reconcile::{POOLS, RESERVATIONS};
use crate::record::Pool;

/// One record of the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    /// The whole key, where the records are in etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    result: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    dry_run: bool,
    undoes: &'a str,
    remarks: Vec<String>,
    records: Vec<Row<'a>>,
}

impl Fate {
    /// Its name, as it is printed.
    fn name(&self) -> &'static str {
        match self {
            Self::NotReleased => "NotReleased",
            Self::Missing => "Planned",
            Self::PutBack => "PutBack",
            Self::AlreadyThere => "AlreadyThere",
            Self::Taken(_) => "Taken",
            Self::NoPlace(_) => "NoPlace",
            Self::Failed(_) => "Failed",
            Self::NotStarted => "NotStarted",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Taken(why) | Self::NoPlace(why) | Self::Failed(why) => why,
            Self::NotReleased
            | Self::Missing
            | Self::PutBack
            | Self::AlreadyThere
            | Self::NotStarted => "",
        }
    }
}

/// The address that an entry holds.
fn address_of(saved: &SavedEntry) -> Option<IpAddr> {
    let range: IpRange = saved.range.parse().ok()?;
    range.address_of_key(&saved.offset)
}

impl Undone<'_> {
    /// Whether every record is back, or would be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let fates = self.intent.entries.iter().chain(&self.intent.reservations);
        let mut missing = fates.filter(|fate| match fate {
            Fate::NotReleased | Fate::Missing | Fate::PutBack | Fate::AlreadyThere => false,
            Fate::Taken(_) | Fate::NoPlace(_) | Fate::Failed(_) | Fate::NotStarted => true,
        });
        missing.next().is_none() && self.problems.is_empty()
    }

    /// Prints it.
    pub fn print(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table | Format::Wide => self.table(out),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, &self.document())?;
                writeln!(out)
            }
            Format::Yaml => serde_yaml::to_writer(out, &self.document()).map_err(io::Error::other),
            Format::Name => self.names(out),
        }
    }

    fn document(&self) -> Document<'_> {
        Document {
            api_version: "report.whereabouts.cni.cncf.io/v1alpha1",
            kind: "UndoReport",
            dry_run: self.mode == Mode::DryRun,
            undoes: &self.intent.report.started_at,
            remarks: self.remarks(),
            records: self.rows().collect(),
        }
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let report = self.intent.report;
        let mut of_reservations: HashMap<(&str, &str), String> = HashMap::new();
        for saved in &report.allocations {
            for name in &saved.reservations {
                let address = address_of(saved);
                let address = address.map(|it| it.to_string());
                of_reservations.extend(address.map(|it| ((&*saved.namespace, &**name), it)));
            }
        }
        let entries = report.allocations.iter().zip(&self.intent.entries);
        let key_of = |saved: &SavedEntry| {
            let pool = Pool::new(saved.pool_id(), &saved.range, false);
            report.datastore.key_of(&pool, address_of(saved)?)
        };
        let entries = entries.map(move |(saved, fate)| Row {
            kind: "Allocation",
            namespace: &saved.namespace,
            name: &saved.pool,
            offset: Some(&saved.offset),
            key: key_of(saved),
            address: address_of(saved).map(|address| address.to_string()),
            pod: saved.entry.get("podref").and_then(Value::as_str),
            result: fate.name(),
            reason: fate.reason(),
        });
        let reservations = report.reservations.iter().zip(&self.intent.reservations);
        let reservations = reservations.map(move |(saved, fate)| Row {
            kind: "Reservation",
            namespace: saved.id().0,
            name: saved.id().1,
            offset: None,
            key: None,
            address: of_reservations.get(&saved.id()).cloned(),
            pod: saved.object.pointer("/spec/podref").and_then(Value::as_str),
            result: fate.name(),
            reason: fate.reason(),
        });
        entries.chain(reservations)
    }

    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "NAMESPACE",
            "KIND",
            "NAME",
            "ADDRESS",
            "POD",
            "RESULT",
            "REASON",
        ]);
        let or_dash = |text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty());
            escape(text.unwrap_or("-")).into_owned()
        };
        let mut rows = 0;
        for row in self.rows() {
            rows += 1;
            let name = row.offset.map_or_else(
                || row.name.to_owned(),
                |offset| format!("{}/{offset}", row.name),
            );
            table.add_row([
                or_dash(Some(row.namespace)),
                row.kind.to_owned(),
                or_dash(Some(&name)),
                or_dash(row.address.as_deref()),
                or_dash(row.pod),
                row.result.to_owned(),
                or_dash(Some(row.reason)),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 3));
        }
        if rows > 0 {
            for line in table.lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
            writeln!(out)?;
        }
        for remark in self.remarks() {
            writeln!(out, "{}", escape(&remark))?;
        }
        writeln!(out, "{}", self.sentence())
    }

    /// One line for each record that is put back, or would be.
    fn names(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in self
            .rows()
            .filter(|row| matches!(row.result, "PutBack" | "Planned"))
        {
            let (namespace, name) = (escape(row.namespace), escape(row.name));
            match row.offset {
                _ if row.key.is_some() => {
                    let key = row.key.unwrap_or_default();
                    writeln!(out, "{}", escape(&key))?;
                }
                Some(offset) => writeln!(out, "{POOLS}/{namespace}/{name}/{}", escape(offset))?,
                None => writeln!(out, "{RESERVATIONS}/{namespace}/{name}")?,
            }
        }
        Ok(())
    }

    /// What a person should read beside the records.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let report = self.intent.report;
        let mut remarks = self.problems.clone();
        if report.left_out > 0 {
            remarks.push(format!(
                "the report lacks {} records that did not fit into it; they cannot be put back from it",
                report.left_out
            ));
        }
        if !report.finished {
            remarks.push(
                "the run did not come to its end: the report has what it was about to release"
                    .to_owned(),
            );
        }
        if self.count(&[Fate::PutBack, Fate::Missing]) > 0 {
            let job = match report.datastore {
                Datastore::Kubernetes => "ip-reconciler",
                Datastore::Etcd => "ip-reconciler-etcd",
            };
            let first = report.allocations.first();
            let pool = first.map(|saved| Pool::new(saved.pool_id(), &saved.range, false));
            remarks.push(format!(
                "the next run releases again what is still an orphan: suspend the CronJob (kubectl \
                 patch cronjob -n kube-system {job} -p '{{\"spec\":{{\"suspend\":true}}}}'), or {}",
                report.datastore.exempt(pool.as_ref())
            ));
        }
        remarks
    }

    fn count(&self, wanted: &[Fate]) -> usize {
        let fates = self.intent.entries.iter().chain(&self.intent.reservations);
        fates.filter(|fate| wanted.contains(fate)).count()
    }

    /// The whole undo in a few words.
    fn sentence(&self) -> String {
        let all = self.intent.report.len();
        let back = self.count(&[Fate::PutBack]);
        let planned = self.count(&[Fate::Missing]);
        let there = self.count(&[Fate::AlreadyThere]);
        let left = self.count(&[Fate::NotReleased]);
        let rest = all - back - planned - there - left;
        let did = match self.mode {
            Mode::DryRun => format!("{planned} of {all} records would be put back: dry run"),
            Mode::Release => format!("{back} of {all} records put back"),
        };
        let parts = [
            (there, "already there"),
            (left, "had not been released"),
            (rest, "not put back"),
        ];
        let said = parts.iter().filter(|(count, _)| *count > 0);
        let said = said.map(|(count, what)| format!(", {count} {what}"));
        format!("{did}{}.", said.collect::<String>())
    }
}
