//! PURE: records that contradict each other, or stand alone.

use std::net::IpAddr;

use super::super::audit::Verdict;
use super::super::records::{Held, RecordId};
use super::{Finding, Kind, Place, Repair, Slot, View};
use crate::record::{Entry, Fit, Owner, Pool, readings};

/// A record that says who has an address, as one of two of them sees it.
struct Claim<'a> {
    id: RecordId,
    owner: &'a Owner,
    of: Of<'a>,
}

enum Of<'a> {
    Entry(&'a Pool, &'a Entry),
    Reservation(Held<'a>),
}

/// Addresses that two records of one network give to different owners.
pub(super) fn two_owners(view: &View<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    for (address, ids) in view.records().by_address() {
        if ids.len() < 2 {
            continue;
        }
        let claims = ids.filter_map(|id| claim(view, id));
        let claims: Vec<Claim<'_>> = claims.collect();
        for (at, one) in claims.iter().enumerate() {
            let mut others = claims.iter().skip(at + 1);
            let differs = |other: &&Claim<'_>| {
                !one.owner.agrees_with(other.owner)
                    && is_one_network(one, other, address)
                    // One that goes holds nothing.
                    && view.stays(one.id)
                    && view.stays(other.id)
            };
            if let Some(other) = others.find(differs) {
                all.extend(two(address, one, other));
            }
        }
    }
    all
}

/// A record that names its pod.
fn claim<'a>(view: &View<'a>, id: RecordId) -> Option<Claim<'a>> {
    let records = view.records();
    let claim = match id {
        RecordId::Entry(index) => {
            let entry = records.entries.get(index)?;
            Claim {
                id,
                owner: &entry.owner,
                of: Of::Entry(records.pool_of(entry), entry),
            }
        }
        RecordId::Reservation(index) => {
            let reservation = records.reservation(index)?;
            let is_clear = reservation.entries.is_empty() && reservation.addresses.len() == 1;
            Claim {
                id,
                owner: reservation.owner.ok().filter(|_| is_clear)?,
                of: Of::Reservation(reservation),
            }
        }
    };
    claim.owner.pod.is_some().then_some(claim)
}

/// Whether both records are certainly of one network.
fn is_one_network(one: &Claim<'_>, other: &Claim<'_>, address: IpAddr) -> bool {
    let reserves = |pool: &Pool, reservation: &Held<'_>| {
        let name = reservation.name();
        let names = readings(&name).into_iter();
        let mut names = names.filter(|(_, read)| *read == address);
        pool.id.namespace == *reservation.namespace()
            && names.any(|(network, _)| pool.fit(network) == Fit::Exact)
    };
    match (&one.of, &other.of) {
        (Of::Entry(pool, _), Of::Entry(other, _)) => {
            pool.id == other.id
                || (pool.id.namespace == other.id.namespace
                    && pool.network().is_some()
                    && pool.network() == other.network())
        }
        (Of::Entry(pool, _), Of::Reservation(reservation))
        | (Of::Reservation(reservation), Of::Entry(pool, _)) => reserves(pool, reservation),
        // Their names differ, so one address is of two networks.
        (Of::Reservation(_), Of::Reservation(_)) => false,
    }
}

fn two(address: IpAddr, one: &Claim<'_>, other: &Claim<'_>) -> Option<Finding> {
    let say = |claim: &Claim<'_>| {
        let pod = claim.owner.pod.as_ref()?;
        let interface = claim.owner.interface.as_deref().unwrap_or("an interface");
        let place = match &claim.of {
            Of::Entry(pool, entry) => format!("entry {} of pool {}", entry.key, pool.id),
            Of::Reservation(reservation) => format!("reservation {}", reservation.id()),
        };
        Some(format!("{place} gives it to {interface} of pod {pod}"))
    };
    let place = match &one.of {
        Of::Entry(pool, _) => Place::Pool(pool.id.clone()),
        Of::Reservation(reservation) => Place::Reservation(reservation.id()),
    };
    let pods = [one, other].map(|claim| claim.owner.pod.clone());
    Some(Finding {
        kind: Kind::TwoOwners,
        address: Some(address),
        place,
        pods: pods.into_iter().flatten().collect(),
        evidence: format!("{}, {}", say(one)?, say(other)?),
        repair: None,
    })
}

/// Entries in use without their reservation, and reservations in use without their entry.
pub(super) fn missing(view: &View<'_>) -> Vec<Finding> {
    let records = view.records();
    let mut reserved = vec![false; records.entries.len()];
    for index in records.reservations().flat_map(|r| r.entries) {
        if let Some(reserved) = reserved.get_mut(*index) {
            *reserved = true;
        }
    }
    let entries = records.entries.iter().zip(reserved).enumerate();
    let bare = entries.filter(|(_, (_, reserved))| !reserved);
    let without_reservation =
        bare.filter_map(|(index, (entry, _))| missing_reservation(view, index, entry));
    let reservations = records.reservations().enumerate();
    let without_entry =
        reservations.filter_map(|(index, reservation)| missing_entry(view, index, &reservation));
    without_reservation.chain(without_entry).collect()
}

