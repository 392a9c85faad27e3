//! PURE: the verdicts, what follows from each, and its evidence in words.

use std::fmt;
use std::net::IpAddr;

use crate::pod::{Finished, PodRef};
use crate::reconcile::grace::Waiting;
use crate::text::Uid;

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
    /// The pod has ended or is gone, but its node does not answer: the container may still run.
    HeldUnreachable {
        /// The node; `None` where the record names none, and records are held nevertheless.
        node: Option<&'a str>,
        /// What the pod object says, which counts for nothing here.
        pod: PodSays,
    },
    /// The same, for longer than the operator wants to wait.
    UnreachableTooLong(&'a str),
    /// The pod is being deleted or gone, and its node is powered off, as an operator says.
    NodeOutOfService(&'a str),
    /// The pod is being deleted or gone, and its Node no longer exists.
    NodeGone(&'a str),
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
        recorded: &'a Uid,
        /// The uid of the pod that is there.
        found: &'a Uid,
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
    /// One of the verdicts that release, but not for as long as the operator wants.
    WithinGrace {
        /// That verdict's name.
        of: &'static str,
        /// What it waits for.
        waiting: Waiting<'a>,
    },
}

/// What the object of a pod says that would be believed of a node that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSays {
    /// There is none.
    Gone,
    /// It is being deleted.
    Deleting,
    /// It has ended.
    Finished,
    /// It is another one than recorded.
    Replaced,
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
    /// The record is an orphan, but it waits for `--grace`.
    Wait,
    /// The record is an orphan.
    Release,
}

impl Verdict<'_> {
    /// All names, in the order of the rows.
    pub const NAMES: [&'static str; 17] = [
        "Malformed",
        "Unowned",
        "Protected",
        "UsedByAnother",
        "HeldUnreachable",
        "UnreachableTooLong",
        "NodeOutOfService",
        "NodeGone",
        "PodFinished",
        "Terminating",
        "InUse",
        "StatusUnreadable",
        "PodReplaced",
        "AddressNotOnPod",
        "Starting",
        "PodGone",
        "WithinGrace",
    ];

    /// What follows from it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Malformed(_)
            | Self::Unowned
            | Self::UsedByAnother(_)
            | Self::HeldUnreachable { .. }
            | Self::StatusUnreadable(_) => Action::Warn,
            Self::Protected(_) | Self::Terminating | Self::InUse(_) | Self::Starting => {
                Action::Keep
            }
            Self::UnreachableTooLong(_)
            | Self::NodeOutOfService(_)
            | Self::NodeGone(_)
            | Self::PodFinished(_)
            | Self::PodReplaced { .. }
            | Self::AddressNotOnPod { .. }
            | Self::PodGone => Action::Release,
            Self::WithinGrace { .. } => Action::Wait,
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
            Self::HeldUnreachable { .. } => 4,
            Self::UnreachableTooLong(_) => 5,
            Self::NodeOutOfService(_) => 6,
            Self::NodeGone(_) => 7,
            Self::PodFinished(_) => 8,
            Self::Terminating => 9,
            Self::InUse(_) => 10,
            Self::StatusUnreadable(_) => 11,
            Self::PodReplaced { .. } => 12,
            Self::AddressNotOnPod { .. } => 13,
            Self::Starting => 14,
            Self::PodGone => 15,
            Self::WithinGrace { .. } => 16,
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
            Self::HeldUnreachable { node, pod } => held(f, *node, *pod),
            Self::UnreachableTooLong(node) => write!(
                f,
                "node {node} is not Ready for longer than --release-unreachable-after"
            ),
            Self::NodeOutOfService(node) => write!(
                f,
                "node {node} is not Ready and has the taint {}",
                crate::node::OUT_OF_SERVICE
            ),
            Self::NodeGone(node) => write!(f, "node {node} no longer exists"),
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
            Self::WithinGrace { of, waiting } => match waiting {
                Waiting::FirstSight => write!(f, "{of}, seen for the first time"),
                Waiting::Since(at) => write!(f, "{of}, first seen at {at:.0}"),
                Waiting::Node(node, at) => {
                    write!(f, "{of}, but node {node} has been Ready only since {at:.0}")
                }
            },
        }
    }
}

/// Why a record is held, and what the operator can do about it.
fn held(f: &mut fmt::Formatter<'_>, node: Option<&str>, pod: PodSays) -> fmt::Result {
    let pod = match pod {
        PodSays::Gone => "pod is gone",
        PodSays::Deleting => "pod is being deleted",
        PodSays::Finished => "pod has ended",
        PodSays::Replaced => "pod was replaced",
    };
    let Some(node) = node else {
        return write!(
            f,
            "{pod}, its node is not known, and some node is not Ready (--strict): wait until all \
             nodes are Ready, or run without --strict"
        );
    };
    write!(
        f,
        "{pod}, but node {node} is not Ready: its container may still run. Power the node off and \
         then taint it (kubectl taint node {node} {}=nodeshutdown:NoExecute), or delete the Node, \
         or wait until it is back",
        crate::node::OUT_OF_SERVICE
    )
}
