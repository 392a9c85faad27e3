//! I/O: a claim, which is a reservation.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, GetParams, PatchParams, PostParams, Preconditions, Resource};
use kube::core::Request;
use serde_json::json;

use super::{Kubernetes, label};
use crate::api::{
    CLAIMED_LABEL, CONTAINER_LABEL, NETWORK_LABEL, NODE_LABEL, OverlappingRangeIPReservation,
    OverlappingRangeIPReservationSpec, POD_UID_LABEL, POOL_LABEL,
};
use crate::client::{Call, CallError};
use crate::reconcile::RESERVATIONS;
use crate::record::ObjectId;
use crate::store::Attachment;

/// Claims are labelled with the time at which they were made, rounded down to so many seconds. Whoever
/// claimed earlier than twice as long ago has recorded it, or never will.
const RECENT: i64 = 5;

/// A reservation as the store has it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) id: ObjectId,
    uid: String,
    resource_version: String,
    pub(super) podref: String,
    pub(super) interface: Option<String>,
    pub(super) container: Option<String>,
    pub(super) node: Option<String>,
    /// The pool for which our plugin made it.
    pub(super) pool: Option<String>,
    /// The CNI network in which our plugin made it.
    pub(super) network: Option<String>,
    /// When our plugin made it.
    claimed: Option<String>,
}

impl Claim {
    pub(super) fn of(object: OverlappingRangeIPReservation, id: ObjectId) -> Self {
        let OverlappingRangeIPReservation { metadata, spec } = object;
        let mut labels = metadata.labels.unwrap_or_default();
        Self {
            id,
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            podref: spec.podref,
            interface: spec.ifname.filter(|name| !name.is_empty()),
            container: spec.containerid.filter(|id| !id.is_empty()),
            node: labels.remove(NODE_LABEL),
            pool: labels.remove(POOL_LABEL),
            network: labels.remove(NETWORK_LABEL),
            claimed: labels.remove(CLAIMED_LABEL),
        }
    }

    /// Its place among all claims, in the order in which they were made.
    pub(super) fn place(&self) -> u64 {
        place(&self.resource_version)
    }

    /// Whether it was made for this pool a moment ago: it is about to be recorded.
    pub(super) fn is_recent(&self, pool: &ObjectId, store: &Kubernetes) -> bool {
        let times = store.recent_times();
        let is_recent = |time: &String| times.is_some_and(|times| times.contains(time));
        self.pool.as_deref() == Some(&*label(&pool.name))
            && self.claimed.as_ref().is_some_and(is_recent)
    }

    /// Whether it was made for this very attachment, by whatever version of either program.
    ///
    /// What it does not say does not count against it, except the interface: a pod's other
    /// interfaces have claims of their own.
    pub(super) fn is_of(&self, attachment: &Attachment) -> bool {
        self.podref == attachment.podref && self.interface.as_ref() == Some(&attachment.interface)
    }

    /// Whether it can have been made for this attachment: the Go program named no interface once.
    pub(super) fn may_be_of(&self, attachment: &Attachment) -> bool {
        self.podref == attachment.podref
            && self
                .interface
                .as_ref()
                .is_none_or(|name| *name == attachment.interface)
    }

    /// Whether its container can run on another node.
    pub(super) fn may_run_elsewhere(&self, attachment: &Attachment) -> bool {
        let node = attachment.node.as_deref().map(label);
        self.node.is_some()
            && self.node != node
            && self.container.as_ref() != Some(&attachment.container)
    }
}

/// The API server numbers all writes.
pub(super) fn place(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(u64::MAX)
}

fn labels(
    pool: &ObjectId,
    attachment: &Attachment,
    now: Option<String>,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (POOL_LABEL.to_owned(), label(&pool.name)),
        (CONTAINER_LABEL.to_owned(), label(&attachment.container)),
        (NETWORK_LABEL.to_owned(), label(&attachment.network)),
    ]);
    if let Some(now) = now {
        labels.insert(CLAIMED_LABEL.to_owned(), now);
    }
    if let Some(node) = &attachment.node {
        labels.insert(NODE_LABEL.to_owned(), label(node));
    }
    if let Some(uid) = &attachment.pod_uid {
        labels.insert(POD_UID_LABEL.to_owned(), label(uid));
    }
    labels
}

