//! A cluster with records in a datastore: what is put there, what is left of it, and runs over it (I/O).
//!
//! All records are of the range 10.0.0.0/24 and protected in others: with a reservation, or with the
//! keys that lead to them.

#[cfg(feature = "etcd")]
mod keys;
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::super::undo;
use super::record::Record;
use super::told::text;
use crate::plugin::call::Network;
use crate::support::cluster::Cluster;
#[cfg(feature = "etcd")]
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, create_all, entries, pod, pool, reservation, send};
use crate::support::proxy::Proxy;
#[cfg(feature = "etcd")]
use crate::support::relay::Relay;
use crate::support::run::{Run, reconciler};

#[cfg(feature = "etcd")]
use keys::{CLUSTER, NOTES, UNNAMED, key, put_key, put_keys};
pub(super) use wire::{Lost, Wire};

const RANGE: &str = "10.0.0.0/24";
const NAME: &str = "10.0.0.0-24";
const POOL: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-24";

/// A cluster, and where its records are.
pub(super) struct Home {
    cluster: Cluster,
    datastore: Datastore,
}

enum Datastore {
    Kubernetes,
    #[cfg(feature = "etcd")]
    Etcd(Etcd),
}

impl Home {
    pub(super) async fn kubernetes() -> Home {
        Home::over(Datastore::Kubernetes).await
    }

    #[cfg(feature = "etcd")]
    pub(super) async fn etcd() -> Home {
        Home::over(Datastore::Etcd(Etcd::start())).await
    }

