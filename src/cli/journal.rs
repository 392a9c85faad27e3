//! I/O: the report of what is released, saved before the first release and after the last.
//!
//! A file that somebody asked for is a condition: what cannot be saved there is not released. The
//! reports that are kept in the cluster are a service: one that cannot be kept is a warning.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use super::file;
use super::options::Options;
use crate::client::{CallError, Client};
use crate::reconcile::apply::Applied;
use crate::reconcile::kept::{self, Kept};
use crate::reconcile::ledger::Datastore;
use crate::reconcile::originals::{read_cluster_uid, read_originals};
use crate::reconcile::plan::Plan;
use crate::reconcile::saved::{Fitted, SavedReport, fit};
use crate::reconcile::snapshot::Snapshot;
use crate::reconcile::{Mode, Run, Settings};

/// Names of pods and addresses are nobody else's business.
const MODE: u32 = 0o600;

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write the report to {path}: {source}; nothing was released", path = path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("what would be released cannot be saved for --report: {0}; nothing was released")]
    Unsaved(#[from] CallError),
}

/// Where the report of a run goes.
#[derive(Debug)]
pub(super) struct Journal {
    file: Option<PathBuf>,
    keep: usize,
    namespace: Option<String>,
    datastore: Datastore,
    started: Timestamp,
}

/// The report of a run that is under way.
#[derive(Debug, Default)]
pub(super) struct Opened {
    report: Option<SavedReport>,
    kept: Option<Kept>,
    notes: Vec<String>,
}

impl Journal {
    /// Finds out before a run where its report goes.
    ///
    /// # Errors
    /// When it is clear by now that the file could not be written.
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let file = options.reports.file().map(Path::to_owned);
        if let Some(path) = &file {
            file::check(path).map_err(|source| failed(path, source))?;
        }
        Ok(Self {
            file,
            keep: options.reports.keep(),
            namespace: options.reports.namespace().map(str::to_owned),
            datastore: options.records.datastore,
            started: Timestamp::now(),
        })
    }

    /// Saves what is about to be released.
    ///
    /// # Errors
    /// When that was asked for as a file, and is not possible.
    pub(super) async fn begin(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        plan: &Plan,
        settings: &Settings,
    ) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        let releases = settings.releases(plan) && !plan.is_empty();
        let keeps = self.keep > 0 && releases;
        if settings.mode == Mode::DryRun || (self.file.is_none() && !keeps) {
            return Ok(opened);
        }
        let nothing = Plan::default();
        let plan = if releases { plan } else { &nothing };
        let report = match self.planned(client, snapshot, plan, settings.at_once).await {
            Ok(report) => report,
            Err(error) if self.file.is_some() => return Err(error.into()),
            Err(error) => {
                opened.notes.push(not_kept(&error.to_string()));
                return Ok(opened);
            }
        };
        self.write(&report)?;
        if keeps {
            match self.keep(client, &report).await {
                Ok(kept) => opened.kept = Some(kept),
                Err(problem) => opened.notes.push(not_kept(&problem)),
            }
        }
        opened.report = Some(report);
        Ok(opened)
    }

    async fn planned(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        plan: &Plan,
        at_once: usize,
    ) -> Result<SavedReport, CallError> {
        let cluster = read_cluster_uid(client).await?;
        let originals = read_originals(client, &snapshot.records, plan, at_once).await?;
        let started = format!("{:.0}", self.started);
        let cluster = (self.datastore, &*cluster);
        Ok(SavedReport::planned(
            cluster, &started, snapshot, plan, originals,
        ))
    }

    fn write(&self, report: &SavedReport) -> Result<(), Error> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let written = serde_json::to_vec_pretty(report).map_err(std::io::Error::from);
        let written = written.and_then(|text| file::replace(path, &text, MODE));
        written.map_err(|source| failed(path, source))
    }

    async fn keep(&self, client: &Client, report: &SavedReport) -> Result<Kept, String> {
        let fitted = fitted(report)?;
        let namespace = self.namespace.as_deref();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace());
        let name = kept::name_for(self.datastore, self.started);
        let summary = summary(report, &fitted);
        let kept = Kept::create(client, namespace, &name, &fitted, &summary).await;
        kept.map_err(|error| error.to_string())
    }

    /// Saves what became of it, and says in the run's report what could not be.
    pub(super) async fn end(&self, client: &Client, opened: Opened, run: &mut Run) {
        let Opened {
            report,
            kept,
            mut notes,
        } = opened;
        if let Some(mut report) = report {
            let nothing = Applied::default();
            let applied = run.applied.as_ref().unwrap_or(&nothing);
            report.finish(&run.snapshot.records, applied);
            if let Err(Error::File { path, source }) = self.write(&report) {
                notes.push(format!(
                    "{} says what was to be released, but not what became of it: {source}",
                    path.display()
                ));
            }
            if let Some(kept) = kept {
                notes.extend(self.finish(client, &kept, &report).await);
            }
        }
        run.snapshot.notes.extend(notes);
    }

    /// Finishes the report that is kept, and removes older ones; what a person should know of it.
    async fn finish(&self, client: &Client, kept: &Kept, report: &SavedReport) -> Option<String> {
        if !report.may_have_freed() {
            let removed = kept.remove(client).await;
            return removed.err().map(|error| error.to_string());
        }
        let name = kept.name();
        let fitted = match fitted(report) {
            Ok(fitted) => fitted,
            Err(problem) => return Some(not_kept(&problem)),
        };
        let summary = summary(report, &fitted);
        if let Err(error) = kept.replace(client, &fitted, &summary).await {
            let what = "says what was to be released, but not what became of it";
            return Some(format!("the kept report {name} {what}: {error}"));
        }
        if let Err(error) = kept.make_room(client, self.keep).await {
            return Some(format!("older kept reports could not be removed: {error}"));
        }
        (fitted.left_out > 0).then(|| {
            format!(
                "the kept report {name} has only {} of {} records: more do not fit; --report FILE \
                 has them all",
                fitted.records,
                report.len()
            )
        })
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

fn not_kept(problem: &str) -> String {
    format!("no report of this run is kept, so it cannot be undone: {problem}")
}

fn fitted(report: &SavedReport) -> Result<Fitted, String> {
    fit(report, kept::MAX_BYTES).map_err(|error| error.to_string())
}

/// What `kubectl` shows of a kept report.
fn summary(report: &SavedReport, fitted: &Fitted) -> String {
    let state = if report.finished {
        "released"
    } else {
        "was about to release"
    };
    let mut text = format!(
        "The run of {} {state} {} records.",
        report.started_at,
        report.len()
    );
    if fitted.left_out > 0 {
        let _ = write!(text, " {} of them did not fit.", fitted.left_out);
    }
    text
}