fn spec(attachment: &Attachment) -> OverlappingRangeIPReservationSpec {
    OverlappingRangeIPReservationSpec {
        podref: attachment.podref.clone(),
        ifname: Some(attachment.interface.clone()),
        containerid: Some(attachment.container.clone()),
    }
}

impl Kubernetes {
    pub(super) fn reservations(&self) -> Request {
        Request::new(OverlappingRangeIPReservation::url_path(
            &(),
            Some(&self.namespace),
        ))
    }

    fn labels(&self, pool: &ObjectId, attachment: &Attachment) -> BTreeMap<String, String> {
        let [_, now, _] = self
            .recent_times()
            .map(|times| times.map(Some))
            .unwrap_or_default();
        labels(pool, attachment, now)
    }

    /// The labels of what is claimed now, and a moment before and after: of the server's clock, which
    /// is one for all nodes.
    pub(super) fn recent_times(&self) -> Option<[String; 3]> {
        let now = self.client.server_time()?.as_second();
        let now = now.saturating_sub(now.rem_euclid(RECENT));
        let times = [now.saturating_sub(RECENT), now, now.saturating_add(RECENT)];
        Some(times.map(|time| time.to_string()))
    }

    /// Claims an address; `None` when it is claimed already.
    pub(super) async fn claim(
        &self,
        id: &ObjectId,
        pool: &ObjectId,
        attachment: &Attachment,
    ) -> Result<Option<Claim>, CallError> {
        let object = id.to_string();
        let call = Call {
            verb: "create",
            resource: RESERVATIONS,
            object: &object,
        };
        let mut new = OverlappingRangeIPReservation::new(&id.name, spec(attachment));
        new.metadata.namespace = Some(self.namespace.clone());
        new.metadata.labels = Some(self.labels(pool, attachment));
        let body = serde_json::to_vec(&new).map_err(|error| call.unreadable(error))?;
        let request = self.reservations().create(&PostParams::default(), body);
        match self.client.call(&call, request).await {
            Ok(created) => Ok(Some(Claim::of(created, id.clone()))),
            Err(error) if error.cause.is_already_there() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the claim of an address; `None` when there is none.
    pub(super) async fn read_claim(&self, id: &ObjectId) -> Result<Option<Claim>, CallError> {
        let object = id.to_string();
        let call = Call {
            verb: "get",
            resource: RESERVATIONS,
            object: &object,
        };
        let request = self.reservations().get(&id.name, &GetParams::default());
        match self.client.call(&call, request).await {
            Ok(found) => Ok(Some(Claim::of(found, id.clone()))),
            Err(error) if error.cause.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a claim of the same attachment ours, and writes it, so that a delete which was guarded
    /// by what it was before fails.
    pub(super) async fn renew(
        &self,
        claim: &Claim,
        pool: &ObjectId,
        attachment: &Attachment,
    ) -> Result<Claim, CallError> {
        let object = claim.id.to_string();
        let call = Call {
            verb: "patch",
            resource: RESERVATIONS,
            object: &object,
        };
        let change = json!({
            "metadata": {
                "uid": claim.uid,
                "resourceVersion": claim.resource_version,
                "labels": self.labels(pool, attachment),
                // A value of its own each time: a patch that changes nothing is no write.
                "annotations": {"whereabouts.cni.cncf.io/renewed-from": claim.resource_version},
            },
            "spec": spec(attachment),
        });
        let patch = kube::api::Patch::Merge(&change);
        let request = self
            .reservations()
            .patch(&claim.id.name, &PatchParams::default(), &patch);
        let renewed = self.client.call(&call, request).await?;
        Ok(Claim::of(renewed, claim.id.clone()))
    }

    /// Deletes a claim, if it is still the object that was read; whether it is gone.
    pub(super) async fn drop_claim(&self, claim: &Claim) -> Result<bool, CallError> {
        let object = claim.id.to_string();
        let call = Call {
            verb: "delete",
            resource: RESERVATIONS,
            object: &object,
        };
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(claim.uid.clone()),
            resource_version: Some(claim.resource_version.clone()),
        });
        let request = self.reservations().delete(&claim.id.name, &params);
        match self.client.stream(&call, request, |_, _| Ok(())).await {
            Ok(()) => Ok(true),
            Err(error) if error.cause.is_not_found() => Ok(true),
            Err(error) if error.cause.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
