//! Where records are, and which there are (I/O).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::call::Network;
use crate::support::cluster::Cluster;
#[cfg(feature = "etcd")]
use crate::support::etcd::Etcd;
use crate::support::objects::{all_entries, reservations};

/// A datastore.
pub(super) enum Home {
    Kubernetes(Cluster),
    #[cfg(feature = "etcd")]
    Etcd(Etcd),
}

impl Home {
    pub(super) async fn kubernetes() -> Home {
        Home::Kubernetes(Cluster::lock().await)
    }

    #[cfg(feature = "etcd")]
    pub(super) fn etcd() -> Home {
        Home::Etcd(Etcd::start())
    }

    /// A network whose records are here.
    pub(super) fn network(&self, ipam: &Value) -> Network {
        match self {
            Home::Kubernetes(cluster) => Network::new(cluster, ipam.clone()),
            #[cfg(feature = "etcd")]
            Home::Etcd(etcd) => Network::at_etcd(&etcd.host(), ipam.clone()),
        }
    }

    /// The container of each address that is recorded, and protected in other ranges.
    pub(super) async fn owners(&self) -> BTreeMap<IpAddr, String> {
        match self {
            Home::Kubernetes(cluster) => {
                let entries = all_entries(cluster.client()).await;
                let owners = owners(entries.into_iter().map(|(at, entry)| (at, entry, "id")));
                let claims = reservations(cluster.client()).await;
                assert_eq!(claims.len(), owners.len(), "{owners:?} {claims:?}");
                owners
            }
            #[cfg(feature = "etcd")]
            Home::Etcd(etcd) => {
                let all = etcd.all().await;
                let records = all.iter().filter(|(key, _)| key.contains("/v1/networks/"));
                let records = records.map(|(key, value)| {
                    let digits = key.rsplit('/').next().unwrap();
                    let bits = u128::from_str_radix(digits, 16).unwrap();
                    let at = IpAddr::from(bits.to_be_bytes()).to_canonical();
                    (at, serde_json::from_str(value).unwrap(), "container")
                });
                let owners = owners(records);
                // And the keys that lead to it, of its container and of its pod.
                assert_eq!(all.len(), 3 * owners.len(), "{all:#?}");
                owners
            }
        }
    }

    /// How many addresses are recorded.
    pub(super) async fn count(&self) -> usize {
        self.owners().await.len()
    }
}

/// The owners of records, in which a member names the container.
fn owners(
    records: impl Iterator<Item = (IpAddr, Value, &'static str)>,
) -> BTreeMap<IpAddr, String> {
    let mut owners = BTreeMap::new();
    for (at, record, member) in records {
        let container = record[member].as_str().unwrap().to_owned();
        let before = owners.insert(at, container);
        assert_eq!(before, None, "{at} is recorded twice");
    }
    owners
}

/// A valid attachment, for GC.
pub(super) fn valid(container: &str) -> Value {
    json!([{"containerID": container, "ifname": "net1"}])
}
