//! I/O: the command line of `ip-reconciler`: what was typed, to what is done, to an exit code.

mod ask;
mod datastore;
mod file;
mod journal;
mod metrics;
mod options;
mod release;
mod undo;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::ConnectError;
use crate::log;
use crate::metrics::Counts;
use crate::reconcile::by_hand::NotFreed;
use crate::reconcile::explain::{Target, Unknown};
use crate::reconcile::ledger::Cluster;
use crate::reconcile::report::{Conclusion, Cost, Report, Source, escape};
use crate::reconcile::snapshot::{FileError, ReadStep, read_evidence, read_files};
use crate::reconcile::stop::Stop;
use crate::reconcile::{self, Mode, Run, Settings};
use datastore::connect;
use journal::Journal;
use options::{Command, Options};

/// The exit codes of `ip-reconciler`; clap uses 2 for wrong usage as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was to be done is done.
    Done = 0,
    /// Something failed, or the view of the cluster was incomplete.
    Failed = 1,
    /// The command line makes no sense, or asks for what is known to be impossible.
    Usage = 2,
    /// With `--detailed-exitcode`: a dry run found orphans.
    OrphansFound = 3,
    /// A brake refused the release.
    Refused = 4,
    /// With `--detailed-exitcode`: two pods have one address, or can get one at any moment.
    ConflictsFound = 5,
    /// A second signal ended the program at once.
    Aborted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What ends the program with a message instead of a report.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Files(#[from] FileError),
    #[error(transparent)]
    Run(#[from] reconcile::Error),
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::FileProblem),
    #[error("cannot write the report: {0}")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    ByHand(#[from] NotFreed),
    #[error("{0}")]
    NothingToRelease(String),
    #[error(
        "release asks before it frees, and standard input is no terminal: give it --yes, or only look \
         with --dry-run; nothing was released"
    )]
    NobodyToAsk,
    #[error("what was shown has changed while the question stood there; nothing was released")]
    ChangedMeanwhile,
    #[error(transparent)]
    NoReport(#[from] undo::NoReport),
    #[error(transparent)]
    Undo(#[from] reconcile::undo::Error),
    #[error(transparent)]
    Datastore(#[from] datastore::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            // What was asked for cannot be done, and nothing has been.
            Self::Metrics(_)
            | Self::NobodyToAsk
            | Self::NoReport(_)
            | Self::Journal(journal::Error::File { .. })
            | Self::ByHand(NotFreed::Several(..))
            | Self::Datastore(datastore::Error::Unusable(_))
            | Self::Undo(
                reconcile::undo::Error::OtherCluster { .. }
                | reconcile::undo::Error::OtherDatastore(_),
            ) => Exit::Usage,
            Self::ByHand(NotFreed::Refused(_)) => Exit::Refused,
            _ => Exit::Failed,
        }
    }
}

/// Runs the program: parses the arguments, does what they say, and prints to the real standard
/// output and standard error.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    if let Err(error) = log::start(options.log_level, options.log_format) {
        complain(&error.to_string());
        return Exit::Failed.into();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let exit = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(go(&options));
            // A credential plugin that hangs is not waited for.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Error::Signals(error)),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            match options.log_format {
                log::Format::Text => complain(&error.to_string()),
                log::Format::Json => {
                    let error = error.to_string();
                    tracing::error!(conclusion = "Failed", error = %escape(&error), "Reconciled");
                }
            }
            error.exit().into()
        }
    }
}

/// Says what went wrong in one line; if nobody can be told, the exit code still says it.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "ip-reconciler: {}", escape(message));
}

async fn go(options: &Options) -> Result<Exit, Error> {
    match &options.command {
        None => {}
        Some(Command::Explain { .. }) => {
            return reconcile_and_report(options, &mut Counts::default()).await;
        }
        Some(Command::Release(wanted)) => return release::release(options, wanted).await,
        Some(Command::Undo { report }) => return undo::undo(options, report).await,
    }
    let outlets = metrics::Outlets::new(options)?;
    let mut counts = Counts::default();
    let exit = reconcile_and_report(options, &mut counts).await;
    let succeeded = matches!(
        exit,
        Ok(Exit::Done | Exit::OrphansFound | Exit::ConflictsFound)
    );
    outlets.publish(&counts, succeeded).await;
    exit
}

async fn reconcile_and_report(options: &Options, counts: &mut Counts) -> Result<Exit, Error> {
    let started = Instant::now();
    let started_at = Timestamp::now();
    let settings = options.settings();
    let cost = |traffic: (u64, u64)| Cost {
        started_at: format!("{started_at:.0}"),
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        api_calls: traffic.0,
        bytes_received: traffic.1,
        etcd_calls: None,
    };
    if !options.snapshot.is_empty() {
        let asked = match &options.command {
            Some(Command::Explain { target }) => Some(target),
            Some(Command::Release(_) | Command::Undo { .. }) | None => None,
        };
        let run = reconcile::judge(read_files(&options.snapshot, asked)?, &settings);
        if let Some(Command::Explain { target }) = &options.command {
            return explain(&run, target);
        }
        let report = Report::new(&run, &settings, Source::Files, cost((0, 0)));
        return conclude(options, &report);
    }
    let journal = Journal::new(options)?;
    let deadline = started + options.timeout();
    let stop = listen().map_err(Error::Signals)?;
    let cluster = connect(options, deadline, &stop).await?;
    let client = &cluster.client;
    let mut run = run_live(&cluster, &settings, &journal, stop).await?;
    if let Some(Command::Explain { target }) = &options.command {
        let pods = target.pods(&run.snapshot.records);
        run.snapshot.evidence = read_evidence(client, pods)
            .await
            .map_err(reconcile::Error::View)?;
        return explain(&run, target);
    }
    let cost = Cost {
        etcd_calls: cluster.ledger.calls_to_etcd(),
        ..cost(client.traffic())
    };
    let report = Report::new(&run, &settings, Source::Cluster, cost);
    *counts = report.counts();
    conclude(options, &report)
}

