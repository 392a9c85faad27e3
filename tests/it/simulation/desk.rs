//! PURE: the records of a history without a server, and what both plugins do to them.
//!
//! The calls are whole, or end behind one of their writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whereabouts::api::NODE_LABEL;
use whereabouts::record::marks::FIRST_SEEN_KEY;

use super::model::{Container, Writer};

/// A reservation.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) podref: String,
    container: Option<String>,
    node: Option<String>,
    /// Stands for uid and resourceVersion: each write changes it.
    pub(super) version: usize,
    pub(super) mark: Option<String>,
}

/// What the store has.
#[derive(Debug, Clone, Default)]
pub(super) struct Desk {
    pub(super) entries: BTreeMap<usize, Value>,
    pub(super) claims: BTreeMap<usize, Claim>,
    pub(super) mark: Option<String>,
    writes: usize,
}

/// A container in the words of the records.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) writer: Writer,
    pub(super) id: String,
    pub(super) podref: String,
    pub(super) uid: String,
    pub(super) node: String,
}

impl Desk {
    fn version(&mut self) -> usize {
        self.writes += 1;
        self.writes
    }

    /// ADD, which ends behind so many writes; `None`: it got no address, or ended too early.
    pub(super) fn add(&mut self, of: &Holder, writes: usize) -> Option<usize> {
        match of.writer {
            Writer::Ours => self.add_ours(of, writes),
            Writer::Go => {
                let wish = self.go_wants(of)?;
                self.go_writes(of, wish, writes)
            }
        }
    }

    fn add_ours(&mut self, of: &Holder, writes: usize) -> Option<usize> {
        let is_free = |claim: Option<&Claim>| {
            claim.is_none_or(|claim| {
                let elsewhere = claim.node.as_ref().is_some_and(|node| *node != of.node);
                claim.podref == of.podref && !elsewhere
            })
        };
        let own = self.entries.iter().find(|(offset, entry)| {
            let claim = self.claims.get(offset);
            let same_uid =
                entry["owner"]["poduid"].is_null() || entry["owner"]["poduid"] == of.uid.as_str();
            let may = same_uid || entry["owner"]["nodename"] == of.node.as_str();
            let claim_is_own = claim.is_none_or(|claim| claim.podref == of.podref);
            entry["podref"] == of.podref.as_str() && may && claim_is_own
        });
        let own = own.map(|(offset, _)| *offset);
        let mut free = (1..7).filter(|offset| {
            !self.entries.contains_key(offset) && is_free(self.claims.get(offset))
        });
        let offset = own.or_else(|| free.next())?;
        if writes == 0 {
            return None;
        }
        let claim = self.claim_of(of);
        self.claims.insert(offset, claim);
        if writes == 1 {
            return None;
        }
        let entry = json!({"id": of.id, "podref": of.podref, "ifname": "net1",
            "owner": {"id": of.id, "poduid": of.uid, "nodename": of.node}});
        self.entries.insert(offset, entry);
        (writes > 2).then_some(offset)
    }

    fn claim_of(&mut self, of: &Holder) -> Claim {
        let is_ours = of.writer == Writer::Ours;
        Claim {
            podref: of.podref.clone(),
            container: is_ours.then(|| of.id.clone()),
            node: is_ours.then(|| of.node.clone()),
            version: self.version(),
            mark: None,
        }
    }

    /// What the Go program decides when it has read: the offset, and whether it has its claim.
    pub(super) fn go_wants(&self, of: &Holder) -> Option<(usize, bool)> {
        let claim_is = |offset: &usize| {
            let claim = self.claims.get(offset);
            claim.map(|claim| claim.podref == of.podref)
        };
        let mut own = self.entries.iter().filter(|(offset, entry)| {
            entry["podref"] == of.podref.as_str() && claim_is(offset) != Some(false)
        });
        let own = own.next().map(|(offset, _)| *offset);
        let mut free = (1..7)
            .filter(|offset| !self.entries.contains_key(offset) && claim_is(offset) != Some(false));
        let offset = own.or_else(|| free.next())?;
        Some((offset, claim_is(&offset).is_some()))
    }

