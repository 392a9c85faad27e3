//! A node: network, mounts and processes of its own, containerd and a kubelet (I/O).

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use crate::switch::{SERVICE, ip};
use crate::world::until;

/// What stands on the disk of a node before anything is installed there.
const CNI_PLUGINS: [&str; 4] = [
    "cni/bridge",
    "cni/host-local",
    "cni/loopback",
    "multus/multus",
];
/// How long containerd may take to start; a second is usual.
const CONTAINERD_WITHIN: Duration = Duration::from_mins(1);
/// How long an image may take to be imported; two seconds are usual.
const IMAGES: [&str; 2] = ["image/whereabouts.tar", "image/busybox.tar"];

/// A node, whether it runs or not; dropping it ends it.
pub(crate) struct Node {
    pub(crate) name: String,
    /// The last part of its addresses, at least 1.
    number: u8,
    /// The control group of its pods.
    group: String,
    /// What its disk holds.
    disk: PathBuf,
    power: Option<Power>,
}

/// What a node has while it runs.
struct Power {
    /// Waits for the first process of the node, and for what was started on it from here.
    waiting: Vec<Child>,
    /// The first process: when it ends, all end.
    first: u32,
    /// The end of this ends the first process.
    _pipe: ChildStdin,
}

impl Node {
    /// Puts a new node's disk into `folder`; its processes will be below the control group `group`.
    pub(crate) fn new(folder: &Path, name: &str, number: u8, group: &str) -> Node {
        let disk = folder.join(name);
        let node = Node {
            group: group.to_owned(),
            name: name.to_owned(),
            number,
            disk,
            power: None,
        };
        for folder in [
            "etc/cni/net.d",
            "opt/cni/bin",
            "var/lib/kubelet",
            "var/lib/cni",
            "var/log",
            "var/tmp",
        ] {
            fs::create_dir_all(node.file(folder)).unwrap();
        }
        for plugin in CNI_PLUGINS {
            let target = node
                .file("opt/cni/bin")
                .join(plugin.split('/').next_back().unwrap());
            fs::copy(built(plugin), target).unwrap();
        }
        node.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        node.write("etc/group", "root:x:0:\n");
        node.write("etc/hosts", "127.0.0.1 localhost\n");
        node.write("etc/resolv.conf", "");
        node.write("etc/containerd.toml", include_str!("node/containerd.toml"));
        let kubelet = include_str!("node/kubelet.yaml").replace("GROUP", group);
        node.write("etc/kubelet.yaml", &kubelet);
        let multus = include_str!("node/multus.json").replace("NUMBER", &number.to_string());
        node.write("etc/cni/net.d/00-multus.conf", &multus);
        node
    }

