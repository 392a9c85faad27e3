//! `cnitool`, which calls `bridge` or `macvlan`, which call the plugin: as a runtime does it (I/O).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::node::Node;
use crate::support::cluster::Cluster;
use crate::support::run::{Outcome, Run, Running};

/// The main plugin of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Main {
    Bridge,
    Macvlan,
    /// The plugin itself: `bridge` and `macvlan` do not pass GC on.
    Whereabouts,
}

impl Main {
    fn config(self) -> Value {
        match self {
            Main::Bridge => json!({"type": "bridge", "bridge": "cni0"}),
            Main::Macvlan => json!({"type": "macvlan", "master": "uplink", "mode": "bridge"}),
            Main::Whereabouts => json!({"type": "whereabouts"}),
        }
    }
}

/// A network configuration to be: named `lan`, of CNI 1.1.0.
pub(super) struct Network {
    main: Value,
    name: String,
    version: String,
}

pub(super) fn network(main: Main, cluster: &Cluster, mut ipam: Value) -> Network {
    ipam["type"] = json!("whereabouts");
    ipam["kubernetes"] = json!({ "kubeconfig": cluster.kubeconfig() });
    let mut main = main.config();
    main["ipam"] = ipam;
    Network {
        main,
        name: "lan".to_owned(),
        version: "1.1.0".to_owned(),
    }
}

impl Network {
    pub(super) fn named(mut self, name: &str) -> Network {
        name.clone_into(&mut self.name);
        self
    }

    pub(super) fn version(mut self, version: &str) -> Network {
        version.clone_into(&mut self.version);
        self
    }

    /// With another member for the main plugin.
    pub(super) fn with(mut self, member: &str, value: Value) -> Network {
        self.main[member] = value;
        self
    }

    /// Writes the configuration where `cnitool` on this node finds it, instead of one of this name.
    pub(super) fn install(&self, node: &Node) {
        let list = json!({"cniVersion": self.version, "name": self.name, "plugins": [self.main]});
        let path = format!("/run/net.d/{}.conflist", self.name);
        node.write(&path, &list.to_string());
    }
}

/// A call to be.
pub(super) struct Call<'a> {
    node: &'a Node,
    command: &'a str,
    pod: &'a str,
    sandbox: &'a str,
    network: &'a str,
    interface: &'a str,
    node_name: &'a str,
}

/// Prepares a call for the pod `default/POD` on `node-a`, for its `eth0` in the network `lan`. The
/// pod's network namespace has its name unless said otherwise.
pub(super) fn cnitool<'a>(node: &'a Node, command: &'a str, pod: &'a str) -> Call<'a> {
    Call {
        node,
        command,
        pod,
        sandbox: pod,
        network: "lan",
        interface: "eth0",
        node_name: "node-a",
    }
}

impl<'a> Call<'a> {
    pub(super) fn network(mut self, name: &'a str, interface: &'a str) -> Call<'a> {
        self.network = name;
        self.interface = interface;
        self
    }

    pub(super) fn sandbox(mut self, name: &'a str) -> Call<'a> {
        self.sandbox = name;
        self
    }

    pub(super) fn node_name(mut self, name: &'a str) -> Call<'a> {
        self.node_name = name;
        self
    }

    pub(super) fn spawn(self) -> Running {
        let plugin = Path::new(env!("CARGO_BIN_EXE_whereabouts"));
        let tools = tools();
        let path = std::env::join_paths([tools.as_path(), plugin.parent().unwrap()]).unwrap();
        let pod = self.pod;
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod}"
        );
        let mut command = self.node.command(&tools.join("cnitool"));
        command
            .args([self.command, self.network, &namespace_of(self.sandbox)])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("CNI_PATH", path)
            .env("NETCONFPATH", "/run/net.d")
            .env("CNI_IFNAME", self.interface)
            .env("CNI_ARGS", args)
            .env("NODENAME", self.node_name);
        Run::of(command, String::new()).spawn()
    }

    pub(super) async fn run(self) -> Outcome {
        self.spawn().wait().await
    }
}

/// The path of a pod's network namespace, as a runtime gives it.
fn namespace_of(sandbox: &str) -> String {
    format!("/var/run/netns/{sandbox}")
}

/// The container id that `cnitool` has made up for a network namespace.
pub(super) fn container_of(node: &Node, sandbox: &str) -> String {
    let (_, attachment) = kept(node, sandbox);
    attachment["containerId"].as_str().unwrap().to_owned()
}

/// Lets libcni forget the result of an ADD, as a new disk of the node does.
pub(super) fn forget(node: &Node, sandbox: &str) {
    let (path, _) = kept(node, sandbox);
    fs::remove_file(path).unwrap();
}

/// The file in which libcni keeps the result of an ADD, and what is in it.
fn kept(node: &Node, sandbox: &str) -> (PathBuf, Value) {
    let files = fs::read_dir(node.path("/var/lib/cni/results")).unwrap();
    let mut files = files.map(|file| {
        let path = file.unwrap().path();
        let attachment: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, attachment)
    });
    files
        .find(|(_, attachment)| attachment["netns"] == namespace_of(sandbox))
        .unwrap()
}

/// Finds the folder with what `make cni` built.
fn tools() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cni");
    for name in ["cnitool", "bridge", "macvlan"] {
        assert!(
            dir.join(name).is_file(),
            "the CNI tools of the tests are not built yet: run `make cni` first"
        );
    }
    dir
}
