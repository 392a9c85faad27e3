//! PURE: the report for programs, as one versioned object.

use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, SerializeSeq, Serializer};

use super::ascii::Ascii;
use super::pools::PoolRow;
use super::{Conclusion, Cost, FindingRow, Mode, Report, Source, Summary};

/// The version of the report's format; it changes when a member changes its meaning.
const API_VERSION: &str = "report.whereabouts.cni.cncf.io/v1alpha1";

/// How much of the report is looked through at once, in bytes.
const BUFFER: usize = 1 << 16;

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    source: Source,
    dry_run: bool,
    conclusion: Conclusion,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalMember>,
    summary: Summary,
    #[serde(flatten)]
    cost: &'a Cost,
    remarks: Vec<String>,
    pools: Vec<PoolRow<'a>>,
    findings: Vec<FindingRow<'a>>,
    records: RecordList<'a>,
}

#[derive(serde::Serialize)]
struct RefusalMember {
    brake: &'static str,
    message: String,
}

/// All records, written one by one: a big cluster's are never in memory together.
struct RecordList<'a>(&'a Report<'a>);

impl Serialize for RecordList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for row in self.0.rows() {
            list.serialize_element(&row)?;
        }
        list.end()
    }
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'a>) -> Self {
        let refusal = report.plan.refusal.as_ref();
        Self {
            api_version: API_VERSION,
            kind: "ReconcileReport",
            source: report.source,
            dry_run: report.mode == Mode::DryRun,
            conclusion: report.conclusion(),
            refusal: refusal.map(|r| RefusalMember {
                brake: r.brake(),
                message: r.to_string(),
            }),
            summary: report.summary(),
            cost: &report.cost,
            remarks: report.remarks().collect(),
            pools: report.pool_rows(),
            findings: report.findings().collect(),
            records: RecordList(report),
        }
    }
}

pub(super) fn json(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    // The serializer writes each bracket and each space by itself, whole pieces of text at any rate.
    let mut buffered = BufWriter::with_capacity(BUFFER, Ascii(out));
    serde_json::to_writer_pretty(&mut buffered, &Document::of(report))?;
    writeln!(buffered)?;
    buffered.flush()
}

pub(super) fn yaml(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_yaml::to_writer(out, &Document::of(report)).map_err(io::Error::other)
}
