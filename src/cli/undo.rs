//! I/O: reads a saved report, and puts back what it says was released.

use std::fs;
use std::io::{self, Read, Write};

use tokio::time::Instant;

use super::datastore::connect;
use super::options::{Options, ReportSource};
use super::{Error, Exit, listen};
use crate::client::{CallError, Client};
use crate::reconcile::report::escape;
use crate::reconcile::saved::{SavedReport, unpack};
use crate::reconcile::undo::Undone;
use crate::reconcile::{Mode, Steering, kept, undo};

/// Why there is no report to be undone.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoReport {
    #[error("cannot read the report {0}: {1}")]
    Unreadable(String, io::Error),
    #[error(
        "{0}; kubectl get configmap -A -l {label} lists the reports that are kept: name one as \
         configmap/NAMESPACE/NAME",
        label = kept::LABEL
    )]
    NotKept(CallError),
    #[error("{0} cannot be undone: {1}")]
    Wrong(String, crate::reconcile::saved::NoReport),
}

/// Puts back what a report says was released.
pub(super) async fn undo(options: &Options, source: &ReportSource) -> Result<Exit, Error> {
    // A wrong file is found out before anybody is asked for a password.
    let here = match source {
        ReportSource::Input => Some(read(source, &mut io::stdin().lock())?),
        ReportSource::File(path) => {
            let mut file = fs::File::open(path).map_err(|error| unreadable(source, error))?;
            Some(read(source, &mut file)?)
        }
        ReportSource::Kept { .. } => None,
    };
    let stop = listen().map_err(Error::Signals)?;
    let deadline = Instant::now() + options.timeout();
    let cluster = connect(options, deadline, &stop).await?;
    let report = match here {
        Some(report) => report,
        None => read_kept(options, source, &cluster.client).await?,
    };
    let steering = Steering {
        deadline,
        stop,
        progress: &|step| tracing::debug!(?step, "Reading"),
    };
    let settings = options.settings();
    let undone = undo::undo(&cluster, &report, &settings, &steering).await?;
    print(options, &undone)?;
    tracing::info!(
        complete = undone.is_complete(),
        dry_run = settings.mode == Mode::DryRun,
        "Undone"
    );
    Ok(if undone.is_complete() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn read_kept(
    options: &Options,
    source: &ReportSource,
    client: &Client,
) -> Result<SavedReport, Error> {
    let ReportSource::Kept { namespace, name } = source else {
        return read(source, &mut io::empty()).map_err(Error::NoReport);
    };
    let namespace = namespace.as_deref().or(options.reports.namespace());
    let namespace = namespace.unwrap_or_else(|| client.default_namespace());
    let packed = match kept::read(client, namespace, name).await {
        Ok(packed) => packed.unwrap_or_default(),
        Err(error) if error.cause.is_not_found() => return Err(NoReport::NotKept(error).into()),
        Err(error) => return Err(undo::Error::View(error).into()),
    };
    Ok(read(source, &mut packed.as_slice())?)
}

/// Reads a report, packed or not.
fn read(source: &ReportSource, from: &mut dyn Read) -> Result<SavedReport, NoReport> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)
        .and_then(|_| unpack(bytes))
        .map_err(|error| unreadable(source, error))
        .and_then(|text| {
            SavedReport::parse(&text).map_err(|error| NoReport::Wrong(name_of(source), error))
        })
}

fn unreadable(source: &ReportSource, error: io::Error) -> NoReport {
    NoReport::Unreadable(name_of(source), error)
}

fn name_of(source: &ReportSource) -> String {
    match source {
        ReportSource::Input => "standard input".to_owned(),
        ReportSource::File(path) => path.display().to_string(),
        ReportSource::Kept { name, .. } => format!("configmap/{name}"),
    }
}

/// Prints what became of it; a reader that has gone away has seen enough.
fn print(options: &Options, undone: &Undone<'_>) -> Result<(), Error> {
    for remark in undone.remarks() {
        tracing::warn!("{}", escape(&remark));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = undone.print(options.output, &mut out);
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}
