//! PURE: puts the records of a cluster together: pools first, then each reservation as it is read.

use std::collections::HashSet;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::by_address::{ByAddress, Slot};
use super::held::Kept;
use super::{RecordId, Records};
use crate::record::{Fit, ObjectId, PoolObject, Reservation, readings};

/// Reservations that were joined with the entries of certain records, which they are for.
///
/// A reservation that is joined takes a fifth of its room: so each is joined as it is read.
#[derive(Debug, Default)]
pub struct Joined {
    kept: Vec<Kept>,
    shielded: HashSet<usize>,
    last: Option<ObjectId>,
    /// Whether they came otherwise than sorted by namespace and name. Servers sort them by their keys, which
    /// is the same within a namespace.
    out_of_order: bool,
}

impl Joined {
    /// Joins one more.
    pub fn add(&mut self, records: &Records, mut reservation: Reservation) {
        records.join(&mut reservation);
        if reservation.protected {
            self.shielded.extend(&reservation.entries);
        }
        let id = &reservation.id;
        self.out_of_order |= self.last.as_ref().is_some_and(|last| last > id);
        self.last = Some(id.clone());
        self.kept.push(Kept::of(reservation, records));
    }
}

impl Records {
    /// Sorts, joins and indexes the records of a cluster.
    #[must_use]
    pub fn new(objects: Vec<PoolObject>, reservations: Vec<Reservation>) -> Self {
        let records = Self::of(objects);
        let mut joined = Joined::default();
        for reservation in reservations {
            joined.add(&records, reservation);
        }
        records.with(joined)
    }

    /// Those of pools alone.
    #[must_use]
    pub fn of(mut objects: Vec<PoolObject>) -> Self {
        objects.sort_by(|a, b| a.pool.id.cmp(&b.pool.id));
        let mut records = Self::default();
        let entries = objects.iter().map(|object| object.entries.len());
        records.entries.reserve_exact(entries.sum());
        for (index, PoolObject { pool, mut entries }) in objects.into_iter().enumerate() {
            for entry in &mut entries {
                entry.pool = index;
            }
            entries.sort_by(|a, b| {
                (a.address.as_ref().ok(), &a.key).cmp(&(b.address.as_ref().ok(), &b.key))
            });
            records.any_protected |= pool.protected;
            records.pools.push(pool);
            records.entries.append(&mut entries);
        }
        records.index();
        records
    }

    /// The same with the reservations that were joined with them.
    #[must_use]
    pub fn with(mut self, joined: Joined) -> Self {
        let Joined {
            mut kept,
            shielded,
            out_of_order,
            ..
        } = joined;
        if out_of_order {
            kept.sort_by_cached_key(|kept| kept.held(&self).id());
        }
        kept.shrink_to_fit();
        self.reservations = kept;
        self.shielded = shielded;
        self.index();
        self
    }

    fn index(&mut self) {
        let most = self.entries.len().saturating_add(self.reservations.len());
        let mut addresses = Vec::with_capacity(most);
        for (index, entry) in self.entries.iter().enumerate() {
            let slot = Slot::of(RecordId::Entry(index));
            addresses.extend(entry.address.as_ref().ok().map(|address| (*address, slot)));
        }
        for (index, held) in self.reservations().enumerate() {
            let slot = Slot::of(RecordId::Reservation(index));
            addresses.extend(held.addresses.iter().map(|address| (*address, slot)));
        }
        self.by_address = ByAddress::of(&mut addresses);
    }

    /// Finds the entries of the same network, address and owner; they also tell which reading of
    /// the name is meant.
    pub(super) fn join(&self, reservation: &mut Reservation) {
        let readings = readings(&reservation.id.name);
        let mut matches: Vec<(Fit, usize, IpAddr)> = Vec::new();
        if let Ok(owner) = &reservation.owner {
            for (network, address) in &readings {
                for index in self.entries_at(*address) {
                    let Some(entry) = self.entries.get(index) else {
                        continue;
                    };
                    let pool = self.pool_of(entry);
                    let fit = pool.fit(network);
                    let same_namespace = pool.id.namespace == reservation.id.namespace;
                    if fit > Fit::No && same_namespace && entry.owner.agrees_with(owner) {
                        matches.push((fit, index, *address));
                    }
                }
            }
        }
        let best = matches.iter().map(|(fit, ..)| *fit).max();
        matches.retain(|(fit, ..)| Some(*fit) == best);
        reservation.entries = matches.iter().map(|(_, index, _)| *index).collect();
        let mut addresses: SmallVec<[IpAddr; 1]> = if matches.is_empty() {
            readings.into_iter().map(|(_, address)| address).collect()
        } else {
            matches.into_iter().map(|(.., address)| address).collect()
        };
        addresses.dedup();
        reservation.addresses = addresses;
    }
}
