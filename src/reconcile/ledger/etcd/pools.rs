//! PURE: the addresses of each network and range that etcd names, as a pool with its entries.
//!
//! A pool's namespace is `networks` or `ranges`, as in the keys: where its addresses are unique. Its name
//! is that of a custom resource, `[NETWORK-]RANGE`, and so are its entries' keys, offsets in the range.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::ip::IpRange;
use crate::pod::{PodRef, RECONCILE_KEY};
use crate::record::history::{self, USE_HISTORY_KEY};
use crate::record::marks::{FIRST_SEEN_KEY, Marks};
use crate::record::words::Words;
use crate::record::{Entry, ObjectId, Owner, Pool, PoolObject};
use crate::store::etcd::layout::{ADDRESSES, Annotation, Key, Record};
use crate::text::Uid;

/// What stands before the names of annotations of custom resources.
const OF_OBJECTS: &str = "whereabouts.cni.cncf.io/";

/// Where the addresses of a pool are unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UniqueIn {
    Network,
    Range,
}

impl UniqueIn {
    /// The namespace of such pools.
    fn namespace(self) -> &'static str {
        match self {
            Self::Network => "networks",
            Self::Range => "ranges",
        }
    }

    fn of(key: &Key) -> Self {
        if key.range.is_some() {
            Self::Range
        } else {
            Self::Network
        }
    }
}

/// The addresses of one range in one network, as they are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    unique_in: UniqueIn,
    network: String,
    range: IpRange,
}

impl Place {
    /// Where a pool's entries are.
    pub(super) fn of_pool(pool: &Pool) -> Option<Self> {
        let unique_in = match &*pool.id.namespace {
            "networks" => UniqueIn::Network,
            "ranges" => UniqueIn::Range,
            _ => return None,
        };
        Some(Self {
            unique_in,
            network: pool.network()?.to_owned(),
            range: *pool.range.as_ref().ok()?,
        })
    }

    /// Where the entries of a pool of this name can be: the network and the range cannot always be told
    /// apart in it.
    pub(super) fn readings(id: &ObjectId) -> Vec<Self> {
        let starts = id.name.match_indices('-').map(|(at, _)| at + 1);
        let readings = std::iter::once(0).chain(starts).filter_map(|start| {
            let (network, range) = id.name.split_at_checked(start)?;
            let network = network.strip_suffix('-').unwrap_or(network);
            let range = range_of(range)?;
            Self::of_pool(&Pool::new(id.clone(), &range.to_string(), false))
                .filter(|place| place.network == network)
        });
        readings.collect()
    }

    fn id(&self) -> ObjectId {
        let range = self.range.name();
        ObjectId {
            namespace: self.unique_in.namespace().into(),
            name: match self.network.as_str() {
                "" => range.into(),
                network => format!("{network}-{range}").into(),
            },
        }
    }

    fn pool(&self) -> Pool {
        Pool::new(self.id(), &self.range.to_string(), false)
    }

    /// The address of an entry.
    pub(super) fn address(&self, key: &str) -> Option<IpAddr> {
        self.range.address_of_key(key)
    }

    /// Where an address is recorded.
    pub(super) fn key(&self, address: IpAddr) -> Key {
        let range = (self.unique_in == UniqueIn::Range).then(|| self.range.name());
        Key {
            network: self.network.clone(),
            range,
            address,
        }
    }

    /// Both keys that have to be free before an address is recorded.
    pub(super) fn keys(&self, address: IpAddr) -> [Key; 2] {
        [UniqueIn::Network, UniqueIn::Range].map(|unique_in| {
            let place = Self {
                unique_in,
                ..self.clone()
            };
            place.key(address)
        })
    }

    /// From which key to before which other one its addresses are.
    pub(super) fn span(&self) -> (String, String) {
        let last = self.key(self.range.last()).text();
        (self.key(self.range.first()).text(), format!("{last}\0"))
    }

