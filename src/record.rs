//! PURE: the records of who holds which address, as both programs read them.

pub mod decode;
pub mod evidence;
pub mod history;
pub mod marks;
pub mod words;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use history::Sample;
use marks::{Mark, Marks, Print};
use smallvec::SmallVec;
use words::Words;

use crate::ip::{self, IpRange};
use crate::pod::PodRef;
use crate::text::{ResourceVersion, Text, Texts, Uid};

/// The namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// `metadata.namespace`.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An `IPPool`, without its entries.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Which object.
    pub id: ObjectId,
    /// `metadata.uid`, for events.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`, as evidence.
    pub resource_version: Box<str>,
    /// Its range, or why it cannot be read.
    pub range: Result<IpRange, Box<str>>,
    /// The range as it is written, which an apply tests for: it gives the keys their meaning.
    pub range_text: Box<str>,
    /// Whether [`crate::pod::RECONCILE_KEY`] exempts it.
    pub protected: bool,
    /// Since when its entries are seen as orphans.
    pub first_seen: Marks,
    /// How full it was, as earlier runs saw it; the oldest first.
    pub samples: Vec<Sample>,
    /// What stands before the range in its name, `[network-][node]`; `None` for a name of
    /// another form.
    prefix: Option<Box<str>>,
}

impl Pool {
    /// Describes a pool.
    #[must_use]
    pub fn new(id: ObjectId, range_text: &str, protected: bool) -> Self {
        let range = range_text
            .parse::<IpRange>()
            .map_err(|error| error.to_string().into());
        let prefix = range.as_ref().ok().and_then(|range| {
            let before = id.name.strip_suffix(&range.name())?;
            if before.is_empty() {
                Some(before)
            } else {
                before.strip_suffix('-')
            }
        });
        let prefix = prefix.map(Into::into);
        Self {
            id,
            uid: Box::default(),
            resource_version: Box::default(),
            range,
            range_text: range_text.into(),
            protected,
            first_seen: Marks::default(),
            samples: Vec::new(),
            prefix,
        }
    }

    /// Describes a pool whose `spec` cannot be read.
    #[must_use]
    pub fn unreadable(id: ObjectId, reason: &str, protected: bool) -> Self {
        Self {
            range: Err(reason.into()),
            ..Self::new(id, "", protected)
        }
    }

    /// How many addresses it can give out; `None` for a range that cannot be read.
    #[must_use]
    pub fn usable(&self) -> Option<u128> {
        let range = self.range.as_ref().ok()?.masked();
        // Offsets of usable addresses are 1, 2, 3, ...: the last one is their number.
        let last = range.usable().and_then(|(_, last)| range.offset_of(last));
        Some(last.unwrap_or_default())
    }

    /// What stands before the range in its name.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref().filter(|prefix| !prefix.is_empty())
    }

    /// What stands before the range in its name, also if that is nothing; `None` for a name of another
    /// form.
    #[must_use]
    pub fn network(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Whether both pools can give out addresses of one network. Those of node slices are each a
    /// network of its own here: slices do not overlap.
    pub(crate) fn shares_network(&self, other: &Self) -> bool {
        let prefixes = self.prefix.as_ref().zip(other.prefix.as_ref());
        prefixes.is_none_or(|(one, other)| one == other)
    }

    /// Whether a reservation of this name can speak of an address of this pool's network.
    pub(crate) fn is_of(&self, reservation: &str, address: IpAddr) -> bool {
        let mut readings = readings(reservation).into_iter();
        readings.any(|(network, at)| {
            let same = self
                .prefix
                .as_deref()
                .is_none_or(|prefix| prefix == network);
            at == address && same
        })
    }

    /// How well a reservation of `network` fits this pool.
    ///
    /// Names of node slices put the node behind the network; the two cannot be told apart, so
    /// every cut at a `-` is a possible network.
    pub(crate) fn fit(&self, network: &str) -> Fit {
        match self.prefix.as_deref() {
            Some(prefix) if prefix == network => Fit::Exact,
            None => Fit::Possible,
            Some(prefix) => match prefix.strip_prefix(network) {
                Some(rest) if network.is_empty() || rest.starts_with('-') => Fit::Possible,
                _ => Fit::No,
            },
        }
    }
}

/// How well a reservation's network fits a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// It is that of another network.
    No,
    /// It may be the same network.
    Possible,
    /// It is the same network.
    Exact,
}

/// One allocation of a pool.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Index of its pool in [`Records`](crate::reconcile::records::Records).
    pub pool: usize,
    /// Its key, a decimal offset if it is well formed.
    pub key: Text,
    /// The entry as it is written, for [`Entry::raw`]: what an apply tests for before it removes it.
    pub words: Words,
    /// The address, or why there is none.
    pub address: Result<IpAddr, Box<str>>,
    /// Who holds it.
    pub owner: Owner,
    /// The pod's uid, where the entry says it of this very container.
    pub uid: Option<Uid>,
}

/// Who a record says holds its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The pod; `None` when the record names none in the form `namespace/name`.
    pub pod: Option<PodRef>,
    /// The interface inside the pod, where the record names one.
    pub interface: Option<Text>,
    /// The node that it was recorded on, where the record says it of this very container.
    pub node: Option<Text>,
}

