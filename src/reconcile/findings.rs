//! PURE: what is wrong between the records and the pods, ranked by danger.
//!
//! Verdicts say which records may go; findings say what could harm a pod, or has gone wrong already.
//! They free nothing. Whatever has an innocent explanation is none: two networks may use the same
//! range, another plugin may fill an interface, and a record may be about to be written or to go.

mod defects;
mod owners;
mod protection;
mod shown;

use std::net::IpAddr;

use super::audit::{Action, Audit};
use super::networks::Networks;
use super::plan::Scope;
use super::records::{RecordId, Records};
use crate::pod::PodRef;
use crate::record::{ObjectId, Pool, reservation_name};
use crate::text::Text;

pub use protection::Protection;

/// The kinds of findings, the most dangerous first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A live pod shows an address that is recorded for another.
    UsedByAnother,
    /// Two live pods show one address that is recorded for neither.
    TwoPods,
    /// Two records of one network give an address to different owners.
    TwoOwners,
    /// A live pod shows an address of a pool, and nothing records it.
    Unrecorded,
    /// An entry that is in use lacks its reservation, in a network that has them.
    MissingReservation,
    /// A reservation that is in use lacks its entry.
    MissingEntry,
    /// An entry holds an address that no pod should have.
    Unusable,
    /// Two pools stand for one range.
    TwoPools,
    /// A record cannot be read.
    Malformed,
}

impl Kind {
    /// All kinds, the most dangerous first.
    pub const ALL: [Self; 9] = [
        Self::UsedByAnother,
        Self::TwoPods,
        Self::TwoOwners,
        Self::Unrecorded,
        Self::MissingReservation,
        Self::MissingEntry,
        Self::Unusable,
        Self::TwoPools,
        Self::Malformed,
    ];

    /// Its name, as reports print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UsedByAnother => "UsedByAnother",
            Self::TwoPods => "TwoPods",
            Self::TwoOwners => "TwoOwners",
            Self::Unrecorded => "Unrecorded",
            Self::MissingReservation => "MissingReservation",
            Self::MissingEntry => "MissingEntry",
            Self::Unusable => "Unusable",
            Self::TwoPools => "TwoPools",
            Self::Malformed => "Malformed",
        }
    }

    /// How dangerous it is: 1 is an outage now, 6 is disorder.
    #[must_use]
    pub fn danger(self) -> u8 {
        match self {
            Self::UsedByAnother | Self::TwoPods | Self::TwoOwners => 1,
            Self::Unrecorded => 2,
            Self::MissingReservation | Self::MissingEntry => 3,
            Self::Unusable => 4,
            Self::TwoPools => 5,
            Self::Malformed => 6,
        }
    }

    /// Whether two pods have one address, or can get one at any moment.
    #[must_use]
    pub fn is_conflict(self) -> bool {
        self.danger() <= 2
    }

    /// Whether it can be a moment between two writes, or between two reads.
    #[must_use]
    pub fn may_pass(self) -> bool {
        self.danger() <= 3
    }
}

/// The object that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A pool.
    Pool(ObjectId),
    /// A reservation.
    Reservation(ObjectId),
}

impl Place {
    /// The object's namespace and name.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Pool(id) | Self::Reservation(id) => id,
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Which address, if it is about one.
    pub address: Option<IpAddr>,
    /// Where it stands, or should.
    pub place: Place,
    /// The pods that it concerns.
    pub pods: Vec<PodRef>,
    /// The evidence in words.
    pub evidence: String,
    /// What could be put back.
    pub repair: Option<Box<Repair>>,
}

/// What a live pod provably uses, and the record that lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The pod.
    pub pod: PodRef,
    /// Its interface.
    pub interface: Box<str>,
    /// The address that it shows there.
    pub address: IpAddr,
    /// The reservation that is to be there, if the network has them.
    pub reservation: Option<ObjectId>,
    /// The entry that is to be there.
    pub entry: Slot,
}

/// A place for an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The pool.
    pub pool: ObjectId,
    /// The range that gives the key its meaning.
    pub range_text: Box<str>,
    /// The key.
    pub key: Text,
}

impl Slot {
    /// The place of an address in a pool; `None` where a key could mean another address as well.
    fn of(pool: &Pool, address: IpAddr) -> Option<Self> {
        let range = pool.range.as_ref().ok()?;
        let offset = range.offset_of(address)?;
        // The Go program reads 63 bits.
        let is_clear = i64::try_from(offset).is_ok() && !range.is_wider_than_a_key();
        is_clear.then(|| Self {
            pool: pool.id.clone(),
            range_text: pool.range_text.clone(),
            key: offset.to_string().into(),
        })
    }
}

impl Finding {
    /// What an operator can do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.kind {
            Kind::UsedByAnother | Kind::TwoPods | Kind::TwoOwners => {
                "delete one of the two pods: it then gets an address of its own"
            }
            Kind::Unrecorded | Kind::MissingReservation | Kind::MissingEntry => {
                if self.repair.is_some() {
                    "run with --repair, or delete the pod: it then gets an address that is recorded"
                } else {
                    "delete the pod: it then gets an address that is recorded"
                }
            }
            Kind::Unusable => "delete the pod: it then gets another address",
            Kind::TwoPools => {
                "find out which of the two the plugin uses, and delete the other when nothing is \
                 allocated there any more"
            }
            Kind::Malformed => {
                "look at the object and correct it, or delete it if nothing uses the address"
            }
        }
    }

    /// Whether both are the same thing, seen at two times.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// What it is about; the most dangerous is the least.
    fn key(&self) -> (Kind, Option<IpAddr>, &Place, &[PodRef]) {
        let Self {
            kind,
            address,
            place,
            pods,
            ..
        } = self;
        (*kind, *address, place, pods)
    }

    /// Whether it is about a record that a run looks at.
    #[must_use]
    pub fn is_in(&self, scope: &Scope, records: &Records) -> bool {
        match &self.place {
            Place::Pool(id) => scope.holds_pool(id),
            Place::Reservation(id) => {
                let found = records.find_reservation(id);
                found.is_some_and(|index| scope.holds(records, RecordId::Reservation(index)))
            }
        }
    }
}

/// Everything that is wrong, the most dangerous first.
#[must_use]
pub fn find(audit: &Audit<'_>, networks: &Networks, protection: &Protection) -> Vec<Finding> {
    let view = View {
        audit,
        networks,
        protection,
    };
    let mut all = shown::find(&view);
    all.extend(owners::two_owners(&view));
    all.extend(owners::missing(&view));
    all.extend(defects::find(&view));
    all.sort_by(|a, b| a.key().cmp(&b.key()));
    all
}

/// What findings are made of.
struct View<'a> {
    audit: &'a Audit<'a>,
    networks: &'a Networks,
    protection: &'a Protection,
}

impl<'a> View<'a> {
    fn records(&self) -> &'a Records {
        self.audit.records()
    }

    /// Whether a record stays: one that goes holds nothing.
    fn stays(&self, id: RecordId) -> bool {
        let action = self.audit.at_first_sight(id).action();
        matches!(action, Action::Keep | Action::Warn)
    }

    /// The name of the reservation that goes with a pool's entry, where it has them.
    fn reservation_of(&self, pool: &Pool, address: IpAddr) -> Option<ObjectId> {
        let network = self.protection.network(&pool.id)?;
        Some(ObjectId {
            namespace: pool.id.namespace.clone(),
            name: reservation_name(network, address).into(),
        })
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
