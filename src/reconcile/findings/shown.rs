//! PURE: addresses that live pods show, although the records say otherwise or nothing at all.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::super::networks::Origin;
use super::super::pods::Showing;
use super::super::records::RecordId;
use super::{Finding, Kind, Place, Repair, Slot, View};
use crate::pod::PodRef;
use crate::record::{Fit, ObjectId, Pool, readings};

/// An address that a pod shows without a record of its own, and the pools it can have come from.
struct Loose<'a> {
    showing: &'a Showing,
    pools: Vec<usize>,
}

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let (records, pods) = (view.records(), view.audit.pods());
    let mut by_address: BTreeMap<IpAddr, Vec<Loose<'_>>> = BTreeMap::new();
    for showing in pods.loose().sorted() {
        if let Origin::Pools(pools) = view.networks.origin(records, showing) {
            let loose = Loose { showing, pools };
            by_address.entry(showing.address).or_default().push(loose);
        }
    }
    let mut all = Vec::new();
    let mut explained: HashSet<(IpAddr, &PodRef)> = HashSet::new();
    for id in records.ids() {
        for (address, pod) in shown_by_others(view, id) {
            let mut loose = by_address.get(&address).into_iter().flatten();
            let loose = loose.find(|loose| loose.showing.pod == *pod);
            // The definitions say that it is an address of another network.
            let is_apart = loose.is_some_and(|loose| !may_be_of(view, id, &loose.pools));
            if is_apart {
                continue;
            }
            explained.insert((address, pod));
            all.extend(used_by_another(view, id, address, pod));
        }
    }
    for (address, loose) in by_address {
        let unexplained: Vec<Loose<'_>> = loose
            .into_iter()
            .filter(|loose| !explained.contains(&(address, &loose.showing.pod)))
            .collect();
        all.extend(unrecorded(view, address, unexplained));
    }
    all
}

/// Live pods other than its owner that show a record's address.
fn shown_by_others<'a>(
    view: &View<'a>,
    id: RecordId,
) -> impl Iterator<Item = (IpAddr, &'a PodRef)> {
    let (records, pods) = (view.records(), view.audit.pods());
    let addresses: &[IpAddr] = match id {
        RecordId::Entry(index) => records
            .entries
            .get(index)
            .and_then(|entry| entry.address.as_ref().ok())
            .map_or(&[], std::slice::from_ref),
        // One whose entry stands for the same claim has been said with the entry.
        RecordId::Reservation(index) => records
            .reservation(index)
            .filter(|reservation| reservation.entries.is_empty())
            .map_or(&[], |reservation| reservation.addresses),
    };
    let owner = records.pod_of(id);
    let addresses = addresses.iter().filter(move |_| owner.is_some());
    addresses.flat_map(move |address| {
        let sightings = pods.sightings(*address).iter();
        let others =
            sightings.filter(move |sighting| sighting.settled && Some(&sighting.pod) != owner);
        others.map(|sighting| (*address, &sighting.pod))
    })
}

/// Whether a record can be one of these pools' networks.
fn may_be_of(view: &View<'_>, id: RecordId, pools: &[usize]) -> bool {
    let records = view.records();
    let mut pools = pools.iter().filter_map(|index| records.pools.get(*index));
    match id {
        RecordId::Entry(index) => {
            let entry = records.entries.get(index);
            let pool = entry.map(|entry| records.pool_of(entry));
            pools.any(|other| pool.is_some_and(|pool| is_one_network(pool, other)))
        }
        RecordId::Reservation(index) => {
            let Some(reservation) = records.reservation(index) else {
                return false;
            };
            let name = reservation.name();
            let names = readings(&name);
            pools.any(|pool| {
                pool.id.namespace == *reservation.namespace()
                    && names.iter().any(|(name, _)| pool.fit(name) > Fit::No)
            })
        }
    }
}

/// Whether two pools are certainly of one network.
fn is_one_network(one: &Pool, other: &Pool) -> bool {
    one.id == other.id
        || (one.id.namespace == other.id.namespace
            && one.network().is_some()
            && one.network() == other.network())
}

