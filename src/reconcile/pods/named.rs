//! PURE: the pods that records name, and what is known of them.

use std::collections::HashMap;

use super::known::{Kept, Kinds, Known};
use crate::pod::{PodRef, PodState, Traits};
use crate::reconcile::records::{RecordId, Records};
use crate::text::Uid;

/// What is known of each pod that a record names.
///
/// All verdicts ask for the pods of all records, in the order of the records: so what is known lies in
/// that order too, and each record knows where.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Where in `states` a pod is.
    places: HashMap<PodRef, u32>,
    /// A pod and what is known of it; `None` while no such pod was seen.
    states: Vec<(PodRef, Option<Kept>)>,
    /// What they have in common.
    kinds: Kinds,
    /// Where in `states` the pod of each entry is, and that of each reservation.
    entries: Vec<u32>,
    reservations: Vec<u32>,
}

/// The place of a record that names no pod.
const NOWHERE: u32 = u32::MAX;

impl Named {
    /// Those that these records name.
    pub(super) fn by(records: &Records) -> Self {
        // Most pods are named by an entry and by its reservation.
        let most = records.entries.len().max(records.reservations().len());
        let mut named = Self {
            places: HashMap::with_capacity(most),
            states: Vec::with_capacity(most),
            kinds: Kinds::default(),
            entries: Vec::with_capacity(records.entries.len()),
            reservations: Vec::with_capacity(records.reservations().len()),
        };
        for id in records.ids() {
            let place = records.pod_of(id).map_or(NOWHERE, |pod| named.place(pod));
            match id {
                RecordId::Entry(_) => named.entries.push(place),
                RecordId::Reservation(_) => named.reservations.push(place),
            }
        }
        named
    }

    fn place(&mut self, pod: &PodRef) -> u32 {
        if let Some(place) = self.places.get(pod) {
            return *place;
        }
        // There is no room for so many pods that their index would not fit.
        let place = u32::try_from(self.states.len()).unwrap_or(NOWHERE);
        self.places.insert(pod.clone(), place);
        self.states.push((pod.clone(), None));
        place
    }

    /// Whether a record names this pod.
    pub(super) fn has(&self, pod: &PodRef) -> bool {
        self.places.contains_key(pod)
    }

    /// Takes note of what is known of the pod, if a record names it; `None` says that there is none.
    pub(super) fn set(&mut self, pod: &PodRef, state: Option<&PodState>) {
        let kinds = &mut self.kinds;
        if let Some(known) = slot(&self.places, &mut self.states, pod) {
            *known = state.map(|state| kinds.keep(state));
        }
    }

    /// Changes what is known of the pod of this uid, if a record names it.
    pub(super) fn change(&mut self, pod: &PodRef, uid: &Uid, change: impl FnOnce(&mut Traits)) {
        if let Some(Some(kept)) = slot(&self.places, &mut self.states, pod)
            && kept.known().uid == uid
        {
            self.kinds.change(kept, change);
        }
    }

    /// The pod, if a record names it and it was seen.
    pub(super) fn get(&self, pod: &PodRef) -> Option<Known<'_>> {
        self.at(*self.places.get(pod)?, pod)?
            .as_ref()
            .map(Kept::known)
    }

    /// The same for the pod that this record names. Should the record be one of others than these, the pod
    /// is looked for by its name.
    pub(super) fn get_for(&self, id: RecordId, pod: &PodRef) -> Option<Known<'_>> {
        let place = match id {
            RecordId::Entry(index) => self.entries.get(index),
            RecordId::Reservation(index) => self.reservations.get(index),
        };
        let found = place.and_then(|place| self.at(*place, pod));
        found.map_or_else(|| self.get(pod), |kept| kept.as_ref().map(Kept::known))
    }

    /// What is known of the pod, if this is its place.
    fn at(&self, place: u32, pod: &PodRef) -> Option<&Option<Kept>> {
        let (name, state) = self.states.get(usize::try_from(place).ok()?)?;
        (name == pod).then_some(state)
    }
}

/// Where what is known of the pod is kept, if a record names it.
fn slot<'a>(
    places: &HashMap<PodRef, u32>,
    states: &'a mut [(PodRef, Option<Kept>)],
    pod: &PodRef,
) -> Option<&'a mut Option<Kept>> {
    let place = usize::try_from(*places.get(pod)?).ok()?;
    states.get_mut(place).map(|(_, kept)| kept)
}
