//! PURE: what of a saved report is to be put back, and why not the rest.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::pod::PodRef;
use crate::reconcile::put::{Put, in_place};
use crate::reconcile::records::{RecordId, Records};
use crate::reconcile::saved::{SavedEntry, SavedReport, may_be_freed};
use crate::reconcile::snapshot::Snapshot;
use crate::record::{ObjectId, PoolObject, Reservation, decode};
use crate::text::Text;

/// What becomes of a record of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The run had left it alone.
    NotReleased,
    /// It is gone, and nothing is in its place.
    Missing,
    /// It was put back.
    PutBack,
    /// It is there.
    AlreadyThere,
    /// Its address or its place belongs to somebody else: who, in words.
    Taken(String),
    /// There is no place for it any more, and why.
    NoPlace(String),
    /// It could not be put back, or nobody knows.
    Failed(String),
    /// The undo was over before its turn.
    NotStarted,
}

impl From<Put> for Fate {
    fn from(put: Put) -> Self {
        match put {
            Put::Done => Self::PutBack,
            Put::AlreadyThere => Self::AlreadyThere,
            Put::Taken(pod) => Self::Taken(format!("it is recorded for {pod}")),
            Put::NoPlace(why) => Self::NoPlace(why),
        }
    }
}

/// An entry with its reservations, or a reservation alone: put back together or not at all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Index of the entry in the report.
    pub(super) entry: Option<usize>,
    /// Indexes of the reservations in the report.
    pub(super) reservations: Vec<usize>,
}

/// What is to become of each record of a report.
#[derive(Debug)]
pub(super) struct Intent<'a> {
    /// The report.
    pub(super) report: &'a SavedReport,
    /// Of its entries, in their order.
    pub(super) entries: Vec<Fate>,
    /// Of its reservations, in their order.
    pub(super) reservations: Vec<Fate>,
    /// Reservations for which there is one of that name, theirs or another's.
    pub(super) present: Vec<usize>,
    /// Records that are only imagined to be there.
    imagined: HashSet<RecordId>,
}

impl<'a> Intent<'a> {
    /// What a run has released, or may have.
    #[must_use]
    pub(super) fn of(report: &'a SavedReport) -> Self {
        let fate = |result: &Option<String>| {
            if may_be_freed(result.as_deref()) {
                Fate::Missing
            } else {
                Fate::NotReleased
            }
        };
        let entries = report.allocations.iter().map(|saved| fate(&saved.result));
        let reservations = report.reservations.iter().map(|saved| fate(&saved.result));
        Self {
            report,
            entries: entries.collect(),
            reservations: reservations.collect(),
            present: Vec::new(),
            imagined: HashSet::new(),
        }
    }

    /// The claims, those of one pool side by side.
    #[must_use]
    pub(super) fn claims(&self) -> Vec<Claim> {
        let by_id: HashMap<(&str, &str), usize> = (self.report.reservations.iter().enumerate())
            .map(|(at, saved)| (saved.id(), at))
            .collect();
        let mut alone: HashSet<usize> = (0..self.reservations.len()).collect();
        let mut claims: Vec<Claim> = Vec::new();
        for (at, saved) in self.report.allocations.iter().enumerate() {
            let names = saved.reservations.iter();
            let found = names.filter_map(|name| by_id.get(&(&*saved.namespace, &**name)));
            claims.push(Claim {
                entry: Some(at),
                reservations: found.copied().filter(|at| alone.remove(at)).collect(),
            });
        }
        let mut alone: Vec<usize> = alone.into_iter().collect();
        alone.sort_unstable();
        claims.extend(alone.into_iter().map(|at| Claim {
            entry: None,
            reservations: vec![at],
        }));
        claims
    }

    /// Adds the records that are missing to those that are there: so the pods that are read next
    /// are asked who uses their addresses.
    pub(super) fn join(
        &mut self,
        mut pools: Vec<PoolObject>,
        mut there: Vec<Reservation>,
    ) -> Records {
        let mut keys: Vec<HashMap<Text, Box<str>>> = Vec::new();
        for pool in &pools {
            let entries = pool.entries.iter();
            keys.push(
                entries
                    .map(|entry| (entry.key.clone(), entry.raw().into()))
                    .collect(),
            );
        }
        let at: HashMap<ObjectId, usize> = (pools.iter().enumerate())
            .map(|(at, pool)| (pool.pool.id.clone(), at))
            .collect();
        for (saved, fate) in self.report.allocations.iter().zip(&mut self.entries) {
            if *fate != Fate::Missing {
                continue;
            }
            let id = saved.pool_id();
            let found = at
                .get(&id)
                .and_then(|at| Some((pools.get_mut(*at)?, keys.get(*at)?)));
            let Some((pool, keys)) = found else {
                *fate = Fate::NoPlace(format!("there is no pool {id}"));
                continue;
            };
            if let Some(found) = keys.get(&*saved.offset) {
                *fate = in_place(found, &saved.entry).into();
            } else if *pool.pool.range_text != *saved.range {
                let range = &pool.pool.range_text;
                *fate = Fate::NoPlace(format!("the range of pool {id} is {range}"));
            } else {
                let raw = saved.entry.to_string();
                let entry = decode::entry(&pool.pool, &saved.offset, &raw);
                pool.entries.push(entry);
            }
        }
        let names: HashSet<ObjectId> = there.iter().map(|found| found.id.clone()).collect();
        for (at, saved) in self.report.reservations.iter().enumerate() {
            if self.reservations.get(at) != Some(&Fate::Missing) {
                continue;
            }
            let (namespace, name) = saved.id();
            if names.contains(&object_id(namespace, name)) {
                self.present.push(at);
            } else if let Ok(missing) = decode::reservation(saved.object.to_string().as_bytes()) {
                there.push(missing);
            }
        }
        Records::new(pools, there)
    }