impl Entry {
    /// The entry as it is written.
    #[must_use]
    pub fn raw(&self) -> Cow<'_, str> {
        self.words.text(&self.owner, self.uid.as_ref())
    }

    /// Has texts in common with other records.
    pub fn share(&mut self, texts: &mut Texts) {
        texts.share(&mut self.key);
        self.owner.share(texts);
    }
}

impl Reservation {
    /// Has texts in common with other records.
    pub fn share(&mut self, texts: &mut Texts) {
        texts.share(&mut self.id.namespace);
        if let Ok(owner) = &mut self.owner {
            owner.share(texts);
        }
    }
}

impl Owner {
    fn share(&mut self, texts: &mut Texts) {
        let pod = self.pod.as_mut().map(|pod| &mut pod.0);
        let all = [pod, self.interface.as_mut(), self.node.as_mut()];
        all.into_iter().flatten().for_each(|text| texts.share(text));
    }

    /// Whether both can speak of one attachment.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let interfaces = self.interface.is_none()
            || other.interface.is_none()
            || self.interface == other.interface;
        self.pod.is_some() && self.pod == other.pod && interfaces
    }
}

/// An `OverlappingRangeIPReservation`.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Which object.
    pub id: ObjectId,
    /// `metadata.uid`, a precondition of its deletion.
    pub uid: Uid,
    /// `metadata.resourceVersion`, a precondition of its deletion.
    pub resource_version: ResourceVersion,
    /// Whether [`crate::pod::RECONCILE_KEY`] exempts it.
    pub protected: bool,
    /// Who holds it, or why that cannot be read.
    pub owner: Result<Owner, Box<str>>,
    /// Since when it is seen as an orphan without an entry.
    pub first_seen: Option<Box<Mark>>,
    /// Of its object and its `spec`, for that mark.
    pub print: Print,
    /// What its name can mean: usually one address; several when a network's name could as well
    /// be the start of an IPv6 address and no entry tells them apart. Never used to free more.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// Indexes of the entries that stand for the same claim, in [`Records`](crate::reconcile::records::Records).
    pub entries: SmallVec<[usize; 1]>,
}

/// A pool with its entries, as it comes out of one object.
#[derive(Debug, Clone)]
pub struct PoolObject {
    /// The pool.
    pub pool: Pool,
    /// Its entries; their `pool` is set by [`Records`](crate::reconcile::records::Records).
    pub entries: Vec<Entry>,
}

/// The name of the reservation of an address, as both programs write it: `[network-]address`.
pub(crate) fn reservation_name(network: &str, address: IpAddr) -> String {
    let name = ip::name_of(address);
    match network {
        "" => name,
        network => format!("{network}-{name}"),
    }
}

/// What an object's name says of its network, for each way to read it; longest address first.
pub(crate) fn readings(name: &str) -> Vec<(&str, IpAddr)> {
    let starts = std::iter::once(0).chain(name.match_indices('-').map(|(at, _)| at + 1));
    let all: Vec<(&str, IpAddr, bool)> = starts
        .filter_map(|start| {
            let (network, text) = name.split_at_checked(start)?;
            let address = ip::from_name(text)?;
            let network = network.strip_suffix('-').unwrap_or(network);
            Some((network, address, ip::name_of(address) == text))
        })
        .collect();
    let canonical_only = all.iter().any(|(.., canonical)| *canonical);
    all.into_iter()
        .filter(|(.., canonical)| *canonical || !canonical_only)
        .map(|(network, address, _)| (network, address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_every_way_that_it_could_have_been_written() {
        let read = |name| {
            let all = readings(name).into_iter();
            all.map(|(network, address)| format!("{network}|{address}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(read("10.0.0.5"), ["|10.0.0.5"]);
        assert_eq!(read("net-a-10.0.0.5"), ["net-a|10.0.0.5"]);
        assert_eq!(read("fd00--0"), ["|fd00::"]);
        assert_eq!(read("net-fd00--5"), ["net|fd00::5"]);
        assert_eq!(
            read("net-2001-db8--1"),
            ["net|2001:db8::1", "net-2001|db8::1"]
        );
        assert_eq!(read("2001-db8-0-1-2-3-4-5"), ["|2001:db8:0:1:2:3:4:5"]);
        assert!(read("nonsense").is_empty() && read("").is_empty() && read("-").is_empty());
    }

    #[test]
    fn the_network_of_a_pool_is_what_stands_before_its_range() {
        let pool = |name: &str| {
            let id = ObjectId {
                namespace: "kube-system".into(),
                name: name.into(),
            };
            Pool::new(id, "10.0.0.0/24", false)
        };
        assert_eq!(pool("10.0.0.0-24").fit(""), Fit::Exact);
        assert_eq!(pool("10.0.0.0-24").fit("net-a"), Fit::No);
        assert_eq!(pool("net-a-10.0.0.0-24").fit("net-a"), Fit::Exact);
        assert_eq!(pool("net-a-node-1-10.0.0.0-24").fit("net-a"), Fit::Possible);
        assert_eq!(pool("net-ab-10.0.0.0-24").fit("net-a"), Fit::No);
        assert_eq!(pool("by-hand").fit("net-a"), Fit::Possible);
    }
}
