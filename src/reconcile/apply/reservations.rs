//! I/O: deletes reservations, and puts one back when its entry has come back meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use futures::StreamExt;
use kube::api::{DeleteParams, Preconditions, Resource};
use kube::core::{ObjectMeta, Request};

use super::{Applied, Outcome, Writing};
use crate::api::{Allocation, OverlappingRangeIPReservation, OverlappingRangeIPReservationSpec};
use crate::client::{Call, Client};
use crate::reconcile::RESERVATIONS;
use crate::reconcile::put::{self, Put};
use crate::reconcile::records::{Held, RecordId, Records};
use crate::reconcile::snapshot::read_pool;
use crate::record::Entry;
use crate::retry;

/// Deletes a reservation if it is still the object that was judged.
pub(super) async fn delete(client: &Client, reservation: &Held<'_>, how: &Writing) -> Outcome {
    if !how.may_start() {
        return Outcome::NotStarted;
    }
    let (id, uid) = (reservation.id(), reservation.uid());
    let resource_version = reservation.resource_version();
    if uid.is_empty() || resource_version.is_empty() {
        return Outcome::Failed("it has no uid or no resourceVersion to delete it by".to_owned());
    }
    let object = id.to_string();
    let call = Call {
        verb: "delete",
        resource: RESERVATIONS,
        object: &object,
    };
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: Some(uid.to_string()),
        resource_version: Some(resource_version.to_string()),
    });
    let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
    let send = async || {
        let request = Request::new(path.as_str()).delete(&id.name, &params);
        client.stream(&call, request, |_, _| Ok(())).await
    };
    match retry::repeat(send, || how.may_start()).await {
        Ok(()) => Outcome::Released,
        Err(error) if error.cause.is_not_found() => Outcome::AlreadyGone,
        Err(error) if error.cause.is_conflict() => Outcome::Changed,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Reads the pools once more: an entry that has come back for the same owner gets its reservation
/// back.
///
/// The Go plugin takes over a reservation of its pod without writing it, so a delete that was
/// guarded by what was read can still hit a claim that is in use again. This is the end of what
/// the deletes began, so it is done even when the run was asked to stop.
pub(super) async fn put_back(
    applied: &mut Applied,
    records: &Records,
    client: &Client,
    how: &Writing,
) {
    let mut by_pool: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (id, outcome) in &applied.outcomes {
        let RecordId::Reservation(index) = id else {
            continue;
        };
        // A delete that failed, or whose first answer was lost, may have been carried out all the same.
        let may_be_gone = matches!(
            outcome,
            Outcome::Released | Outcome::AlreadyGone | Outcome::Failed(_)
        );
        let reservation = records.reservation(*index).filter(|_| may_be_gone);
        let Some(reservation) = reservation else {
            continue;
        };
        let joined = reservation
            .entries
            .iter()
            .filter_map(|at| records.entries.get(*at));
        let joined = joined.map(|entry| entry.pool);
        let covering = records.pools_covering(reservation).map(|(pool, _)| pool);
        for pool in joined.chain(covering) {
            by_pool.entry(pool).or_default().insert(*index);
        }
    }
    let looks = by_pool.into_iter().filter_map(|(pool, deleted)| {
        let id = &records.pools.get(pool)?.id;
        let deleted = deleted
            .into_iter()
            .filter_map(|index| records.reservation(index));
        Some(async move {
            let read = retry::repeat(async || read_pool(client, id).await, || true).await;
            match read {
                Ok(None) => (Vec::new(), Vec::new()),
                Ok(Some(now)) => restore_each(client, deleted, &now.entries).await,
                Err(error) => {
                    let what = "whether an entry has come back whose reservation was deleted";
                    (Vec::new(), vec![format!("it is not known {what}: {error}")])
                }
            }
        })
    });
    let looks: Vec<_> = futures::stream::iter(looks)
        .buffer_unordered(how.at_once)
        .collect()
        .await;
    for (restored, problems) in looks {
        applied.restored.extend(restored);
        applied.problems.extend(problems);
    }
}

async fn restore_each(
    client: &Client,
    deleted: impl Iterator<Item = Held<'_>>,
    entries: &[Entry],
) -> (Vec<String>, Vec<String>) {
    let mut by_address: HashMap<IpAddr, Vec<&Entry>> = HashMap::new();
    for entry in entries {
        if let Ok(address) = &entry.address {
            by_address.entry(*address).or_default().push(entry);
        }
    }
    let (mut restored, mut problems) = (Vec::new(), Vec::new());
    for reservation in deleted {
        let Ok(owner) = reservation.owner else {
            continue;
        };
        let mut there = reservation
            .addresses
            .iter()
            .filter_map(|at| by_address.get(at))
            .flatten();
        // Whatever its interface: the Go program asks a reservation only for its pod.
        let back = there.find(|entry| owner.pod.is_some() && entry.owner.pod == owner.pod);
        let Some(back) = back else { continue };
        match restore(client, &reservation, back).await {
            Ok(true) => restored.push(reservation.id().to_string()),
            Ok(false) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (restored, problems)
}

/// Creates the reservation again; whether that was needed.
async fn restore(client: &Client, old: &Held<'_>, entry: &Entry) -> Result<bool, String> {
    let object = &old.id();
    let allocation: Allocation = serde_json::from_str(&entry.raw())
        .map_err(|error| format!("cannot put reservation {object} back: {error}"))?;
    let mut new = OverlappingRangeIPReservation::new(
        &object.name,
        OverlappingRangeIPReservationSpec {
            podref: allocation.podref.clone(),
            ifname: allocation.ifname,
            containerid: Some(allocation.id),
        },
    );
    new.metadata = ObjectMeta {
        namespace: Some(object.namespace.to_string()),
        ..new.metadata
    };
    let new = serde_json::to_value(&new).map_err(|error| error.to_string())?;
    match put::reservation(client, object, &new).await {
        Ok(Put::Done) => Ok(true),
        Ok(Put::AlreadyThere) => Ok(false),
        Ok(Put::Taken(pod)) if pod == allocation.podref => Ok(false),
        Ok(Put::Taken(pod)) => Err(format!(
            "conflict: pool entry {} of {} has come back, but reservation {object} now belongs to \
             {pod}",
            entry.key, allocation.podref
        )),
        Ok(Put::NoPlace(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}
