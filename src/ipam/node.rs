//! I/O: what the plugin learns from the machine it runs on.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The most that is read of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file; `None` when there is none.
pub(super) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// The node's name: from the environment, or from what the installer wrote beside the flat file.
///
/// Never from `/etc/hostname`: it often differs from the Node's name, and a wrong name would make
/// a record look like that of another node.
pub(super) fn name(configuration_path: Option<&str>) -> Option<String> {
    let from_environment = std::env::var("NODENAME").ok();
    let read = |folder: &Path| {
        let name = read_if_there(&folder.join("nodename")).ok()??;
        String::from_utf8(name).ok()
    };
    // The folder, or the flat file in it.
    let from_installer = || {
        let path = Path::new(configuration_path?);
        read(path).or_else(|| read(path.parent()?))
    };
    let name = from_environment
        .filter(|name| !name.trim().is_empty())
        .or_else(from_installer)?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The machine's own name, which the Go program takes for the node's where it knows no better. A
/// slice that is not this node's is never found by it, so it does no harm there.
pub(super) fn hostname() -> Option<String> {
    let name = read_if_there(Path::new("/etc/hostname")).ok()??;
    let name = String::from_utf8(name).ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether a path leads to this process's own network namespace.
pub(super) fn is_own_netns(path: &Path) -> bool {
    let identity = |path: &Path| {
        std::fs::metadata(path)
            .map(|file| (file.dev(), file.ino()))
            .ok()
    };
    let own = identity(Path::new("/proc/self/ns/net"));
    own.is_some() && own == identity(path)
}