    /// With a pod that has nothing to do with any record, lest the view be one without pods.
    async fn over(datastore: Datastore) -> Home {
        let cluster = Cluster::lock().await;
        pod("default", "bystander").create(cluster.client()).await;
        Home { cluster, datastore }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Puts an object into the cluster.
    pub(super) async fn has(&self, object: impl Object) {
        object.create(self.cluster.client()).await;
    }

    /// The network, for the plugin.
    pub(super) fn network(&self) -> Network {
        let ipam = match &self.datastore {
            Datastore::Kubernetes => json!({ "range": RANGE }),
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => {
                json!({"range": RANGE, "datastore": "etcd", "etcd_host": etcd.host()})
            }
        };
        Network::new(&self.cluster, ipam)
    }

    /// How many records of a report there are for each address.
    pub(super) fn each(&self) -> usize {
        match &self.datastore {
            Datastore::Kubernetes => 2,
            #[cfg(feature = "etcd")]
            Datastore::Etcd(_) => 1,
        }
    }

    /// Namespace and name of the range's pool in reports.
    pub(super) fn pool(&self) -> String {
        match &self.datastore {
            Datastore::Kubernetes => format!("kube-system/{NAME}"),
            #[cfg(feature = "etcd")]
            Datastore::Etcd(_) => format!("networks/{NAME}"),
        }
    }

    /// A run over the cluster, with its report as JSON.
    pub(super) fn run(&self) -> Run {
        self.printing("json")
    }

    /// The same with its report in another format.
    pub(super) fn printing(&self, format: &str) -> Run {
        let run = self.between(reconciler(self.cluster.kubeconfig()), None);
        run.args(["-o", format])
    }

    /// Says where the records are, which may be before the datastore.
    fn between(&self, run: Run, host: Option<String>) -> Run {
        let run = run.args(["--settle", "100ms"]);
        match &self.datastore {
            Datastore::Kubernetes => {
                assert_eq!(host, None);
                run
            }
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => {
                let host = host.unwrap_or_else(|| etcd.host());
                run.args(["--datastore", "etcd", "--etcd-host", &host])
            }
        }
    }

    /// Records addresses.
    pub(super) async fn put(&self, records: &[Record]) {
        match &self.datastore {
            Datastore::Kubernetes => self.put_objects(records).await,
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => put_keys(etcd, records).await,
        }
    }

    async fn put_objects(&self, records: &[Record]) {
        let client = self.cluster.client();
        if send(client, Method::GET, POOL, None).await.is_err() {
            pool("kube-system", RANGE).create(client).await;
        }
        let mut allocations = Map::new();
        for record in records {
            let id = record.container();
            let mut entry = json!({"id": id, "podref": record.podref, "ifname": "net1"});
            if let Some((uid, node)) = &record.owner {
                entry["owner"] = json!({"id": id, "poduid": uid, "nodename": node});
            }
            allocations.insert(record.at.to_string(), entry);
        }
        let claims = records.iter().map(|record| {
            let claim = reservation("kube-system", &record.address(), &record.podref);
            claim.ifname("net1").container(&record.container())
        });
        create_all(client, claims, 8).await;
        let change = json!({"spec": {"allocations": allocations}});
        self.change(change).await;
    }

    async fn change(&self, change: Value) {
        let client = self.cluster.client();
        send(client, Method::PATCH, POOL, Some(&change))
            .await
            .unwrap();
    }

    /// Records something that nobody can read.
    pub(super) async fn put_damaged(&self, at: u8) {
        match &self.datastore {
            Datastore::Kubernetes => {
                let entry = json!({"id": "c", "podref": "default/gone", "ifname": "net1"});
                let change = json!({"spec": {"allocations": {format!("{at}x"): entry}}});
                self.change(change).await;
                let unnamed = reservation("kube-system", "", "default/gone");
                self.has(unnamed.name(&format!("no-address-{at}"))).await;
            }
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => put_key(etcd, &key(at), "10.0.0.0 c default/gone").await,
        }
    }

    /// The pod of each address that is recorded whole, and can be read.
    pub(super) async fn left(&self) -> BTreeMap<IpAddr, String> {
        match &self.datastore {
            Datastore::Kubernetes => {
                let client = self.cluster.client();
                let entries = entries(client, "kube-system", NAME).await;
                let mut claims = crate::support::objects::reservations(client).await;
                let left = entries.iter().filter_map(|(offset, entry)| {
                    let at = IpAddr::from(Ipv4Addr::new(10, 0, 0, offset.parse().ok()?));
                    let is_claimed = claims.remove(&format!("kube-system/{at}"));
                    assert!(is_claimed, "{at} has no reservation");
                    Some((at, text(&entry["podref"])))
                });
                let left = left.collect();
                claims.retain(|claim| !claim.contains("no-address"));
                assert!(claims.is_empty(), "{claims:?} have no entry");
                left
            }
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => {
                let all = etcd.all().await;
                let owners = all.iter().filter_map(|(key, value)| {
                    let digits = key.strip_prefix(UNNAMED)?;
                    let bits = u128::from_str_radix(digits, 16).unwrap();
                    let at = IpAddr::from(bits.to_be_bytes()).to_canonical();
                    let record: Value = serde_json::from_str(value).ok()?;
                    Some((at, text(&record["podref"])))
                });
                let owners: BTreeMap<IpAddr, String> = owners.collect();
                for kind in ["containers", "pods"] {
                    let prefix = format!("/whereabouts/v1/{kind}/");
                    let leading = all.iter().filter(|(key, _)| key.starts_with(&prefix));
                    assert_eq!(leading.count(), owners.len(), "{all:#?}");
                }
                owners
            }
        }
    }

    /// The last parts of the addresses that are left.
    pub(super) async fn left_at(&self) -> Vec<u8> {
        let left = self.left().await.into_keys();
        let last = left.map(|at| at.to_string().rsplit('.').next().unwrap().parse().unwrap());
        last.collect()
    }

    /// All that is recorded and remembered, as it can be compared.
    pub(super) async fn everything(&self) -> Vec<Value> {
        match &self.datastore {
            Datastore::Kubernetes => undo::records(&self.cluster).await,
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => {
                let all = etcd.all().await.into_iter();
                let of_records = all.filter(|(key, _)| key != CLUSTER);
                let read = |value: &str| serde_json::from_str(value).unwrap_or(json!(value));
                let both = of_records.map(|(key, value)| json!([key, read(&value)]));
                both.collect()
            }
        }
    }

    /// What the range is told, or remembers.
    pub(super) async fn note(&self, name: &str) -> Option<String> {
        match &self.datastore {
            Datastore::Kubernetes => {
                let client = self.cluster.client();
                let pool = send(client, Method::GET, POOL, None).await.unwrap();
                let annotation = format!("whereabouts.cni.cncf.io/{name}");
                let note = pool["metadata"]["annotations"][annotation].as_str();
                note.map(str::to_owned)
            }
            #[cfg(feature = "etcd")]
            Datastore::Etcd(etcd) => {
                let key = format!("{NOTES}{name}");
                let mut all = etcd.all().await.into_iter();
                all.find_map(|(other, value)| (other == key).then_some(value))
            }
        }
    }

    /// Tells the range something; the answer can go where this one cannot.
    pub(super) fn noting(
        &self,
        name: &str,
        value: &str,
    ) -> impl Future<Output = ()> + Send + use<> {
        let client = self.cluster.client().clone();
        let annotation = format!("whereabouts.cni.cncf.io/{name}");
        let change = json!({"metadata": {"annotations": {annotation: value}}});
        #[cfg(feature = "etcd")]
        let key = match &self.datastore {
            Datastore::Kubernetes => None,
            Datastore::Etcd(etcd) => {
                Some((etcd.host(), format!("{NOTES}{name}"), value.to_owned()))
            }
        };
        async move {
            #[cfg(feature = "etcd")]
            if let Some((host, key, value)) = key {
                let url = format!("http://{host}");
                let client = etcd_client::Client::connect([url], None).await;
                client.unwrap().put(key, value, None).await.unwrap();
                return;
            }
            let sent = send(&client, Method::PATCH, POOL, Some(&change));
            sent.await.unwrap();
        }
    }

    /// Lets time pass for orphans: each was seen so much earlier.
    pub(super) async fn pass(&self, minutes: i64) {
        let text = self.note("first-seen").await.unwrap();
        let start = text.find("20").unwrap();
        let seen = &text[start..start + "2026-11-23T22:10:00Z".len()];
        let at: Timestamp = seen.parse().unwrap();
        let earlier = format!("{:.0}", at - SignedDuration::from_mins(minutes));
        let text = text.replace(seen, &earlier);
        self.noting("first-seen", &text).await;
    }

    /// Something that stands between the program and its servers.
    pub(super) async fn wire(&self) -> Wire<'_> {
        Wire {
            home: self,
            proxy: Proxy::start(&self.cluster).await,
            #[cfg(feature = "etcd")]
            relay: match &self.datastore {
                Datastore::Kubernetes => None,
                Datastore::Etcd(etcd) => Some(Relay::start(&etcd.host()).await),
            },
        }
    }
}
