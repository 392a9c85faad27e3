//! PURE: records and pools that are wrong in themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::audit::Verdict;
use super::super::networks::Allowed;
use super::super::records::RecordId;
use super::{Finding, Kind, Place, View};
use crate::allocate::ends_in_zero;
use crate::record::{Entry, Pool};

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let records = view.records();
    let mut all = two_pools(view);
    for pool in &records.pools {
        if let Err(reason) = &pool.range {
            all.push(malformed(Place::Pool(pool.id.clone()), reason));
        }
    }
    for (index, entry) in records.entries.iter().enumerate() {
        let pool = records.pool_of(entry);
        let place = || Place::Pool(pool.id.clone());
        match &entry.address {
            // All entries of a pool that cannot be read are one finding.
            Err(reason) if pool.range.is_ok() => all.push(malformed(place(), reason)),
            Err(_) => {}
            Ok(address) => {
                let reason = unusable(view, pool, *address);
                let reason = reason.filter(|_| view.stays(RecordId::Entry(index)));
                all.extend(reason.map(|reason| Finding {
                    kind: Kind::Unusable,
                    address: Some(*address),
                    place: place(),
                    pods: entry.owner.pod.iter().cloned().collect(),
                    evidence: said(entry, reason),
                    repair: None,
                }));
            }
        }
    }
    for (index, reservation) in records.reservations().enumerate() {
        if let Verdict::Malformed(reason) = view.audit.at_first_sight(RecordId::Reservation(index))
        {
            all.push(malformed(Place::Reservation(reservation.id()), reason));
        }
    }
    all
}

fn malformed(place: Place, reason: &str) -> Finding {
    Finding {
        kind: Kind::Malformed,
        address: None,
        place,
        pods: Vec::new(),
        evidence: reason.to_owned(),
        repair: None,
    }
}

fn said(entry: &Entry, reason: &str) -> String {
    format!("entry {} holds {reason}", entry.key)
}

/// Why no pod should have an address.
fn unusable(view: &View<'_>, pool: &Pool, address: IpAddr) -> Option<&'static str> {
    let range = pool.range.as_ref().ok()?;
    if address == range.first() {
        return Some("the network address of the range");
    }
    if address == range.last() {
        return Some("the last address of the range, for IPv4 the broadcast address");
    }
    match view.networks.allow(pool, address) {
        Allowed::Excluded => return Some("an address that the network excludes"),
        Allowed::Outside => {
            return Some("an address outside of range_start and range_end of the network");
        }
        Allowed::Yes => {}
    }
    ends_in_zero(address).then_some("an address that ends in .0, which some equipment drops")
}

/// Pools of one namespace and one range that are not those of different networks.
fn two_pools(view: &View<'_>) -> Vec<Finding> {
    let mut by_range: BTreeMap<(&str, IpAddr, u8), Vec<&Pool>> = BTreeMap::new();
    for pool in &view.records().pools {
        if let Ok(range) = &pool.range {
            let key = (&*pool.id.namespace, range.first(), range.prefix_len());
            by_range.entry(key).or_default().push(pool);
        }
    }
    let mut all = Vec::new();
    for pools in by_range.values() {
        for (at, pool) in pools.iter().enumerate() {
            let mut others = pools.iter().enumerate().filter(|(other, _)| *other != at);
            let twin = match pool.network() {
                // Of two with one network the second is told of the first.
                Some(network) => {
                    others.find(|(other, twin)| *other < at && twin.network() == Some(network))
                }
                // No network gives a pool such a name.
                None => others.find(|(_, twin)| twin.network().is_some()),
            };
            let Some((_, twin)) = twin else { continue };
            let named = match pool.network() {
                Some(_) => "of the same network",
                None => "and a name that no network gives",
            };
            all.push(Finding {
                kind: Kind::TwoPools,
                address: None,
                place: Place::Pool(pool.id.clone()),
                pods: Vec::new(),
                evidence: format!(
                    "it has the range {} as pool {} has, {named}",
                    pool.range_text, twin.id
                ),
                repair: None,
            });
        }
    }
    all
}