    /// The writes of its ADD.
    pub(super) fn go_writes(
        &mut self,
        of: &Holder,
        (offset, is_claimed): (usize, bool),
        writes: usize,
    ) -> Option<usize> {
        if writes == 0 {
            return None;
        }
        let entry = json!({"id": of.id, "podref": of.podref, "ifname": "net1"});
        let recorded = self.entries.entry(offset).or_insert(entry);
        // It rewrites the id alone.
        recorded["id"] = json!(of.id);
        if is_claimed {
            return (writes > 1).then_some(offset);
        }
        if writes == 1 || self.claims.contains_key(&offset) {
            return None;
        }
        let claim = self.claim_of(of);
        self.claims.insert(offset, claim);
        (writes > 2).then_some(offset)
    }

    /// DEL; whether it came to its end.
    pub(super) fn del(&mut self, of: &Holder, writes: usize) -> bool {
        let own = self
            .entries
            .iter()
            .find(|(_, entry)| entry["id"] == of.id.as_str());
        let own = own.map(|(offset, _)| *offset);
        let Some(offset) = own else {
            if of.writer == Writer::Ours {
                self.claims.retain(|offset, claim| {
                    claim.container.as_ref() != Some(&of.id) || self.entries.contains_key(offset)
                });
            }
            return true;
        };
        if writes == 0 {
            return false;
        }
        let is_ours = of.writer == Writer::Ours;
        let claim_goes = |desk: &mut Desk| {
            let claim = desk.claims.get(&offset);
            let is_own = claim.is_some_and(|claim| {
                claim.podref == of.podref && claim.container.as_ref().is_none_or(|id| *id == of.id)
            });
            if is_own || !is_ours {
                desk.claims.remove(&offset);
            }
        };
        // Ours gives the claim up first, the Go program the entry.
        if is_ours {
            claim_goes(self);
        } else {
            self.entries.remove(&offset);
        }
        if writes == 1 {
            return false;
        }
        if is_ours {
            self.entries.remove(&offset);
        } else {
            claim_goes(self);
        }
        true
    }

    /// Writes a claim again for an entry that has come back.
    pub(super) fn put_back(&mut self, offset: usize, podref: &str) {
        let version = self.version();
        self.claims.entry(offset).or_insert_with(|| Claim {
            podref: podref.to_owned(),
            container: None,
            node: None,
            version,
            mark: None,
        });
    }

    /// What is missing of the records of a container that holds an address.
    pub(super) fn missing(&self, holder: &Holder, container: &Container) -> Option<String> {
        let Holder { id, podref, .. } = holder;
        let offset = container.address?;
        let entry = self.entries.get(&offset);
        if entry
            .is_none_or(|entry| entry["podref"] != podref.as_str() || entry["id"] != id.as_str())
        {
            return Some(format!("{id} lost its entry {offset}: {entry:?}"));
        }
        let claim = self.claims.get(&offset);
        claim
            .is_none_or(|claim| claim.podref != *podref)
            .then(|| format!("{id} lost its reservation of {offset}: {claim:?}"))
    }

    /// The pool, as the API server has it.
    pub(super) fn pool(&self) -> Value {
        let entries: BTreeMap<String, &Value> = self
            .entries
            .iter()
            .map(|(offset, entry)| (offset.to_string(), entry))
            .collect();
        json!({"metadata": {"name": "10.0.0.0-29", "namespace": "kube-system",
                "annotations": annotations(self.mark.as_ref())},
            "spec": {"range": "10.0.0.0/29", "allocations": entries}})
    }

    /// The reservations.
    pub(super) fn reservations(&self) -> Vec<Value> {
        let object = |(offset, claim): (&usize, &Claim)| {
            let version = claim.version.to_string();
            let labels = claim.node.as_ref().map(|node| json!({NODE_LABEL: node}));
            json!({"metadata": {"name": format!("10.0.0.{offset}"), "namespace": "kube-system",
                    "uid": version, "resourceVersion": version, "labels": labels,
                    "annotations": annotations(claim.mark.as_ref())},
                "spec": {"podref": claim.podref, "ifname": "net1"}})
        };
        self.claims.iter().map(object).collect()
    }
}

fn annotations(mark: Option<&String>) -> Option<Value> {
    mark.map(|mark| json!({FIRST_SEEN_KEY: mark}))
}
