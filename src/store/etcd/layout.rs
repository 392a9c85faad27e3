//! PURE: which keys and values stand for what in etcd.
//!
//! | key under [`ROOT`] | what it is |
//! |---|---|
//! | `networks/NETWORK/ADDRESS` | an address that is unique in the whole network, and whose it is |
//! | `ranges/NETWORK/RANGE/ADDRESS` | one that is unique in its range only |
//! | `containers/CONTAINER/INTERFACE/…` | where an address of a container's interface is recorded |
//! | `pods/NAMESPACE/NAME/INTERFACE/…` | the same for a pod's |
//! | `annotations/networks/NETWORK/RANGE/NAME` | what the reconciler remembers of a range, or is told of it |
//! | `annotations/ranges/NETWORK/RANGE/NAME` | the same for the addresses that are unique in it only |
//! | `annotations/cluster` | the cluster whose reconciler frees addresses |
//!
//! `NETWORK` is `network_name`, or `-`; `RANGE` is written as in the name of a Kubernetes pool;
//! `ADDRESS` is 32 hexadecimal digits, IPv4 as IPv4-mapped, so that keys sort as addresses do. `…` is
//! the rest of the address's own key. Each part is percent-encoded where it needs to be.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::store::{Attachment, Range};

/// What all keys begin with; another version of the layout would begin otherwise.
pub(crate) const ROOT: &str = "/whereabouts/v1/";

/// What a part of a key is written with as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// Stands for an empty part.
const NOTHING: &str = "-";

/// Where an address is recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) network: String,
    /// The range's name, where the address is unique in it only.
    pub(crate) range: Option<String>,
    pub(crate) address: IpAddr,
}

impl Key {
    /// The key where the address is protected in the whole network.
    pub(crate) fn of_network(range: &Range<'_>, address: IpAddr) -> Self {
        Self {
            network: range.network.to_owned(),
            range: None,
            address,
        }
    }

    /// The key where it is protected in its range.
    pub(crate) fn of_range(range: &Range<'_>, address: IpAddr) -> Self {
        Self {
            range: Some(range.config.range.name()),
            ..Self::of_network(range, address)
        }
    }

    /// Without [`ROOT`].
    fn tail(&self) -> String {
        let network = part(&self.network);
        let address = digits(self.address);
        match &self.range {
            None => format!("networks/{network}/{address}"),
            Some(range) => format!("ranges/{network}/{}/{address}", part(range)),
        }
    }

    /// As it is in etcd.
    pub(crate) fn text(&self) -> String {
        format!("{ROOT}{}", self.tail())
    }

    /// Reads what follows [`ROOT`].
    fn parse(tail: &str) -> Option<Self> {
        let parts: Vec<&str> = tail.split('/').collect();
        let (network, range, address) = match parts.as_slice() {
            ["networks", network, address] => (network, None, address),
            ["ranges", network, range, address] => (network, Some(plain(range)?), address),
            _ => return None,
        };
        Some(Self {
            network: plain(network)?,
            range,
            address: address_of(address)?,
        })
    }

    /// Reads a key of an address as it is in etcd.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix(ROOT)?)
    }
}

/// Something that is noted of a range's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub(crate) network: String,
    /// The range's name.
    pub(crate) range: String,
    /// Whether it is about the addresses that are unique in the range only.
    pub(crate) in_range_only: bool,
    /// What is noted.
    pub(crate) name: String,
}

/// What the keys of annotations begin with.
pub(crate) const ANNOTATIONS: &str = "/whereabouts/v1/annotations/";

/// Has the uid of the namespace `kube-system` of the cluster whose reconciler frees addresses.
pub(crate) const CLUSTER: &str = "/whereabouts/v1/annotations/cluster";

impl Annotation {
    /// As it is in etcd.
    pub(crate) fn text(&self) -> String {
        let kind = if self.in_range_only {
            "ranges"
        } else {
            "networks"
        };
        let [network, range, name] = [&self.network, &self.range, &self.name].map(|it| part(it));
        format!("{ANNOTATIONS}{kind}/{network}/{range}/{name}")
    }

