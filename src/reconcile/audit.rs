//! PURE: one verdict for each record. The first row that matches decides.
//!
//! Nothing is ever released because something is missing or cannot be read: a release rests on a
//! fact about the pod that was read after the record.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
mod verdict;
mod waiting;

use std::net::IpAddr;

use super::grace::Grace;
use super::nodes::{Names, Nodes, Place, Standing};
use super::pods::{Known, Pods};
use super::records::{Held, RecordId, Records};
use crate::ip::IpRange;
use crate::pod::Sandbox;
use crate::record::{Entry, Owner};
use crate::text::Uid;

pub use verdict::{Action, PodSays, Protector, Verdict};

/// The records of a cluster beside what its pods prove.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    records: &'a Records,
    pods: &'a Pods,
    nodes: &'a Nodes,
    grace: Grace,
}

/// What the rows ask of a record, whatever kind it is.
struct Subject<'a> {
    id: RecordId,
    problem: Option<&'a str>,
    addresses: &'a [IpAddr],
    owner: Option<&'a Owner>,
    uid: Option<&'a Uid>,
    interface: Option<&'a str>,
    range: Option<&'a IpRange>,
    /// The node that the record names.
    node: Option<&'a str>,
    /// What stands before the range in its pool's name.
    slice: Option<&'a str>,
    protector: Option<Protector>,
}

impl<'a> Audit<'a> {
    /// Puts both side by side.
    #[must_use]
    pub fn new(records: &'a Records, pods: &'a Pods, nodes: &'a Nodes, grace: Grace) -> Self {
        Self {
            records,
            pods,
            nodes,
            grace,
        }
    }

