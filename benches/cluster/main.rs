//! Measures the programs on real clusters, beside a floor and beside other programs (`make bench`).
//!
//! Every figure is the median of several rounds, and what is compared takes turns in each round:
//! the machine's mood then falls on all alike. The figures that count are ratios.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a command line tool for developers, which ends with a panic"
)]

mod add;
#[cfg(feature = "etcd")]
mod add_etcd;
mod burst;
mod etcd;
mod floor;
mod load;
mod options;
mod plot;
mod process;
mod reconcile;
mod server;
mod startup;
mod table;

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/it/support/control_plane.rs"]
mod control_plane;

use clap::Parser;
use serde_json::json;

use options::{Options, Part};
use table::Table;

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if let Some(command) = &options.run {
        return runtime.block_on(reconcile::run_beside(&options, command));
    }
    let mut tables: Vec<Table> = Vec::new();
    let mut show = |table: Table| {
        println!("{table}");
        tables.push(table);
    };
    if options.wants(Part::Startup) {
        show(startup::measure(&options));
    }
    if options.wants(Part::Runs) {
        let (table, costs) = runtime.block_on(reconcile::measure(&options));
        show(table);
        if let Some(path) = &options.plot {
            std::fs::write(path, plot::svg(&costs)).unwrap();
        }
    }
    if options.wants(Part::Releases) {
        show(runtime.block_on(reconcile::measure_releases(&options)));
    }
    if options.wants(Part::Calls) {
        show(runtime.block_on(calls(&options)));
    }
    if options.wants(Part::Bursts) {
        show(runtime.block_on(bursts(&options)));
    }
    let document = json!({ "tables": tables.iter().map(Table::json).collect::<Vec<_>>() });
    std::fs::create_dir_all(options.json.parent().expect("the file is in a folder")).unwrap();
    std::fs::write(&options.json, format!("{document:#}\n")).unwrap();
    eprintln!("Written as JSON to {}", options.json.display());
}

async fn calls(options: &Options) -> Table {
    let table = add::measure_alone(options).await;
    #[cfg(feature = "etcd")]
    let table = add_etcd::measure_alone(options, table).await;
    table
}

async fn bursts(options: &Options) -> Table {
    let table = add::measure_bursts(options).await;
    #[cfg(feature = "etcd")]
    let table = add_etcd::measure_bursts(options, table).await;
    table
}