/// The interface on which the pod shows a record's address beyond doubt, if that is the one that
/// the record names.
fn shown_on<'a>(view: &View<'a>, id: RecordId) -> Option<&'a str> {
    let Verdict::InUse(shown) = view.audit.at_first_sight(id) else {
        return None;
    };
    let pod = view.records().pod_of(id)?;
    let state = view.audit.pods().get(pod);
    state
        .is_some_and(|state| state.traits.is_settled())
        .then_some(shown)
}

fn missing_reservation(view: &View<'_>, index: usize, entry: &Entry) -> Option<Finding> {
    let records = view.records();
    let pool = records.pool_of(entry);
    let address = *entry.address.as_ref().ok()?;
    let id = view.reservation_of(pool, address)?;
    let interface = shown_on(view, RecordId::Entry(index))?;
    // One key of a range this wide stands for many addresses.
    if pool
        .range
        .as_ref()
        .is_ok_and(crate::ip::IpRange::is_wider_than_a_key)
    {
        return None;
    }
    if records.find_reservation(&id).is_some() {
        // It is another's: that is said as such.
        return None;
    }
    let pod = entry.owner.pod.clone()?;
    let named = entry.owner.interface.as_deref().unwrap_or(interface);
    let repair = (named == interface).then(|| {
        Some(Box::new(Repair {
            pod: pod.clone(),
            interface: interface.into(),
            address,
            reservation: Some(id.clone()),
            entry: Slot {
                pool: pool.id.clone(),
                range_text: pool.range_text.clone(),
                key: entry.key.clone(),
            },
        }))
    });
    Some(Finding {
        kind: Kind::MissingReservation,
        address: Some(address),
        place: Place::Pool(pool.id.clone()),
        pods: vec![pod.clone()],
        evidence: format!("entry {} of pod {pod} has no reservation {id}", entry.key),
        repair: repair.flatten(),
    })
}

fn missing_entry(view: &View<'_>, index: usize, reservation: &Held<'_>) -> Option<Finding> {
    let records = view.records();
    let [address] = *reservation.addresses else {
        return None;
    };
    if !reservation.entries.is_empty() {
        return None;
    }
    let owner = reservation.owner.ok()?;
    let pod = owner.pod.as_ref()?;
    let interface = shown_on(view, RecordId::Reservation(index))?;
    let is_of_pod = |at: IpAddr| {
        let mut ids = records.at(at);
        ids.any(|id| matches!(id, RecordId::Entry(_)) && records.pod_of(id) == Some(pod))
    };
    let covering: Vec<&Pool> = records
        .pools_covering(*reservation)
        .map(|(_, pool)| pool)
        .collect();
    let mut ranges = covering.iter().filter_map(|pool| pool.range.as_ref().ok());
    let is_folded = ranges.any(|range| range.folded(address).is_some_and(is_of_pod));
    if is_of_pod(address) || is_folded {
        return None;
    }
    let name = reservation.name();
    let names = readings(&name);
    let is_exact = |pool: &&&Pool| names.iter().any(|(name, _)| pool.fit(name) == Fit::Exact);
    let exact: Vec<&&Pool> = covering.iter().filter(is_exact).collect();
    let pool = match (exact.as_slice(), covering.as_slice()) {
        ([pool], _) => Some(**pool),
        ([], [pool]) => Some(*pool),
        _ => None,
    };
    let is_same = owner
        .interface
        .as_deref()
        .is_none_or(|name| name == interface);
    let slot = pool
        .filter(|_| is_same)
        .and_then(|pool| Slot::of(pool, address));
    let in_slot = |slot: &Slot, id: RecordId| match id {
        RecordId::Entry(index) => {
            let entry = records.entries.get(index);
            entry.is_some_and(|entry| records.pool_of(entry).id == slot.pool)
        }
        RecordId::Reservation(_) => false,
    };
    // An entry of another pod is there: that is said as such.
    let is_taken = |slot: &Slot| records.at(address).any(|id| in_slot(slot, id));
    if slot.as_ref().is_some_and(is_taken) {
        return None;
    }
    let place = slot.as_ref().map_or_else(
        || "there is no one pool that it could be in".to_owned(),
        |slot| format!("key {} of pool {} is free", slot.key, slot.pool),
    );
    Some(Finding {
        kind: Kind::MissingEntry,
        address: Some(address),
        place: Place::Reservation(reservation.id()),
        pods: vec![pod.clone()],
        evidence: format!("the reservation of pod {pod} has no entry: {place}"),
        repair: slot.map(|entry| {
            Box::new(Repair {
                pod: pod.clone(),
                interface: interface.into(),
                address,
                reservation: Some(reservation.id()),
                entry,
            })
        }),
    })
}