    /// The records that are judged.
    #[must_use]
    pub fn records(&self) -> &'a Records {
        self.records
    }

    /// What the pods prove about them.
    #[must_use]
    pub fn pods(&self) -> &'a Pods {
        self.pods
    }

    /// The verdict on a record; the same each time, in constant time.
    #[must_use]
    pub fn verdict(&self, id: RecordId) -> Verdict<'a> {
        let verdict = self.at_first_sight(id);
        match self.waiting(id, &verdict) {
            Some(waiting) => Verdict::WithinGrace {
                of: verdict.name(),
                waiting,
            },
            None => verdict,
        }
    }

    /// The verdict on a record, however long it has been so.
    #[must_use]
    pub fn at_first_sight(&self, id: RecordId) -> Verdict<'a> {
        match id {
            RecordId::Entry(index) => self.entry(index),
            RecordId::Reservation(index) => self.reservation(index),
        }
    }

    fn entry(&self, index: usize) -> Verdict<'a> {
        match self.records.entries.get(index) {
            Some(entry) => self.judge(&self.subject_of_entry(index, entry)),
            None => Verdict::Malformed("no such entry"),
        }
    }

    fn subject_of_entry(&self, index: usize, entry: &'a Entry) -> Subject<'a> {
        let pool = self.records.pool_of(entry);
        let by_reservation = self
            .records
            .is_shielded(index)
            .then_some(Protector::Reservation);
        Subject {
            id: RecordId::Entry(index),
            problem: entry.address.as_ref().err().map(|reason| &**reason),
            addresses: entry.address.as_ref().map_or(&[], std::slice::from_ref),
            owner: Some(&entry.owner),
            uid: entry.uid.as_ref(),
            interface: entry.owner.interface.as_deref(),
            range: pool.range.as_ref().ok(),
            node: entry.owner.node.as_deref(),
            slice: pool.prefix(),
            protector: pool.protected.then_some(Protector::Pool).or(by_reservation),
        }
    }

    fn reservation(&self, index: usize) -> Verdict<'a> {
        let Some(reservation) = self.records.reservation(index) else {
            return Verdict::Malformed("no such reservation");
        };
        let verdict = self.judge(&self.subject_of_reservation(index, &reservation));
        if verdict.action() != Action::Release {
            return verdict;
        }
        // A reservation never goes before its entry.
        let held = reservation.entries.iter().map(|index| self.entry(*index));
        held.into_iter()
            .find(|held| held.action() != Action::Release)
            .unwrap_or(verdict)
    }

    fn subject_of_reservation(&self, index: usize, reservation: &Held<'a>) -> Subject<'a> {
        let Held { owner, entries, .. } = *reservation;
        let entries = || {
            let entries = entries.iter();
            entries.filter_map(|at| self.records.entries.get(*at))
        };
        let problem = match owner {
            Err(reason) => Some(reason),
            Ok(_) if reservation.addresses.is_empty() => Some("its name holds no address"),
            Ok(_) => None,
        };
        let owner = owner.ok();
        let pool = entries().next().map(|entry| self.records.pool_of(entry));
        let protector = if reservation.protected {
            Some(Protector::Reservation)
        } else {
            let is_in = self.records.in_protected_pool(*reservation);
            is_in.then_some(Protector::Pool)
        };
        // What the reservation leaves out, the entry of the same claim says.
        let own_interface = owner.and_then(|owner| owner.interface.as_deref());
        let own_node = || owner.and_then(|owner| owner.node.as_deref());
        Subject {
            id: RecordId::Reservation(index),
            problem,
            addresses: reservation.addresses,
            owner,
            uid: entries().find_map(|entry| entry.uid.as_ref()),
            interface: own_interface
                .or_else(|| entries().find_map(|entry| entry.owner.interface.as_deref())),
            range: pool.and_then(|pool| pool.range.as_ref().ok()),
            node: entries()
                .find_map(|entry| entry.owner.node.as_deref())
                .or_else(own_node),
            slice: pool.and_then(|pool| pool.prefix()),
            protector,
        }
    }

    fn judge(&self, subject: &Subject<'a>) -> Verdict<'a> {
        if let Some(problem) = subject.problem {
            return Verdict::Malformed(problem);
        }
        let Some(pod) = subject.owner.and_then(|owner| owner.pod.as_ref()) else {
            return Verdict::Unowned;
        };
        let state = self.pods.get_for(subject.id, pod);
        let pod_protects = state
            .is_some_and(|state| state.traits.protected)
            .then_some(Protector::Pod);
        if let Some(protector) = subject.protector.or(pod_protects) {
            return Verdict::Protected(protector);
        }
        let mut sightings = subject
            .addresses
            .iter()
            .flat_map(|at| self.pods.sightings(*at));
        if let Some(sighting) = sightings.find(|sighting| sighting.pod != *pod) {
            return Verdict::UsedByAnother(&sighting.pod);
        }
        if let Some(verdict) = self.judge_node(subject, state) {
            return verdict;
        }
        match state {
            None => Verdict::PodGone,
            // The garbage collector of pods sets the phase of those on vanished nodes: without
            // nodes an end counts only of a pod that nobody deletes.
            Some(state)
                if state.traits.deleting
                    && (state.traits.finished.is_none() || !self.nodes.are_known()) =>
            {
                Verdict::Terminating
            }
            Some(state) => judge_pod(subject, state)
                .or_else(|| {
                    let is_settled = || {
                        state.traits.sandbox == Sandbox::Settled
                            && !self.pods.is_doubtful(pod)
                            && !self.is_silent(subject, state)
                    };
                    shown_instead(subject, state).filter(|_| is_settled())
                })
                .unwrap_or(Verdict::Starting),
        }
    }
}

impl<'a> Audit<'a> {
    /// Where the record's container ran, as far as that is known.
    fn place(&self, subject: &Subject<'a>, state: Option<Known<'a>>) -> Option<Place<'a>> {
        let names = Names {
            recorded: subject.node,
            slice: subject.slice,
            pod: state.and_then(|state| state.traits.node.as_deref()),
        };
        self.nodes.place(names, state.is_some())
    }

    /// Whether nobody writes at present what the pod has: its node is not heard of.
    fn is_silent(&self, subject: &Subject<'a>, state: Known<'a>) -> bool {
        let place = self.place(subject, Some(state));
        place.is_some_and(|place| {
            matches!(
                place.standing,
                Standing::Unreachable | Standing::UnreachableTooLong
            )
        })
    }

    /// The rows about nodes: whether what the pod object says can be believed.
    fn judge_node(&self, subject: &Subject<'a>, state: Option<Known<'a>>) -> Option<Verdict<'a>> {
        let is_other = |state: Known<'_>| subject.uid.is_some_and(|uid| uid != state.uid);
        let pod = match state {
            None => PodSays::Gone,
            Some(state) if state.traits.deleting => PodSays::Deleting,
            Some(state) if state.traits.finished.is_some() => PodSays::Finished,
            Some(state) if is_other(state) => PodSays::Replaced,
            Some(_) => return None,
        };
        let Some(Place { node, standing }) = self.place(subject, state) else {
            let held = pod == PodSays::Gone && self.nodes.hold_unknown();
            return held.then_some(Verdict::HeldUnreachable { node: None, pod });
        };
        let has_left = matches!(pod, PodSays::Gone | PodSays::Deleting);
        match standing {
            Standing::Unreachable => {
                let node = Some(node);
                Some(Verdict::HeldUnreachable { node, pod })
            }
            Standing::UnreachableTooLong if has_left => Some(Verdict::UnreachableTooLong(node)),
            Standing::OutOfService if has_left => Some(Verdict::NodeOutOfService(node)),
            Standing::Gone if has_left => Some(Verdict::NodeGone(node)),
            _ => None,
        }
    }

    /// Where the record's container ran, as far as that is known.
    #[must_use]
    pub fn place_of(&self, id: RecordId) -> Option<Place<'a>> {
        let subject = match id {
            RecordId::Entry(index) => {
                let entry = self.records.entries.get(index)?;
                self.subject_of_entry(index, entry)
            }
            RecordId::Reservation(index) => {
                let reservation = self.records.reservation(index)?;
                self.subject_of_reservation(index, &reservation)
            }
        };
        let pod = self.records.pod_of(id);
        let state = pod.and_then(|pod| self.pods.get_for(id, pod));
        self.place(&subject, state)
    }

    /// Whether an entry stands for the same claim as the reservation.
    #[must_use]
    pub fn has_entry(&self, reservation: usize) -> bool {
        let reservation = self.records.reservation(reservation);
        reservation.is_some_and(|reservation| !reservation.entries.is_empty())
    }

    /// Whether nobody knows on which node a pod is that is being deleted: a look at all of it says.
    #[must_use]
    pub fn lacks_node(&self, id: RecordId) -> bool {
        self.nodes.are_known()
            && self.verdict(id) == Verdict::Terminating
            && self.place_of(id).is_none()
    }
}

