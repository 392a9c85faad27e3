//! A node as network namespaces: one of its own, and one for each of its pods (I/O).
//!
//! All links are in these namespaces, and the namespaces, with the names of those of the pods, end
//! with one process, which ends when the pipe to it does. So nothing of a node is left on the
//! machine, in whatever way a test ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Sets the node up, says so, and stays until its input ends.
///
/// The names of network namespaces are mounts in `/run`, and libcni keeps the results of ADD in
/// `/var/lib/cni`: a node has its own. The links of `macvlan` hang on `uplink`, which only carries
/// while its other end is up too.
const KEEPER: &str = "
set -e
mount -t tmpfs run /run
mount -t tmpfs lib /var/lib
mkdir /run/net.d
ip link set lo up
ip link add uplink type veth peer name wire
ip link set wire up
ip link set uplink up
echo ready
exec cat
";

/// How long an IPv6 address may take until it can be used; 2 seconds are usual.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// A node; dropping it removes its namespaces and all that is in them.
pub(super) struct Node {
    keeper: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is fine.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

impl Node {
    pub(super) fn start() -> Node {
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", KEEPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is needed: it is in util-linux");
        let mut said = String::new();
        let mut stdout = BufReader::new(keeper.stdout.take().unwrap());
        let node = Node { keeper };
        stdout.read_line(&mut said).unwrap();
        assert_eq!(
            said, "ready\n",
            "a test node could not be made (the error is above): it needs root, `ip` from iproute2, \
             and a kernel with network namespaces and veth"
        );
        node
    }

    /// Moves the far end of the uplink to another node, as the uplink there.
    pub(super) fn wire_to(&self, other: &Node) {
        let target = other.keeper.id().to_string();
        other.ip(&["link", "del", "uplink"]);
        self.ip(&["link", "set", "wire", "name", "far", "netns", &target]);
        other.ip(&["link", "set", "far", "name", "uplink", "up"]);
    }

    /// A command that will run on the node.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.keeper.id().to_string();
        command
            .args(["--net", "--mount", "--target", &target, "--"])
            .arg(program);
        command
    }

    /// Runs `ip` on the node, and panics with its error.
    pub(super) fn ip(&self, arguments: &[&str]) -> String {
        let output = self.command(Path::new("ip")).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {output:#?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes the network namespace of a pod.
    pub(super) fn add_pod(&self, pod: &str) {
        self.ip(&["netns", "add", pod]);
    }

    /// Removes the network namespace of a pod, with all its links.
    pub(super) fn remove_pod(&self, pod: &str) {
        self.ip(&["netns", "del", pod]);
    }

    /// Whether a pod has a link of this name.
    pub(super) fn has_link(&self, pod: &str, link: &str) -> bool {
        let links = self.ip(&["-n", pod, "-j", "link"]);
        let links: Value = serde_json::from_str(&links).unwrap();
        let mut links = links.as_array().unwrap().iter();
        links.any(|shown| shown["ifname"] == link)
    }

    /// The addresses of a pod's link with their prefix lengths, without the link-local ones.
    pub(super) fn addresses(&self, pod: &str, link: &str) -> Vec<String> {
        let shown = self.ip(&["-n", pod, "-j", "addr", "show", "dev", link]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let all = shown[0]["addr_info"].as_array().unwrap().iter();
        all.filter(|info| info["scope"] == "global")
            .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
            .collect()
    }

    /// Waits until the kernel has seen that nobody else has the IPv6 addresses of a pod: before, no
    /// connection can use them. Of the plugins, only `bridge` turns that off.
    pub(super) fn settle(&self, pod: &str) {
        let started = Instant::now();
        while self.ip(&["-n", pod, "addr"]).contains("tentative") {
            assert!(started.elapsed() < SETTLES_WITHIN, "{pod}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where this process finds a file of the node.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.keeper.id()))
    }

    /// Writes a file on the node.
    pub(super) fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap();
    }

    /// Runs `action` on a thread in the network namespace of the node: a socket stays in the one in
    /// which it was made.
    pub(super) fn inside<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let id = self.keeper.id();
        inside(Path::new(&format!("/proc/{id}/ns/net")), action)
    }

    /// The same in the network namespace of a pod.
    pub(super) fn inside_pod<T: Send + 'static>(
        &self,
        pod: &str,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        inside(&self.path(&format!("/run/netns/{pod}")), action)
    }
}

fn inside<T: Send + 'static>(namespace: &Path, action: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(namespace).unwrap();
    let entered = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        action()
    };
    std::thread::spawn(entered).join().unwrap()
}
