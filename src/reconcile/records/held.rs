//! PURE: reservations in little room: nearly all say what their entry says anyway.

use std::borrow::Cow;
use std::net::IpAddr;

use super::Records;
use crate::ip;
use crate::record::marks::{Mark, Print};
use crate::record::{ObjectId, Owner, Pool, Reservation, reservation_name};
use crate::text::{ResourceVersion, Text, Uid};

/// A reservation as it is kept.
#[derive(Debug)]
pub(super) enum Kept {
    /// What can be made again of its entry is the same to the letter; only the rest is here.
    Short {
        entry: usize,
        uid: [u8; 16],
        version: u64,
        print: Print,
        /// How much of what stands before the range in its pool's name is the network, in bytes: the rest
        /// is a node.
        network: u16,
    },
    /// Any other.
    Whole(Box<Reservation>),
}

/// A reservation as it is looked at, whether it or its entry says it.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Who holds it, or why that cannot be read.
    pub owner: Result<&'a Owner, &'a str>,
    /// Whether [`crate::pod::RECONCILE_KEY`] exempts it.
    pub protected: bool,
    /// Since when it is seen as an orphan without an entry.
    pub first_seen: Option<Mark>,
    /// Of its object and its `spec`, for that mark.
    pub print: Print,
    /// What its name can mean; see [`Reservation::addresses`].
    pub addresses: &'a [IpAddr],
    /// Indexes of the entries that stand for the same claim.
    pub entries: &'a [usize],
    object: Object<'a>,
}

/// What else its object says.
#[derive(Debug, Clone, Copy)]
enum Object<'a> {
    Short {
        pool: &'a Pool,
        network: &'a str,
        address: IpAddr,
        uid: [u8; 16],
        version: u64,
    },
    Whole(&'a Reservation),
}

impl Kept {
    /// Keeps a reservation that was joined with its entries.
    pub(super) fn of(reservation: Reservation, records: &Records) -> Self {
        let short = Self::short(&reservation, records);
        short.unwrap_or_else(|| Self::Whole(Box::new(reservation)))
    }

    fn short(reservation: &Reservation, records: &Records) -> Option<Self> {
        let [entry] = *reservation.entries else {
            return None;
        };
        let ResourceVersion::Number(version) = reservation.resource_version else {
            return None;
        };
        let address = ip::name_of(*reservation.addresses.first()?);
        let network = reservation.id.name.strip_suffix(&address)?;
        let network = network.strip_suffix('-').unwrap_or(network);
        let short = Self::Short {
            network: u16::try_from(network.len()).ok()?,
            entry,
            uid: reservation.uid.bytes()?,
            version,
            print: reservation.print,
        };
        short.held(records).says(reservation).then_some(short)
    }

    /// Looks at it.
    #[expect(
        clippy::expect_used,
        reason = "it was joined with this entry by its address, and entries stay"
    )]
    pub(super) fn held<'a>(&'a self, records: &'a Records) -> Held<'a> {
        match self {
            Self::Whole(reservation) => Held {
                owner: reservation.owner.as_ref().map_err(|reason| &**reason),
                protected: reservation.protected,
                first_seen: reservation.first_seen.as_deref().copied(),
                print: reservation.print,
                addresses: &reservation.addresses,
                entries: &reservation.entries,
                object: Object::Whole(reservation),
            },
            Self::Short {
                entry: index,
                uid,
                version,
                print,
                network,
            } => {
                let entry = records.entries.get(*index);
                let entry = entry.expect("an entry stays where it is");
                let address = entry.address.as_ref();
                let address = address.expect("an entry keeps its address");
                let pool = records.pool_of(entry);
                let before_range = pool.network().unwrap_or_default();
                let network = before_range.get(..usize::from(*network));
                Held {
                    owner: Ok(&entry.owner),
                    protected: false,
                    first_seen: None,
                    print: *print,
                    addresses: std::slice::from_ref(address),
                    entries: std::slice::from_ref(index),
                    object: Object::Short {
                        pool,
                        network: network.unwrap_or_default(),
                        address: *address,
                        uid: *uid,
                        version: *version,
                    },
                }
            }
        }
    }
}

