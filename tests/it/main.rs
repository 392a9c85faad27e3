//! The tests of the program, in one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends with a panic"
)]

mod audit;
mod brakes;
mod budgets;
mod by_hand;
mod callers;
mod cli;
#[cfg(feature = "etcd")]
mod etcd_reconciler;
mod explain;
mod faults;
mod generated;
mod grace;
mod install;
mod metrics;
mod nodes;
mod packaging;
mod plugin;
mod races;
mod random;
mod release;
mod rights;
mod selftest;
mod shown;
mod simulation;
mod store;
mod support;
mod transcripts;
mod undo;
mod verdicts;
