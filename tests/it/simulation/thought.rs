//! The same histories without a server: the real decoding, joining and judging, and time.
//!
//! What is imitated here is only what needs a server: the reads, the looks of `confirm`, the guards of
//! `apply` and the writes of both plugins. [`super::runs`] has them as they are.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use whereabouts::pod::{Finished, PodRef, PodState};
use whereabouts::reconcile::apply::{Applied, Outcome};
use whereabouts::reconcile::audit::Verdict;
use whereabouts::reconcile::grace::Grace;
use whereabouts::reconcile::memory::{self, Carrier};
use whereabouts::reconcile::nodes::{Nodes, Rules};
use whereabouts::reconcile::plan::{MaxRelease, Plan, Scope, suspects};
use whereabouts::reconcile::pods::Pods;
use whereabouts::reconcile::records::{RecordId, Records};
use whereabouts::reconcile::snapshot::Snapshot;
use whereabouts::record::decode;
use whereabouts::record::marks::FIRST_SEEN_KEY;

use super::desk::{Desk, Holder};
use super::dice::Dice;
use super::event::Event;
use super::model::{Container, Limits, Model, NODES, PODS, Seen, Writer};
use super::objects::{status, status_of};

/// How long orphans wait where the world lags behind the API.
const GRACE: i64 = 120;
/// How far it does, and how far clocks differ.
const LAG: i64 = 50;
const SKEW: i64 = 30;
/// How far the two looks at a pod are apart.
const SETTLE: i64 = 30;
/// How many events a history has beside those within runs.
const EVENTS: usize = 24;

/// A history that is only thought of.
struct Thought {
    seed: u64,
    model: Model,
    desk: Desk,
    dice: Dice,
    log: Vec<String>,
    grace: i64,
    /// By how much the clock of the controllers is ahead of the API server's.
    skew: i64,
    is_strict: bool,
    /// What an ADD of the Go program has read, and wants.
    wish: Option<(Holder, String, (usize, bool))>,
    /// Whether a run is cut off when so many more things have been done.
    left: Option<usize>,
}

/// A run was cut off.
struct CutOff;

impl Thought {
    fn new(seed: u64) -> Thought {
        let mut dice = Dice::of(seed);
        let waits = dice.percent(50);
        let is_strict = dice.percent(50);
        let skew = i64::try_from(dice.below(61)).unwrap() - SKEW;
        let limits = Limits {
            all_at_once: waits,
            lag: if waits { LAG } else { 0 },
            // Only a node that is named can be waited for.
            go_pods_vanish: is_strict && !waits,
        };
        Thought {
            seed,
            model: Model::new(limits),
            desk: Desk::default(),
            dice,
            log: Vec::new(),
            grace: if waits { GRACE } else { 0 },
            skew,
            is_strict,
            wish: None,
            left: None,
        }
    }

    fn play(&mut self) {
        for _ in 0..EVENTS {
            self.step();
            if self.dice.percent(30) {
                self.tick(400);
                self.run();
            }
        }
        self.left = None;
        for _ in 0..4 {
            let mut without = Vec::new();
            while let Some(event) = self.model.repair(&without) {
                self.carry_out(event, usize::MAX);
                if let Event::Start { pod, .. } = event
                    && self.model.running(pod).is_none()
                {
                    without.push(pod);
                }
            }
            self.model.tick(2 * GRACE);
            self.read_and_release(false).ok();
        }
        let held: BTreeSet<usize> = self.model.live().filter_map(|it| it.address).collect();
        let all = self.desk.entries.keys().chain(self.desk.claims.keys());
        let orphan = all.into_iter().find(|offset| !held.contains(offset));
        self.assert(orphan.map(|offset| format!("{offset} is an orphan")));
        let waiting = self.model.waiting();
        self.assert((!waiting.is_empty()).then(|| format!("{waiting:?} have no address")));
    }

