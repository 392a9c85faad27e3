//! I/O: where the metrics of a run go: a file for node-exporter, a Pushgateway.

mod file;
mod push;

use std::io;
use std::path::PathBuf;

use http::Method;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::options::Options;
use crate::metrics::{Counts, Ending, PushUrl, render};
use crate::reconcile::Mode;
use crate::reconcile::report::escape;

/// A file for metrics that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write metrics to {}: {source}", path.display())]
pub(super) struct FileProblem {
    path: PathBuf,
    source: io::Error,
}

/// Where the metrics of a run go.
#[derive(Debug)]
pub(super) struct Outlets {
    file: Option<PathBuf>,
    push: Option<PushUrl>,
    dry_run: bool,
    started: Instant,
}

impl Outlets {
    /// Finds the outlets before a run.
    ///
    /// # Errors
    /// When it is clear by now that the file could not be written.
    pub(super) fn new(options: &Options) -> Result<Self, FileProblem> {
        let file = options.metrics_file.clone();
        if let Some(path) = &file {
            super::file::check(path).map_err(|source| FileProblem {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self {
            file,
            push: options.metrics_push().cloned(),
            dry_run: options.mode() == Mode::DryRun,
            started: Instant::now(),
        })
    }

    /// Writes and pushes what a run counted, once it has ended. What goes wrong here is logged: it
    /// changes nothing about what the run did.
    pub(super) async fn publish(&self, counts: &Counts, succeeded: bool) {
        if self.file.is_none() && self.push.is_none() {
            return;
        }
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let ending = Ending {
            at: now,
            duration: self.started.elapsed(),
            dry_run: self.dry_run,
            last_success: succeeded.then_some(now),
        };
        if let Some(path) = &self.file {
            let ending = Ending {
                last_success: ending.last_success.or_else(|| file::last_success(path)),
                ..ending.clone()
            };
            if let Err(source) = file::write(path, &render(&ending, counts)) {
                let path = path.clone();
                warn(&FileProblem { path, source });
            }
        }
        if let Some(url) = &self.push {
            // PUT replaces all that the last run pushed. POST leaves what this one does not say:
            // when a run last succeeded.
            let method = if succeeded { Method::PUT } else { Method::POST };
            if let Err(problem) = push::push(url, method, render(&ending, counts)).await {
                warn(&problem);
            }
        }
    }
}

fn warn(problem: &dyn std::error::Error) {
    tracing::warn!("{}", escape(&problem.to_string()));
}
