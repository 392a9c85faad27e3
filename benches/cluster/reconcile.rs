//! A run of the reconciler over a whole cluster, beside the floor.

use std::path::Path;
use std::process::Command;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::control_plane::{self, ControlPlane};
use crate::etcd::Etcd;
use crate::floor;
use crate::load::{Size, load};
use crate::options::Options;
use crate::process::{Cost, run};
use crate::table::{Cell, Table, median};

const COLUMNS: [&str; 9] = [
    "pods",
    "records",
    "program",
    "wall s",
    "to floor",
    "CPU s",
    "resident MiB",
    "calls",
    "MB",
];

/// What a run cost on a cluster of a size, for the plot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// Pods.
    pub(crate) pods: u32,
    /// Seconds of the whole run.
    pub(crate) wall: f64,
    /// Seconds of the floor.
    pub(crate) floor: f64,
    /// MiB.
    pub(crate) resident: f64,
}

/// A control plane with our definitions, and ways to reach it.
pub(crate) struct Bench {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) etcd: Etcd,
    /// Where the nodes have their lock folders: in memory, as `/run` is.
    pub(crate) locks: TempDir,
}

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// An empty flat file among the lock folders: without one the Go program fails.
pub(crate) const FLAT_FILE: &str = "whereabouts.conf";

impl Bench {
    pub(crate) async fn start() -> Self {
        let plane = ControlPlane::start(&control_plane::Options::default()).unwrap();
        let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/crds");
        for arguments in [
            &["apply", "-f", definitions][..],
            &["wait", "--for=condition=Established", "-f", definitions],
        ] {
            let output = plane.kubectl().args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        let etcd = Etcd::at(&plane.etcd_url());
        let locks = tempfile::tempdir_in(MEMORY).unwrap();
        std::fs::write(locks.path().join(FLAT_FILE), "{}").unwrap();
        Self {
            plane,
            client,
            etcd,
            locks,
        }
    }

    fn reconcile(&self, program: &Path, arguments: &[&str]) -> Cost {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("KUBECONFIG", self.plane.kubeconfig());
        // The Go program takes no environment for it.
        command.arg("-kubeconfig").arg(self.plane.kubeconfig());
        command.args(arguments);
        run(&mut command, "").expect_success("the reconciler")
    }
}

fn programs(options: &Options) -> Vec<(&'static str, &Path)> {
    let own = Path::new(env!("CARGO_BIN_EXE_ip-reconciler"));
    let peer = options
        .peer_reconciler
        .as_deref()
        .map(|peer| ("peer", peer));
    std::iter::once(("ip-reconciler", own))
        .chain(peer)
        .collect()
}

/// Fills a cluster and runs a command beside it, for a look with other tools.
pub(crate) async fn run_beside(options: &Options, command: &str) {
    let mut bench = Bench::start().await;
    let size = Size {
        pods: options.pods.first().copied().unwrap_or_default(),
        orphans: 0,
    };
    load(&bench.client, &mut bench.etcd, size).await;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("KUBECONFIG", bench.plane.kubeconfig());
    let status = shell.status().unwrap();
    assert!(status.success(), "{command}: {status}");
}

/// Measures runs that find nothing to release.
pub(crate) async fn measure(options: &Options) -> (Table, Vec<Point>) {
    let mut table = Table::new("A run without orphans", &COLUMNS);
    let mut points = Vec::new();
    for pods in &options.pods {
        let mut bench = Bench::start().await;
        let size = Size {
            pods: *pods,
            orphans: 0,
        };
        load(&bench.client, &mut bench.etcd, size).await;
        let programs = programs(options);
        let mut floors = Vec::new();
        let mut bytes = 0;
        let mut costs: Vec<Vec<Cost>> = programs.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.rounds {
            let (floor, read) = floor::read(&bench.client).await;
            floors.push(floor);
            bytes = read;
            for ((_, program), costs) in programs.iter().zip(&mut costs) {
                costs.push(bench.reconcile(program, &[]));
            }
        }
        let floor = median(floors);
        let records = size.allocations() * 2;
        let mut row = |name: &str, wall: f64, cost: [Option<Cell>; 4]| {
            let [cpu, resident, calls, megabytes] = cost.map(Cell::from);
            let to_floor = Cell::Figure(wall / floor, 2);
            let wall = Cell::Figure(wall, 2);
            let (pods, records) = ((*pods).into(), records.into());
            table.row(vec![
                pods,
                records,
                name.into(),
                wall,
                to_floor,
                cpu,
                resident,
                calls,
                megabytes,
            ]);
        };
        row("floor", floor, [None, None, None, Some(megabytes(bytes))]);
        for ((name, program), costs) in programs.iter().zip(&costs) {
            let (wall, cpu, resident) = medians(costs);
            let report = (*name != "peer").then(|| report(&bench, program));
            let count = |member: &str| report.as_ref().map(|report| number(&report[member]));
            let calls = count("apiCalls").map(|calls| Cell::Figure(calls, 0));
            let bytes = count("bytesReceived").map(|bytes| Cell::Figure(bytes / 1e6, 1));
            row(
                name,
                wall,
                [
                    Some(Cell::Figure(cpu, 2)),
                    Some(Cell::Figure(resident, 1)),
                    calls,
                    bytes,
                ],
            );
            if *name != "peer" {
                points.push(Point {
                    pods: *pods,
                    wall,
                    floor,
                    resident,
                });
            }
        }
    }
    (table, points)
}

/// Measures one run that releases many orphans, per program.
pub(crate) async fn measure_releases(options: &Options) -> Table {
    let columns = [
        "pods",
        "orphans",
        "program",
        "wall s",
        "CPU s",
        "resident MiB",
        "left",
    ];
    let mut table = Table::new(
        "A run that releases orphans with their reservations",
        &columns,
    );
    let pods = options.pods.iter().copied().min().unwrap_or_default();
    let size = Size {
        pods,
        orphans: options.orphans,
    };
    for (name, program) in programs(options) {
        let mut bench = Bench::start().await;
        load(&bench.client, &mut bench.etcd, size).await;
        let arguments: &[&str] = if name == "peer" {
            &[]
        } else {
            &["--force", "--output=name"]
        };
        let cost = bench.reconcile(program, arguments);
        let left = number(&report(&bench, programs(options)[0].1)["summary"]["orphans"]);
        table.row(vec![
            pods.into(),
            options.orphans.into(),
            name.into(),
            Cell::Figure(cost.wall, 2),
            Cell::Figure(cost.cpu, 2),
            Cell::Figure(cost.resident, 1),
            Cell::Figure(left, 0),
        ]);
    }
    table
}

/// Wall, CPU and memory.
fn medians(costs: &[Cost]) -> (f64, f64, f64) {
    let of = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure));
    (
        of(|cost| cost.wall),
        of(|cost| cost.cpu),
        of(|cost| cost.resident),
    )
}

/// What our own program says of a dry run.
fn report(bench: &Bench, program: &Path) -> Value {
    let cost = bench.reconcile(program, &["--dry-run", "--force", "--output=json"]);
    serde_json::from_slice(&cost.output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn megabytes(bytes: u64) -> Cell {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure with one digit behind the point"
    )]
    let bytes = bytes as f64;
    Cell::Figure(bytes / 1e6, 1)
}