    fn tick(&mut self, most: usize) {
        let seconds = self.dice.below(most);
        self.model.tick(i64::try_from(seconds).unwrap());
    }

    fn step(&mut self) {
        let Some(event) = self.model.choose(&mut self.dice) else {
            return;
        };
        let cut = self.dice.percent(25).then(|| self.dice.below(4));
        self.carry_out(event, cut.unwrap_or(usize::MAX));
        self.check();
    }

    fn carry_out(&mut self, event: Event, writes: usize) {
        if !matches!(event, Event::Del(_)) {
            self.model.happen(event, &mut self.dice);
        }
        let mut told = String::new();
        match event {
            Event::Start { pod, writer, .. } => {
                let container = self.model.container(pod, writer);
                let given = self.desk.add(&self.holder(&container), writes);
                told = format!(" -> c{} {given:?}", container.id);
                self.added(container, given);
            }
            Event::GoReads(pod) => {
                let container = self.model.container(pod, Writer::Go);
                let holder = self.holder(&container);
                if let Some(wish) = self.desk.go_wants(&holder) {
                    told = format!(" -> c{} wants {wish:?}", container.id);
                    self.model.under_way = Some((pod, container));
                    self.wish = Some((holder, self.desk.pool().to_string(), wish));
                }
            }
            Event::GoWrites => {
                let (_, container) = self.model.under_way.take().unwrap();
                let (holder, read, wish) = self.wish.take().unwrap();
                // The version of the pool is tested: a change of it begins the ADD anew.
                let given = if self.desk.pool().to_string() == read {
                    self.desk.go_writes(&holder, wish, writes)
                } else {
                    self.desk.add(&holder, writes)
                };
                told = format!(" -> c{} {given:?}", container.id);
                self.added(container, given);
            }
            Event::Del(container) => {
                let holder = self.holder(&self.model.containers[container]);
                let done = self.desk.del(&holder, writes);
                told = format!(" {} -> {done}", holder.id);
                if done {
                    self.model.happen(event, &mut self.dice);
                }
            }
            _ => {}
        }
        self.log.push(format!("{} {event:?}{told}", self.model.now));
    }

    fn added(&mut self, container: Container, given: Option<usize>) {
        let (pod, node) = (container.pod, container.node);
        let by_go = container.writer == Writer::Go;
        self.model.added(container, given);
        let newest = self.model.containers.len() - 1;
        for index in 0..newest {
            let other = &self.model.containers[index];
            let may = by_go || other.writer == Writer::Go || other.node == node;
            if other.runs && other.pod == pod && may {
                let is_there = self.desk.missing(&self.holder(other), other).is_none();
                self.model.containers[index].recorded &= is_there;
            }
        }
    }

    fn holder(&self, container: &Container) -> Holder {
        let object = self.model.objects.pods[container.pod].as_ref();
        let is_mirror = object.is_some_and(|it| it.is_mirror && it.life == container.life);
        Holder {
            writer: container.writer,
            id: format!("c{}", container.id),
            podref: format!("default/web-{}", container.pod),
            uid: match object.filter(|_| !is_mirror) {
                Some(object) => format!("u{}", object.object),
                None => "static".to_owned(),
            },
            node: format!("node-{}", container.node),
        }
    }

    fn check(&self) {
        let mut held = self.model.live().filter(|it| it.recorded);
        self.assert(held.find_map(|it| self.desk.missing(&self.holder(it), it)));
    }

    fn assert(&self, wrong: Option<String>) {
        let Some(wrong) = wrong else { return };
        let Thought {
            seed,
            grace,
            skew,
            is_strict,
            ..
        } = self;
        let log = self.log.join("\n");
        panic!(
            "{wrong}\nSIMULATION_SEED={seed} SIMULATION_HISTORIES=1 repeats it\n\
             grace {grace}, skew {skew}, strict {is_strict}\n{log}"
        );
    }
}