    /// The key of an annotation, by the name that it has on a custom resource.
    pub(super) fn annotation(&self, name: &str) -> String {
        let annotation = Annotation {
            network: self.network.clone(),
            range: self.range.name(),
            in_range_only: self.unique_in == UniqueIn::Range,
            name: name.strip_prefix(OF_OBJECTS).unwrap_or(name).to_owned(),
        };
        annotation.text()
    }
}

/// The range of this name; see [`IpRange::name`].
fn range_of(name: &str) -> Option<IpRange> {
    let (address, length) = name.rsplit_once('-')?;
    let texts = [address.to_owned(), address.replace('-', ":")].into_iter();
    let mut ranges = texts.filter_map(|address| format!("{address}/{length}").parse().ok());
    ranges.find(|range: &IpRange| range.name() == name)
}

/// A value that does not say whose an address is, or of which range.
struct Odd {
    key: Key,
    raw: String,
    reason: String,
}

/// Keys and values, filed by their pools.
#[derive(Default)]
pub(super) struct Filing {
    pools: Vec<(Place, PoolObject)>,
    odd: Vec<Odd>,
    /// Keys that are no address's.
    strays: Vec<String>,
    annotations: Vec<(Annotation, String)>,
}

impl Filing {
    /// Files one key.
    pub(super) fn see(&mut self, key: &str, value: &[u8]) {
        if let Some(annotation) = Annotation::read(key) {
            let value = String::from_utf8_lossy(value).into_owned();
            self.annotations.push((annotation, value));
        } else if ADDRESSES.iter().any(|prefix| key.starts_with(prefix)) {
            match Key::read(key) {
                Some(key) => self.see_address(key, value),
                None => self.strays.push(key.to_owned()),
            }
        }
    }

    fn see_address(&mut self, key: Key, value: &[u8]) {
        let raw = String::from_utf8_lossy(value);
        match read(&key, value) {
            Ok((place, record)) => {
                let offset = place.range.offset_of(key.address).unwrap_or_default();
                let entry = entry(offset.to_string(), &raw, Ok(key.address), owner(record));
                self.object(place).entries.push(entry);
            }
            Err(reason) => self.odd.push(Odd {
                key,
                raw: raw.into_owned(),
                reason,
            }),
        }
    }

    fn object(&mut self, place: Place) -> &mut PoolObject {
        // Keys of one pool mostly follow one another.
        let found = self.pools.iter().rposition(|(other, _)| *other == place);
        let at = found.unwrap_or_else(|| {
            let object = PoolObject {
                pool: place.pool(),
                entries: Vec::new(),
            };
            self.pools.push((place, object));
            self.pools.len() - 1
        });
        &mut self.pools[at].1
    }

    /// All pools, as of a revision.
    pub(super) fn finish(mut self, revision: i64) -> Vec<PoolObject> {
        for (annotation, value) in std::mem::take(&mut self.annotations) {
            self.annotate(&annotation, &value);
        }
        let mut unreadable: BTreeMap<ObjectId, PoolObject> = BTreeMap::new();
        for odd in std::mem::take(&mut self.odd) {
            self.file_odd(odd, &mut unreadable);
        }
        for key in self.strays {
            let id = ObjectId {
                namespace: "strays".into(),
                name: "-".into(),
            };
            let reason = "these keys name no address";
            let object = no_pool(&mut unreadable, id, reason);
            let none = Err(reason.into());
            object
                .entries
                .push(entry(key, "", none, Default::default()));
        }
        let mut names = BTreeSet::new();
        let mut all: Vec<PoolObject> = Vec::new();
        for (_, mut object) in self.pools {
            if !names.insert(object.pool.id.clone()) {
                object = namesake(object);
            }
            all.push(object);
        }
        all.extend(unreadable.into_values());
        for object in &mut all {
            object.pool.resource_version = revision.to_string().into();
        }
        all
    }

