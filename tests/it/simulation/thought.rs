//! The same histories without a server: the real decoding, joining and judging, and time.
//!
//! What is imitated here is only what needs a server: the reads, the looks of `confirm`, the guards of
//! `apply` and the writes of both plugins. [`super::runs`] has them as they are.

mod read;
mod release;

use std::collections::BTreeSet;

use whereabouts::reconcile::apply::Applied;
use whereabouts::reconcile::plan::{MaxRelease, Plan, Scope};
use whereabouts::reconcile::records::RecordId;

use super::desk::{Desk, Holder};
use super::dice::Dice;
use super::event::Event;
use super::model::{Container, Limits, Model, Tally, Writer};

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
    tally: Tally,
    grace: i64,
    /// By how much the clock of the controllers is ahead of the API server's.
    skew: i64,
    is_strict: bool,
    /// What an ADD of the Go program has read, and wants.
    wish: Option<(Holder, serde_json::Value, (usize, bool))>,
    /// Whether nothing happens beside a run.
    is_alone: bool,
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
            tally: Tally::default(),
            grace: if waits { GRACE } else { 0 },
            skew,
            is_strict,
            wish: None,
            is_alone: false,
            left: None,
        }
    }

    fn play(mut self) -> Tally {
        for _ in 0..EVENTS {
            self.step();
            if self.dice.percent(30) {
                self.tick(400);
                self.run();
            }
        }
        self.left = None;
        self.is_alone = true;
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
            self.read_and_release().ok();
        }
        let held: BTreeSet<usize> = self.model.live().filter_map(|it| it.address).collect();
        let all = self.desk.entries.keys().chain(self.desk.claims.keys());
        let orphan = all.into_iter().find(|offset| !held.contains(offset));
        self.assert(orphan.map(|offset| format!("{offset} is an orphan")));
        let waiting = self.model.waiting();
        self.assert((!waiting.is_empty()).then(|| format!("{waiting:?} have no address")));
        Tally {
            histories: 1,
            ..self.tally
        }
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
                    self.wish = Some((holder, self.desk.pool(), wish));
                }
            }
            Event::GoWrites => {
                let (_, container) = self.model.under_way.take().unwrap();
                let (holder, read, wish) = self.wish.take().unwrap();
                // The version of the pool is tested: a change of it begins the ADD anew.
                let given = if self.desk.pool() == read {
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
            node: node_name(container.node),
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
    /// What may happen between two calls of a run, unless it is over here.
    fn beside(&mut self) -> Result<(), CutOff> {
        match &mut self.left {
            Some(0) => return Err(CutOff),
            Some(left) => *left -= 1,
            None => {}
        }
        if !self.is_alone && self.dice.percent(15) {
            self.tick(5);
            self.log.push("-- in a run:".to_owned());
            let is_back = self.dice.percent(50);
            match self.model.come_back(&mut self.dice).filter(|_| is_back) {
                Some(events) => events
                    .into_iter()
                    .for_each(|event| self.carry_out(event, usize::MAX)),
                None => (0..=self.dice.below(3)).for_each(|_| self.step()),
            }
        }
        Ok(())
    }

    fn run(&mut self) {
        self.left = self.dice.percent(40).then(|| self.dice.below(16));
        self.model.set_in_run(true);
        self.tally.ghosts += self.model.ghosts();
        let is_whole = self.read_and_release().is_ok();
        self.model.set_in_run(false);
        self.log
            .push(format!("{} -- run, whole: {is_whole}", self.model.now));
        self.check();
    }

    fn read_and_release(&mut self) -> Result<(), CutOff> {
        let mut snapshot = self.read()?;
        self.confirm(&mut snapshot)?;
        let plan = Plan::of(
            snapshot.audit(),
            &Scope::default(),
            MaxRelease::DEFAULT,
            100,
        );
        let mut applied = Applied::default();
        for index in &plan.entries {
            self.beside()?;
            let outcome = self.release_entry(&snapshot, *index)?;
            applied.outcomes.insert(RecordId::Entry(*index), outcome);
        }
        for index in &plan.reservations {
            self.beside()?;
            let outcome = self.release_claim(&snapshot, *index, &applied)?;
            applied
                .outcomes
                .insert(RecordId::Reservation(*index), outcome);
        }
        self.beside()?;
        self.remember(&snapshot, &applied);
        Ok(())
    }
}

fn node_name(node: usize) -> String {
    format!("node-{node}")
}

#[test]
fn no_address_that_a_live_container_holds_is_ever_released_in_thought() {
    let super::runs::Wanted { histories, seed } = super::runs::Wanted::or(2_000);
    let mut tally = Tally::default();
    for seed in (seed..).take(histories) {
        tally.add(Thought::new(seed).play());
    }
    tally.assert();
}