impl Thought {
    /// A pod as the API shows it; of a list only its metadata.
    fn pod(&self, pod: usize, whole: bool) -> Option<Value> {
        let object = self.model.objects.pods[pod].as_ref()?;
        let mut annotations = json!({});
        if object.shows.is_some() {
            annotations["k8s.v1.cni.cncf.io/network-status"] = json!(status(object.shows));
        }
        if object.is_mirror {
            annotations["kubernetes.io/config.mirror"] = json!("x");
        }
        let deletion = object.deleting.then_some("2026-01-01T00:00:00Z");
        let mut shown = json!({"metadata": {"name": format!("web-{pod}"), "namespace": "default",
            "uid": format!("u{}", object.object), "deletionTimestamp": deletion,
            "annotations": annotations}});
        if whole {
            shown["spec"] = json!({"nodeName": format!("node-{}", object.node)});
            shown["status"] = status_of(object);
        }
        Some(shown)
    }

    fn node(&self, node: usize) -> Option<Value> {
        let seen = self.model.objects.nodes[node];
        if seen == Seen::Gone {
            return None;
        }
        let since = self.time(self.model.objects.since[node] + self.skew);
        let ready = if seen == Seen::Ready {
            "True"
        } else {
            "Unknown"
        };
        let taint = json!([{"key": "node.kubernetes.io/out-of-service"}]);
        let taints = (seen == Seen::OutOfService).then_some(taint);
        Some(
            json!({"metadata": {"name": format!("node-{node}")}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready,
                "lastTransitionTime": format!("{since:.0}")}]}}),
        )
    }

    #[expect(clippy::unused_self, reason = "beside its clock")]
    fn time(&self, second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// What may happen between two calls of a run, unless it is over here.
    fn beside(&mut self) -> Result<(), CutOff> {
        match &mut self.left {
            Some(0) => return Err(CutOff),
            Some(left) => *left -= 1,
            None => {}
        }
        if self.dice.percent(15) {
            self.tick(5);
            self.log.push("-- in a run:".to_owned());
            for _ in 0..=self.dice.below(3) {
                self.step();
            }
        }
        Ok(())
    }

    fn run(&mut self) {
        self.left = self.dice.percent(40).then(|| self.dice.below(16));
        self.model.set_in_run(true);
        let is_whole = self.read_and_release(true).is_ok();
        self.model.set_in_run(false);
        self.log
            .push(format!("{} -- run, whole: {is_whole}", self.model.now));
        self.check();
    }

    fn read_and_release(&mut self, with_company: bool) -> Result<(), CutOff> {
        let mut snapshot = self.read(with_company)?;
        self.confirm(&mut snapshot, with_company)?;
        let plan = Plan::of(
            snapshot.audit(),
            &Scope::default(),
            MaxRelease::DEFAULT,
            100,
        );
        let mut applied = Applied::default();
        for index in &plan.entries {
            self.go_on(with_company)?;
            let outcome = self.release_entry(&snapshot, *index, with_company)?;
            applied.outcomes.insert(RecordId::Entry(*index), outcome);
        }
        for index in &plan.reservations {
            self.go_on(with_company)?;
            let outcome = self.release_claim(&snapshot, *index, &applied, with_company)?;
            applied
                .outcomes
                .insert(RecordId::Reservation(*index), outcome);
        }
        self.go_on(with_company)?;
        self.remember(&snapshot, &applied);
        Ok(())
    }

    fn go_on(&mut self, with_company: bool) -> Result<(), CutOff> {
        if with_company { self.beside() } else { Ok(()) }
    }

    fn read(&mut self, with_company: bool) -> Result<Snapshot, CutOff> {
        let bytes = |value: &Value| value.to_string().into_bytes();
        let pool = decode::pool(&bytes(&self.desk.pool())).unwrap();
        self.go_on(with_company)?;
        let claims = self.desk.reservations();
        let claims = claims
            .iter()
            .map(|it| decode::reservation(&bytes(it)).unwrap());
        let records = Records::new(vec![pool], claims.collect());
        self.go_on(with_company)?;
        let mut nodes = Nodes::default();
        let (strict, release_after) = (self.is_strict, None);
        nodes.set_rules(Rules {
            strict,
            release_after,
        });
        // Another one is never in trouble.
        let other = json!({"metadata": {"name": "other"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        for node in (0..NODES).filter_map(|node| self.node(node)).chain([other]) {
            let (name, state) = decode::node(&bytes(&node)).unwrap();
            nodes.see(name, state);
        }
        self.go_on(with_company)?;
        let mut pods = Pods::asked_by(&records);
        for pod in (0..PODS).filter_map(|pod| self.pod(pod, false)) {
            pods.see(&records, decode::pod(&bytes(&pod)).unwrap());
        }
        for finished in Finished::ALL {
            self.go_on(with_company)?;
            for pod in (0..PODS).filter_map(|pod| self.pod(pod, true)) {
                let seen = decode::pod(&bytes(&pod)).unwrap();
                if seen.state.finished == Some(finished) {
                    pods.finish(&seen.pod, &seen.state.uid, finished);
                }
            }
        }
        self.go_on(with_company)?;
        for node in nodes.not_ready() {
            for pod in (0..PODS).filter_map(|pod| self.pod(pod, true)) {
                let seen = decode::pod(&bytes(&pod)).unwrap();
                if seen.state.node.as_deref() == Some(node) {
                    pods.bind(&seen.pod, &seen.state.uid, node);
                }
            }
        }
        let grace = Grace {
            wanted: Duration::from_secs(u64::try_from(self.grace).unwrap()),
            now: self.time(self.model.now),
        };
        Ok(Snapshot {
            records,
            nodes,
            pods,
            grace,
            notes: Vec::new(),
        })
    }

    fn look(&self, pod: &PodRef) -> Option<PodState> {
        let number = pod.name().strip_prefix("web-")?.parse().ok()?;
        let shown = self.pod(number, true)?.to_string();
        Some(decode::pod(shown.as_bytes()).unwrap().state)
    }

    fn confirm(&mut self, snapshot: &mut Snapshot, with_company: bool) -> Result<(), CutOff> {
        let of = |snapshot: &Snapshot, wanted: &dyn Fn(&Verdict<'_>) -> bool| {
            let all = Scope::default();
            let all = suspects(snapshot.audit(), &all);
            let wanted = all.filter(|(_, verdict)| wanted(verdict));
            let pods = wanted.filter_map(|(id, _)| snapshot.records.pod_of(id).cloned());
            pods.collect::<BTreeSet<PodRef>>()
        };
        let mut first = of(snapshot, &|_| true);
        let unknown = snapshot.records.ids();
        let unknown = unknown.filter(|id| snapshot.audit().lacks_node(*id));
        first.extend(unknown.filter_map(|id| snapshot.records.pod_of(id).cloned()));
        let mut looks = Vec::new();
        for pod in first {
            self.go_on(with_company)?;
            let state = self.look(&pod);
            snapshot
                .pods
                .replace(&snapshot.records, &pod, state.clone());
            looks.push((pod, state));
        }
        for node in 0..NODES {
            if let Some(shown) = self.node(node) {
                let (name, state) = decode::node(shown.to_string().as_bytes()).unwrap();
                if !snapshot.nodes.has(&name) {
                    snapshot.nodes.replace(&name, Some(state));
                }
            }
        }
        let moved = of(snapshot, &|verdict| {
            matches!(verdict, Verdict::AddressNotOnPod { .. })
        });
        if !moved.is_empty() {
            self.model.tick(SETTLE);
            self.carry_out(Event::Post, 0);
        }
        for pod in moved {
            self.go_on(with_company)?;
            let state = self.look(&pod);
            if !looks.contains(&(pod.clone(), state.clone())) {
                snapshot.pods.doubt(pod.clone());
            }
            snapshot.pods.replace(&snapshot.records, &pod, state);
        }
        Ok(())
    }

    /// Whether the pod is there whose absence was the reason.
    fn has_come_back(&self, snapshot: &Snapshot, id: RecordId) -> bool {
        let absent = snapshot.absent_pod(id);
        absent.is_some_and(|pod| self.look(pod).is_some())
    }

    fn release_entry(
        &mut self,
        snapshot: &Snapshot,
        index: usize,
        with_company: bool,
    ) -> Result<Outcome, CutOff> {
        if self.has_come_back(snapshot, RecordId::Entry(index)) {
            return Ok(Outcome::Changed);
        }
        self.go_on(with_company)?;
        let entry = &snapshot.records.entries[index];
        let offset: usize = entry.key.parse().unwrap();
        let judged: Value = serde_json::from_str(&entry.raw).unwrap();
        Ok(match self.desk.entries.get(&offset) {
            None => Outcome::AlreadyGone,
            Some(now) if *now != judged => Outcome::Changed,
            Some(_) => {
                self.desk.entries.remove(&offset);
                self.log
                    .push(format!("-- released entry {offset}: {judged}"));
                Outcome::Released
            }
        })
    }

    fn release_claim(
        &mut self,
        snapshot: &Snapshot,
        index: usize,
        applied: &Applied,
        with_company: bool,
    ) -> Result<Outcome, CutOff> {
        let reservation = &snapshot.records.reservations[index];
        let is_gone = |entry: &usize| {
            let outcome = applied.outcomes.get(&RecordId::Entry(*entry));
            matches!(outcome, Some(Outcome::Released | Outcome::AlreadyGone))
        };
        if !reservation.entries.iter().all(is_gone) {
            return Ok(Outcome::KeptWithEntry);
        }
        if self.has_come_back(snapshot, RecordId::Reservation(index)) {
            return Ok(Outcome::Changed);
        }
        // Between the delete and the last look at the pool nothing can be cut off: the run is over
        // only when it has been put back.
        if with_company && self.left != Some(0) {
            let left = self.left.take();
            self.beside()?;
            self.left = left;
        }
        let offset: usize = reservation
            .id
            .name
            .rsplit('.')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let version = self
            .desk
            .claims
            .get(&offset)
            .map(|it| it.version.to_string());
        Ok(match version {
            None => Outcome::AlreadyGone,
            Some(version) if *version != *reservation.resource_version => Outcome::Changed,
            Some(_) => {
                let claim = self.desk.claims.remove(&offset).unwrap();
                let back = self.desk.entries.get(&offset);
                if back.is_some_and(|entry| entry["podref"] == claim.podref.as_str()) {
                    self.desk.put_back(offset, &claim.podref);
                }
                self.log.push(format!("-- released claim {offset}"));
                Outcome::Released
            }
        })
    }

    fn remember(&mut self, snapshot: &Snapshot, applied: &Applied) {
        if self.grace == 0 {
            return;
        }
        let (audit, scope) = (snapshot.audit(), Scope::default());
        for change in memory::changes(&audit, snapshot.grace, &scope, Some(applied)) {
            for (key, value) in change.annotations {
                if key != FIRST_SEEN_KEY {
                    continue;
                }
                match change.of {
                    Carrier::Pool(_) => self.desk.mark = value,
                    Carrier::Reservation(index) => {
                        let name = &snapshot.records.reservations[index].id.name;
                        let offset = name.rsplit('.').next().unwrap().parse().unwrap();
                        if let Some(claim) = self.desk.claims.get_mut(&offset) {
                            claim.mark = value;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn no_address_that_a_live_container_holds_is_ever_released_in_thought() {
    let super::runs::Wanted { histories, seed } = super::runs::Wanted::or(20_000);
    for seed in (seed..).take(histories) {
        Thought::new(seed).play();
    }
}
