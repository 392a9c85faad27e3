//! Many ADDs at once, from one node and from several.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::add::{Network, programs};
use crate::options::Options;
use crate::process::{Cost, run_one_of_many};
use crate::reconcile::Bench;
use crate::server::Counters;
use crate::table::{Cell, Table, median, percentile};

/// The resources that are counted.
const POOLS: &str = "ippools";
const RESERVATIONS: &str = "overlappingrangeipreservations";

/// What one burst took.
struct Burst {
    /// Each call.
    costs: Vec<Cost>,
    /// From the first start to the last exit, in seconds.
    seconds: f64,
    /// The highest offset that was given.
    highest: u32,
    /// What the servers counted.
    counters: Counters,
}

impl Burst {
    /// A pool of its own for each: what the one before has left is out of the way.
    async fn run(
        bench: &Bench,
        number: u32,
        program: &Path,
        (calls, nodes): (u32, u32),
        at_once: u32,
    ) -> Self {
        let network = Network::new(bench, number, 0).await;
        let before = Counters::read(bench).await;
        let (seconds, costs) = burst(&network, program, calls, nodes, at_once);
        let counters = Counters::read(bench).await.since(&before);
        let highest = check(bench, &network, &costs, at_once).await;
        clear(bench).await;
        Self {
            costs,
            seconds,
            highest,
            counters,
        }
    }

    /// So much for each call.
    fn each(&self, all: f64) -> f64 {
        all / f64::from(u32::try_from(self.costs.len()).unwrap())
    }

    fn failed(&self) -> u32 {
        let failed = self.costs.iter().filter(|cost| !cost.is_success());
        u32::try_from(failed.count()).unwrap()
    }

    fn wall(&self, percent: usize) -> f64 {
        percentile(self.costs.iter().map(|cost| cost.wall), percent)
    }
}

/// Measures bursts.
pub(crate) async fn measure(options: &Options) -> Table {
    let columns = [
        "calls",
        "at once",
        "nodes",
        "program",
        "calls/s",
        "failed",
        "p50 s",
        "p99 s",
        "highest",
        "claims",
        "lists",
        "looks",
        "checks",
        "patches",
        "server ms",
        "CPU ms",
    ];
    let mut table = Table::new("A burst of ADD into an empty pool", &columns);
    let bench = Bench::start().await;
    let mut number = 0;
    for calls in &options.calls {
        for nodes in &options.nodes {
            let mut measured: Vec<_> = programs(options)
                .into_iter()
                .map(|program| (program, Vec::new()))
                .collect();
            for _ in 0..options.rounds {
                for ((_, program), bursts) in &mut measured {
                    let size = (*calls, *nodes);
                    bursts.push(Burst::run(&bench, number, program, size, options.at_once).await);
                    number += 1;
                }
            }
            for ((name, _), bursts) in measured {
                let of = |figure: &dyn Fn(&Burst) -> f64, digits| {
                    Cell::Figure(median(bursts.iter().map(figure)), digits)
                };
                let requests = |verb: &'static str, resource: &'static str| {
                    of(
                        &|burst| burst.each(burst.counters.requests(verb, resource)),
                        2,
                    )
                };
                table.row(vec![
                    (*calls).into(),
                    options.at_once.into(),
                    (*nodes).into(),
                    name.into(),
                    of(&|burst| f64::from(*calls) / burst.seconds, 1),
                    of(&|burst| f64::from(burst.failed()), 0),
                    of(&|burst| burst.wall(50), 2),
                    of(&|burst| burst.wall(99), 2),
                    of(&|burst| f64::from(burst.highest), 0),
                    requests("POST", RESERVATIONS),
                    requests("LIST", RESERVATIONS),
                    requests("GET", POOLS),
                    requests("GET", RESERVATIONS),
                    requests("PATCH", POOLS),
                    of(&|burst| burst.each(burst.counters.cpu * 1000.0), 1),
                    of(
                        &|burst| median(burst.costs.iter().map(|cost| cost.cpu * 1000.0)),
                        1,
                    ),
                ]);
            }
        }
    }
    table
}

/// Removes all reservations: lists of them would grow from burst to burst.
async fn clear(bench: &Bench) {
    let path = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations";
    let request = http::Request::delete(path).body(Vec::new()).unwrap();
    bench.client.request::<Value>(request).await.unwrap();
}

fn burst(
    network: &Network,
    program: &Path,
    calls: u32,
    nodes: u32,
    at_once: u32,
) -> (f64, Vec<Cost>) {
    let next = AtomicU32::new(0);
    let started = Instant::now();
    let costs = std::thread::scope(|scope| {
        let work = || {
            let mut costs = Vec::new();
            loop {
                let pod = next.fetch_add(1, Ordering::Relaxed);
                if pod >= calls {
                    return costs;
                }
                let (mut command, config) = network.command(program, "ADD", pod, pod % nodes);
                costs.push(run_one_of_many(&mut command, &config));
            }
        };
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let costs = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        costs.collect()
    });
    (started.elapsed().as_secs_f64(), costs)
}

/// Whether every address has one owner and is recorded; the highest offset.
async fn check(bench: &Bench, network: &Network, costs: &[Cost], at_once: u32) -> u32 {
    let done: Vec<&Cost> = costs.iter().filter(|cost| cost.is_success()).collect();
    let given: BTreeSet<String> = done.iter().map(|cost| address(cost)).collect();
    assert_eq!(given.len(), done.len(), "an address has two owners");
    let keys = network.keys(&bench.client).await;
    // What a call wrote that failed may be left for the reconciler.
    let most = costs.len();
    let right = (done.len()..=most).contains(&keys.len());
    assert!(
        right,
        "{} addresses are recorded, of {}",
        keys.len(),
        done.len()
    );
    let highest = keys.last().copied().unwrap_or_default();
    let skipped = highest / 256;
    let most = u32::try_from(costs.len()).unwrap() + at_once + skipped;
    assert!(highest <= most, "offset {highest} is beyond {most}");
    highest
}

fn address(cost: &Cost) -> String {
    let result: Value = serde_json::from_slice(&cost.output.stdout).unwrap();
    result["ips"][0]["address"].as_str().unwrap().to_owned()
}
