//! I/O: files that are replaced as a whole.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// Finds out whether the file can be written, without touching what is there.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // A rename would replace a device or a pipe by a file.
        Ok(there) if !there.is_file() => Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => beside(path).map(drop),
    }
}

/// Replaces the file, so that a reader sees the old text or the new one and nothing in between.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut file = beside(path)?;
    file.write_all(text)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A new file in the same folder, which goes away unless it is renamed. node-exporter reads only
/// what ends in `.prom`.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".ip-reconciler-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(plain)
}

/// The crate's messages name its temporary file, which means nothing to a reader.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.rsplit_once(" at path ") {
        Some((why, _)) => io::Error::new(error.kind(), why.to_owned()),
        None => error,
    }
}
