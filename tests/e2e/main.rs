//! The product where users run it: installed with one command on nodes with kubelet, containerd and
//! Multus, under pods that come and go, and on nodes that crash. `make e2e` runs this, as root.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends with a panic, and says why"
)]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../it/support/control_plane.rs"]
mod control_plane;

mod crash;
mod install;
mod jobs;
mod node;
mod outages;
mod pods;
mod reconciler;
mod switch;
mod tokens;
mod traffic;
mod workloads;
mod world;
