//! PURE: what is known of pods, in little room: they differ in their uids and addresses, and in little
//! else.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::pod::{PodState, Traits};
use crate::text::{Text, Uid};

/// What is known of a pod that a record names.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// `metadata.uid`.
    pub uid: &'a Uid,
    /// How it is.
    pub traits: &'a Traits,
    kind: &'a Kind,
    addresses: &'a [u8],
}

/// One interface of a pod and the addresses that its status shows there.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The name inside the pod, such as `net1`; empty when the status has none.
    pub name: &'a str,
    /// The addresses.
    pub addresses: SmallVec<[IpAddr; 1]>,
}

/// The same as it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    uid: Uid,
    kind: Arc<Kind>,
    /// The octets of all addresses, one after the other, as the kind has their interfaces and families.
    addresses: SmallVec<[u8; 16]>,
}

/// What many pods have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    traits: Traits,
    unreadable: Option<Text>,
    interfaces: SmallVec<[Interface; 2]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Interface {
    name: Text,
    addresses: SmallVec<[Family; 8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

/// What pods have in common is there once.
#[derive(Debug, Default)]
pub(super) struct Kinds(HashSet<Arc<Kind>>);

impl Kinds {
    /// Keeps what is known of a pod.
    pub(super) fn keep(&mut self, state: &PodState) -> Kept {
        let PodState {
            uid,
            traits,
            status,
        } = state;
        let mut addresses = SmallVec::new();
        let mut keep = |address: &IpAddr| match address {
            IpAddr::V4(address) => {
                addresses.extend_from_slice(&address.octets());
                Family::V4
            }
            IpAddr::V6(address) => {
                addresses.extend_from_slice(&address.octets());
                Family::V6
            }
        };
        let interfaces = status.interfaces.iter().map(|interface| Interface {
            name: interface.name.clone(),
            addresses: interface.addresses.iter().map(&mut keep).collect(),
        });
        let kind = Kind {
            traits: traits.clone(),
            unreadable: status.unreadable.clone(),
            interfaces: interfaces.collect(),
        };
        Kept {
            uid: uid.clone(),
            kind: self.share(kind),
            addresses,
        }
    }

    /// Changes how a pod is.
    pub(super) fn change(&mut self, kept: &mut Kept, change: impl FnOnce(&mut Traits)) {
        let mut kind = (*kept.kind).clone();
        change(&mut kind.traits);
        kept.kind = self.share(kind);
    }

    fn share(&mut self, kind: Kind) -> Arc<Kind> {
        if let Some(known) = self.0.get(&kind) {
            return Arc::clone(known);
        }
        let new = Arc::new(kind);
        self.0.insert(Arc::clone(&new));
        new
    }
}

impl Kept {
    /// Looks at it.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            uid: &self.uid,
            traits: &self.kind.traits,
            kind: &self.kind,
            addresses: &self.addresses,
        }
    }
}

impl<'a> Known<'a> {
    /// All interfaces that its status shows and that could be read.
    pub fn interfaces(self) -> impl Iterator<Item = Shown<'a>> {
        let mut octets = self.addresses;
        self.kind.interfaces.iter().map(move |interface| {
            let families = interface.addresses.iter();
            Shown {
                name: &interface.name,
                addresses: families
                    .filter_map(|family| family.take(&mut octets))
                    .collect(),
            }
        })
    }

    /// Whether its status shows any interface at all.
    #[must_use]
    pub fn shows_interfaces(self) -> bool {
        !self.kind.interfaces.is_empty()
    }

    /// All addresses that it shows, on any interface.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        self.interfaces().flat_map(|interface| interface.addresses)
    }

    /// Why a part of its status could not be read, if so.
    #[must_use]
    pub fn unreadable(self) -> Option<&'a str> {
        self.kind.unreadable.as_deref()
    }
}

impl Family {
    /// Takes an address from the start of the octets.
    fn take(self, octets: &mut &[u8]) -> Option<IpAddr> {
        match self {
            Self::V4 => first::<4>(octets).map(IpAddr::from),
            Self::V6 => first::<16>(octets).map(IpAddr::from),
        }
    }
}

fn first<const BYTES: usize>(octets: &mut &[u8]) -> Option<[u8; BYTES]> {
    let (first, rest) = octets.split_first_chunk()?;
    *octets = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pod::{self, Finished, NetworkStatus};

    fn state() -> impl Strategy<Value = PodState> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ];
        let interface = ("eth0|net1|", prop::collection::vec(address, 0..4));
        let interfaces = prop::collection::vec(interface, 0..4);
        let traits = (any::<[bool; 3]>(), any::<bool>(), "node-[ab]|");
        let whole = ("uid-[ab]", traits, interfaces, prop::option::of("reason"));
        whole.prop_map(|(uid, traits, interfaces, unreadable)| {
            let ([deleting, protected, mirror], ended, node) = traits;
            let interfaces = interfaces.into_iter();
            let interfaces = interfaces.map(|(name, addresses)| pod::Interface {
                name: name.into(),
                addresses: addresses.into(),
                network: None,
            });
            PodState {
                uid: (&*uid).into(),
                traits: Traits {
                    deleting,
                    protected,
                    mirror,
                    finished: ended.then_some(Finished::Failed),
                    node: Some(node.into()),
                    ..Traits::default()
                },
                status: NetworkStatus {
                    interfaces: interfaces.collect(),
                    unreadable: unreadable.map(Text::from),
                },
            }
        })
    }

    fn says(known: Known<'_>, state: &PodState) -> bool {
        let there = state.status.interfaces.iter().map(|interface| Shown {
            name: &interface.name,
            addresses: interface.addresses.clone(),
        });
        *known.uid == state.uid
            && *known.traits == state.traits
            && known.unreadable() == state.status.unreadable.as_deref()
            && known.interfaces().eq(there)
    }

    proptest! {
        #[test]
        fn what_is_kept_says_what_was_seen(mut states in prop::collection::vec(state(), 1..5)) {
            let mut kinds = Kinds::default();
            let mut kept: Vec<Kept> = states.iter().map(|state| kinds.keep(state)).collect();
            for (kept, state) in kept.iter().zip(&states) {
                prop_assert!(says(kept.known(), state), "{kept:?}, but it was {state:?}");
            }
            // Nothing else changes with the first.
            kinds.change(&mut kept[0], |traits| traits.finished = Some(Finished::Succeeded));
            states[0].traits.finished = Some(Finished::Succeeded);
            for (kept, state) in kept.iter().zip(&states) {
                prop_assert!(says(kept.known(), state), "{kept:?}, but it was {state:?}");
            }
        }
    }

    #[test]
    fn pods_of_one_kind_need_little_room() {
        let mut kinds = Kinds::default();
        for last in 0..=255 {
            let shown = format!(
                r#"[{{"interface":"eth0","ips":["10.244.0.{last}"]}},
                    {{"interface":"net1","ips":["10.0.0.{last}"]}}]"#
            );
            let kept = kinds.keep(&PodState {
                uid: "0b6f4bd2-41c1-4f1e-9d7c-0a1b2c3d4e5f".into(),
                traits: Traits::default(),
                status: NetworkStatus::parse([&*shown]),
            });
            assert!(!kept.addresses.spilled());
        }
        assert_eq!((kinds.0.len(), size_of::<Kept>()), (1, 56));
    }
}
