//! One history on the real API server, with the plugin under test (I/O).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use whereabouts::client::{Client, Connection};
use whereabouts::cni::Version;
use whereabouts::config::{IpamConfig, RangeConfig};
use whereabouts::store::kubernetes::Kubernetes;
use whereabouts::store::{Attachment, Garbage, Overlap, Range, Store};

use super::cut::Cut;
use super::dice::Dice;
use super::event::Event;
use super::go::{Go, Wish};
use super::model::{Container, Limits, Model, Writer};
use super::objects::Mirror;
use super::records::Records;
use crate::plugin::call::{Network, addresses, call};
use crate::support::cluster::Cluster;
use crate::support::proxy::{Proxy, Seen};

/// How many writes of one call of the plugin may be cut off.
const WRITES_OF_A_CALL: usize = 5;
/// A call that takes longer hangs.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// What all histories share.
pub(super) struct Hands {
    /// Between the plugins and the API server.
    pub(super) proxy: Proxy,
    /// Through the proxy.
    client: kube::Client,
    locks: PathBuf,
}

impl Hands {
    pub(super) async fn new(cluster: &Cluster) -> Hands {
        let proxy = Proxy::start(cluster).await;
        let kubeconfig = proxy.kubeconfig(cluster, cluster.token());
        Hands {
            proxy,
            client: crate::support::cluster::client_for(&kubeconfig).await,
            locks: cluster.file("").with_extension("locks"),
        }
    }
}

/// A history: a cluster of its own within the cluster, and what has happened in it.
pub(super) struct History {
    pub(super) model: Model,
    pub(super) mirror: Mirror,
    pub(super) log: Vec<String>,
    dice: Dice,
    hands: Arc<Hands>,
    config: RangeConfig,
    /// Set if the plugin is called as a process.
    process: Option<Network>,
    wish: Option<(Go, Wish)>,
}

impl History {
    /// Begins one.
    pub(super) async fn begin(
        prefix: String,
        cluster: &Cluster,
        hands: &Arc<Hands>,
        limits: Limits,
        mut dice: Dice,
    ) -> History {
        let mirror = Mirror {
            client: cluster.client().clone(),
            prefix,
            uids: Default::default(),
        };
        mirror.begin().await;
        let ipam = json!({"type": "whereabouts", "range": "10.0.0.0/29",
            "network_name": mirror.prefix, "lock_dir": hands.locks, "kubernetes": {"kubeconfig": "/k"}});
        let bytes = json!({"name": "lan", "ipam": ipam})
            .to_string()
            .into_bytes();
        let loaded = IpamConfig::load(&bytes, "", Version::V1_0_0, &|_| Ok(None));
        let config = loaded.unwrap().0.ranges.remove(0);
        let is_process = dice.percent(10);
        let process = is_process.then(|| Network::through(&hands.proxy, cluster, ipam));
        History {
            model: Model::new(limits),
            mirror,
            log: Vec::new(),
            dice,
            hands: Arc::clone(hands),
            config,
            process,
            wish: None,
        }
    }

    /// Lets something happen.
    pub(super) async fn step(&mut self) {
        let Some(event) = self.model.choose(&mut self.dice) else {
            return;
        };
        let cut = self
            .dice
            .percent(25)
            .then(|| Cut::any(&mut self.dice, WRITES_OF_A_CALL));
        self.carry_out(event, cut).await;
    }

    /// What comes in the last moment: a pod that is back, or anything.
    pub(super) async fn step_at_last(&mut self) {
        let is_back = self.dice.percent(50);
        match self.model.come_back(&mut self.dice).filter(|_| is_back) {
            Some([create, start]) => {
                self.carry_out(create, None).await;
                self.carry_out(start, None).await;
            }
            None => self.step().await,
        }
    }

    /// Lets this happen.
    pub(super) async fn carry_out(&mut self, event: Event, cut: Option<Cut>) {
        let before = self.model.objects.clone();
        let calls_del = matches!(event, Event::Del(_));
        if !calls_del {
            self.model.happen(event, &mut self.dice);
            self.mirror.write(&before, &self.model.objects).await;
        }
        let outcome = match event {
            Event::Start { pod, writer, .. } => self.add(pod, writer, cut).await,
            Event::GoReads(pod) => self.read(pod).await,
            Event::GoWrites => self.write(cut).await,
            Event::Del(container) => self.del(event, container, cut).await,
            Event::Collect(node) => self.collect(node, cut).await,
            _ => String::new(),
        };
        let cut = cut.filter(|_| !outcome.is_empty());
        let cut = cut.map(|cut| format!(" {cut:?}")).unwrap_or_default();
        self.log.push(format!("{event:?}{cut}{outcome}"));
    }

