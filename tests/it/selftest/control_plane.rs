//! The servers start with the flags that a test wants, and end with the process that holds them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::control_plane::{ControlPlane, Options};
use crate::support::objects::{Object, entries, pool};

/// Tells [`killing_the_holder_ends_the_servers`] that this test binary has started itself.
const HOLD: &str = "WHEREABOUTS_SELFTEST_HOLD";

/// A process that holds a control plane, and what it has said about that.
struct Holder {
    process: Child,
    dir: String,
    ports: [u16; 2],
}

impl Holder {
    fn start() -> Holder {
        let name = "selftest::control_plane::killing_the_holder_ends_the_servers";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(HOLD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.find_map(|line| line.unwrap().strip_prefix("HOLDS ").map(str::to_owned));
        let said = said.expect("the holder says what it holds");
        let [etcd, apiserver, dir] = said.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let ports = [etcd.parse().unwrap(), apiserver.parse().unwrap()];
        Holder {
            process,
            dir: dir.to_owned(),
            ports,
        }
    }

    fn listens(&self) -> [bool; 2] {
        self.ports
            .map(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    fn is_gone(&self) -> bool {
        self.listens() == [false; 2] && !Path::new(&self.dir).exists() && !self.is_in_use()
    }

    /// Whether any process has the folder in its command line; only Linux can tell.
    fn is_in_use(&self) -> bool {
        let Ok(processes) = fs::read_dir("/proc") else {
            return false;
        };
        processes.filter_map(Result::ok).any(|process| {
            fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.dir))
        })
    }
}

/// What the process does that [`killing_the_holder_ends_the_servers`] kills.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn hold() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let port = |url: String| url.rsplit(':').next().unwrap().to_owned();
    // It outlives us with copies of all our pipes that are not closed on exec.
    let mut child = Command::new("cat").stdout(Stdio::null()).spawn().unwrap();
    let (etcd, apiserver) = (port(plane.etcd_url()), port(plane.url()));
    println!("\nHOLDS {etcd} {apiserver} {}", plane.dir().display());
    child.wait().unwrap();
}

#[test]
fn killing_the_holder_ends_the_servers() {
    if std::env::var_os(HOLD).is_some() {
        return hold();
    }
    let mut holder = Holder::start();
    assert_eq!(holder.listens(), [true; 2]);
    assert!(Path::new(&holder.dir).exists());
    let input = holder.process.stdin.take();
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    let killed = Instant::now();
    while !holder.is_gone() {
        assert!(
            killed.elapsed() < Duration::from_secs(20),
            "{} is still there",
            holder.dir
        );
        sleep(Duration::from_millis(20));
    }
    // Only now may the child of the holder end: it has held its copies until here.
    drop(input);
}

#[test]
fn dropping_the_control_plane_removes_everything() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let dir = plane.dir().to_owned();
    assert!(plane.binaries().join("etcd").is_file());
    let output = plane
        .kubectl()
        .args(["get", "namespaces", "--output=name"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("namespace/kube-system")
    );
    drop(plane);
    assert!(!dir.exists());
}

#[test]
fn a_server_that_does_not_start_is_reported_with_its_own_words() {
    let options = Options {
        apiserver: vec!["--no-such-flag".to_owned()],
        ..Options::default()
    };
    let message = ControlPlane::start(&options).err().unwrap();
    assert!(
        message.contains("kube-apiserver ended at its start"),
        "{message}"
    );
    assert!(
        message.contains("unknown flag: --no-such-flag"),
        "{message}"
    );
}

#[tokio::test]
async fn a_separate_control_plane_takes_flags_and_survives_a_crash_of_its_server() {
    let options = Options {
        apiserver: vec!["--feature-gates=ListFromCacheSnapshot=false".to_owned()],
        etcd: vec!["--auto-compaction-retention=1h".to_owned()],
        ..Options::default()
    };
    let mut cluster = Cluster::separate(&options).await;
    let gates = cluster.kubectl(&["get", "--raw=/metrics"]);
    let gate = "kubernetes_feature_enabled{name=\"ListFromCacheSnapshot\"";
    let gate = gates.lines().find(|line| line.starts_with(gate)).unwrap();
    assert!(gate.ends_with(" 0"), "{gate}");

    pool("default", "10.0.0.0/24")
        .entry(5, "default/web-0", "net1", "a")
        .create(cluster.client())
        .await;
    cluster.stop_apiserver();
    let address = |url: String| url.split_once("//").unwrap().1.to_owned();
    assert!(TcpStream::connect(address(cluster.url())).is_err());
    assert!(TcpStream::connect(address(cluster.etcd_url())).is_ok());
    cluster.start_apiserver();
    let left = entries(cluster.client(), "default", "10.0.0.0-24").await;
    assert_eq!(left.len(), 1);
}
