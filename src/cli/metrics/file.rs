//! I/O: a file for the textfile collector of node-exporter.

use std::fs;
use std::io;
use std::path::Path;

use crate::cli::file::replace;
use crate::metrics;

/// node-exporter runs as another user.
const MODE: u32 = 0o644;

/// Replaces the file.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text.as_bytes(), MODE)
}

/// When a run last succeeded, as the file says.
pub(super) fn last_success(path: &Path) -> Option<u64> {
    metrics::last_success(&fs::read_to_string(path).ok()?)
}
