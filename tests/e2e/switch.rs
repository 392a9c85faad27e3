//! The network that the control plane and the nodes share: a namespace of its own (I/O).
//!
//! Links and namespaces end with one process, which ends when the pipe to it does; what nodes leave
//! among the control groups is removed after that. So nothing stays on the machine, in whatever way
//! the tests end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the `kubernetes` service, which leads to the API server itself.
pub(crate) const SERVICE: &str = "10.96.0.1";

/// Makes the network, says so, stays until its input ends, and cleans up.
///
/// Nodes get `nodes` as their uplink, and `second` for what Multus attaches. The groups may need
/// several tries: what is in them has been killed, and takes a moment to be gone.
const KEEPER: &str = "
set -e
trap '' INT TERM HUP
ip link set lo up
ip addr add 10.96.0.1/32 dev lo
ip link add nodes type bridge
ip addr add 10.9.0.1/24 dev nodes
ip link add second type bridge
ip link set nodes up
ip link set second up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
while read -r _; do :; done
cd /sys/fs/cgroup
for _ in 1 2 3 4 5 6 7 8 9; do
  left=$(find . -depth -type d -path \"*/$1*\" ! -exec rmdir {} ';' -print 2>/dev/null) || :
  [ -n \"$left\" ] || exit 0
  sleep 1
done
";

/// The network; dropping it removes it.
pub(crate) struct Switch {
    keeper: Child,
}

impl Switch {
    /// Makes it; the groups whose names begin with `groups` will be removed with it.
    pub(crate) fn start(groups: &str) -> Result<Switch, String> {
        let mut keeper = Command::new("unshare")
            .args(["--net", "sh", "-c", KEEPER, "switch", groups])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run unshare, of util-linux: {error}"))?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().ok_or("no pipe")?;
        let switch = Switch { keeper };
        let read = BufReader::new(stdout).read_line(&mut said);
        if read.is_err() || said != "ready\n" {
            let needs = "it needs root, `ip` from iproute2, and a kernel with bridges and veth";
            return Err(format!("no network for the nodes (see above): {needs}"));
        }
        Ok(switch)
    }

    /// Moves the calling thread into the network, with all processes that it starts.
    pub(crate) fn enter(&self) {
        let namespace = File::open(format!("/proc/{}/ns/net", self.keeper.id())).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Runs a program of the network's tools, in the network of the calling thread.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("`ip` is in iproute2");
    assert!(output.status.success(), "ip {arguments}: {output:#?}");
}