    /// The path, for this process, of a file of the node that is not below `/run`.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.disk.join(path)
    }

    /// Writes a file of the node.
    pub(crate) fn write(&self, path: &str, content: &str) {
        fs::write(self.file(path), content).unwrap();
    }

    /// The address of the node.
    pub(crate) fn address(&self) -> String {
        format!("10.9.0.{}", 10 + self.number)
    }

    /// Switches the node on: network, containerd, kubelet.
    pub(crate) fn boot(&mut self) {
        assert!(self.power.is_none(), "{} runs", self.name);
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/node/init.sh");
        let mut unshare = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .arg("sh")
            .arg(init)
            .args([self.disk.as_os_str(), self.group.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let stdout = unshare.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "{} did not start (see above)", self.name);
        let id = unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        self.power = Some(Power {
            _pipe: unshare.stdin.take().unwrap(),
            first: children.trim().parse().unwrap(),
            waiting: vec![unshare],
        });
        self.connect();
        self.start_containerd();
        self.start_kubelet();
    }

    /// Links the node to the network of the calling thread.
    fn connect(&self) {
        let (name, number, address) = (&self.name, self.number, self.address());
        let first = self.power.as_ref().unwrap().first;
        for (bridge, link) in [("nodes", "eth0"), ("second", "eth1")] {
            let outer = format!("{name}-{link}");
            ip(&format!(
                "link add {outer} type veth peer name {link} netns {first}"
            ));
            ip(&format!("link set {outer} master {bridge} up"));
        }
        self.ip(&format!("addr add {address}/24 dev eth0"));
        self.ip("link set eth0 up");
        self.ip("route add default via 10.9.0.1");
        ip(&format!("route replace 10.244.{number}.0/24 via {address}"));
        // What the networks of the tests are attached to, on all nodes.
        self.ip("link add second type bridge");
        self.ip("link set eth1 master second up");
        self.ip("link set second up");
    }

    fn start_containerd(&mut self) {
        self.start("containerd", "containerd --config /etc/containerd.toml");
        until("containerd answers", CONTAINERD_WITHIN, || {
            self.run("ctr version").status.success().then_some(())
        });
        if self.file("var/imported").exists() {
            return;
        }
        for image in IMAGES {
            let import = "ctr --namespace k8s.io images import --snapshotter native";
            let output = self.run(&format!("{import} {}", built(image).display()));
            assert!(output.status.success(), "{image}: {output:#?}");
        }
        self.write("var/imported", "");
    }

    /// Starts the kubelet.
    pub(crate) fn start_kubelet(&mut self) {
        let (name, address) = (&self.name, self.address());
        let kubelet = format!(
            "{} --config=/etc/kubelet.yaml --kubeconfig=/etc/kubelet.kubeconfig \
             --hostname-override={name} --node-ip={address} --v=2",
            built("controlplane/kubelet").display()
        );
        self.start("kubelet", &kubelet);
    }

    /// Ends the kubelet alone, at once; containers run on.
    pub(crate) fn stop_kubelet(&self) {
        let output = self.run("kill -KILL $(cat /run/kubelet.pid)");
        assert!(output.status.success(), "{output:#?}");
    }

    /// Ends everything that runs on the node at once, as the loss of its power does.
    pub(crate) fn crash(&mut self) {
        let Some(mut power) = self.power.take() else {
            return;
        };
        let first = power.first.to_string();
        let _ = Command::new("kill").args(["-KILL", &first]).status();
        // unshare goes only when all processes of the node are gone.
        for child in &mut power.waiting {
            let _ = child.wait();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.power.is_some()
    }

    /// A command on the node.
    pub(crate) fn command(&self, script: &str) -> Command {
        let first = self
            .power
            .as_ref()
            .expect("the node runs")
            .first
            .to_string();
        let mut command = Command::new("nsenter");
        command
            .args([
                "--net", "--mount", "--pid", "--target", &first, "sh", "-c", script,
            ])
            .env("HOME", "/root");
        command
    }

    /// Runs a command of the shell on the node.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.command(script).output().unwrap()
    }

    /// Runs `ip` on the node.
    pub(crate) fn ip(&self, arguments: &str) {
        let output = self.run(&format!("ip {arguments}"));
        assert!(output.status.success(), "ip {arguments}: {output:#?}");
    }

    /// Starts a program that stays, with its log in `/var/log`.
    fn start(&mut self, name: &str, command: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file(&format!("var/log/{name}.log")));
        let log = log.unwrap();
        let child = self
            .command(&format!("echo $$ >/run/{name}.pid; exec {command}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.power.as_mut().unwrap().waiting.push(child.unwrap());
    }

    /// The ends of the logs of the node.
    pub(crate) fn logs(&self) -> String {
        let tail = |log: &str| {
            let text = fs::read(self.file(&format!("var/log/{log}.log"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            format!("--- {log} on {}\n{tail}\n", self.name)
        };
        ["kubelet", "containerd", "multus"].map(tail).concat()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.crash();
    }
}

/// What `make` has built.
pub(crate) fn built(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(path)
}

/// The address of the API server for nodes.
pub(crate) fn api_server() -> String {
    format!("https://{SERVICE}")
}
