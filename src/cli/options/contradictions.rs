//! PURE: what was typed and makes no sense together.

use super::{Command, Options};
use crate::reconcile::Mode;
use crate::reconcile::ledger::Datastore;

impl Options {
    /// What cannot go together, in words.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        if self.dry_run == Some(false) && !self.snapshot.is_empty() {
            Some("a snapshot cannot be changed: --snapshot always is a dry run")
        } else if !self.snapshot.is_empty()
            && (self.metrics_push().is_some() || self.metrics_file.is_some())
        {
            Some(
                "a dump's metrics would pass for the cluster's: --snapshot goes with neither --metrics-push nor --metrics-file",
            )
        } else if let Some(message) = self.misplaced_command() {
            Some(message)
        } else if self.records.datastore == Datastore::Etcd && !self.snapshot.is_empty() {
            Some("a dump has custom resources: --snapshot does not go with --datastore etcd")
        } else if self.records.datastore == Datastore::Kubernetes && self.records.name_etcd() {
            Some(
                "flags that begin with --etcd- say how to reach etcd: give them with --datastore etcd",
            )
        } else if self.force == Some(true) && self.max_release.is_some() {
            Some("--force overrides every brake: --max-release has no meaning beside it")
        } else if self.timeout.is_zero() {
            Some("--timeout 0s leaves no time to do anything")
        } else if self.settle.is_some_and(|settle| settle >= self.timeout) {
            Some("--settle has to be shorter than --timeout, or no suspect could ever be released")
        } else if self
            .snapshot
            .iter()
            .filter(|path| path.as_os_str() == "-")
            .count()
            > 1
        {
            Some("standard input (-) can be read only once")
        } else {
            None
        }
    }

    /// What a command or a report cannot go with.
    fn misplaced_command(&self) -> Option<&'static str> {
        let is_saved = self.reports.file().is_some();
        match &self.command {
            Some(Command::Release(_) | Command::Undo { .. }) if !self.snapshot.is_empty() => {
                Some("a snapshot cannot be changed: --snapshot goes with neither release nor undo")
            }
            Some(Command::Undo { .. }) if is_saved => {
                Some("an undo releases nothing: --report goes with a run or with release")
            }
            Some(Command::Release(_)) | None if is_saved && self.mode() == Mode::DryRun => {
                Some("nothing is released that could be put back: --report needs a real run")
            }
            Some(Command::Explain { .. } | Command::Release(_) | Command::Undo { .. }) | None => {
                None
            }
        }
    }
}
