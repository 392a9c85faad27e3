//! PURE: one verdict for each record. The first row that matches decides.
//!
//! Nothing is ever released because something is missing or cannot be read: a release rests on a
//! fact about the pod that was read after the record.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use super::pods::Pods;
use super::records::{RecordId, Records};
use crate::ip::IpRange;
use crate::pod::{Finished, PodRef, PodState};
use crate::record::Owner;

/// What is known of one record, with the evidence it rests on; in the order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The record cannot be read.
    Malformed(&'a str),
    /// It names no pod in the form `namespace/name`.
    Unowned,
    /// It, its pool or its pod carries `whereabouts.cni.cncf.io/reconcile: "false"`.
    Protected(Protector),
    /// Another pod, which may run, shows the address although no record of its own explains it.
    UsedByAnother(&'a PodRef),
    /// The pod has ended.
    PodFinished(Finished),
    /// The pod is being deleted: its kubelet will call DEL.
    Terminating,
    /// The pod shows the address, on this interface.
    InUse(&'a str),
    /// The pod's network status cannot be read.
    StatusUnreadable(&'a str),
    /// A pod of that name exists, but not the one for which the address was allocated.
    PodReplaced {
        /// The uid that the record names.
        recorded: &'a str,
        /// The uid of the pod that is there.
        found: &'a str,
    },
    /// The pod shows this interface with another address of the family.
    AddressNotOnPod {
        /// The interface.
        interface: &'a str,
        /// An address that it shows instead.
        shows: IpAddr,
    },
    /// The pod is there, and nothing more is known yet.
    Starting,
    /// There is no pod of that name, read after the record.
    PodGone,
}

/// What carries the annotation that exempts a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protector {
    /// The pool of the record, or one from which the address of a reservation comes.
    Pool,
    /// The reservation.
    Reservation,
    /// The pod.
    Pod,
}

/// What a verdict leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The record stays.
    Keep,
    /// The record stays, and a person should look at it.
    Warn,
    /// The record is an orphan.
    Release,
}

impl Verdict<'_> {
    /// All names, in the order of the rows.
    pub const NAMES: [&'static str; 12] = [
        "Malformed",
        "Unowned",
        "Protected",
        "UsedByAnother",
        "PodFinished",
        "Terminating",
        "InUse",
        "StatusUnreadable",
        "PodReplaced",
        "AddressNotOnPod",
        "Starting",
        "PodGone",
    ];

    /// What follows from it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Malformed(_)
            | Self::Unowned
            | Self::UsedByAnother(_)
            | Self::StatusUnreadable(_) => Action::Warn,
            Self::Protected(_) | Self::Terminating | Self::InUse(_) | Self::Starting => {
                Action::Keep
            }
            Self::PodFinished(_)
            | Self::PodReplaced { .. }
            | Self::AddressNotOnPod { .. }
            | Self::PodGone => Action::Release,
        }
    }

    /// Whether a look at the whole pod has to confirm it before anything is released.
    #[must_use]
    pub fn needs_confirmation(&self) -> bool {
        matches!(
            self,
            Self::PodReplaced { .. } | Self::AddressNotOnPod { .. }
        )
    }

    /// Its place in [`Verdict::NAMES`].
    #[must_use]
    pub fn row(&self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::Unowned => 1,
            Self::Protected(_) => 2,
            Self::UsedByAnother(_) => 3,
            Self::PodFinished(_) => 4,
            Self::Terminating => 5,
            Self::InUse(_) => 6,
            Self::StatusUnreadable(_) => 7,
            Self::PodReplaced { .. } => 8,
            Self::AddressNotOnPod { .. } => 9,
            Self::Starting => 10,
            Self::PodGone => 11,
        }
    }

    /// Its name, as reports print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES.get(self.row()).copied().unwrap_or_default()
    }
}

/// The evidence in words.
impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) | Self::StatusUnreadable(reason) => f.write_str(reason),
            Self::Unowned => f.write_str("names no pod as namespace/name"),
            Self::Protected(by) => {
                let by = match by {
                    Protector::Pool => "pool",
                    Protector::Reservation => "reservation",
                    Protector::Pod => "pod",
                };
                write!(
                    f,
                    "the {by} is annotated {}: \"false\"",
                    crate::pod::RECONCILE_KEY
                )
            }
            Self::UsedByAnother(pod) => {
                write!(
                    f,
                    "pod {pod} shows this address without a record of its own"
                )
            }
            Self::PodFinished(finished) => write!(f, "pod has phase {}", finished.phase()),
            Self::Terminating => f.write_str("pod is being deleted"),
            Self::InUse(interface) => write!(f, "pod shows it on interface {interface:?}"),
            Self::PodReplaced { recorded, found } => {
                write!(
                    f,
                    "allocated for the pod with uid {recorded}; there is now {found}"
                )
            }
            Self::AddressNotOnPod { interface, shows } => {
                write!(f, "pod shows {shows} on interface {interface:?} instead")
            }
            Self::Starting => f.write_str("pod exists and does not show its addresses yet"),
            Self::PodGone => f.write_str("no such pod"),
        }
    }
}

/// The records of a cluster beside what its pods prove.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    records: &'a Records,
    pods: &'a Pods,
}

/// What the rows ask of a record, whatever kind it is.
struct Subject<'a> {
    problem: Option<&'a str>,
    addresses: &'a [IpAddr],
    owner: Option<&'a Owner>,
    uid: Option<&'a str>,
    interface: Option<&'a str>,
    range: Option<&'a IpRange>,
    protector: Option<Protector>,
}

impl<'a> Audit<'a> {
    /// Puts both side by side.
    #[must_use]
    pub fn new(records: &'a Records, pods: &'a Pods) -> Self {
        Self { records, pods }
    }