    fn annotate(&mut self, annotation: &Annotation, value: &str) {
        let Some(range) = range_of(&annotation.range) else {
            return;
        };
        let unique_in = if annotation.in_range_only {
            UniqueIn::Range
        } else {
            UniqueIn::Network
        };
        let place = Place {
            unique_in,
            network: annotation.network.clone(),
            range,
        };
        let pool = &mut self.object(place).pool;
        let name = format!("{OF_OBJECTS}{}", annotation.name);
        match name.as_str() {
            FIRST_SEEN_KEY => pool.first_seen = Marks::parse(value),
            USE_HISTORY_KEY => pool.samples = history::parse(value),
            RECONCILE_KEY => pool.protected = value.trim() == "false",
            _ => {}
        }
    }

    /// Files what cannot be read where it belongs as far as its key says.
    fn file_odd(&mut self, odd: Odd, unreadable: &mut BTreeMap<ObjectId, PoolObject>) {
        let Odd { key, raw, reason } = odd;
        let unique_in = UniqueIn::of(&key);
        let named = key.range.as_deref().and_then(range_of);
        let is_its = |place: &Place| {
            place.unique_in == unique_in
                && place.network == key.network
                && place.range.contains(key.address)
                && named.is_none_or(|range| range == place.range)
        };
        let text = key.text();
        let none = Err(format!("key {text}: {reason}").into());
        let found = self.pools.iter_mut().find(|(place, _)| is_its(place));
        if let Some((place, object)) = found {
            let offset = place.range.offset_of(key.address).unwrap_or_default();
            let odd = entry(offset.to_string(), &raw, none, Default::default());
            object.entries.push(odd);
            return;
        }
        let id = ObjectId {
            namespace: unique_in.namespace().into(),
            name: key.network.as_str().into(),
        };
        let object = no_pool(unreadable, id, "no value says of which range it is");
        let odd = entry(key.address.to_string(), &raw, none, Default::default());
        object.entries.push(odd);
    }
}

/// A pool for what is of none.
fn no_pool<'a>(
    all: &'a mut BTreeMap<ObjectId, PoolObject>,
    id: ObjectId,
    reason: &str,
) -> &'a mut PoolObject {
    all.entry(id.clone()).or_insert_with(|| PoolObject {
        pool: Pool::unreadable(id, reason, false),
        entries: Vec::new(),
    })
}

/// A pool that has the name of another one, which only names chosen to that end do: nothing could tell
/// which of the two is meant.
fn namesake(object: PoolObject) -> PoolObject {
    let PoolObject { pool, mut entries } = object;
    let reason = format!("pool {} is another range's", pool.id);
    let id = ObjectId {
        namespace: pool.id.namespace.clone(),
        name: format!("{} ({})", pool.id.name, pool.range_text).into(),
    };
    for entry in &mut entries {
        entry.address = Err(reason.as_str().into());
    }
    PoolObject {
        pool: Pool::unreadable(id, &reason, false),
        entries,
    }
}

/// Of which pool a value is, and whose.
fn read(key: &Key, value: &[u8]) -> Result<(Place, Record), String> {
    let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let range: IpRange = record.range.parse().map_err(|error| format!("{error}"))?;
    let place = Place {
        unique_in: UniqueIn::of(key),
        network: key.network.clone(),
        range: range.masked(),
    };
    if !place.range.contains(key.address) {
        return Err(format!("{} is not in its range {range}", key.address));
    }
    if place.key(key.address) != *key {
        return Err(format!("its range {range} is not that of its key"));
    }
    Ok((place, record))
}

/// The owner, and the uid of its pod.
fn owner(record: Record) -> (Owner, Option<Uid>) {
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let owner = Owner {
        pod: PodRef::parse(&record.podref).filter(PodRef::can_exist),
        interface: said(Some(record.ifname)).map(Into::into),
        node: said(record.node).map(Into::into),
    };
    (owner, said(record.poduid).map(|uid| uid.as_str().into()))
}

fn entry(
    key: String,
    raw: &str,
    address: Result<IpAddr, Box<str>>,
    (owner, uid): (Owner, Option<Uid>),
) -> Entry {
    Entry {
        pool: 0,
        key: key.into(),
        words: Words::other(raw),
        address,
        owner,
        uid,
    }
}

#[cfg(test)]
mod tests;
