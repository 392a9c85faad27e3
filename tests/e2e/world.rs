//! A cluster with two nodes, on which everything has been installed as the README says (I/O).

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control_plane::credentials::node_token;
use crate::control_plane::{ControlPlane, Options, kubeconfig_text};
use crate::node::{Node, api_server, built};
use crate::switch::Switch;

/// The names of the nodes.
pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];
/// How long a node or what is installed may take until it is ready; ten seconds are usual.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The one cluster of this process, once a test has asked for it; its keepers end it with the
/// process.
static SHARED: Mutex<Option<Result<World, String>>> = Mutex::new(None);

/// The cluster.
pub(crate) struct World {
    // Dropped in this order.
    nodes: Vec<Node>,
    plane: ControlPlane,
    switch: Switch,
}

/// The cluster, for one test at a time.
pub(crate) struct Turn(MutexGuard<'static, Option<Result<World, String>>>);

impl Deref for Turn {
    type Target = World;

    fn deref(&self) -> &World {
        match self.0.as_ref() {
            Some(Ok(world)) => world,
            Some(Err(message)) => panic!("{message}"),
            None => unreachable!("a turn begins only after the start"),
        }
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut World {
        match self.0.as_mut() {
            Some(Ok(world)) => world,
            Some(Err(message)) => panic!("{message}"),
            None => unreachable!("a turn begins only after the start"),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(Ok(world)) = self.0.as_ref()
        {
            world.explain();
        }
    }
}

impl World {
    /// Waits for its turn, and gives the cluster with all nodes ready and nothing of other tests.
    pub(crate) fn lock() -> Turn {
        let mut guard = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            *guard = Some(World::start());
        } else if let Some(Ok(world)) = guard.as_ref() {
            world.switch.enter();
        }
        let mut turn = Turn(guard);
        if turn.nodes.is_empty() {
            turn.complete();
        }
        turn.tidy();
        turn
    }

    fn start() -> Result<World, String> {
        let switch = Switch::start(&group())?;
        switch.enter();
        let mut plane = ControlPlane::start(&Options {
            nodes: NODES.map(String::from).to_vec(),
            apiserver: vec![
                "--advertise-address=10.9.0.1".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
            ],
            etcd: Vec::new(),
        })?;
        let file = |name: &str| plane.dir().join(name).display().to_string();
        let key = format!(
            "--service-account-private-key-file={}",
            file("service-account.key")
        );
        let ca = format!("--root-ca-file={}", file("ca.crt"));
        let controllers = [
            key.as_str(),
            &ca,
            "--leader-elect=false",
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=8s",
        ];
        plane.start_component("kube-controller-manager", &controllers)?;
        plane.start_component("kube-scheduler", &["--leader-elect=false"])?;
        Ok(World {
            nodes: Vec::new(),
            plane,
            switch,
        })
    }

    /// Adds the nodes, and what a user installs.
    fn complete(&mut self) {
        self.make_image();
        for (number, name) in (1..).zip(NODES) {
            self.add_node(name, number);
        }
        self.install();
    }

    /// Packs what the pods of the tests run.
    fn make_image(&self) {
        let root = self.plane.dir().join("image");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::copy("/bin/busybox", root.join("busybox")).expect("busybox-static is installed");
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(project.join("build/image.sh"))
            .arg(root)
            .args(["e2e.test/busybox:1", std::env::consts::ARCH])
            .arg(built("image/busybox.tar"))
            .env("DOCKERFILE", project.join("tests/e2e/node/Dockerfile"))
            .status();
        assert!(status.unwrap().success());
    }

    fn add_node(&mut self, name: &str, number: u8) {
        let group = format!("{}-{name}", group());
        let node = Node::new(self.plane.dir(), name, number, &group);
        let token = node_token(self.plane.admin_token(), name);
        let ca = self.plane.ca_file().display().to_string();
        let kubelet = kubeconfig_text(&api_server(), &token, Some(&ca));
        node.write("etc/kubelet.kubeconfig", &kubelet);
        let multus = std::fs::read_to_string(self.plane.kubeconfig()).unwrap();
        let multus = multus.replace("ca.crt", &ca);
        node.write(
            "etc/cni/multus.kubeconfig",
            &multus.replace("127.0.0.1", "10.96.0.1"),
        );
        self.nodes.push(node);
        self.node(name).boot();
    }

    /// What a user does: Multus's definition is there, and then one command.
    fn install(&self) {
        self.apply(include_str!("node/network-attachment-definitions.yaml"));
        self.kubectl("apply --kustomize .");
        let timeout = format!("--timeout={}s", READY_WITHIN.as_secs());
        for node in NODES {
            until("the node registers", READY_WITHIN, || {
                self.try_kubectl(&format!("get node {node}")).ok()
            });
            self.kubectl(&format!("wait --for=condition=Ready node/{node} {timeout}"));
        }
        self.kubectl(&format!(
            "--namespace kube-system rollout status daemonset/whereabouts-node {timeout}"
        ));
    }

    /// Takes back what the last test did.
    fn tidy(&mut self) {
        let node = |node: &mut Node| {
            if !node.is_running() {
                node.boot();
            }
        };
        self.nodes.iter_mut().for_each(node);
        self.reconnect();
        for node in NODES {
            until("the node is ready", READY_WITHIN, || {
                let ready = "wait --for=condition=Ready --timeout=1s node";
                self.try_kubectl(&format!("{ready}/{node}")).ok()
            });
        }
        // The tests run it when they want it.
        self.schedule(false);
        self.kubectl("delete namespaces --selector e2e --wait --timeout=120s");
        self.kubectl("--namespace kube-system delete pod/ip-reconciler-now --ignore-not-found");
        self.kubectl(
            "--namespace kube-system delete jobs,ippools,overlappingrangeipreservations --all",
        );
    }

    /// Lets pods reach the API server again.
    pub(crate) fn reconnect(&self) {
        for node in &self.nodes {
            node.run("while ip rule del from 10.244.0.0/16 to 10.96.0.1; do :; done");
        }
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|node| node.name == name).unwrap()
    }

    /// Runs kubectl with words that hold no spaces; gives its output, and panics with its error.
    pub(crate) fn kubectl(&self, words: &str) -> String {
        self.try_kubectl(words)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_kubectl(&self, words: &str) -> Result<String, String> {
        self.kubectl_with(words, "")
    }

    /// Applies what a user would have in a file.
    pub(crate) fn apply(&self, yaml: &str) {
        let applied = self.kubectl_with("apply --filename -", yaml);
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Objects as JSON.
    pub(crate) fn get(&self, words: &str) -> Value {
        let text = self.kubectl(&format!("get {words} --output json"));
        serde_json::from_str(&text).unwrap()
    }

    fn kubectl_with(&self, words: &str, input: &str) -> Result<String, String> {
        let mut kubectl = self.plane.kubectl();
        kubectl
            .args(words.split_whitespace())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = kubectl
            .spawn()
            .map_err(|error| format!("kubectl: {error}"))?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        // kubectl that has failed reads no more.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("kubectl {words}: {errors}"));
        }
        String::from_utf8(output.stdout).map_err(|error| error.to_string())
    }

    /// Prints what explains a failure.
    fn explain(&self) {
        for words in [
            "get nodes --output wide",
            "get pods --all-namespaces --output wide",
            "get events --all-namespaces --sort-by=.lastTimestamp",
            "get ippools,overlappingrangeipreservations --all-namespaces --output yaml",
            "--namespace kube-system logs --prefix --tail=40 --selector app.kubernetes.io/name=whereabouts-node",
            "--namespace kube-system logs --prefix --tail=40 --selector app.kubernetes.io/name=ip-reconciler",
        ] {
            let said = self.try_kubectl(words);
            eprintln!(
                "--- kubectl {words}\n{}",
                said.unwrap_or_else(|error| error)
            );
        }
        for node in &self.nodes {
            eprintln!("{}", node.logs());
        }
    }
}

/// How the names of the control groups of the nodes begin.
fn group() -> String {
    format!("whereabouts-e2e-{}", std::process::id())
}

/// Looks until there is something to see, and panics when that takes too long.
pub(crate) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        sleep(LOOK_EVERY);
    }
}
