//! Pods with secondary networks, their addresses, and the records of these (I/O).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, until};

/// How long pods may take to come or to go; two seconds for each are usual.
const PODS_WITHIN: Duration = Duration::from_mins(2);
/// How long an address may take until it answers. At once is usual; but one that has moved to another
/// container is looked for at its old link for up to a minute (`base_reachable_time`, arp(7)).
const ANSWERS_WITHIN: Duration = Duration::from_secs(100);
/// Where Multus tells which addresses a pod has got.
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// A pod that is ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    /// Those of its secondary network.
    pub(crate) addresses: Vec<IpAddr>,
}

/// An entry of a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) container: String,
    pub(crate) pod: String,
}

/// Pods that are all alike.
pub(crate) struct Workload<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) replicas: usize,
    pub(crate) network: &'a str,
    /// Where they have to be; anywhere if nowhere.
    pub(crate) node: Option<&'a str>,
}

impl Workload<'_> {
    pub(crate) fn deployment<'a>(name: &'a str, network: &'a str, replicas: usize) -> Workload<'a> {
        Workload {
            kind: "Deployment",
            name,
            replicas,
            network,
            node: None,
        }
    }

    pub(crate) fn on(mut self, node: &'static str) -> Self {
        self.node = Some(node);
        self
    }
}

impl World {
    /// Makes a namespace that goes with the test.
    pub(crate) fn namespace(&self, name: &str) {
        self.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"e2e": ""}}})
            .to_string(),
        );
    }

    /// Defines a network that reaches all nodes.
    pub(crate) fn network(&self, namespace: &str, name: &str, mut ipam: Value) {
        ipam["type"] = "whereabouts".into();
        let config = json!({"cniVersion": "1.0.0", "name": name, "type": "bridge",
            "bridge": "second", "ipam": ipam});
        self.apply(
            &json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"config": config.to_string()}})
            .to_string(),
        );
    }

    /// Starts pods, or changes their number.
    pub(crate) fn run(&self, namespace: &str, workload: &Workload<'_>) {
        let Workload { kind, name, .. } = *workload;
        let mut selector = json!({"kubernetes.io/os": "linux"});
        if let Some(node) = workload.node {
            selector = json!({"kubernetes.io/hostname": node});
        }
        let pod = json!({
            "metadata": {"labels": {"app": name},
                "annotations": {"k8s.v1.cni.cncf.io/networks": workload.network}},
            "spec": {
                "nodeSelector": selector,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "e2e.test/busybox:1"}],
            },
        });
        self.apply(
            &json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": workload.replicas, "selector": {"matchLabels": {"app": name}},
                "template": pod}})
            .to_string(),
        );
    }

    /// Waits until there are exactly so many pods of a workload, all of them ready.
    pub(crate) fn ready(&self, namespace: &str, app: &str, count: usize) -> Vec<Pod> {
        let what = format!("{count} pods {app} are ready");
        until(&what, PODS_WITHIN, || {
            let (pods, all) = self.pods(namespace, app);
            (pods.len() == count && all == count).then_some(pods)
        })
    }

    /// The pods of a workload that are ready, and the number of all.
    pub(crate) fn pods(&self, namespace: &str, app: &str) -> (Vec<Pod>, usize) {
        let list = self.get(&format!(
            "pods --namespace {namespace} --selector app={app}"
        ));
        let all = list["items"].as_array().unwrap();
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        (all.iter().filter(ready).map(pod).collect(), all.len())
    }

    /// Has a pod ask an address until it answers.
    pub(crate) fn ping(&self, namespace: &str, pod: &Pod, address: IpAddr) {
        let (name, flag) = (&pod.name, if address.is_ipv6() { "-6" } else { "-4" });
        let ping = format!("/busybox ping {flag} -c 1 -W 1 {address}");
        until(&format!("{name}: {ping}"), ANSWERS_WITHIN, || {
            let exec = format!("exec --namespace {namespace} {name} -- {ping}");
            self.try_kubectl(&exec).ok()
        });
    }

    /// The entries of the pool of a range, by their distance from its network address.
    pub(crate) fn entries(&self, range: &str) -> BTreeMap<u64, Entry> {
        let list = self.get("ippools --namespace kube-system");
        let pools = list["items"].as_array().unwrap();
        let Some(pool) = pools.iter().find(|pool| pool["spec"]["range"] == range) else {
            return BTreeMap::new();
        };
        let entry = |(offset, entry): (&String, &Value)| {
            let text = |member: &str| entry[member].as_str().unwrap().to_owned();
            let (container, pod) = (text("id"), text("podref"));
            (offset.parse().unwrap(), Entry { container, pod })
        };
        let entries = pool["spec"]["allocations"].as_object().unwrap();
        entries.iter().map(entry).collect()
    }

    /// Waits until the pool of a range holds exactly these entries and no reservation is without one.
    pub(crate) fn recorded(&self, range: &str, offsets: impl IntoIterator<Item = u64>) {
        let offsets: BTreeSet<u64> = offsets.into_iter().collect();
        let what = format!("{range} holds {offsets:?}");
        until(&what, PODS_WITHIN, || {
            (self.offsets(range) == offsets && self.reservations() == offsets.len()).then_some(())
        });
    }

    /// The keys of [`Self::entries`].
    pub(crate) fn offsets(&self, range: &str) -> BTreeSet<u64> {
        self.entries(range).into_keys().collect()
    }

    /// The number of reservations, of all ranges.
    pub(crate) fn reservations(&self) -> usize {
        let list = self.get("overlappingrangeipreservations --namespace kube-system");
        list["items"].as_array().unwrap().len()
    }
}

fn pod(object: &Value) -> Pod {
    let status = object["metadata"]["annotations"][STATUS].as_str().unwrap();
    let status: Value = serde_json::from_str(status).unwrap();
    let networks = status.as_array().unwrap().iter();
    let second = networks.filter(|network| network["interface"] != "eth0");
    let addresses =
        second.flat_map(|network| network["ips"].as_array().cloned().unwrap_or_default());
    Pod {
        name: object["metadata"]["name"].as_str().unwrap().to_owned(),
        node: object["spec"]["nodeName"].as_str().unwrap().to_owned(),
        addresses: addresses
            .map(|address| address.as_str().unwrap().parse().unwrap())
            .collect(),
    }
}

/// The addresses of pods, in order.
pub(crate) fn addresses(pods: &[Pod]) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.clone()).collect();
    all.sort();
    all
}

/// The distances of the addresses of pods from the start of their /24 or wider network.
pub(crate) fn offsets(pods: &[Pod]) -> BTreeSet<u64> {
    let offset = |address: &IpAddr| match address {
        IpAddr::V4(address) => u64::from(address.octets()[3]),
        IpAddr::V6(address) => u64::from(address.octets()[15]),
    };
    addresses(pods).iter().map(offset).collect()
}
