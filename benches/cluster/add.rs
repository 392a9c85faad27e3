//! ADD and DEL: alone, and many at once from one node and from several.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::Client;
use serde_json::{Value, json};

use crate::burst::{self, Burst};
use crate::options::Options;
use crate::process::{Cost, run};
use crate::reconcile::{Bench, FLAT_FILE};
use crate::server::Counters;
use crate::table::{Cell, Table, median, percentile};

/// Calls of one program that are made one after the other, per round.
const ALONE: u32 = 10;

/// A pool of its own for one program and one measurement.
struct Network {
    range: String,
    kubeconfig: PathBuf,
    locks: PathBuf,
}

impl Network {
    /// Makes the pool, with so many entries.
    async fn new(bench: &Bench, number: u32, entries: u32) -> Self {
        let range = format!("10.{number}.0.0/16");
        let entry = |offset: u32| {
            let entry = json!({"id": format!("old-{offset:060x}"), "ifname": "net1", "podref": format!("default/old-{offset}")});
            (offset.to_string(), entry)
        };
        // An offset whose address ends in .0 is never allocated.
        let offsets = (1..)
            .filter(|offset| offset % 256 != 0)
            .take(entries as usize);
        let allocations: serde_json::Map<String, Value> = offsets.map(entry).collect();
        let pool = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": {"name": range.replace('/', "-")}, "spec": {"range": range, "allocations": allocations}});
        let path = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(pool.to_string().into_bytes());
        bench
            .client
            .request::<Value>(request.unwrap())
            .await
            .unwrap();
        Self {
            range,
            kubeconfig: bench.plane.kubeconfig().to_owned(),
            locks: bench.locks.path().to_owned(),
        }
    }

    fn command(&self, program: &Path, verb: &str, pod: u32, node: u32) -> (Command, String) {
        let locks = self.locks.join(node.to_string());
        let config = json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": {
            "type": "whereabouts", "range": self.range, "lock_dir": locks,
            "configuration_path": self.locks.join(FLAT_FILE), "kubernetes": {"kubeconfig": self.kubeconfig}}});
        let command = burst::command(program, verb, pod, node);
        (command, config.to_string())
    }

    fn call(&self, program: &Path, verb: &str, pod: u32) -> Cost {
        let (mut command, config) = self.command(program, verb, pod, 0);
        run(&mut command, &config).expect_success(verb)
    }

    /// The keys of all entries.
    async fn keys(&self, client: &Client) -> BTreeSet<u32> {
        let name = self.range.replace('/', "-");
        let path =
            format!("/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/{name}");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let pool: Value = client.request(request).await.unwrap();
        let allocations = pool["spec"]["allocations"].as_object().unwrap();
        allocations.keys().map(|key| key.parse().unwrap()).collect()
    }
}

fn programs(options: &Options) -> Vec<(&'static str, &Path)> {
    let own = Path::new(env!("CARGO_BIN_EXE_whereabouts"));
    let peer = options.peer_plugin.as_deref().map(|peer| ("peer", peer));
    std::iter::once(("whereabouts", own)).chain(peer).collect()
}

/// Measures calls that are alone.
pub(crate) async fn measure_alone(options: &Options) -> Table {
    let columns = [
        "entries",
        "program",
        "ADD ms p50",
        "p99",
        "DEL ms p50",
        "p99",
        "CPU ms",
        "resident MiB",
    ];
    let mut table = Table::new("One call at a time", &columns);
    let bench = Bench::start().await;
    let mut number = 0;
    for entries in &options.entries {
        let mut measured = Vec::new();
        for (name, program) in programs(options) {
            let network = Network::new(&bench, number, *entries).await;
            number += 1;
            measured.push((name, program, network, Vec::new(), Vec::new()));
        }
        for round in 0..options.rounds {
            for (_, program, network, adds, dels) in &mut measured {
                let pods = round * ALONE..(round + 1) * ALONE;
                adds.extend(pods.clone().map(|pod| network.call(program, "ADD", pod)));
                dels.extend(pods.map(|pod| network.call(program, "DEL", pod)));
            }
        }
        for (name, _, network, adds, dels) in measured {
            let left = network.keys(&bench.client).await.len();
            assert_eq!(left, *entries as usize, "DEL of {name} left entries behind");
            let of = |costs: &[Cost], percent| {
                Cell::Figure(
                    percentile(costs.iter().map(|cost| cost.wall * 1000.0), percent),
                    1,
                )
            };
            table.row(vec![
                (*entries).into(),
                name.into(),
                of(&adds, 50),
                of(&adds, 99),
                of(&dels, 50),
                of(&dels, 99),
                Cell::Figure(median(adds.iter().map(|cost| cost.cpu * 1000.0)), 1),
                Cell::Figure(median(adds.iter().map(|cost| cost.resident)), 1),
            ]);
        }
    }
    table
}

/// Measures bursts.
pub(crate) async fn measure_bursts(options: &Options) -> Table {
    let mut table = burst::table();
    let bench = Bench::start().await;
    let mut number = 0;
    for calls in &options.calls {
        for nodes in &options.nodes {
            let burst = Burst {
                calls: *calls,
                nodes: *nodes,
                at_once: options.at_once,
            };
            let programs = programs(options).into_iter();
            let mut measured: Vec<_> = programs
                .map(|(name, program)| (name, program, Vec::new(), Vec::new()))
                .collect();
            for _ in 0..options.rounds {
                for (_, program, all, counted) in &mut measured {
                    let network = Network::new(&bench, number, 0).await;
                    number += 1;
                    let before = Counters::read(&bench).await;
                    let given = burst.run(|pod, node| network.command(program, "ADD", pod, node));
                    counted.push(Counters::read(&bench).await.since(&before));
                    let recorded = network.keys(&bench.client).await;
                    let highest = given.check(&recorded, options.at_once);
                    all.push((given, highest));
                    clear(&bench).await;
                }
            }
            for (name, _, all, counted) in measured {
                let mut row = burst.row(name, &all);
                row.extend(Counters::cells(&counted, *calls));
                table.row(row);
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
