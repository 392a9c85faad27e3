//! PURE: pods as the reconciler sees them: a reference, and what their network status shows.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use smallvec::SmallVec;

use crate::ip::parse_address;
use crate::text::{Text, Uid};

/// The annotation in which Multus says what a pod's interfaces have (Network Plumbing Working
/// Group, multi-network specification 4.1), and its former name, still written by old versions.
pub const STATUS_KEYS: [&str; 2] = [
    "k8s.v1.cni.cncf.io/network-status",
    "k8s.v1.cni.cncf.io/networks-status",
];

/// The annotation that exempts a pod, a pool or a reservation when its value is `"false"`.
pub const RECONCILE_KEY: &str = "whereabouts.cni.cncf.io/reconcile";

/// The annotation of a static pod's mirror: its uid changes while its containers go on.
pub const MIRROR_KEY: &str = "kubernetes.io/config.mirror";

/// The interface of the cluster's own network, in every pod.
const DEFAULT_INTERFACE: &str = "eth0";

/// A pod named as `namespace/name`, as records do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PodRef(pub(crate) Text);

impl PodRef {
    /// Reads `namespace/name`; `None` when either is missing or there is more than one slash.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let valid = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
        valid.then(|| Self(text.into()))
    }

    /// Whether a pod can have this name (RFC 1123: a label, and a subdomain). That there is none of
    /// another name proves nothing: such a reference was written by hand.
    #[must_use]
    pub fn can_exist(&self) -> bool {
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = label.as_bytes();
            let ends = bytes.first().zip(bytes.last());
            ends.is_some_and(|(first, last)| plain(*first) && plain(*last))
                && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
        };
        is_label(self.namespace()) && self.name().split('.').all(is_label)
    }

    /// The pod's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for PodRef {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// How a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finished {
    /// Phase `Succeeded`.
    Succeeded,
    /// Phase `Failed`.
    Failed,
}

impl Finished {
    /// Both terminal phases (Pod Lifecycle: a pod never leaves them).
    pub const ALL: [Self; 2] = [Self::Succeeded, Self::Failed];

    /// The phase as the API spells it.
    #[must_use]
    pub fn phase(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// The terminal phase of that spelling.
    #[must_use]
    pub fn from_phase(phase: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|finished| finished.phase() == phase)
    }
}

/// One interface of a pod and the addresses that its status shows there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The name inside the pod, such as `net1`; empty when the status has none.
    pub name: Text,
    /// The addresses, compared as addresses and never as text.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// The network that it is attached to, such as `default/net-a`; `None` for the interface of the
    /// cluster's own network, and for one that cannot be told from it.
    pub network: Option<Text>,
}

/// What the network status annotations of a pod say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkStatus {
    /// All interfaces that could be read, from both annotation keys.
    pub interfaces: SmallVec<[Interface; 2]>,
    /// Why a part of it could not be read, if so.
    pub unreadable: Option<Text>,
}

/// An element of the annotation's list; a network's name of the wrong type is as good as none.
#[derive(Deserialize)]
struct StatusElement<'a> {
    #[serde(default, borrow)]
    name: Option<&'a RawValue>,
    #[serde(default, borrow)]
    default: Option<&'a RawValue>,
    #[serde(default, borrow)]
    interface: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    ips: Option<Vec<std::borrow::Cow<'a, str>>>,
}

impl NetworkStatus {
    /// Reads the values of the annotations that are there; no value is no status.
    #[must_use]
    pub fn parse<'a>(annotations: impl IntoIterator<Item = &'a str>) -> Self {
        let mut interfaces = SmallVec::new();
        let mut unreadable = None;
        for text in annotations {
            if let Err(reason) = read_annotation(text, &mut interfaces) {
                unreadable = Some(reason.into());
            }
        }
        Self {
            interfaces,
            unreadable,
        }
    }
}

fn read_annotation(text: &str, interfaces: &mut SmallVec<[Interface; 2]>) -> Result<(), String> {
    let elements: Vec<StatusElement> =
        serde_json::from_str(text).map_err(|error| format!("network status: {error}"))?;
    let mut outcome = Ok(());
    for element in elements {
        let mut addresses = SmallVec::new();
        for ip in element.ips.iter().flatten() {
            // Some delegates write the prefix length too.
            match parse_address(ip.split_once('/').map_or(ip, |(address, _)| address)) {
                Some(address) => addresses.push(address),
                None => outcome = Err(format!("network status: {ip:?} is no address")),
            }
        }
        let name = element.interface.unwrap_or_default();
        let flag = element.default.map(RawValue::get);
        let is_default = flag == Some("true") || name == DEFAULT_INTERFACE;
        let network = element.name.filter(|_| !is_default && !name.is_empty());
        interfaces.push(Interface {
            network: network.and_then(|network| serde_json::from_str(network.get()).ok()),
            name: name.into(),
            addresses,
        });
    }
    outcome
}

