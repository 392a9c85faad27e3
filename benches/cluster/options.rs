//! What to measure, and how much of it.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A part of what can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The plugin as a process.
    Startup,
    /// Runs of the reconciler.
    Runs,
    /// Runs that release.
    Releases,
    /// Calls of the plugin, one at a time.
    Calls,
    /// Calls of the plugin, many at once.
    Bursts,
}

/// Measures the programs on real clusters, beside a floor and beside other programs.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Part>,

    /// Sizes of clusters, in pods; half of them hold an address.
    #[arg(long, value_delimiter = ',', default_value = "30000")]
    pub(crate) pods: Vec<u32>,

    /// Orphans of the run that releases some.
    #[arg(long, default_value = "10000")]
    pub(crate) orphans: u32,

    /// Sizes of the pool before a call, in entries.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    pub(crate) entries: Vec<u32>,

    /// Calls of a burst.
    #[arg(long, value_delimiter = ',', default_value = "300")]
    pub(crate) calls: Vec<u32>,

    /// Nodes that share a burst.
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    pub(crate) nodes: Vec<u32>,

    /// Calls at once in a burst.
    #[arg(long, default_value = "100")]
    pub(crate) at_once: u32,

    /// Rounds of each measurement.
    #[arg(long, default_value = "5")]
    pub(crate) rounds: u32,

    /// The plugin as images have it, linked statically, whose start and size are told as well.
    #[arg(long, env = "STATIC_PLUGIN")]
    pub(crate) static_plugin: Option<PathBuf>,

    /// Another CNI plugin to measure in the same rounds.
    #[arg(long, env = "PEER_PLUGIN")]
    pub(crate) peer_plugin: Option<PathBuf>,

    /// Another reconciler to measure in the same rounds.
    #[arg(long, env = "PEER_RECONCILER")]
    pub(crate) peer_reconciler: Option<PathBuf>,

    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench/bench.json")]
    pub(crate) json: PathBuf,

    /// Where the plot of cost by size of cluster goes.
    #[arg(long)]
    pub(crate) plot: Option<PathBuf>,

    /// Instead of measuring, fill a cluster of the first size and run a command beside it, with
    /// `KUBECONFIG` set; `sh` gives a shell.
    #[arg(long)]
    pub(crate) run: Option<String>,

    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
