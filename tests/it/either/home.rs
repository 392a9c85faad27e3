//! A cluster with records in a datastore: what is put there, what is left of it, and runs over it (I/O).
//!
//! All records are of the range 10.0.0.0/24 and protected in others: with a reservation, or with the
//! keys that lead to them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::super::undo;
use crate::plugin::call::Network;
use crate::support::cluster::Cluster;
#[cfg(feature = "etcd")]
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, create_all, entries, pod, pool, reservation, send};
use crate::support::proxy::{Fault, Proxy};
#[cfg(feature = "etcd")]
use crate::support::relay::Relay;
use crate::support::run::{Outcome, Run, reconciler};

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

/// An address of a pod's interface `net1`.
#[derive(Clone)]
pub(super) struct Record {
    /// Its last part.
    at: u8,
    podref: String,
    /// The uid of the pod and the node, which the Go program does not write.
    owner: Option<(String, String)>,
}

/// The address `10.0.0.AT`, recorded for a pod of the namespace `default` as the plugin does it.
pub(super) fn record(at: u8, pod: &str) -> Record {
    Record {
        at,
        podref: format!("default/{pod}"),
        owner: Some((format!("uid-{pod}"), "node-a".to_owned())),
    }
}

impl Record {
    pub(super) fn uid(mut self, uid: &str) -> Record {
        self.owner = self.owner.map(|(_, node)| (uid.to_owned(), node));
        self
    }

    pub(super) fn node(mut self, node: &str) -> Record {
        self.owner = self.owner.map(|(uid, _)| (uid, node.to_owned()));
        self
    }

    /// Says neither uid nor node.
    pub(super) fn bare(mut self) -> Record {
        self.owner = None;
        self
    }

    pub(super) fn podref(mut self, podref: &str) -> Record {
        podref.clone_into(&mut self.podref);
        self
    }

    fn address(&self) -> String {
        address(self.at)
    }

    fn container(&self) -> String {
        format!("c-{}", self.podref.rsplit('/').next().unwrap())
    }
}

/// So many orphans, from 10.0.0.1 on.
pub(super) fn orphans(count: u8) -> Vec<Record> {
    let all = (1..=count).map(|at| record(at, &format!("gone-{at}")).bare());
    all.collect()
}

pub(super) fn address(at: u8) -> String {
    format!("10.0.0.{at}")
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

/// What stands between the program and its servers, and lets things happen there.
pub(super) struct Wire<'a> {
    home: &'a Home,
    /// Before the API server.
    pub(super) proxy: Proxy,
    /// Before etcd.
    #[cfg(feature = "etcd")]
    relay: Option<Relay>,
}

impl Wire<'_> {
    /// A run over this.
    pub(super) fn run(&self) -> Run {
        let cluster = &self.home.cluster;
        let run = reconciler(&self.proxy.kubeconfig(cluster, cluster.token()));
        #[cfg(feature = "etcd")]
        let host = self.relay.as_ref().map(Relay::host);
        #[cfg(not(feature = "etcd"))]
        let host = None;
        self.home.between(run, host).args(["-o", "json"])
    }

    /// Does something before the first request that frees addresses.
    pub(super) fn before_release(&self, action: impl Future<Output = ()> + Send + 'static) {
        #[cfg(feature = "etcd")]
        if let Some(relay) = &self.relay {
            return relay.before(|message| message.contains(LEADS), action);
        }
        self.proxy
            .before(|seen| seen.is("PATCH", "/ippools/"), action);
    }

    /// Ends the connection of the first request that frees addresses.
    pub(super) fn lose_release(&self, lost: Lost) {
        #[cfg(feature = "etcd")]
        if let Some(relay) = &self.relay {
            let releases = |message: &str| message.contains(LEADS);
            return match lost {
                Lost::Request => relay.cut_before(releases),
                Lost::Answer => relay.cut_after(releases),
            };
        }
        let fault = match lost {
            Lost::Request => Fault::DropConnection,
            Lost::Answer => Fault::DropAfter,
        };
        let releases = |seen: &crate::support::proxy::Seen| seen.is("PATCH", "/ippools/");
        self.proxy.once(releases, fault);
    }
}