/// Whether the sandbox of a pod is there, as far as its kubelet says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sandbox {
    /// Nothing says otherwise.
    #[default]
    Settled,
    /// The kubelet says that it is not ready, or that no container runs: its interfaces are being
    /// attached, and what the network status shows may be that of a sandbox before.
    BeingMade,
}

/// How far a pod that has not finished has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It is not known, or it does not run yet.
    #[default]
    Other,
    /// Its phase is `Running`, as the whole pod says.
    Running,
}

/// How a pod is, from its metadata and from the lists by phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Traits {
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Whether [`RECONCILE_KEY`] exempts it.
    pub protected: bool,
    /// Whether it mirrors a static pod.
    pub mirror: bool,
    /// Its terminal phase, if it has one.
    pub finished: Option<Finished>,
    /// The node that it was bound to; known only from a whole pod, and of pods on nodes that are
    /// not Ready.
    pub node: Option<Text>,
    /// Whether its interfaces can be those of a sandbox before.
    pub sandbox: Sandbox,
    /// How far it has come.
    pub stage: Stage,
}

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// `metadata.uid`.
    pub uid: Uid,
    /// How it is.
    pub traits: Traits,
    /// What its interfaces have.
    pub status: NetworkStatus,
}

impl Traits {
    /// Whether its containers may run: until it has finished, also while it is being deleted.
    #[must_use]
    pub fn may_run(&self) -> bool {
        self.finished.is_none()
    }

    /// Whether what it shows is in use beyond doubt: nobody deletes it, and it has its sandbox.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.may_run() && !self.deleting && self.sandbox == Sandbox::Settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(status: &NetworkStatus, address: &str) -> bool {
        let address = parse_address(address).unwrap();
        let mut interfaces = status.interfaces.iter();
        interfaces.any(|interface| interface.addresses.contains(&address))
    }

    #[test]
    fn a_pod_reference_is_one_namespace_and_one_name() {
        let pod = PodRef::parse("default/web-0").unwrap();
        assert_eq!((pod.namespace(), pod.name()), ("default", "web-0"));
        for text in ["", "web-0", "/web-0", "default/", "a/b/c", "/"] {
            assert_eq!(PodRef::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_interface_of_both_annotations_counts() {
        let status = NetworkStatus::parse([
            r#"[{"name":"cbr0","interface":"eth0","ips":["10.244.0.9"],"default":true},
                {"name":"default/a","interface":"net1","ips":["10.0.0.5","FD00:0::5"],"dns":{}}]"#,
            r#"[{"name":"x","ips":["::ffff:10.0.0.6","10.0.0.7/24"]},{"name":"y"},{"ips":null}]"#,
        ]);
        assert_eq!(status.unreadable, None);
        for shown in ["10.244.0.9", "10.0.0.5", "fd00::5", "10.0.0.6", "10.0.0.7"] {
            assert!(shows(&status, shown), "{shown}");
        }
        assert_eq!(&*status.interfaces[1].name, "net1");
        let networks: Vec<_> = status
            .interfaces
            .iter()
            .map(|i| i.network.as_deref())
            .collect();
        assert_eq!(networks, [None, Some("default/a"), None, None, None]);
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_still_counts() {
        for text in [
            "",
            "{}",
            "[",
            r#"[{"ips":["x"]}]"#,
            r#"[{"ips":[5]}]"#,
            "[1]",
        ] {
            let status = NetworkStatus::parse([text, r#"[{"ips":["10.0.0.5"]}]"#]);
            assert!(status.unreadable.is_some(), "{text}");
            assert!(shows(&status, "10.0.0.5"));
        }
    }

    #[test]
    fn an_empty_status_is_no_status() {
        for annotations in [&[][..], &["[]"]] {
            let status = NetworkStatus::parse(annotations.iter().copied());
            assert_eq!(status, NetworkStatus::default());
        }
    }
}