    /// Lets kubelets write what they have not written yet.
    pub(super) async fn post(&mut self) {
        self.carry_out(Event::Post, None).await;
    }

    /// Repairs everything; some pods may not get an address.
    pub(super) async fn repair(&mut self) {
        let mut without = Vec::new();
        while let Some(event) = self.model.repair(&without) {
            self.carry_out(event, None).await;
            if let Event::Start { pod, .. } = event
                && self.model.running(pod).is_none()
            {
                without.push(pod);
            }
        }
    }

    async fn call<T>(&self, cut: Option<Cut>, call: impl Future<Output = T>) -> Option<T> {
        let own = format!("{}-", self.mirror.prefix);
        let in_path = format!("/{own}");
        let in_body = format!("\"{own}");
        let meant = move |seen: &Seen| {
            seen.path.contains(&in_path) || String::from_utf8_lossy(&seen.body).contains(&in_body)
        };
        Cut::during(cut, &self.hands.proxy, meant, call).await
    }

    async fn add(&mut self, pod: usize, writer: Writer, cut: Option<Cut>) -> String {
        let container = self.model.container(pod, writer);
        let address = match writer {
            Writer::Ours => self.add_ours(&container, cut).await,
            Writer::Go => {
                let go = self.go(&container);
                self.call(cut, go.add()).await.flatten()
            }
        };
        self.added(container, address).await
    }

    async fn added(&mut self, container: Container, address: Option<usize>) -> String {
        let told = format!(" -> c{} {address:?}", container.id);
        let (pod, node) = (container.pod, container.node);
        let by_go = container.writer == Writer::Go;
        self.model.added(container, address);
        // Whose records an ADD for the same pod may take over.
        let records = self.records().await;
        let newest = self.model.containers.len() - 1;
        for index in 0..newest {
            let other = &self.model.containers[index];
            let may = by_go || other.writer == Writer::Go || other.node == node;
            if other.runs && other.pod == pod && may {
                let is_there = self.missing(other, &records).is_none();
                self.model.containers[index].recorded &= is_there;
            }
        }
        told
    }

    async fn add_ours(&self, container: &Container, cut: Option<Cut>) -> Option<usize> {
        let id = self.id(container.id);
        let (pod, node) = (
            self.mirror.pod(container.pod),
            self.mirror.node(container.node),
        );
        let uid = self.uid(container.pod);
        let last = |address: &str| {
            address
                .rsplit('.')
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        if let Some(network) = &self.process {
            let call = call("ADD", network).container(&id).pod("default", &pod);
            let call = call.uid(&uid).env("NODENAME", &node);
            let ended = self.call(cut, call.run()).await?;
            let given = (ended.code == Some(0)).then(|| addresses(&ended.json()).remove(0));
            return given.map(|given| last(given.trim_end_matches("/29")));
        }
        let attachment = Attachment {
            container: id,
            interface: "net1".to_owned(),
            network: "lan".to_owned(),
            podref: format!("default/{pod}"),
            pod_uid: Some(uid),
            node: Some(node),
        };
        let (store, range, avoid) = (self.store(), self.range(), BTreeSet::new());
        let given = Box::pin(store.acquire(&range, &attachment, &avoid));
        let given = self.call(cut, given).await?.ok()?;
        Some(last(&given.address.to_string()))
    }

    async fn read(&mut self, pod: usize) -> String {
        let container = self.model.container(pod, Writer::Go);
        let go = self.go(&container);
        let Some(wish) = go.read().await.unwrap() else {
            return " -> full".to_owned();
        };
        let told = format!(" -> c{} wants {}", container.id, wish.offset);
        self.model.under_way = Some((pod, container));
        self.wish = Some((go, wish));
        told
    }

    async fn write(&mut self, cut: Option<Cut>) -> String {
        let (_, container) = self.model.under_way.take().unwrap();
        let (go, wish) = self.wish.take().unwrap();
        let write = async {
            match go.write(&wish).await {
                Ok(true) => Some(wish.offset),
                Ok(false) => go.add().await,
                Err(_) => None,
            }
        };
        let address = self.call(cut, write).await.flatten();
        self.added(container, address).await
    }

    async fn del(&mut self, event: Event, container: usize, cut: Option<Cut>) -> String {
        let container = self.model.containers[container].clone();
        let id = self.id(container.id);
        let deleted = match (&self.process, container.writer) {
            (_, Writer::Go) => {
                let go = self.go(&container);
                self.call(cut, go.del()).await
            }
            (Some(network), Writer::Ours) => {
                let call = call("DEL", network).container(&id);
                let ended = self.call(cut, call.run()).await;
                ended.map(|ended| ended.code == Some(0))
            }
            (None, Writer::Ours) => {
                let (store, range) = (self.store(), self.range());
                let ended = self.call(cut, store.release(&range, &id, "net1")).await;
                ended.map(|ended| ended.is_ok())
            }
        };
        if deleted == Some(true) {
            self.model.happen(event, &mut self.dice);
        }
        format!(" c{} -> {deleted:?}", container.id)
    }

    async fn collect(&mut self, node: usize, cut: Option<Cut>) -> String {
        let live = self.model.live().filter(|it| it.node == node);
        let valid: BTreeSet<String> = live.map(|it| self.id(it.id)).collect();
        let (store, range, node) = (self.store(), self.range(), self.mirror.node(node));
        let garbage = Garbage {
            network: "lan",
            node: &node,
            valid: &valid,
        };
        let collected = self.call(cut, store.collect(&range, &garbage)).await;
        format!(" -> {:?}", collected.map(|done| done.is_ok()))
    }

    fn store(&self) -> Kubernetes {
        let connection = Connection {
            client: self.hands.client.clone(),
            server: String::new(),
        };
        let client = Client::new(connection, Instant::now() + CALL_WITHIN);
        Kubernetes::new(client, "kube-system".to_owned(), self.hands.locks.clone())
    }

    fn range(&self) -> Range<'_> {
        Range {
            network: &self.mirror.prefix,
            slice_of: None,
            config: &self.config,
            overlap: Overlap::Protected,
        }
    }