impl<'a> Held<'a> {
    /// The namespace of its object.
    #[must_use]
    pub fn namespace(&self) -> &'a Text {
        match self.object {
            Object::Short { pool, .. } => &pool.id.namespace,
            Object::Whole(reservation) => &reservation.id.namespace,
        }
    }

    /// The name of its object.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        match self.object {
            Object::Short {
                network, address, ..
            } => reservation_name(network, address).into(),
            Object::Whole(reservation) => reservation.id.name.as_str().into(),
        }
    }

    /// Which object it is.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        ObjectId {
            namespace: self.namespace().clone(),
            name: (&*self.name()).into(),
        }
    }

    /// `metadata.uid`, a precondition of its deletion.
    #[must_use]
    pub fn uid(&self) -> Uid {
        match self.object {
            Object::Short { uid, .. } => uid.into(),
            Object::Whole(reservation) => reservation.uid.clone(),
        }
    }

    /// `metadata.resourceVersion`, a precondition of its deletion.
    #[must_use]
    pub fn resource_version(&self) -> ResourceVersion {
        match self.object {
            Object::Short { version, .. } => ResourceVersion::Number(version),
            Object::Whole(reservation) => reservation.resource_version.clone(),
        }
    }

    /// Whether it says what was read, to the letter.
    fn says(&self, read: &Reservation) -> bool {
        let Reservation {
            id,
            uid,
            resource_version,
            protected,
            owner,
            first_seen,
            print,
            addresses,
            entries,
        } = read;
        *self.namespace() == id.namespace
            && self.name() == *id.name
            && self.uid() == *uid
            && self.resource_version() == *resource_version
            && self.protected == *protected
            && self.owner == owner.as_ref().map_err(|reason| &**reason)
            && self.first_seen == first_seen.as_deref().copied()
            && self.print == *print
            && self.addresses == &**addresses
            && self.entries == &**entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::reconcile::records::RecordId;
    use crate::record::{PoolObject, decode};

    const UID: &str = "0b6f4bd2-41c1-4f1e-9d7c-0a1b2c3d4e5f";

    /// Pools of the network `lan`, of one node of it, and of no name.
    const POOLS: [&str; 3] = ["lan-10.0.0.0-24", "lan-node-a-10.0.0.0-24", "10.0.0.0-24"];

    fn pool(name: &str) -> PoolObject {
        let entry = json!({"id": "c", "ifname": "net1", "podref": "shop/web-0",
            "owner": {"id": "c", "nodename": "node-a"}});
        let pool = json!({"metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"range": "10.0.0.0/24", "allocations": {"5": entry, "7": entry}}});
        decode::pool(pool.to_string().as_bytes()).unwrap()
    }

    fn reservation(name: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "kube-system", "uid": UID,
                "resourceVersion": "77", "labels": {crate::api::NODE_LABEL: "node-a"}},
            "spec": {"ifname": "net1", "podref": "shop/web-0"}})
    }

    fn read(reservation: &Value) -> Reservation {
        decode::reservation(reservation.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_the_plugin_writes_needs_little_room() {
        let names = ["lan-10.0.0.5", "lan-10.0.0.5", "10.0.0.5"];
        for (pool_name, name) in POOLS.into_iter().zip(names) {
            let records = Records::new(vec![pool(pool_name)], vec![read(&reservation(name))]);
            let kept = records.reservations.as_slice();
            assert!(matches!(kept, [Kept::Short { .. }]), "{pool_name}");
            let held = records.reservation(0).unwrap();
            assert_eq!(held.id().to_string(), format!("kube-system/{name}"));
            assert_eq!(held.uid().to_string(), UID);
            assert_eq!(held.resource_version().to_string(), "77");
            assert_eq!(held.entries, [0]);
        }
        assert_eq!(size_of::<Kept>(), 40);
    }

    #[test]
    fn reservations_are_found_by_their_names_in_whatever_order_they_came() {
        let names = [
            "lan-10.0.0.7",
            "by-hand",
            "lan-10.0.0.5",
            "fd00--5",
            "net-2001-db8--1",
        ];
        let all = names.map(|name| read(&reservation(name)));
        let records = Records::new(vec![pool(POOLS[0])], all.into());
        let sorted: Vec<String> = records
            .reservations()
            .map(|it| it.name().into_owned())
            .collect();
        assert!(sorted.is_sorted() && sorted.len() == names.len());
        for (index, name) in sorted.iter().enumerate() {
            let held = records.reservation(index).unwrap();
            assert_eq!(records.find_reservation(&held.id()), Some(index), "{name}");
            for address in held.addresses {
                assert!(
                    records
                        .at(*address)
                        .any(|id| id == RecordId::Reservation(index))
                );
            }
            let has_entry = name.starts_with("lan-");
            assert_eq!(held.entries.len(), usize::from(has_entry), "{name}");
            for entry in held.entries {
                assert!(name.ends_with(&*records.entries[*entry].key), "{name}");
            }
        }
        for other in ["lan-10.0.0.6", "10.0.0.5", "by-foot", "db8--1"] {
            let id = ObjectId {
                namespace: "kube-system".into(),
                name: other.into(),
            };
            assert_eq!(records.find_reservation(&id), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn however_it_is_kept_it_says_what_was_read(
            pool_name in prop::sample::select(&POOLS[..]),
            name in "(lan-|lan-node-a-|wan-|la-)?10\\.0\\.0\\.[56]|lan-10-0-0-5|by-hand|net-2001-db8--1",
            namespace in "kube-system|other", uid in prop_oneof![Just(UID), Just(""), Just("x")],
            version in "77|077|x|", podref in "shop/web-[01]|nobody", ifname in "net[12]|",
            node in "node-[ab]|", annotation in "reconcile|first-seen|other",
            value in "false|true|2026-11-18T10:26:40Z 0a1b2c",
        ) {
            let mut object = reservation(&name);
            object["metadata"]["namespace"] = namespace.into();
            object["metadata"]["uid"] = uid.into();
            object["metadata"]["resourceVersion"] = version.into();
            object["metadata"]["labels"][crate::api::NODE_LABEL] = node.into();
            let key = format!("whereabouts.cni.cncf.io/{annotation}");
            object["metadata"]["annotations"] = json!({ key: value });
            object["spec"] = json!({"podref": podref, "ifname": ifname});
            let records = Records::new(vec![pool(pool_name)], vec![read(&object)]);
            let mut joined = read(&object);
            records.join(&mut joined);
            let held = records.reservation(0).unwrap();
            prop_assert!(held.says(&joined), "{held:?}, but it was {joined:?}");
        }
    }
}
