//! The same ADDs and DELs with their records in etcd, for the tables of those with Kubernetes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::burst::{self, Burst};
use crate::options::Options;
use crate::process::{Cost, run};
use crate::reconcile::Bench;
use crate::table::{Cell, Table, median, percentile};

/// Calls that are made one after the other, per round.
const ALONE: u32 = 10;
/// What the rows are called.
const PROGRAM: &str = "whereabouts, etcd";
/// How far beyond their number addresses may go: after conflicts one of that many is chosen.
const SPREAD: u32 = 100;
/// What all keys begin with, as `docs/etcd.md` says.
const ROOT: &str = "/whereabouts/v1/";

/// A network whose records are in the etcd of a bench, where nobody else's are.
struct Network<'a> {
    bench: &'a Bench,
}

impl<'a> Network<'a> {
    /// With so many records.
    async fn new(bench: &'a mut Bench, entries: u32) -> Self {
        bench.etcd.clear(ROOT).await;
        // An address that ends in .0 is never allocated.
        let offsets = (1_u32..).filter(|offset| offset % 256 != 0);
        for offset in offsets.take(entries as usize) {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + offset);
            let bits = address.to_ipv6_mapped().to_bits();
            let at = format!("networks/-/{bits:032x}");
            let (container, pod) = (format!("old-{offset:060x}"), format!("old-{offset}"));
            let record = json!({"container": container, "ifname": "net1", "podref": format!("default/{pod}"),
                "poduid": format!("uid-{pod}"), "node": "node-old", "range": "10.0.0.0/16", "network": "lan"});
            let record = record.to_string();
            for (key, value) in [
                (at.clone(), record.as_str()),
                (format!("containers/{container}/net1/{at}"), ""),
                (format!("pods/default/{pod}/net1/{at}"), ""),
            ] {
                let key = format!("{ROOT}{key}");
                bench.etcd.put(&key, value.as_bytes()).await;
            }
        }
        bench.etcd.flush().await;
        Self { bench }
    }

    fn command(&self, verb: &str, pod: u32, node: u32) -> (Command, String) {
        let url = self.bench.plane.etcd_url();
        let host = url.trim_start_matches("http://");
        let config = json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "ipam": {
            "type": "whereabouts", "datastore": "etcd", "etcd_host": host, "range": "10.0.0.0/16"}});
        let program = Path::new(env!("CARGO_BIN_EXE_whereabouts"));
        let command = burst::command(program, verb, pod, node);
        (command, config.to_string())
    }

    fn call(&self, verb: &str, pod: u32) -> Cost {
        let (mut command, config) = self.command(verb, pod, 0);
        run(&mut command, &config).expect_success(verb)
    }

    /// The offsets of all addresses that are recorded.
    async fn offsets(&self) -> BTreeSet<u32> {
        let prefix = format!("{ROOT}networks/-/");
        let keys = self.bench.etcd.keys(&prefix).await;
        let offset = |key: &String| {
            let digits = key.rsplit('/').next().unwrap();
            u32::from_str_radix(&digits[digits.len() - 4..], 16).unwrap()
        };
        keys.iter().map(offset).collect()
    }
}

/// Measures calls that are alone, in further rows.
pub(crate) async fn measure_alone(options: &Options, mut table: Table) -> Table {
    let mut bench = Bench::start().await;
    for entries in &options.entries {
        let network = Network::new(&mut bench, *entries).await;
        let (mut adds, mut dels) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let pods = round * ALONE..(round + 1) * ALONE;
            adds.extend(pods.clone().map(|pod| network.call("ADD", pod)));
            dels.extend(pods.map(|pod| network.call("DEL", pod)));
        }
        let left = network.offsets().await.len();
        assert_eq!(left, *entries as usize, "DEL left records behind");
        let of = |costs: &[Cost], percent| {
            let walls = costs.iter().map(|cost| cost.wall * 1000.0);
            Cell::Figure(percentile(walls, percent), 1)
        };
        table.row(vec![
            (*entries).into(),
            PROGRAM.into(),
            of(&adds, 50),
            of(&adds, 99),
            of(&dels, 50),
            of(&dels, 99),
            Cell::Figure(median(adds.iter().map(|cost| cost.cpu * 1000.0)), 1),
            Cell::Figure(median(adds.iter().map(|cost| cost.resident)), 1),
        ]);
    }
    table
}

/// Measures bursts, in further rows.
pub(crate) async fn measure_bursts(options: &Options, mut table: Table) -> Table {
    let mut bench = Bench::start().await;
    for calls in &options.calls {
        for nodes in &options.nodes {
            let burst = Burst {
                calls: *calls,
                nodes: *nodes,
                at_once: options.at_once,
            };
            let mut all = Vec::new();
            for _ in 0..options.rounds {
                let network = Network::new(&mut bench, 0).await;
                let given = burst.run(|pod, node| network.command("ADD", pod, node));
                let beyond = options.at_once.max(SPREAD);
                let highest = given.check(&network.offsets().await, beyond);
                all.push((given, highest));
            }
            table.row(burst.row(PROGRAM, &all));
        }
    }
    table
}
