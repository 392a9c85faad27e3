//! A server that cannot outlive the process that started it (I/O).

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Runs between us and the server: `sh -c SCRIPT tether FOLDER LOG COMMAND...`.
///
/// Its input is a pipe whose other end only we hold. The system closes that end in whatever way we
/// end (return, panic, abort, `SIGKILL`), and the end of input is what ends the server. The server
/// is ended by its number, while it is still a child that nobody has waited for, so the number
/// cannot have passed to another process. The folder may need several tries: the other server may
/// still be writing to it.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
folder=$1 log=$2
shift 2
exec 3<&0 </dev/null
"$@" 3<&- >"$log" 2>&1 &
server=$!
{ while read -r _; do :; done; kill -KILL "$server"; } <&3 &
watcher=$!
wait "$server"
kill -KILL "$watcher"
echo >"$log.ended"
while read -r _; do :; done <&3
[ -n "$folder" ] || exit
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$folder" && break; sleep 1; done
"#;

/// What a tether removes after its server has ended.
pub(crate) enum Removes<'a> {
    /// Nothing: another tether does.
    Nothing,
    /// The folder that all servers write to.
    Folder(&'a Path),
}

/// A running server; dropping this ends it and waits until it is gone.
pub(crate) struct Tether {
    shell: Child,
    pipe: Option<ChildStdin>,
    log: PathBuf,
}

impl Tether {
    /// Starts `command`, with its output going to the file `log`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        removes: &Removes<'_>,
        log: PathBuf,
        command: &Path,
        arguments: &[A],
    ) -> Result<Tether, String> {
        let folder = match removes {
            Removes::Nothing => OsStr::new(""),
            Removes::Folder(folder) => folder.as_os_str(),
        };
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "tether"])
            .arg(folder)
            .arg(&log)
            .arg(command)
            .args(arguments)
            // A Ctrl-C in the terminal goes to the foreground group: not to the servers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start sh for {}: {error}", command.display()))?;
        let pipe = shell.stdin.take();
        Ok(Tether { shell, pipe, log })
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        let mut marker = self.log.clone().into_os_string();
        marker.push(".ended");
        Path::new(&marker).exists()
    }

    /// The last lines that the server wrote.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 25;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The shell's own result means nothing, and a failure to wait could only be a shell that
        // somebody else has waited for.
        let _ = self.shell.wait();
    }
}

/// Makes a new folder for one control plane, readable for nobody else: it holds keys.
pub(crate) fn new_folder() -> Result<PathBuf, String> {
    let parent = std::env::temp_dir();
    for number in 0..10_000 {
        let name = format!("whereabouts-controlplane-{}-{number}", std::process::id());
        let folder = parent.join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make {}: {error}", folder.display())),
        }
    }
    Err(format!("no free folder name in {}", parent.display()))
}