/// The rows about a pod that exists and is not being deleted, but the last ones.
fn judge_pod<'a>(subject: &Subject<'a>, state: Known<'a>) -> Option<Verdict<'a>> {
    if let Some(finished) = state.traits.finished {
        return Some(Verdict::PodFinished(finished));
    }
    if let Some(interface) = shown_on(subject, state) {
        return Some(Verdict::InUse(interface));
    }
    if let Some(reason) = state.unreadable() {
        return Some(Verdict::StatusUnreadable(reason));
    }
    let recorded = subject.uid.filter(|uid| *uid != state.uid)?;
    let is_replaced = state.shows_interfaces() && !state.traits.mirror;
    let found = state.uid;
    is_replaced.then_some(Verdict::PodReplaced { recorded, found })
}

/// The interface on which the pod shows the record's address.
fn shown_on<'a>(subject: &Subject<'a>, state: Known<'a>) -> Option<&'a str> {
    let is_meant = |shown: &IpAddr| {
        let folded = || subject.range.and_then(|range| range.folded(*shown));
        let addresses = subject.addresses;
        addresses.contains(shown) || folded().is_some_and(|folded| addresses.contains(&folded))
    };
    let mut interfaces = state.interfaces();
    let shown = interfaces.find(|interface| interface.addresses.iter().any(is_meant))?;
    Some(shown.name)
}

/// Positive evidence that the pod has another address than the record's.
fn shown_instead<'a>(subject: &Subject<'a>, state: Known<'a>) -> Option<Verdict<'a>> {
    let [address] = subject.addresses else {
        return None;
    };
    // A record that names no interface may be that of one whose plugin told no addresses.
    let mut interfaces = state.interfaces();
    if subject.interface.is_none() && interfaces.any(|interface| interface.addresses.is_empty()) {
        return None;
    }
    for interface in state.interfaces() {
        let instead = interface
            .addresses
            .iter()
            .find(|shown| match subject.interface {
                Some(name) => interface.name == name && shown.is_ipv4() == address.is_ipv4(),
                None => subject.range.is_some_and(|range| range.contains(**shown)),
            });
        if let Some(shows) = instead {
            let interface = interface.name;
            return Some(Verdict::AddressNotOnPod {
                interface,
                shows: *shows,
            });
        }
    }
    None
}
