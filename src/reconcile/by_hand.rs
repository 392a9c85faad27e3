//! PURE: which records of an address a person may free by hand.
//!
//! A person can know what no run can: that a node is off, or that a record is wrong. But what a pod
//! that exists may use is not free because somebody says so: the pod has to go first.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::audit::{PodSays, Verdict};
use super::plan::{Plan, Refusal, Scope};
use super::pods::Known;
use super::records::{RecordId, Records};
use super::snapshot::Snapshot;
use crate::pod::PodRef;

/// Why nothing is freed by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFreed {
    /// The address has records, but none that is meant.
    #[error(
        "no record of {0} is that of --namespace, --pool and --pod; without them, all of its \
         records are meant"
    )]
    NotInScope(IpAddr),
    /// Nothing says which one is meant.
    #[error(
        "{0} is held by {n} claims that have nothing to do with each other: {all}; say which one is \
         meant with --namespace, --pool or --pod",
        n = .1.len(), all = .1.join("; ")
    )]
    Several(IpAddr, Vec<String>),
    /// A pod may use the address, or somebody wants the record to stay.
    #[error("{record} is not released: {verdict}: {why}; {advice}")]
    Kept {
        /// The record.
        record: String,
        /// The verdict on it.
        verdict: &'static str,
        /// Its evidence.
        why: String,
        /// What can be done.
        advice: String,
    },
    /// The view of the cluster looks broken.
    #[error("refused: {0}")]
    Refused(Refusal),
}

/// Which records are meant, of those of an address.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// By pool and namespace.
    pub scope: Scope,
    /// By the pod that they name.
    pub pod: Option<PodRef>,
}

/// What is to be released: one entry with its reservations, or one reservation.
///
/// # Errors
/// When it is not clear which record is meant, or it must not be released.
pub fn plan(snapshot: &Snapshot, address: IpAddr, choice: &Choice) -> Result<Plan, NotFreed> {
    let records = &snapshot.records;
    let mut claims = claims(records, address, &choice.scope);
    if let Some(pod) = &choice.pod {
        claims.retain(|claim| claim.iter().any(|id| records.pod_of(*id) == Some(pod)));
    }
    let claim = match claims.as_slice() {
        [] => return Err(NotFreed::NotInScope(address)),
        [claim] => claim,
        several => {
            let said = several.iter().map(|claim| describe(records, claim));
            return Err(NotFreed::Several(address, said.collect()));
        }
    };
    let mut plan = Plan::default();
    for id in claim {
        may_be_freed(snapshot, address, *id)?;
        match id {
            RecordId::Entry(index) => plan.entries.push(*index),
            RecordId::Reservation(index) => plan.reservations.push(*index),
        }
    }
    Ok(plan)
}

/// The records of a plan, in the order of their release.
pub fn ids(plan: &Plan) -> impl Iterator<Item = RecordId> + '_ {
    let entries = plan.entries.iter().copied().map(RecordId::Entry);
    let reservations = plan.reservations.iter().copied();
    entries.chain(reservations.map(RecordId::Reservation))
}

/// The brake that a release by hand has: a view without pods proves nothing.
pub fn brake(snapshot: &Snapshot) -> Result<(), NotFreed> {
    if snapshot.pods.total() > 0 {
        return Ok(());
    }
    let unseen = snapshot.records.distinct_addresses(|_| true);
    Refusal::of_unseen(unseen).map_or(Ok(()), |refusal| Err(NotFreed::Refused(refusal)))
}

/// The records of an address, those of one claim together: entries, and reservations with them.
fn claims(records: &Records, address: IpAddr, scope: &Scope) -> Vec<BTreeSet<RecordId>> {
    let mut claims: Vec<BTreeSet<RecordId>> = Vec::new();
    for id in records.at(address).filter(|id| scope.holds(records, *id)) {
        let mut claim = BTreeSet::from([id]);
        if let RecordId::Reservation(index) = id
            && let Some(reservation) = records.reservation(index)
        {
            // One whose name can be read in two ways may have entries of another address.
            let entries = reservation.entries.iter().copied().map(RecordId::Entry);
            claim.extend(entries.filter(|entry| records.at(address).any(|id| id == *entry)));
        }
        let is_other = |other: &mut BTreeSet<RecordId>| !other.is_disjoint(&claim);
        let joined: Vec<_> = claims.extract_if(.., is_other).collect();
        claim.extend(joined.into_iter().flatten());
        claims.push(claim);
    }
    claims
}

fn describe(records: &Records, claim: &BTreeSet<RecordId>) -> String {
    let names: Vec<String> = claim.iter().map(|id| records.name_of(*id)).collect();
    let pod = claim.iter().find_map(|id| records.pod_of(*id));
    let pod = pod.map_or_else(|| "no pod".to_owned(), ToString::to_string);
    format!("{} of {pod}", names.join(" with "))
}

/// Whether the record may go although a run would keep it.
fn may_be_freed(snapshot: &Snapshot, address: IpAddr, id: RecordId) -> Result<(), NotFreed> {
    let verdict = snapshot.audit().at_first_sight(id);
    let record = snapshot.records.name_of(id);
    let kept = |advice: String| {
        let (verdict, why) = (verdict.name(), verdict.to_string());
        Err(NotFreed::Kept {
            record: record.clone(),
            verdict,
            why,
            advice,
        })
    };
    let pod = snapshot.records.pod_of(id);
    let pod = pod.map_or_else(|| "the pod".to_owned(), |pod| format!("pod {pod}"));
    match verdict {
        Verdict::UnreachableTooLong(_)
        | Verdict::NodeOutOfService(_)
        | Verdict::NodeGone(_)
        | Verdict::PodFinished(_)
        | Verdict::PodReplaced { .. }
        | Verdict::AddressNotOnPod { .. }
        | Verdict::PodGone
        | Verdict::WithinGrace { .. }
        | Verdict::HeldUnreachable {
            pod: PodSays::Gone | PodSays::Deleting | PodSays::Finished,
            ..
        } => Ok(()),
        Verdict::Malformed(_) | Verdict::Unowned => match shown_by(snapshot, address) {
            None => Ok(()),
            Some(user) => kept(format!(
                "but pod {user} shows the address: delete that pod first"
            )),
        },
        Verdict::Protected(_) => kept("remove the annotation first".to_owned()),
        Verdict::UsedByAnother(user) => kept(format!("delete one of the two pods, or {user}")),
        Verdict::Terminating => kept(format!(
            "wait until {pod} is gone: its kubelet then frees the address"
        )),
        Verdict::HeldUnreachable {
            pod: PodSays::Replaced,
            ..
        }
        | Verdict::InUse(_)
        | Verdict::StatusUnreadable(_)
        | Verdict::Starting => kept(format!("it may use the address: delete {pod} first")),
    }
}

/// A pod that may run and shows the address, whether a record of its own explains that or not.
fn shown_by(snapshot: &Snapshot, address: IpAddr) -> Option<&PodRef> {
    let (records, pods) = (&snapshot.records, &snapshot.pods);
    if let Some(sighting) = pods.sightings(address).first() {
        return Some(&sighting.pod);
    }
    let is_meant = |shown: IpAddr| {
        let mut ranges = records
            .pools
            .iter()
            .filter_map(|pool| pool.range.as_ref().ok());
        shown == address || ranges.any(|range| range.folded(shown) == Some(address))
    };
    let shows = |state: Known<'_>| state.traits.may_run() && state.addresses().any(is_meant);
    let named = records.at(address).filter_map(|id| records.pod_of(id));
    named
        .into_iter()
        .find(|pod| pods.get(pod).is_some_and(shows))
}