    fn go(&self, container: &Container) -> Go {
        Go {
            client: self.hands.client.clone(),
            network: self.mirror.prefix.clone(),
            podref: format!("default/{}", self.mirror.pod(container.pod)),
            container: self.id(container.id),
        }
    }

    fn id(&self, container: usize) -> String {
        format!("{}-c{container}", self.mirror.prefix)
    }

    /// What the runtime says of a pod: of a static one it is not the uid of the mirror.
    fn uid(&self, pod: usize) -> String {
        let object = self.model.objects.pods[pod].as_ref();
        if object.is_some_and(|object| object.is_mirror) {
            return format!("static-{}", self.mirror.pod(pod));
        }
        self.mirror.uids[pod].clone()
    }

    /// The records of this history.
    async fn records(&self) -> Records {
        Records::read(&self.mirror.client, Some(&self.mirror.prefix)).await
    }

    /// What is missing of the records of a container that holds an address.
    fn missing(&self, container: &Container, records: &Records) -> Option<String> {
        let name = format!("{}-10.0.0.{}", self.mirror.prefix, container.address?);
        let podref = format!("default/{}", self.mirror.pod(container.pod));
        let id = self.id(container.id);
        let entry = records.entries.get(&name);
        if entry.is_none_or(|entry| entry["podref"] != podref || entry["id"] != id) {
            return Some(format!("{id} lost its entry for {name}: {entry:?}"));
        }
        let owner = records.claims.get(&name);
        (owner != Some(&podref)).then(|| format!("{id} lost its reservation {name}: {owner:?}"))
    }

    /// What is wrong: an address that a live container holds is free.
    pub(super) fn freed(&self, records: &Records) -> Option<String> {
        let mut held = self.model.live().filter(|it| it.recorded);
        held.find_map(|it| self.missing(it, records))
    }

    /// What is wrong at rest: a record that no live container has.
    pub(super) fn orphan(&self, records: &Records) -> Option<String> {
        let held: BTreeSet<String> = self
            .model
            .live()
            .filter_map(|it| Some(format!("{}-10.0.0.{}", self.mirror.prefix, it.address?)))
            .collect();
        let own = format!("{}-", self.mirror.prefix);
        let all = records.entries.keys().chain(records.claims.keys());
        all.filter(|name| name.starts_with(&own))
            .find(|name| !held.contains(*name))
            .map(|name| format!("{name} is an orphan"))
    }
}