    /// Reads a key of an annotation as it is in etcd.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.strip_prefix(ANNOTATIONS)?.split('/').collect();
        let [kind @ ("networks" | "ranges"), network, range, name] = parts.as_slice() else {
            return None;
        };
        Some(Self {
            network: plain(network)?,
            range: plain(range)?,
            in_range_only: *kind == "ranges",
            name: plain(name)?,
        })
    }
}

/// What the keys of all addresses begin with that are unique in their network, or in their range.
pub(crate) const ADDRESSES: [&str; 2] = ["/whereabouts/v1/networks/", "/whereabouts/v1/ranges/"];

/// Whose an address is. What else a value has is left to its writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// `CNI_CONTAINERID`.
    pub(crate) container: String,
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
    /// Namespace and name of the pod.
    pub(crate) podref: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) poduid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// The range that it was allocated from.
    pub(crate) range: String,
    /// The name of the CNI network.
    #[serde(default)]
    pub(crate) network: String,
}

impl Record {
    pub(crate) fn of(attachment: &Attachment, range: &Range<'_>) -> Self {
        Self {
            container: attachment.container.clone(),
            ifname: attachment.interface.clone(),
            podref: attachment.podref.clone(),
            poduid: attachment.pod_uid.clone(),
            node: attachment.node.clone(),
            range: range.config.range.to_string(),
            network: attachment.network.clone(),
        }
    }

