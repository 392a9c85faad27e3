//! Puts the CNI plugin onto a node, and keeps it and its kubeconfig right.

use std::process::ExitCode;

fn main() -> ExitCode {
    whereabouts::install::main(std::env::args_os())
}
