//! PURE: which records speak of an address, in little room: nearly all addresses have two.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RecordId;

/// A [`RecordId`] in little room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

impl Slot {
    const RESERVATION: u32 = 1 << 31;

    /// There is no room for so many records that their index would not fit.
    pub(super) fn of(id: RecordId) -> Self {
        let (RecordId::Entry(index) | RecordId::Reservation(index)) = id;
        let index = u32::try_from(index).unwrap_or(u32::MAX) & !Self::RESERVATION;
        match id {
            RecordId::Entry(_) => Self(index),
            RecordId::Reservation(_) => Self(index | Self::RESERVATION),
        }
    }

    pub(super) fn id(self) -> RecordId {
        let index = usize::try_from(self.0 & !Self::RESERVATION).unwrap_or(usize::MAX);
        if self.0 & Self::RESERVATION == 0 {
            RecordId::Entry(index)
        } else {
            RecordId::Reservation(index)
        }
    }
}

/// Records by address, sorted.
#[derive(Debug, Default)]
pub(super) struct ByAddress {
    /// The addresses of the first slots.
    v4: Vec<Ipv4Addr>,
    /// The addresses of the other slots.
    v6: Vec<Ipv6Addr>,
    /// A record and one of the addresses that it speaks of.
    slots: Vec<Slot>,
}

impl ByAddress {
    /// Sorts them, and takes them up.
    pub(super) fn of(all: &mut [(IpAddr, Slot)]) -> Self {
        all.sort_unstable();
        let first_v6 = all.partition_point(|(address, _)| address.is_ipv4());
        let mut index = Self {
            v4: Vec::with_capacity(first_v6),
            v6: Vec::with_capacity(all.len().saturating_sub(first_v6)),
            slots: all.iter().map(|(_, slot)| *slot).collect(),
        };
        for (address, _) in all {
            match address {
                IpAddr::V4(address) => index.v4.push(*address),
                IpAddr::V6(address) => index.v6.push(*address),
            }
        }
        index
    }

    /// The records that speak of an address, entries first.
    pub(super) fn at(&self, address: IpAddr) -> impl Iterator<Item = RecordId> + '_ {
        let start = match address {
            IpAddr::V4(address) => self.v4.partition_point(|other| *other < address),
            IpAddr::V6(address) => {
                let start = self.v6.partition_point(|other| *other < address);
                self.v4.len().saturating_add(start)
            }
        };
        (start..).map_while(move |at| {
            let is_there = self.address(at)? == address;
            is_there.then_some(self.slots.get(at)?.id())
        })
    }

    /// The address of a slot.
    fn address(&self, at: usize) -> Option<IpAddr> {
        match at.checked_sub(self.v4.len()) {
            None => self.v4.get(at).copied().map(IpAddr::V4),
            Some(at) => self.v6.get(at).copied().map(IpAddr::V6),
        }
    }

    /// All addresses, each with its records.
    pub(super) fn groups(&self) -> impl Iterator<Item = (IpAddr, &[Slot])> {
        let v4 = groups(&self.v4).map(|(address, length)| (IpAddr::V4(address), length));
        let v6 = groups(&self.v6).map(|(address, length)| (IpAddr::V6(address), length));
        let mut rest = self.slots.as_slice();
        v4.chain(v6).filter_map(move |(address, length)| {
            let (group, others) = rest.split_at_checked(length)?;
            rest = others;
            Some((address, group))
        })
    }
}

/// The different elements of a sorted slice, and how many there are of each.
fn groups<T: Copy + PartialEq>(sorted: &[T]) -> impl Iterator<Item = (T, usize)> {
    let equals = sorted.chunk_by(PartialEq::eq);
    equals.filter_map(|equals| Some((*equals.first()?, equals.len())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0_u8..4).prop_map(|last| IpAddr::from([10, 0, 0, last])),
            (0_u16..4).prop_map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
        ]
    }

    proptest! {
        #[test]
        fn each_record_is_found_at_its_addresses_and_nowhere_else(
            records: Vec<(bool, usize)>, addresses in prop::collection::vec(address(), 0..20),
            other in address(),
        ) {
            let id = |(is_entry, index): &(bool, usize)| {
                let index = index % 1000;
                if *is_entry { RecordId::Entry(index) } else { RecordId::Reservation(index) }
            };
            let mut all: Vec<(IpAddr, Slot)> = addresses.iter().copied()
                .zip(records.iter().map(|record| Slot::of(id(record)))).collect();
            let mut expected: BTreeMap<IpAddr, Vec<RecordId>> = BTreeMap::new();
            for (address, slot) in &all {
                expected.entry(*address).or_default().push(slot.id());
            }
            for ids in expected.values_mut() {
                ids.sort_unstable();
            }
            let index = ByAddress::of(&mut all);
            let ids = |slots: &[Slot]| slots.iter().map(|slot| slot.id()).collect::<Vec<_>>();
            let groups: BTreeMap<IpAddr, Vec<RecordId>> =
                index.groups().map(|(address, slots)| (address, ids(slots))).collect();
            prop_assert_eq!(&groups, &expected);
            for address in addresses.into_iter().chain([other]) {
                prop_assert_eq!(&index.at(address).collect::<Vec<_>>(), expected.entry(address).or_default());
            }
        }
    }
}
