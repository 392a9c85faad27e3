//! One CNI call, as a runtime makes it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::proxy::Proxy;
use crate::support::run::{Outcome, Run, Running};

/// A network configuration.
#[derive(Clone)]
pub(crate) struct Network(Value);

impl Network {
    /// A network whose records are in this cluster.
    pub(crate) fn new(cluster: &Cluster, ipam: Value) -> Network {
        Network::at(cluster.kubeconfig(), ipam)
    }

    /// The same behind a proxy.
    pub(crate) fn through(proxy: &Proxy, cluster: &Cluster, ipam: Value) -> Network {
        Network::at(&proxy.kubeconfig(cluster, cluster.token()), ipam)
    }

    /// A network whose records are where this kubeconfig says.
    pub(crate) fn at(kubeconfig: &Path, mut ipam: Value) -> Network {
        ipam["type"] = json!("whereabouts");
        ipam["kubernetes"] = json!({ "kubeconfig": kubeconfig });
        Network(json!({"cniVersion": "1.1.0", "name": "lan", "type": "macvlan", "ipam": ipam}))
    }

    /// A network whose records are in the etcd of these endpoints.
    #[cfg(feature = "etcd")]
    pub(super) fn at_etcd(endpoints: &str, mut ipam: Value) -> Network {
        ipam["type"] = json!("whereabouts");
        ipam["datastore"] = json!("etcd");
        ipam["etcd_host"] = json!(endpoints);
        Network(json!({"cniVersion": "1.1.0", "name": "lan", "type": "macvlan", "ipam": ipam}))
    }

    /// A network with exactly this configuration.
    pub(super) fn of(config: Value) -> Network {
        Network(config)
    }

    /// With another member of `ipam`.
    pub(crate) fn with(&self, member: &str, value: Value) -> Network {
        let mut network = self.clone();
        network.0["ipam"][member] = value;
        network
    }

    /// With another member at the top.
    pub(crate) fn top(&self, member: &str, value: Value) -> Network {
        let mut network = self.clone();
        network.0[member] = value;
        network
    }

    /// With the result of ADD.
    pub(crate) fn previous(&self, result: &Value) -> Network {
        self.top("prevResult", result.clone())
    }
}

/// A call to be.
pub(crate) struct Call {
    command: Command,
    input: String,
    pod: Option<(String, String)>,
    uid: Option<String>,
}

/// Prepares a call for the container `c1` and its interface `net1`, on `node-a`.
pub(crate) fn call(command: &str, network: &Network) -> Call {
    let program = Path::new(env!("CARGO_BIN_EXE_whereabouts"));
    call_of(program, command, network)
}

/// The same of another program.
pub(super) fn call_of(program: &Path, command: &str, network: &Network) -> Call {
    let mut process = Command::new(program);
    process
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "net1")
        .env("CNI_NETNS", "/var/run/netns/none")
        .env("CNI_PATH", "/opt/cni/bin")
        .env("NODENAME", "node-a");
    Call {
        command: process,
        input: network.0.to_string(),
        pod: None,
        uid: None,
    }
}

impl Call {
    pub(crate) fn container(self, id: &str) -> Call {
        self.env("CNI_CONTAINERID", id)
    }

    pub(crate) fn interface(self, name: &str) -> Call {
        self.env("CNI_IFNAME", name)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Call {
        self.command.env(name, value);
        self
    }

    /// With this on standard input instead of the network's configuration.
    pub(crate) fn stdin(mut self, input: &str) -> Call {
        input.clone_into(&mut self.input);
        self
    }

    /// For which pod; its uid is `uid-NAME` unless said otherwise.
    pub(crate) fn pod(mut self, namespace: &str, name: &str) -> Call {
        self.pod = Some((namespace.to_owned(), name.to_owned()));
        self
    }

    pub(crate) fn uid(mut self, uid: &str) -> Call {
        self.uid = Some(uid.to_owned());
        self
    }

    pub(crate) fn spawn(mut self) -> Running {
        if let Some((namespace, name)) = &self.pod {
            let uid = self.uid.unwrap_or_else(|| format!("uid-{name}"));
            let args = format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}"
            );
            self.command.env("CNI_ARGS", args);
        }
        Run::of(self.command, self.input).spawn()
    }

    pub(crate) async fn run(self) -> Outcome {
        self.spawn().wait().await
    }
}

/// The first address of a result, without its prefix length.
pub(super) fn address(result: &Value) -> String {
    let address = addresses(result).remove(0);
    address.split('/').next().unwrap().to_owned()
}

/// The addresses of a result, in their order.
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| ip["address"].as_str().unwrap().to_owned())
        .collect()
}
