//! The CNI IPAM plugin: one call, one answer.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;

use whereabouts::cni::{Environment, Error, Reply, dispatch};
use whereabouts::ipam::Whereabouts;

/// The most that is read of a configuration, in bytes.
const MAX_STDIN: u64 = 16 << 20;

fn main() -> ExitCode {
    // Whatever happens, standard output has one document or nothing.
    set_hook(Box::new(|_| {}));
    let answer = catch_unwind(AssertUnwindSafe(answer));
    let reply = answer.unwrap_or_else(|_| {
        Reply::failure(&Error::internal(
            "the plugin failed: this is a defect of whereabouts",
        ))
    });
    // Nobody is left to tell when these fail.
    let _ = std::io::stderr().write_all(&reply.stderr);
    let written = std::io::stdout()
        .write_all(&reply.stdout)
        .and_then(|()| std::io::stdout().flush());
    ExitCode::from(if written.is_ok() { reply.exit } else { 1 })
}

fn answer() -> Reply {
    let environment: Environment = std::env::vars_os().collect();
    let read_stdin = || {
        let mut stdin = Vec::new();
        let read = std::io::stdin()
            .lock()
            .take(MAX_STDIN + 1)
            .read_to_end(&mut stdin)?;
        if u64::try_from(read).is_ok_and(|read| read <= MAX_STDIN) {
            return Ok(stdin);
        }
        Err(std::io::Error::other("it has more than 16 MiB"))
    };
    dispatch(&environment, read_stdin, &mut Whereabouts, &about())
}

/// The program, its version, and the platform as Go names it.
fn about() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (version, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    format!("whereabouts {version} {system}/{machine}")
}
