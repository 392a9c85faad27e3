//! The plugin itself: from its start to its exit, and how big it is.

use std::path::Path;
use std::process::Command;

use crate::options::Options;
use crate::process::run;
use crate::table::{Cell, Table, median};

/// Answers no configuration is needed for.
const INPUT: &str = r#"{"cniVersion": "1.1.0"}"#;

/// Measures VERSION, which is a start and an exit.
pub(crate) fn measure(options: &Options) -> Table {
    let columns = ["program", "VERSION ms", "resident MiB", "size MiB"];
    let mut table = Table::new("The plugin as a process", &columns);
    let own = Path::new(env!("CARGO_BIN_EXE_whereabouts"));
    let linked = options.static_plugin.as_deref();
    let programs: Vec<(&str, &Path)> = std::iter::once(("whereabouts", own))
        .chain(linked.map(|linked| ("whereabouts, static", linked)))
        .chain(options.peer_plugin.as_deref().map(|peer| ("peer", peer)))
        .collect();
    let mut costs: Vec<Vec<_>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds * 20 {
        for ((_, program), costs) in programs.iter().zip(&mut costs) {
            let mut command = Command::new(program);
            command.env_clear().env("CNI_COMMAND", "VERSION");
            costs.push(run(&mut command, INPUT).expect_success("VERSION"));
        }
    }
    for ((name, program), costs) in programs.iter().zip(costs) {
        let milliseconds = median(costs.iter().map(|cost| cost.wall * 1000.0));
        let resident = median(costs.iter().map(|cost| cost.resident));
        table.row(vec![
            (*name).into(),
            Cell::Figure(milliseconds, 2),
            Cell::Figure(resident, 1),
            Cell::Figure(size(program), 1),
        ]);
    }
    table
}

/// The size of a file, in MiB.
fn size(path: &Path) -> f64 {
    let bytes = std::fs::metadata(path).unwrap().len();
    #[expect(clippy::cast_precision_loss, reason = "a program is not that big")]
    let bytes = bytes as f64;
    bytes / (1024.0 * 1024.0)
}
