//! PURE: the looks, guards and writes of a run, imitated.

use std::collections::BTreeSet;

use serde_json::Value;
use whereabouts::pod::PodRef;
use whereabouts::reconcile::apply::{Applied, Outcome};
use whereabouts::reconcile::audit::Verdict;
use whereabouts::reconcile::memory::{self, Carrier};
use whereabouts::reconcile::plan::{Scope, suspects};
use whereabouts::reconcile::records::RecordId;
use whereabouts::reconcile::snapshot::Snapshot;
use whereabouts::record::decode;
use whereabouts::record::marks::FIRST_SEEN_KEY;

use super::super::event::Event;
use super::super::model::NODES;
use super::{CutOff, SETTLE, Thought};

impl Thought {
    pub(super) fn confirm(&mut self, snapshot: &mut Snapshot) -> Result<(), CutOff> {
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
            self.beside()?;
            let state = self.look(&pod);
            snapshot
                .pods
                .replace(&snapshot.records, &pod, state.as_ref());
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
            self.beside()?;
            let state = self.look(&pod);
            if !looks.contains(&(pod.clone(), state.clone())) {
                snapshot.pods.doubt(pod.clone());
            }
            snapshot
                .pods
                .replace(&snapshot.records, &pod, state.as_ref());
        }
        Ok(())
    }

    /// Whether the pod is there whose absence was the reason.
    fn has_come_back(&self, snapshot: &Snapshot, id: RecordId) -> bool {
        let absent = snapshot.absent_pod(id);
        absent.is_some_and(|pod| self.look(pod).is_some())
    }

    pub(super) fn release_entry(
        &mut self,
        snapshot: &Snapshot,
        index: usize,
    ) -> Result<Outcome, CutOff> {
        if self.has_come_back(snapshot, RecordId::Entry(index)) {
            return Ok(Outcome::Changed);
        }
        self.beside()?;
        let entry = &snapshot.records.entries[index];
        let offset: usize = entry.key.parse().unwrap();
        let judged: Value = serde_json::from_str(&entry.raw()).unwrap();
        Ok(match self.desk.entries.get(&offset) {
            None => Outcome::AlreadyGone,
            Some(now) if *now != judged => Outcome::Changed,
            Some(_) => {
                self.desk.entries.remove(&offset);
                self.tally.released += 1;
                self.log
                    .push(format!("-- released entry {offset}: {judged}"));
                Outcome::Released
            }
        })
    }

    pub(super) fn release_claim(
        &mut self,
        snapshot: &Snapshot,
        index: usize,
        applied: &Applied,
    ) -> Result<Outcome, CutOff> {
        let reservation = snapshot.records.reservation(index).unwrap();
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
        // The run is over only when what it deleted has been put back where it was needed.
        let left = self.left.take();
        self.beside()?;
        self.left = left;
        let offset: usize = reservation
            .name()
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
            Some(version) if *version != *reservation.resource_version().to_string() => {
                Outcome::Changed
            }
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

    pub(super) fn remember(&mut self, snapshot: &Snapshot, applied: &Applied) {
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
                        let name = snapshot.records.reservation(index).unwrap().name();
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
