//! PURE: the records that could be freed: pool entries and reservations, joined and indexed.

use std::collections::HashSet;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::pod::PodRef;
use crate::record::{Entry, Fit, Pool, PoolObject, Reservation, readings};

/// One record: an entry or a reservation, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// Index in [`Records::entries`].
    Entry(usize),
    /// Index in [`Records::reservations`].
    Reservation(usize),
}

/// A [`RecordId`] in little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(u32);

impl Slot {
    const RESERVATION: u32 = 1 << 31;

    /// There is no room for so many records that their index would not fit.
    fn of(id: RecordId) -> Self {
        let (RecordId::Entry(index) | RecordId::Reservation(index)) = id;
        let index = u32::try_from(index).unwrap_or(u32::MAX) & !Self::RESERVATION;
        match id {
            RecordId::Entry(_) => Self(index),
            RecordId::Reservation(_) => Self(index | Self::RESERVATION),
        }
    }

    fn id(self) -> RecordId {
        let index = usize::try_from(self.0 & !Self::RESERVATION).unwrap_or(usize::MAX);
        if self.0 & Self::RESERVATION == 0 {
            RecordId::Entry(index)
        } else {
            RecordId::Reservation(index)
        }
    }
}

/// All records of a cluster.
#[derive(Debug, Default)]
pub struct Records {
    /// All pools, sorted by namespace and name.
    pub pools: Vec<Pool>,
    /// All entries, those of one pool side by side.
    pub entries: Vec<Entry>,
    /// All reservations, sorted by namespace and name.
    pub reservations: Vec<Reservation>,
    /// Which records speak of an address, sorted.
    by_address: Vec<(IpAddr, Slot)>,
    /// Entries whose reservation is exempted.
    shielded: HashSet<usize>,
    /// Whether any pool is exempted: most clusters have none, and then nobody needs to look.
    any_protected: bool,
}

impl Records {
    /// Sorts, joins and indexes the records of a cluster.
    #[must_use]
    pub fn new(mut objects: Vec<PoolObject>, mut reservations: Vec<Reservation>) -> Self {
        objects.sort_by(|a, b| a.pool.id.cmp(&b.pool.id));
        reservations.sort_by(|a, b| a.id.cmp(&b.id));
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
        reservations.shrink_to_fit();
        let most = records.entries.len().saturating_add(reservations.len());
        records.by_address.reserve_exact(most);
        let entries = records.entries.iter().enumerate();
        let entries = entries.filter_map(|(index, entry)| {
            let address = *entry.address.as_ref().ok()?;
            Some((address, Slot::of(RecordId::Entry(index))))
        });
        records.by_address.extend(entries);
        records.by_address.sort_unstable();
        for reservation in &mut reservations {
            records.join(reservation);
        }
        for (index, reservation) in reservations.iter().enumerate() {
            let id = Slot::of(RecordId::Reservation(index));
            records
                .by_address
                .extend(reservation.addresses.iter().map(|address| (*address, id)));
        }
        records.by_address.sort_unstable();
        let protected = reservations
            .iter()
            .filter(|reservation| reservation.protected);
        records.shielded = protected.flat_map(|r| r.entries.iter().copied()).collect();
        records.reservations = reservations;
        records
    }

    /// Finds the entries of the same network, address and owner; they also tell which reading of
    /// the name is meant.
    fn join(&self, reservation: &mut Reservation) {
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

    fn entries_at(&self, address: IpAddr) -> impl Iterator<Item = usize> + '_ {
        self.at(address).filter_map(|id| match id {
            RecordId::Entry(index) => Some(index),
            RecordId::Reservation(_) => None,
        })
    }

    /// All addresses that records speak of, each with its records.
    pub fn by_address(
        &self,
    ) -> impl Iterator<Item = (IpAddr, impl ExactSizeIterator<Item = RecordId>)> {
        let chunks = self.by_address.chunk_by(|a, b| a.0 == b.0);
        chunks.filter_map(|chunk| {
            let ids = chunk.iter().map(|(_, slot)| slot.id());
            Some((chunk.first()?.0, ids))
        })
    }

    /// All records that speak of an address.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = RecordId> + '_ {
        let start = self
            .by_address
            .partition_point(|(other, _)| *other < address);
        let rest = self.by_address.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(move |(other, _)| *other == address)
            .map(|(_, slot)| slot.id())
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
            RecordId::Reservation(index) => self
                .reservations
                .get(index)?
                .owner
                .as_ref()
                .ok()?
                .pod
                .as_ref(),
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
                let reservation = self.reservations.get(index);
                reservation.map(|reservation| format!("Reservation {}", reservation.id))
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
        reservation: &'a Reservation,
    ) -> impl Iterator<Item = (usize, &'a Pool)> {
        let readings = readings(&reservation.id.name);
        self.pools.iter().enumerate().filter(move |(_, pool)| {
            pool.id.namespace == reservation.id.namespace
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
    pub fn in_protected_pool(&self, reservation: &Reservation) -> bool {
        self.any_protected
            && self
                .pools_covering(reservation)
                .any(|(_, pool)| pool.protected)
    }

    /// How many different addresses are recorded.
    #[must_use]
    pub fn distinct_addresses(&self, in_scope: impl Fn(RecordId) -> bool) -> usize {
        let mut addresses: Vec<IpAddr> = self
            .by_address
            .iter()
            .filter(|(_, slot)| in_scope(slot.id()))
            .map(|(address, _)| *address)
            .collect();
        addresses.dedup();
        addresses.len()
    }
}
