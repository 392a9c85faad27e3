//! Frees addresses that are still reserved for pods which are gone.

use std::process::ExitCode;

fn main() -> ExitCode {
    whereabouts::cli::main(std::env::args_os())
}
