//! I/O: puts files where others read them at any moment.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

/// What our unfinished files begin with.
const PREFIX: &str = ".whereabouts-install-";

/// An unfinished file that is older was left by a program that was killed.
const ABANDONED: Duration = Duration::from_mins(10);

/// Puts a file there by a rename, so that a reader sees the old one or the new one and nothing in
/// between. One that is right already is left alone; whether it was written.
pub(super) fn place(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    if is_as_wanted(path, content, mode) {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = unfinished(folder)?;
    file.write_all(content)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    // A node that loses power must not come back with an empty program.
    file.as_file().sync_all()?;
    // Closed before it gets its name: a program that is open for writing cannot be started.
    file.into_temp_path().persist(path)?;
    Ok(true)
}

/// Whether the file is there with this content, readable by whom it should be.
pub(super) fn is_as_wanted(path: &Path, content: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    let same_size = u64::try_from(content.len()).is_ok_and(|size| size == metadata.len());
    metadata.is_file()
        && metadata.permissions().mode() & 0o7777 == mode
        && same_size
        && fs::File::open(path).is_ok_and(|file| holds(file, content).unwrap_or(false))
}

/// Compares piece by piece: the program is big.
fn holds(mut file: fs::File, mut content: &[u8]) -> io::Result<bool> {
    let mut piece = [0; 16 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        let (Some(found), Some((wanted, rest))) =
            (piece.get(..read), content.split_at_checked(read))
        else {
            return Ok(false);
        };
        if found != wanted {
            return Ok(false);
        }
        if read == 0 {
            return Ok(rest.is_empty());
        }
        content = rest;
    }
}

/// Finds out whether files can be put into a folder, without leaving anything behind.
pub(super) fn check_folder(folder: &Path) -> io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    unfinished(folder).map(drop)
}

/// Removes what an earlier run left unfinished; another one may be at work at this moment.
pub(super) fn clean(folder: &Path) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files {
        let is_ours = file.file_name().to_string_lossy().starts_with(PREFIX);
        let age = file.metadata().and_then(|metadata| metadata.modified());
        let age = age.ok().and_then(|modified| modified.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > ABANDONED) {
            // It is only in the way of nobody.
            let _ = fs::remove_file(file.path());
        }
    }
}

fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder);
    // The crate's message names its temporary file, which means nothing to a reader.
    file.map_err(|error| {
        error
            .raw_os_error()
            .map_or(error, io::Error::from_raw_os_error)
    })
}
