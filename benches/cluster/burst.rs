//! Many ADDs at once, whatever keeps the records.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::table::{Cell, Table, median, percentile};

/// A call of the plugin, without its network configuration.
pub(crate) fn command(program: &Path, verb: &str, pod: u32, node: u32) -> Command {
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-{pod};K8S_POD_UID=uid-{pod}"
    );
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", format!("{pod:064x}"))
        .env("CNI_IFNAME", "net1")
        .env("CNI_NETNS", "/var/run/netns/none")
        .env("CNI_PATH", "/opt/cni/bin")
        .env("CNI_ARGS", args)
        .env("NODENAME", format!("node-{node}"));
    command
}

/// How many calls, from how many nodes, and how many at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burst {
    pub(crate) calls: u32,
    pub(crate) nodes: u32,
    pub(crate) at_once: u32,
}

/// One call of a burst.
struct One {
    wall: f64,
    /// What was given, or what the plugin said instead.
    address: Result<String, String>,
}

/// What a burst took, and gave.
pub(crate) struct Given {
    seconds: f64,
    all: Vec<One>,
}

/// The table of bursts; what is counted of the servers is there for Kubernetes only.
pub(crate) fn table() -> Table {
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
    ];
    Table::new("A burst of ADD into an empty pool", &columns)
}

impl Burst {
    /// Makes the calls; `add` is that of a pod on a node, with its configuration.
    pub(crate) fn run(self, add: impl Fn(u32, u32) -> (Command, String) + Sync) -> Given {
        let next = AtomicU32::new(0);
        let started = Instant::now();
        let all = std::thread::scope(|scope| {
            let work = || {
                let mut all = Vec::new();
                loop {
                    let pod = next.fetch_add(1, Ordering::Relaxed);
                    if pod >= self.calls {
                        return all;
                    }
                    all.push(one(add(pod, pod % self.nodes)));
                }
            };
            let workers: Vec<_> = (0..self.at_once).map(|_| scope.spawn(work)).collect();
            let all = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap());
            all.collect()
        });
        let given = Given {
            seconds: started.elapsed().as_secs_f64(),
            all,
        };
        given.tell_failures();
        given
    }

    /// The row of a program, of so many bursts and the highest offset in each.
    pub(crate) fn row(self, program: &str, bursts: &[(Given, u32)]) -> Vec<Cell> {
        let of = |figure: &dyn Fn(&Given) -> f64, digits| {
            Cell::Figure(
                median(bursts.iter().map(|(given, _)| figure(given))),
                digits,
            )
        };
        let highest = bursts.iter().map(|(_, highest)| f64::from(*highest));
        vec![
            self.calls.into(),
            self.at_once.into(),
            self.nodes.into(),
            program.into(),
            of(&|given| f64::from(self.calls) / given.seconds, 1),
            // Each that fails counts.
            bursts
                .iter()
                .map(|(given, _)| given.failed())
                .sum::<u32>()
                .into(),
            of(&|given| given.wall(50), 2),
            of(&|given| given.wall(99), 2),
            Cell::Figure(median(highest), 0),
        ]
    }
}

impl Given {
    fn wall(&self, percent: usize) -> f64 {
        percentile(self.all.iter().map(|one| one.wall), percent)
    }

    fn failures(&self) -> impl Iterator<Item = &String> {
        let failures = self.all.iter();
        failures.filter_map(|one| one.address.as_ref().err())
    }

    fn failed(&self) -> u32 {
        u32::try_from(self.failures().count()).unwrap()
    }

    /// Says each reason once.
    fn tell_failures(&self) {
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        for reason in self.failures() {
            *reasons.entry(reason).or_default() += 1;
        }
        for (reason, calls) in reasons {
            eprintln!("{calls} ADDs failed: {reason}");
        }
    }

    /// Whether every address has one owner and is recorded, and none is further than so many beyond
    /// their number; the highest offset.
    pub(crate) fn check(&self, recorded: &BTreeSet<u32>, beyond: u32) -> u32 {
        let given = self.all.iter().filter_map(|one| one.address.as_ref().ok());
        let owners: BTreeSet<&String> = given.clone().collect();
        assert_eq!(owners.len(), given.count(), "an address has two owners");
        // What a call wrote that failed may be left for the reconciler.
        let right = owners.len()..=self.all.len();
        assert!(
            right.contains(&recorded.len()),
            "not every address is recorded, or too many are"
        );
        let highest = recorded.last().copied().unwrap_or_default();
        let skipped = highest / 256;
        let most = u32::try_from(self.all.len()).unwrap() + beyond + skipped;
        assert!(highest <= most, "offset {highest} is beyond {most}");
        highest
    }
}

/// Nothing looks at what it needs: a hundred that look would be what is measured.
fn one((mut command, config): (Command, String)) -> One {
    let started = Instant::now();
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A program that does not read its input closes the pipe: that is no failure.
    let _ = pipe.write_all(config.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let wall = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    let address = if output.status.success() {
        let result: Value = serde_json::from_str(&said).unwrap();
        Ok(result["ips"][0]["address"].as_str().unwrap().to_owned())
    } else {
        Err(said.into_owned())
    };
    One { wall, address }
}
