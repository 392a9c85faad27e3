//! PURE: the records that could be freed: pool entries and reservations, joined and indexed.

use std::collections::HashSet;
use std::net::IpAddr;

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
    by_address: Vec<(IpAddr, RecordId)>,
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
        let entries = records.entries.iter().enumerate();
        records.by_address = entries
            .filter_map(|(index, entry)| {
                Some((*entry.address.as_ref().ok()?, RecordId::Entry(index)))
            })
            .collect();
        records.by_address.sort_unstable();
        for reservation in &mut reservations {
            records.join(reservation);
        }
        for (index, reservation) in reservations.iter().enumerate() {
            let id = RecordId::Reservation(index);
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
        let mut addresses: Vec<IpAddr> = if matches.is_empty() {
            readings.into_iter().map(|(_, address)| address).collect()
        } else {
            matches.into_iter().map(|(.., address)| address).collect()
        };
        addresses.dedup();
        reservation.addresses = addresses.into();
    }

    fn entries_at(&self, address: IpAddr) -> impl Iterator<Item = usize> + '_ {
        self.at(address).filter_map(|id| match id {
            RecordId::Entry(index) => Some(index),
            RecordId::Reservation(_) => None,
        })
    }

    /// All addresses that records speak of, each with its records.
    pub fn by_address(&self) -> impl Iterator<Item = (IpAddr, &[(IpAddr, RecordId)])> {
        let chunks = self.by_address.chunk_by(|a, b| a.0 == b.0);
        chunks.filter_map(|chunk| Some((chunk.first()?.0, chunk)))
    }

    /// All records that speak of an address.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = RecordId> + '_ {
        let start = self
            .by_address
            .partition_point(|(other, _)| *other < address);
        let rest = self.by_address.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(move |(other, _)| *other == address)
            .map(|(_, id)| *id)
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
            .filter(|(_, id)| in_scope(*id))
            .map(|(address, _)| *address)
            .collect();
        addresses.dedup();
        addresses.len()
    }
}