async fn run_live(
    cluster: &Cluster,
    settings: &Settings,
    journal: &Journal,
    stop: Stop,
) -> Result<Run, Error> {
    let client = &cluster.client;
    let spinner = io::stderr()
        .is_terminal()
        .then(indicatif::ProgressBar::new_spinner);
    if let Some(spinner) = &spinner {
        spinner.enable_steady_tick(Duration::from_millis(120));
    }
    let progress = |step: ReadStep| {
        let message = match step {
            ReadStep::Pools => "Reading pools".to_owned(),
            ReadStep::Reservations => "Reading reservations".to_owned(),
            ReadStep::Nodes => "Reading nodes".to_owned(),
            ReadStep::Pods(0) => "Reading pods".to_owned(),
            ReadStep::Pods(count) => format!("Reading pods: {count}"),
        };
        if let Some(spinner) = &spinner {
            spinner.set_message(message);
        }
        tracing::debug!(?step, "Reading");
    };
    let steering = reconcile::Steering {
        deadline: client.deadline(),
        stop,
        progress: &progress,
    };
    let looked = reconcile::look(cluster, settings, &steering).await;
    if let Some(spinner) = &spinner {
        spinner.finish_and_clear();
    }
    let (snapshot, plan) = looked?;
    let opened = journal.begin(client, &snapshot, &plan, settings).await?;
    let mut run = reconcile::carry_out(cluster, (snapshot, plan), settings, &steering).await;
    journal.end(client, opened, &mut run).await;
    Ok(run)
}

/// Prints the report, logs the run in one line, and finds the exit code.
fn conclude(options: &Options, report: &Report<'_>) -> Result<Exit, Error> {
    let conclusion = report.conclusion();
    let summary = report.summary();
    tracing::info!(
        ?conclusion,
        source = ?report.source,
        dry_run = options.mode() == Mode::DryRun,
        pools = summary.pools,
        allocations = summary.allocations,
        reservations = summary.reservations,
        pods = summary.pods,
        orphans = summary.orphans,
        released = summary.released,
        already_gone = summary.already_gone,
        changed = summary.changed,
        kept_with_entry = summary.kept_with_entry,
        failed = summary.failed,
        not_started = summary.not_started,
        restored = summary.restored,
        conflicts = summary.conflicts,
        repaired = summary.repaired,
        api_calls = report.cost.api_calls,
        etcd_calls = report.cost.etcd_calls,
        bytes_received = report.cost.bytes_received,
        milliseconds = report.cost.milliseconds,
        "Reconciled"
    );
    for remark in report.remarks() {
        tracing::warn!("{}", escape(&remark));
    }
    // One bad pool can fail a thousand records for one reason.
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for row in report.odd_rows().filter(|row| row.result == Some("Failed")) {
        *failures.entry(row.reason).or_default() += 1;
    }
    for (reason, records) in failures {
        tracing::error!(records, reason = %escape(&reason), "Release failed");
    }
    for finding in report
        .findings()
        .filter(|finding| finding.repair == Some("Failed"))
    {
        tracing::error!(reason = %escape(&finding.reason), "Repair failed");
    }
    print(options, report)?;
    Ok(match conclusion {
        Conclusion::Incomplete => Exit::Failed,
        Conclusion::Refused => Exit::Refused,
        Conclusion::Completed if options.detailed_exitcode() && summary.conflicts > 0 => {
            Exit::ConflictsFound
        }
        Conclusion::Completed
            if options.detailed_exitcode()
                && options.mode() == Mode::DryRun
                && summary.orphans > 0 =>
        {
            Exit::OrphansFound
        }
        Conclusion::Completed => Exit::Done,
    })
}

/// Prints what is known of one address or pod.
fn explain(run: &Run, target: &Target) -> Result<Exit, Error> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = reconcile::explain::print(&run.snapshot, target, &mut out);
    match printed.and_then(|found| out.flush().map(|()| found)) {
        Ok(Ok(())) => Ok(Exit::Done),
        Ok(Err(unknown)) => Err(unknown.into()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Error::Output(error)),
    }
}

/// Prints the report; a reader that has gone away has seen enough.
fn print(options: &Options, report: &Report<'_>) -> Result<(), Error> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = report
        .print(options.output, options.colours(), &mut out)
        .and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// The first signal ends the run in good order, the second one at once.
fn listen() -> io::Result<Stop> {
    let (raise, stop) = Stop::new();
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        next_signal(&mut term, &mut int, &raise).await;
        tracing::warn!("Asked to stop; what has been started is finished");
        next_signal(&mut term, &mut int, &raise).await;
        std::process::exit(Exit::Aborted as i32);
    });
    Ok(stop)
}

async fn next_signal(
    term: &mut tokio::signal::unix::Signal,
    int: &mut tokio::signal::unix::Signal,
    raise: &watch::Sender<bool>,
) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    raise.send_replace(true);
}
