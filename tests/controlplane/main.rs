//! Runs a command against a Kubernetes control plane that exists as long as the command.

#![expect(clippy::print_stderr, reason = "a command line tool")]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../it/support/control_plane.rs"]
mod control_plane;

use std::env::JoinPathsError;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use control_plane::{ControlPlane, Options};

/// What to say to somebody who gives no command.
const USAGE: &str = "\
Starts a Kubernetes control plane (etcd and kube-apiserver, without nodes and controllers) in a
temporary folder, runs COMMAND against it, and removes everything again.

Usage: cargo run --example controlplane -- COMMAND [ARGS]...

COMMAND finds the control plane through KUBECONFIG, and has kubectl on its PATH, as well as
ip-reconciler if it has been built like this example (debug or release). To look around:
  cargo run --example controlplane -- sh";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&program, words) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: &OsString, arguments: impl Iterator<Item = OsString>) -> Result<u8, String> {
    let plane = ControlPlane::start(&Options::default())?;
    let mut command = Command::new(program);
    command.args(arguments);
    plane.point(&mut command);
    let path = search_path(&plane).map_err(|error| format!("cannot extend PATH: {error}"))?;
    let status = command
        .env("PATH", path)
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    Ok(exit_code(status))
}

/// `PATH` with the tools of the control plane and the programs of this project before all others.
fn search_path(plane: &ControlPlane) -> Result<OsString, JoinPathsError> {
    let own = std::env::current_exe().unwrap_or_default();
    // target/release/examples/controlplane
    let programs = own.ancestors().nth(2).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::iter::once(plane.binaries().to_owned()).chain(programs);
    std::env::join_paths(first.chain(std::env::split_paths(&path)))
}

/// The code that a shell gives for `status`: 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}