    /// The value in etcd.
    pub(crate) fn value(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The keys by which it is found, besides its own.
    pub(crate) fn indexes(&self, key: &Key) -> [String; 2] {
        let tail = key.tail();
        let container = container_prefix(&self.container, &self.ifname);
        let pod = pod_prefix(&self.podref, &self.ifname);
        [format!("{container}{tail}"), format!("{pod}{tail}")]
    }

    pub(crate) fn is_of(&self, container: &str, interface: &str) -> bool {
        self.container == container && self.ifname == interface
    }

    /// Whether the container that it names cannot run elsewhere any more.
    ///
    /// Without Kubernetes two nodes may have pods of one name: where no uid tells them apart, the
    /// nodes do.
    pub(crate) fn may_be_taken_over(&self, attachment: &Attachment) -> bool {
        let same_uid = match (&self.poduid, &attachment.pod_uid) {
            (Some(recorded), Some(ours)) => recorded == ours,
            _ => self.node.is_none() || attachment.node.is_none(),
        };
        let same_node = attachment.node.is_some() && attachment.node == self.node;
        self.is_of(&attachment.container, &attachment.interface) || same_uid || same_node
    }
}

/// What the index keys of a container's interface begin with.
pub(crate) fn container_prefix(container: &str, interface: &str) -> String {
    format!("{ROOT}containers/{}/{}/", part(container), part(interface))
}

/// What the index keys of a pod's interface begin with.
pub(crate) fn pod_prefix(podref: &str, interface: &str) -> String {
    let (namespace, name) = podref.split_once('/').unwrap_or(("", podref));
    format!(
        "{ROOT}pods/{}/{}/{}/",
        part(namespace),
        part(name),
        part(interface)
    )
}

/// Where the address is recorded that an index key with this prefix leads to.
pub(crate) fn led_to(prefix: &str, key: &str) -> Option<Key> {
    Key::parse(key.strip_prefix(prefix)?)
}

fn part(text: &str) -> String {
    match text {
        "" => NOTHING.to_owned(),
        NOTHING => "%2D".to_owned(),
        text => utf8_percent_encode(text, PLAIN).to_string(),
    }
}

fn plain(part: &str) -> Option<String> {
    if part == NOTHING {
        return Some(String::new());
    }
    let text = percent_decode_str(part).decode_utf8().ok()?;
    Some(text.into_owned())
}

fn digits(address: IpAddr) -> String {
    let v6 = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    format!("{:032x}", v6.to_bits())
}

fn address_of(digits: &str) -> Option<IpAddr> {
    let is_exact = digits.len() == 32 && !digits.contains(|c: char| !c.is_ascii_hexdigit());
    let bits = u128::from_str_radix(digits, 16).ok().filter(|_| is_exact)?;
    Some(IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(network: &str, range: Option<&str>, address: &str) -> Key {
        Key {
            network: network.to_owned(),
            range: range.map(ToOwned::to_owned),
            address: address.parse().unwrap(),
        }
    }

    fn record(container: &str, podref: &str) -> Record {
        Record {
            container: container.to_owned(),
            ifname: "net1".to_owned(),
            podref: podref.to_owned(),
            poduid: None,
            node: None,
            range: "10.0.0.0/24".to_owned(),
            network: "lan".to_owned(),
        }
    }

    #[test]
    fn keys_are_what_is_documented() {
        let cases = [
            (
                key("", None, "10.0.0.1"),
                "/whereabouts/v1/networks/-/00000000000000000000ffff0a000001",
            ),
            (
                key("blue", Some("fd00---64"), "fd00::1"),
                "/whereabouts/v1/ranges/blue/fd00---64/fd000000000000000000000000000001",
            ),
        ];
        for (key, text) in cases {
            assert_eq!(key.text(), text);
            assert_eq!(Key::read(text), Some(key));
        }
        for text in [
            "/whereabouts/v1/networks/-/0a000001",
            "/whereabouts/v1/networks/-/+0000000000000000000ffff0a000001",
            "/whereabouts/v2/networks/-/00000000000000000000ffff0a000001",
            "/whereabouts/v1/ranges/-/00000000000000000000ffff0a000001",
            "/whereabouts/10.0.0.0/24",
        ] {
            assert_eq!(Key::read(text), None, "{text}");
        }
    }

    #[test]
    fn indexes_lead_to_the_key() {
        let (key, record) = (key("", None, "10.0.0.1"), record("c/1", "/a\u{1}b"));
        let [container, pod] = record.indexes(&key);
        let tail = "networks/-/00000000000000000000ffff0a000001";
        assert_eq!(
            container,
            format!("/whereabouts/v1/containers/c%2F1/net1/{tail}")
        );
        assert_eq!(pod, format!("/whereabouts/v1/pods/-/a%01b/net1/{tail}"));
        assert_eq!(
            led_to(&container_prefix("c/1", "net1"), &container),
            Some(key)
        );
    }

    #[test]
    fn a_value_is_read_with_what_is_missing_and_with_more() {
        let least =
            r#"{"container":"c1","ifname":"net1","podref":"a/b","range":"10.0.0.0/24","more":[1]}"#;
        let record: Record = serde_json::from_str(least).unwrap();
        assert_eq!((record.poduid, record.node), (None, None));
        let whole = Record {
            poduid: Some("u".to_owned()),
            node: Some("n".to_owned()),
            ..self::record("c1", "a/b")
        };
        assert_eq!(
            serde_json::from_str::<Record>(&whole.value()).unwrap(),
            whole
        );
    }

    #[test]
    fn annotations_are_what_is_documented() {
        let text = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/first-seen";
        let annotation = Annotation {
            network: String::new(),
            range: "10.0.0.0-24".to_owned(),
            in_range_only: false,
            name: "first-seen".to_owned(),
        };
        assert_eq!(annotation.text(), text);
        assert_eq!(Annotation::read(text), Some(annotation));
        for text in [
            "/whereabouts/v1/annotations/pods/-/10.0.0.0-24/first-seen",
            "/whereabouts/v1/annotations/networks/-/first-seen",
            CLUSTER,
        ] {
            assert_eq!(Annotation::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_key_reads_back_and_sorts_as_its_address(
            network in ".{0,8}",
            range in proptest::option::of(".{0,8}"),
            one in any::<IpAddr>(),
            other in any::<IpAddr>(),
        ) {
            let key = |address: IpAddr| Key {
                network: network.clone(),
                range: range.clone(),
                address: address.to_canonical(),
            };
            let (one, other) = (key(one), key(other));
            prop_assert_eq!(Key::read(&one.text()), Some(one.clone()));
            let parts = if range.is_some() { 6 } else { 5 };
            prop_assert_eq!(one.text().matches('/').count(), parts);
            if one.address.is_ipv4() == other.address.is_ipv4() {
                prop_assert_eq!(one.text().cmp(&other.text()), one.address.cmp(&other.address));
            }
        }
    }
}