    /// The records that are judged.
    #[must_use]
    pub fn records(&self) -> &'a Records {
        self.records
    }

    /// The verdict on a record; the same each time, in constant time.
    #[must_use]
    pub fn verdict(&self, id: RecordId) -> Verdict<'a> {
        match id {
            RecordId::Entry(index) => self.entry(index),
            RecordId::Reservation(index) => self.reservation(index),
        }
    }

    fn entry(&self, index: usize) -> Verdict<'a> {
        let Some(entry) = self.records.entries.get(index) else {
            return Verdict::Malformed("no such entry");
        };
        let pool = self.records.pool_of(entry);
        self.judge(&Subject {
            problem: entry.address.as_ref().err().map(|reason| &**reason),
            addresses: entry.address.as_ref().map_or(&[], std::slice::from_ref),
            owner: Some(&entry.owner),
            uid: entry.owner.uid.as_deref(),
            interface: entry.owner.interface.as_deref(),
            range: pool.range.as_ref().ok(),
            protector: pool.protected.then_some(Protector::Pool),
        })
    }

    fn reservation(&self, index: usize) -> Verdict<'a> {
        let Some(reservation) = self.records.reservations.get(index) else {
            return Verdict::Malformed("no such reservation");
        };
        let entries = || {
            reservation
                .entries
                .iter()
                .filter_map(|at| self.records.entries.get(*at))
        };
        let problem = match &reservation.owner {
            Err(reason) => Some(&**reason),
            Ok(_) if reservation.addresses.is_empty() => Some("its name holds no address"),
            Ok(_) => None,
        };
        let owner = reservation.owner.as_ref().ok();
        let pool = entries().next().map(|entry| self.records.pool_of(entry));
        let protector = if reservation.protected {
            Some(Protector::Reservation)
        } else {
            self.records
                .in_protected_pool(reservation)
                .then_some(Protector::Pool)
        };
        // What the reservation leaves out, the entry of the same claim says.
        let own_interface = owner.and_then(|owner| owner.interface.as_deref());
        let verdict = self.judge(&Subject {
            problem,
            addresses: &reservation.addresses,
            owner,
            uid: entries().find_map(|entry| entry.owner.uid.as_deref()),
            interface: own_interface
                .or_else(|| entries().find_map(|entry| entry.owner.interface.as_deref())),
            range: pool.and_then(|pool| pool.range.as_ref().ok()),
            protector,
        });
        if verdict.action() != Action::Release {
            return verdict;
        }
        // A reservation never goes before its entry.
        let held = reservation.entries.iter().map(|index| self.entry(*index));
        held.into_iter()
            .find(|held| held.action() != Action::Release)
            .unwrap_or(verdict)
    }

    fn judge(&self, subject: &Subject<'a>) -> Verdict<'a> {
        if let Some(problem) = subject.problem {
            return Verdict::Malformed(problem);
        }
        let Some(pod) = subject.owner.and_then(|owner| owner.pod.as_ref()) else {
            return Verdict::Unowned;
        };
        let state = self.pods.get(pod);
        let pod_protects = state
            .is_some_and(|state| state.protected)
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
        match state {
            None => Verdict::PodGone,
            // A pod that is being deleted keeps its address even when it has ended: without a look
            // at its node nothing says who set the phase.
            Some(state) if state.deleting => Verdict::Terminating,
            Some(state) => judge_pod(subject, state)
                .or_else(|| shown_instead(subject, state).filter(|_| !self.pods.is_doubtful(pod)))
                .unwrap_or(Verdict::Starting),
        }
    }
}

/// The rows about a pod that exists and is not being deleted, but the last ones.
fn judge_pod<'a>(subject: &Subject<'a>, state: &'a PodState) -> Option<Verdict<'a>> {
    if let Some(finished) = state.finished {
        return Some(Verdict::PodFinished(finished));
    }
    if let Some(interface) = shown_on(subject, state) {
        return Some(Verdict::InUse(interface));
    }
    if let Some(reason) = &state.status.unreadable {
        return Some(Verdict::StatusUnreadable(reason));
    }
    let recorded = subject.uid.filter(|uid| **uid != *state.uid)?;
    let is_replaced = state.status.is_there() && !state.mirror;
    let found = &state.uid;
    is_replaced.then_some(Verdict::PodReplaced { recorded, found })
}

/// The interface on which the pod shows the record's address.
fn shown_on<'a>(subject: &Subject<'a>, state: &'a PodState) -> Option<&'a str> {
    let is_meant = |shown: &IpAddr| {
        let folded = subject.range.and_then(|range| range.folded(*shown));
        subject
            .addresses
            .iter()
            .any(|address| shown == address || folded == Some(*address))
    };
    let mut interfaces = state.status.interfaces.iter();
    let shown = interfaces.find(|interface| interface.addresses.iter().any(is_meant))?;
    Some(&shown.name)
}

/// Positive evidence that the pod has another address than the record's.
fn shown_instead<'a>(subject: &Subject<'a>, state: &'a PodState) -> Option<Verdict<'a>> {
    let [address] = subject.addresses else {
        return None;
    };
    for interface in &state.status.interfaces {
        let instead = interface
            .addresses
            .iter()
            .find(|shown| match subject.interface {
                Some(name) => *interface.name == *name && shown.is_ipv4() == address.is_ipv4(),
                None => subject.range.is_some_and(|range| range.contains(**shown)),
            });
        if let Some(shows) = instead {
            let interface = &interface.name;
            return Some(Verdict::AddressNotOnPod {
                interface,
                shows: *shows,
            });
        }
    }
    None
}