fn used_by_another(
    view: &View<'_>,
    id: RecordId,
    address: IpAddr,
    pod: &PodRef,
) -> Option<Finding> {
    let records = view.records();
    let owner = records.pod_of(id)?;
    let place = match id {
        RecordId::Entry(index) => {
            Place::Pool(records.pool_of(records.entries.get(index)?).id.clone())
        }
        RecordId::Reservation(index) => Place::Reservation(records.reservation(index)?.id()),
    };
    let mut evidence = format!("recorded for pod {owner}, but pod {pod} shows it");
    let state = view.audit.pods().get(owner);
    if state.is_some_and(|state| state.addresses().any(|shown| shown == address)) {
        evidence.push_str(", and so does the first");
    }
    Some(Finding {
        kind: Kind::UsedByAnother,
        address: Some(address),
        place,
        pods: vec![owner.clone(), pod.clone()],
        evidence,
        repair: None,
    })
}

/// What nothing records: shown by one pod, or by several of one network.
fn unrecorded(view: &View<'_>, address: IpAddr, mut loose: Vec<Loose<'_>>) -> Vec<Finding> {
    let mut all = Vec::new();
    while let Some(first) = loose.pop() {
        let (same, others): (Vec<_>, Vec<_>) = loose
            .into_iter()
            .partition(|other| are_one_network(view, &first, other));
        loose = others;
        let mut pods: Vec<PodRef> = same.iter().map(|other| other.showing.pod.clone()).collect();
        pods.push(first.showing.pod.clone());
        pods.sort_unstable();
        pods.dedup();
        let mut pools = first.pools.iter();
        let pools: Vec<&Pool> = pools
            .by_ref()
            .filter_map(|index| view.records().pools.get(*index))
            .collect();
        let Some(pool) = pools.first() else { continue };
        let (kind, evidence, repair) = if let [pod] = pods.as_slice() {
            let showing = first.showing;
            let evidence = format!(
                "pod {pod} shows it on interface {:?} of network {:?}, and nothing records it",
                showing.interface, showing.network
            );
            let is_clear = same.is_empty();
            let repair = is_clear.then(|| repair(view, showing, &pools)).flatten();
            (Kind::Unrecorded, evidence, repair)
        } else {
            let names: Vec<String> = pods.iter().map(ToString::to_string).collect();
            let names = names.join(", ");
            let evidence = format!("shown by several pods, and recorded for none: {names}");
            (Kind::TwoPods, evidence, None)
        };
        all.push(Finding {
            kind,
            address: Some(address),
            place: Place::Pool(pool.id.clone()),
            pods,
            evidence,
            repair,
        });
    }
    all
}

/// Whether two pods show an address of the same network, and not one of another with its range.
fn are_one_network(view: &View<'_>, one: &Loose<'_>, other: &Loose<'_>) -> bool {
    if one.showing.network == other.showing.network {
        return true;
    }
    let pools = || one.pools.iter().chain(&other.pools);
    let mut all = pools().filter_map(|index| view.records().pools.get(*index));
    let Some(first) = all.next() else {
        return false;
    };
    all.all(|pool| is_one_network(first, pool))
}

/// What could be put back, if there is only one pool to put it into.
fn repair(view: &View<'_>, showing: &Showing, pools: &[&Pool]) -> Option<Box<Repair>> {
    let [pool] = pools else { return None };
    let reservation = view.reservation_of(pool, showing.address);
    if let Some(id) = &reservation
        && is_taken(view, id)
    {
        return None;
    }
    Some(Box::new(Repair {
        pod: showing.pod.clone(),
        interface: (&*showing.interface).into(),
        address: showing.address,
        reservation,
        entry: Slot::of(pool, showing.address)?,
    }))
}

/// Whether there is a reservation of that name; it cannot be the pod's own.
fn is_taken(view: &View<'_>, id: &ObjectId) -> bool {
    view.records().find_reservation(id).is_some()
}
