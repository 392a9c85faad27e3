//! I/O: which of several installers on one node is the one that writes.
//!
//! During an update the new pod starts before the old one ends, and each has a token of its own that
//! ends with it. If both wrote, the kubeconfig could hold the old pod's token at the moment it ends.
//! So the one that was started last writes, and the others wait until it has been silent for a while.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::place;

/// The file by which they know each other, beside those that are installed.
const FILE: &str = "installer";

/// One that has been silent for so many intervals has ended.
const SILENT_INTERVALS: u32 = 3;

/// One program that keeps a node right.
pub(super) struct Generation {
    file: PathBuf,
    started: u128,
    silence: Duration,
}

impl Generation {
    /// The generation that starts now.
    pub(super) fn new(folder: &Path, interval: Duration) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            file: folder.join(FILE),
            started: started.map_or(0, |since| since.as_nanos()),
            silence: silence(interval),
        }
    }

    /// Whether it is this program's turn to write; if so, the others are told.
    pub(super) fn is_the_last(&self) -> bool {
        if heard_of(&self.file, self.silence).is_some_and(|other| other > self.started) {
            return false;
        }
        let text = format!("{}\n", self.started);
        let told = place::place(&self.file, text.as_bytes(), 0o644)
            .and_then(|_| fs::File::options().write(true).open(&self.file))
            // Its age says that this program is still there.
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = told {
            tracing::debug!(%error, "Other installers cannot be told");
        }
        true
    }

    /// Lets another one take over at once.
    pub(super) fn end(&self) {
        if heard_of(&self.file, self.silence) == Some(self.started) {
            // Its age would say the same a little later.
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// Whether some installer keeps the folder right at this moment.
pub(super) fn is_kept(folder: &Path, interval: Duration) -> bool {
    heard_of(&folder.join(FILE), silence(interval)).is_some()
}

fn silence(interval: Duration) -> Duration {
    interval.saturating_mul(SILENT_INTERVALS)
}

/// When the installer was started that wrote last, if it is still there.
fn heard_of(file: &Path, silence: Duration) -> Option<u128> {
    let written = fs::metadata(file).ok()?.modified().ok()?;
    // Of the future: the clock was set back, and nothing is known.
    let is_recent = written.elapsed().is_ok_and(|age| age <= silence);
    let started = fs::read_to_string(file).ok()?;
    started.trim().parse().ok().filter(|_| is_recent)
}
