//! PURE: the records that could be freed: pool entries and reservations, joined and indexed.

mod by_address;
mod held;
mod joining;

use std::collections::HashSet;
use std::net::IpAddr;

use by_address::ByAddress;
pub use held::Held;
use held::Kept;
pub use joining::Joined;

use crate::pod::PodRef;
use crate::record::{Entry, Fit, ObjectId, Pool, readings};

/// One record: an entry or a reservation, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// Index in [`Records::entries`].
    Entry(usize),
    /// What [`Records::reservation`] takes.
    Reservation(usize),
}

/// All records of a cluster.
#[derive(Debug, Default)]
pub struct Records {
    /// All pools, sorted by namespace and name.
    pub pools: Vec<Pool>,
    /// All entries, those of one pool side by side; they stay as they are, for reservations are kept as
    /// what they do not say.
    pub entries: Vec<Entry>,
    /// All reservations, sorted by namespace and name.
    reservations: Vec<Kept>,
    /// Which records speak of an address.
    by_address: ByAddress,
    /// Entries whose reservation is exempted.
    shielded: HashSet<usize>,
    /// Whether any pool is exempted: most clusters have none, and then nobody needs to look.
    any_protected: bool,
}

impl Records {
    /// A reservation.
    #[must_use]
    pub fn reservation(&self, index: usize) -> Option<Held<'_>> {
        Some(self.reservations.get(index)?.held(self))
    }

    /// All reservations, sorted by namespace and name.
    #[must_use]
    pub fn reservations(&self) -> impl ExactSizeIterator<Item = Held<'_>> {
        let all = self.reservations.iter();
        all.map(|kept| kept.held(self))
    }

    /// Where the reservation of that name is, if there is one.
    #[must_use]
    pub fn find_reservation(&self, id: &ObjectId) -> Option<usize> {
        let readings = readings(&id.name);
        if !readings.is_empty() {
            // It speaks of some of the addresses that its name can mean.
            let addresses = readings.into_iter().map(|(_, address)| address);
            let mut there = addresses.flat_map(|address| self.reservations_at(address));
            return there.find_map(|(index, held)| (held.id() == *id).then_some(index));
        }
        let found = self
            .reservations
            .binary_search_by(|kept| kept.held(self).id().cmp(id));
        found.ok()
    }

    fn entries_at(&self, address: IpAddr) -> impl Iterator<Item = usize> + '_ {
        self.at(address).filter_map(|id| match id {
            RecordId::Entry(index) => Some(index),
            RecordId::Reservation(_) => None,
        })
    }

    /// The reservations that speak of an address, each with its index.
    pub fn reservations_at(&self, address: IpAddr) -> impl Iterator<Item = (usize, Held<'_>)> {
        self.at(address).filter_map(|id| match id {
            RecordId::Entry(_) => None,
            RecordId::Reservation(index) => Some((index, self.reservation(index)?)),
        })
    }

    /// All addresses that records speak of, each with its records.
    pub fn by_address(
        &self,
    ) -> impl Iterator<Item = (IpAddr, impl ExactSizeIterator<Item = RecordId>)> {
        let groups = self.by_address.groups();
        groups.map(|(address, slots)| (address, slots.iter().map(|slot| slot.id())))
    }

    /// All records that speak of an address.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = RecordId> + '_ {
        self.by_address.at(address)
    }

    /// Entries of which no address can be read, but whose key is that of this one.
    pub fn unreadable_at(&self, address: IpAddr) -> impl Iterator<Item = RecordId> + '_ {
        let key_in = move |pool: &Pool| match &pool.range {
            Ok(range) if range.contains(address) => {
                range.offset_of(address).map(|at| at.to_string())
            }
            Ok(_) => None,
            Err(_) => Some(address.to_string()),
        };
        let entries = self.entries.iter().enumerate();
        let unreadable = entries.filter(move |(_, entry)| {
            entry.address.is_err() && key_in(self.pool_of(entry)).as_deref() == Some(&*entry.key)
        });
        unreadable.map(|(index, _)| RecordId::Entry(index))
    }

    /// All records, entries first.
    pub fn ids(&self) -> impl Iterator<Item = RecordId> + use<> {
        let entries = (0..self.entries.len()).map(RecordId::Entry);
        entries.chain((0..self.reservations.len()).map(RecordId::Reservation))
    }

    /// The pool of an entry.
    ///
    /// # Panics
    /// When the entry is not one of these records.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "new() gives every entry the index of its pool"
    )]
    pub fn pool_of(&self, entry: &Entry) -> &Pool {
        self.pools
            .get(entry.pool)
            .expect("an entry's pool is among the pools")
    }

    /// The pod that a record names.
    #[must_use]
    pub fn pod_of(&self, id: RecordId) -> Option<&PodRef> {
        match id {
            RecordId::Entry(index) => self.entries.get(index)?.owner.pod.as_ref(),
            RecordId::Reservation(index) => self.reservation(index)?.owner.ok()?.pod.as_ref(),
        }
    }

    /// What a record is called: its kind, namespace and name.
    #[must_use]
    pub fn name_of(&self, id: RecordId) -> String {
        let name = match id {
            RecordId::Entry(index) => self
                .entries
                .get(index)
                .map(|entry| format!("Allocation {}/{}", self.pool_of(entry).id, entry.key)),
            RecordId::Reservation(index) => {
                let reservation = self.reservation(index);
                reservation.map(|reservation| format!("Reservation {}", reservation.id()))
            }
        };
        name.unwrap_or_default()
    }

    /// Whether the entry's reservation is exempted, and the entry with it.
    #[must_use]
    pub fn is_shielded(&self, entry: usize) -> bool {
        self.shielded.contains(&entry)
    }

    /// The pools from which a reservation's address can have been allocated.
    pub fn pools_covering<'a>(
        &'a self,
        reservation: Held<'a>,
    ) -> impl Iterator<Item = (usize, &'a Pool)> {
        let name = reservation.name();
        let readings = readings(&name).into_iter();
        let readings: Vec<(String, IpAddr)> = readings
            .map(|(network, address)| (network.to_owned(), address))
            .collect();
        self.pools.iter().enumerate().filter(move |(_, pool)| {
            pool.id.namespace == *reservation.namespace()
                && readings.iter().any(|(network, address)| {
                    reservation.addresses.contains(address)
                        && pool.fit(network) > Fit::No
                        && pool
                            .range
                            .as_ref()
                            .is_ok_and(|range| range.contains(*address))
                })
        })
    }

    /// Whether the address can come from a pool that is exempted.
    #[must_use]
    pub fn in_protected_pool(&self, reservation: Held<'_>) -> bool {
        self.any_protected
            && self
                .pools_covering(reservation)
                .any(|(_, pool)| pool.protected)
    }

    /// How many different addresses are recorded.
    #[must_use]
    pub fn distinct_addresses(&self, in_scope: impl Fn(RecordId) -> bool) -> usize {
        let groups = self.by_address.groups();
        let shown = groups.filter(|(_, slots)| slots.iter().any(|slot| in_scope(slot.id())));
        shown.count()
    }
}