/// What does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Request,
    Answer,
}

/// What stands before the keys of addresses of the unnamed network.
#[cfg(feature = "etcd")]
const UNNAMED: &str = "/whereabouts/v1/networks/-/";
/// What stands before those that lead to an address, which only changes name.
#[cfg(feature = "etcd")]
const LEADS: &str = "/whereabouts/v1/containers/";
/// What stands before what the range is told, or remembers.
#[cfg(feature = "etcd")]
const NOTES: &str = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/";
/// Whose the records are.
#[cfg(feature = "etcd")]
const CLUSTER: &str = "/whereabouts/v1/annotations/cluster";

#[cfg(feature = "etcd")]
fn key(at: u8) -> String {
    let bits = Ipv4Addr::new(10, 0, 0, at).to_ipv6_mapped().to_bits();
    format!("{UNNAMED}{bits:032x}")
}

#[cfg(feature = "etcd")]
async fn put_key(etcd: &Etcd, key: &str, value: &str) {
    etcd.client().await.put(key, value, None).await.unwrap();
}

#[cfg(feature = "etcd")]
async fn put_keys(etcd: &Etcd, records: &[Record]) {
    use etcd_client::{Txn, TxnOp};
    let mut client = etcd.client().await;
    for some in records.chunks(40) {
        let puts = some.iter().flat_map(|record| {
            let (container, podref) = (record.container(), &record.podref);
            let key = key(record.at);
            let of_pod = if podref.contains('/') {
                podref.clone()
            } else {
                format!("-/{podref}")
            };
            let tail = key.strip_prefix("/whereabouts/v1/").unwrap().to_owned();
            let mut value = json!({"container": container, "ifname": "net1", "podref": podref,
                "range": RANGE, "network": "lan"});
            if let Some((uid, node)) = &record.owner {
                value["poduid"] = json!(uid);
                value["node"] = json!(node);
            }
            [
                TxnOp::put(format!("{LEADS}{container}/net1/{tail}"), "", None),
                TxnOp::put(
                    format!("/whereabouts/v1/pods/{of_pod}/net1/{tail}"),
                    "",
                    None,
                ),
                TxnOp::put(key, value.to_string(), None),
            ]
        });
        let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(txn).await.unwrap();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// Of each address its verdict and what became of it. A reservation is judged as its entry is.
pub(super) fn rows(run: &Outcome) -> Vec<(String, String, String)> {
    let report = run.json();
    let all = report["records"].as_array().unwrap().iter();
    let (claims, entries): (Vec<_>, Vec<_>) = all.partition(|row| row["kind"] == "Reservation");
    for claim in claims.iter().filter(|row| row["verdict"] != "Malformed") {
        let mut of_address = entries
            .iter()
            .filter(|row| row["address"] == claim["address"]);
        let entry = of_address.next().unwrap();
        assert_eq!(claim["verdict"], entry["verdict"], "{run:#?}");
    }
    let row = |row: &&Value| {
        let [address, verdict, result] = ["address", "verdict", "result"].map(|it| text(&row[it]));
        (address, verdict, result)
    };
    entries.iter().map(row).collect()
}

/// What [`rows`] should say.
pub(super) fn expected(rows: &[(u8, &str, &str)]) -> Vec<(String, String, String)> {
    let row = |(at, verdict, result): &(u8, &str, &str)| {
        (address(*at), (*verdict).to_owned(), (*result).to_owned())
    };
    rows.iter().map(row).collect()
}

/// What an undo says of each address; the reservation fares as its entry does.
pub(super) fn undone(undone: &Outcome) -> BTreeMap<String, String> {
    let report = undone.json();
    let mut results = BTreeMap::new();
    for row in report["records"].as_array().unwrap() {
        let (address, result) = (text(&row["address"]), text(&row["result"]));
        let before = results.insert(address, result.clone());
        assert!(before.is_none_or(|it| it == result), "{undone:#?}");
    }
    results
}
