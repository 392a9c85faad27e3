//! PURE: what the pods of a cluster prove about the records.
//!
//! Pods stream by; kept is only what a record asks for: the pods that records name, and pods that
//! show a recorded address, or one of a pool's range, which no record of their own explains.

mod known;
mod loose;
mod named;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::foreign::{self, Suspects};
use super::records::{RecordId, Records};
use crate::ip::IpRange;
use crate::pod::{Finished, PodRef, PodState, Traits};
use crate::record::decode::SeenPod;
use crate::text::{Text, Uid};

pub use known::Known;
pub use loose::{Loose, Showing};
use named::Named;

/// What is kept of the pods.
#[derive(Debug, Default)]
pub struct Pods {
    /// All pods that records name.
    named: Named,
    /// Recorded addresses shown by pods that may run, and that no record of theirs explains.
    sightings: HashMap<IpAddr, Vec<Sighting>>,
    /// Where the pods behind the sightings were seen, by uid.
    sighted: HashMap<Uid, Vec<IpAddr>>,
    /// Ranges in which one key stands for many addresses.
    wide: Vec<IpRange>,
    /// Pods whose status proves nothing yet.
    unsettled: HashSet<PodRef>,
    /// Addresses of pools that live pods show without a record of their own.
    loose: Loose,
    /// Pods that may be those of the Go program's controllers.
    suspects: Suspects,
    /// How many pods were seen in all.
    total: usize,
}

/// A pod that may run and shows an address without a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The pod.
    pub pod: PodRef,
    /// Its uid.
    pub uid: Uid,
    /// Whether it uses the address beyond doubt: a pod that is being deleted may have lost it.
    pub settled: bool,
}

impl Pods {
    /// Prepares to look for what the records ask.
    #[must_use]
    pub fn asked_by(records: &Records) -> Self {
        let wide = records
            .pools
            .iter()
            .filter_map(|pool| pool.range.clone().ok());
        Self {
            named: Named::by(records),
            wide: wide.filter(IpRange::is_wider_than_a_key).collect(),
            loose: Loose::of(records),
            ..Self::default()
        }
    }

    /// Takes note of a pod.
    pub fn see(&mut self, records: &Records, seen: SeenPod) {
        let SeenPod { pod, state } = seen;
        self.suspects.note(&pod);
        self.total = self.total.saturating_add(1);
        if state.traits.may_run() {
            self.note_sightings(records, &pod, &state);
        }
        self.named.set(&pod, Some(&state));
    }

    fn note_sightings(&mut self, records: &Records, pod: &PodRef, state: &PodState) {
        let shown = state.status.interfaces.iter().flat_map(|interface| {
            let addresses = interface.addresses.iter();
            addresses.map(move |address| (interface, *address))
        });
        for (interface, shown) in shown {
            let folded = self.wide.iter().filter_map(|range| range.folded(shown));
            let meant: Vec<IpAddr> = std::iter::once(shown).chain(folded).collect();
            let own = |id: RecordId| records.pod_of(id) == Some(pod);
            if meant.iter().any(|address| records.at(*address).any(own)) {
                continue;
            }
            if state.traits.is_settled() {
                self.loose.note(pod, state, interface, shown);
            }
            for address in meant
                .into_iter()
                .filter(|address| records.at(*address).next().is_some())
            {
                let sighting = Sighting {
                    pod: pod.clone(),
                    uid: state.uid.clone(),
                    settled: state.traits.is_settled(),
                };
                self.sightings.entry(address).or_default().push(sighting);
                self.sighted
                    .entry(state.uid.clone())
                    .or_default()
                    .push(address);
            }
        }
    }

    /// Whether it matters that this pod has finished.
    #[must_use]
    pub fn ask_about(&self, seen: &SeenPod) -> bool {
        self.named.has(&seen.pod)
            || self.sighted.contains_key(&seen.state.uid)
            || self.loose.has(&seen.state.uid)
            || foreign::is_suspect(&seen.pod)
    }

    /// Takes note that the pod of this uid has finished.
    pub fn finish(&mut self, pod: &PodRef, uid: &Uid, finished: Finished) {
        let end = |traits: &mut Traits| traits.finished = Some(finished);
        self.named.change(pod, uid, end);
        self.loose.forget(uid);
        self.suspects.forget(pod);
        for address in self.sighted.remove(uid).unwrap_or_default() {
            if let Some(sightings) = self.sightings.get_mut(&address) {
                sightings.retain(|sighting| sighting.uid != *uid);
            }
        }
    }

    /// Takes note of the node of the pod of this uid.
    pub fn bind(&mut self, pod: &PodRef, uid: &Uid, node: &Text) {
        let bind = |traits: &mut Traits| traits.node = Some(node.clone());
        self.named.change(pod, uid, bind);
    }

    /// Puts what a fresh look at one pod showed in place of what was known; `None` says that there
    /// is no such pod any more.
    pub fn replace(&mut self, records: &Records, pod: &PodRef, state: Option<&PodState>) {
        if let Some(state) = state.filter(|state| state.traits.may_run()) {
            self.note_sightings(records, pod, state);
        }
        self.named.set(pod, state);
    }

    /// Takes note that a pod changed between two looks at it, or was looked at only once.
    pub fn doubt(&mut self, pod: PodRef) {
        self.unsettled.insert(pod);
    }

    /// Whether what a pod's status lacks means nothing.
    #[must_use]
    pub fn is_doubtful(&self, pod: &PodRef) -> bool {
        self.unsettled.contains(pod)
    }

    /// The pod of that name, if there is one.
    #[must_use]
    pub fn get(&self, pod: &PodRef) -> Option<Known<'_>> {
        self.named.get(pod)
    }

    /// The same for the pod that a record names.
    #[must_use]
    pub fn get_for(&self, id: RecordId, pod: &PodRef) -> Option<Known<'_>> {
        self.named.get_for(id, pod)
    }

    /// Pods that may run and show the address although no record of their own explains it.
    #[must_use]
    pub fn sightings(&self, address: IpAddr) -> &[Sighting] {
        self.sightings.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Addresses of pools that live pods show without a record of their own.
    #[must_use]
    pub fn loose(&self) -> &Loose {
        &self.loose
    }

    /// Pods that may be those of the Go program's controllers.
    #[must_use]
    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// How many pods were seen in all, named by a record or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}