    /// Finds out whose address is used by somebody else.
    pub(super) fn judge(&mut self, snapshot: &Snapshot) {
        let records = &snapshot.records;
        let missing = self.missing_ids(records);
        self.imagined = missing.iter().map(|(id, _)| *id).collect();
        for (id, at) in missing {
            let addresses: &[IpAddr] = match id {
                RecordId::Entry(index) => {
                    let address = records.entries.get(index).map(|entry| &entry.address);
                    address.map_or(&[], |at| at.as_ref().map_or(&[], std::slice::from_ref))
                }
                RecordId::Reservation(index) => {
                    records.reservation(index).map_or(&[], |r| r.addresses)
                }
            };
            let mut users = addresses
                .iter()
                .filter_map(|at| self.user(snapshot, id, *at));
            let Some(user) = users.next() else { continue };
            let fates = match id {
                RecordId::Entry(_) => &mut self.entries,
                RecordId::Reservation(_) => &mut self.reservations,
            };
            if let Some(fate) = fates.get_mut(at) {
                *fate = Fate::Taken(user);
            }
        }
    }

    /// The records that are imagined, with their place in the report.
    fn missing_ids(&self, records: &Records) -> Vec<(RecordId, usize)> {
        let entries = self.report.allocations.iter().enumerate();
        let entries: HashMap<(ObjectId, &str), usize> = entries
            .filter(|(at, _)| self.entries.get(*at) == Some(&Fate::Missing))
            .map(|(at, saved)| ((saved.pool_id(), saved.offset.as_str()), at))
            .collect();
        let reservations = self.report.reservations.iter().enumerate();
        let reservations: HashMap<ObjectId, usize> = reservations
            .filter(|(at, _)| {
                self.reservations.get(*at) == Some(&Fate::Missing) && !self.present.contains(at)
            })
            .map(|(at, saved)| (object_id(saved.id().0, saved.id().1), at))
            .collect();
        let found_entries = records
            .entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let id = records.pool_of(entry).id.clone();
                let at = entries.get(&(id, &*entry.key))?;
                Some((RecordId::Entry(index), *at))
            });
        let found_reservations = records.reservations().enumerate();
        let found_reservations = found_reservations.filter_map(|(index, found)| {
            let at = reservations.get(&found.id())?;
            Some((RecordId::Reservation(index), *at))
        });
        found_entries.chain(found_reservations).collect()
    }

    /// Who uses an address of a record that is missing, in words.
    fn user(&self, snapshot: &Snapshot, id: RecordId, address: IpAddr) -> Option<String> {
        let records = &snapshot.records;
        let own = records.pod_of(id);
        let mut sightings = snapshot.pods.sightings(address).iter();
        if let Some(sighting) = sightings.find(|sighting| own != Some(&sighting.pod)) {
            return Some(format!("pod {} shows it", sighting.pod));
        }
        let is_other = |other: &RecordId| {
            !self.imagined.contains(other)
                && (own.is_none() || records.pod_of(*other) != own)
                && are_of_one_network(records, id, *other, address)
        };
        let other = records.at(address).find(is_other)?;
        let pod = records
            .pod_of(other)
            .map_or_else(|| "nobody".to_owned(), PodRef::to_string);
        Some(format!("{} records it for {pod}", records.name_of(other)))
    }
}

impl SavedEntry {
    /// Its pool.
    #[must_use]
    pub(super) fn pool_id(&self) -> ObjectId {
        object_id(&self.namespace, &self.pool)
    }
}

fn object_id(namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn are_of_one_network(records: &Records, one: RecordId, other: RecordId, address: IpAddr) -> bool {
    let pool = |index: usize| Some(records.pool_of(records.entries.get(index)?));
    let reservation = |index: usize| records.reservation(index);
    let found = match (one, other) {
        (RecordId::Entry(one), RecordId::Entry(other)) => {
            pool(one).zip(pool(other)).map(|(one, other)| {
                one.id.namespace == other.id.namespace && one.shares_network(other)
            })
        }
        (RecordId::Entry(entry), RecordId::Reservation(other))
        | (RecordId::Reservation(other), RecordId::Entry(entry)) => {
            pool(entry).zip(reservation(other)).map(|(pool, other)| {
                pool.id.namespace == *other.namespace() && pool.is_of(&other.name(), address)
            })
        }
        // Of one network they would have one name.
        (RecordId::Reservation(_), RecordId::Reservation(_)) => None,
    };
    found.unwrap_or(false)
}
