//! PURE: addresses of pools that live pods show although no record of theirs explains it.
//!
//! Pods that have ended show their addresses for ever, and which have ended is known only later: so
//! they are kept until then, in little room and so many at most.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::pod::{Interface, PodRef, PodState};
use crate::reconcile::records::Records;
use crate::text::Uid;

/// So many are kept; the garbage collector of pods leaves 12,500 that have ended.
const MAX_KEPT: usize = 20_000;

/// An interface of a live pod, other than the one of the cluster's network, and its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Showing {
    /// The address.
    pub address: IpAddr,
    /// The pod.
    pub pod: PodRef,
    /// Its uid.
    pub uid: Uid,
    /// The interface's name.
    pub interface: Arc<str>,
    /// The name of its network, such as `default/net-a`.
    pub network: Arc<str>,
}

/// All of them, by the pod's uid.
#[derive(Debug, Default)]
pub struct Loose {
    /// Ranges of pools as first and last address, sorted and merged.
    ranges: Vec<(IpAddr, IpAddr)>,
    by_uid: HashMap<Uid, Vec<Showing>>,
    /// A few names of interfaces and networks are those of all pods.
    names: HashSet<Arc<str>>,
    kept: usize,
    missed: usize,
}

impl Loose {
    /// Prepares to look for addresses of these pools.
    #[must_use]
    pub fn of(records: &Records) -> Self {
        let ranges = records.pools.iter().filter_map(|pool| {
            let range = pool.range.as_ref().ok()?.masked();
            Some((range.first(), range.last()))
        });
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1;
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        Self {
            ranges,
            ..Self::default()
        }
    }

    /// Takes note of an address that a pod shows.
    pub(super) fn note(
        &mut self,
        pod: &PodRef,
        state: &PodState,
        interface: &Interface,
        address: IpAddr,
    ) {
        let Some(network) = interface.network.as_deref() else {
            return;
        };
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        if range.is_none_or(|(_, last)| *last < address) {
            return;
        }
        if self.kept >= MAX_KEPT {
            self.missed = self.missed.saturating_add(1);
            return;
        }
        let showing = Showing {
            address,
            pod: pod.clone(),
            uid: state.uid.clone(),
            interface: self.name(&interface.name),
            network: self.name(network),
        };
        let of_pod = self.by_uid.entry(state.uid.clone()).or_default();
        // Both annotations of a pod may say it.
        if !of_pod.contains(&showing) {
            of_pod.push(showing);
            self.kept = self.kept.saturating_add(1);
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.names.insert(Arc::clone(&new));
        new
    }

    /// Whether anything of the pod of this uid is kept.
    pub(super) fn has(&self, uid: &Uid) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// Drops what the pod of this uid shows: it has ended.
    pub(super) fn forget(&mut self, uid: &Uid) {
        let gone = self.by_uid.remove(uid).map_or(0, |showings| showings.len());
        self.kept = self.kept.saturating_sub(gone);
    }

    /// All of them, by address.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Showing> {
        let mut all: Vec<&Showing> = self.by_uid.values().flatten().collect();
        all.sort_unstable();
        all
    }

    /// The pods that show the address.
    pub fn pods_with(&self, address: IpAddr) -> impl Iterator<Item = &PodRef> {
        let all = self.by_uid.values().flatten();
        all.filter(move |showing| showing.address == address)
            .map(|showing| &showing.pod)
    }

    /// How many there were beyond those that are kept.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.missed
    }
}
