//! I/O: claims, which are reservations.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::header::{ACCEPT, HeaderValue};
use http::uri::InvalidUri;
use kube::api::{
    DeleteParams, GetParams, ListParams, PatchParams, PostParams, Preconditions, Resource,
};
use kube::core::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kubernetes, label};
use crate::api::{
    CLAIMED_LABEL, CONTAINER_LABEL, MAX_LABEL, NETWORK_LABEL, NODE_LABEL, POD_UID_LABEL, POOL_LABEL,
};
use crate::api::{OverlappingRangeIPReservation, OverlappingRangeIPReservationSpec};
use crate::client::{Call, CallError};
use crate::reconcile::RESERVATIONS;
use crate::record::{ObjectId, readings};
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
    fn of(object: OverlappingRangeIPReservation, id: ObjectId) -> Self {
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

/// What a list says of a claim that was made for a pool.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) address: IpAddr,
    /// As of [`Claim::place`].
    pub(super) place: u64,
    /// For whom, where that is said in full.
    pub(super) owner: Option<Attachment>,
}

impl Claimed {
    /// One for each way to read the name as an address of this network. What a label may have cut
    /// off is not said in full.
    fn all(object: OverlappingRangeIPReservation, network: &str) -> Vec<Self> {
        let OverlappingRangeIPReservation { metadata, spec } = object;
        let addresses = addresses(metadata.name.as_deref().unwrap_or_default(), network);
        let place = place(metadata.resource_version.as_deref().unwrap_or_default());
        let mut labels = metadata.labels.unwrap_or_default();
        let labels =
            [NODE_LABEL, POD_UID_LABEL, POOL_LABEL, NETWORK_LABEL].map(|name| labels.remove(name));
        let is_whole = labels.iter().flatten().all(|text| text.len() < MAX_LABEL);
        let [node, pod_uid, _, of_network] = labels;
        let named = spec.containerid.zip(spec.ifname).filter(|_| is_whole);
        let owner = named.map(|(container, interface)| Attachment {
            network: of_network.unwrap_or_default(),
            container,
            interface,
            podref: spec.podref,
            pod_uid,
            node,
        });
        let all = addresses.into_iter().map(|address| Self {
            address,
            place,
            owner: owner.clone(),
        });
        all.collect()
    }
}

/// All ways to read the name as an address of this network.
fn addresses(name: &str, network: &str) -> Vec<IpAddr> {
    let of_network = readings(name).into_iter().filter(|(of, _)| *of == network);
    of_network.map(|(_, address)| address).collect()
}

/// The API server numbers all writes.
fn place(resource_version: &str) -> u64 {
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
    fn reservations(&self) -> Request {
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
    fn recent_times(&self) -> Option<[String; 3]> {
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

    /// The addresses that are claimed in this network, by whomever.
    pub(super) async fn claims_in(&self, network: &str) -> Result<Vec<IpAddr>, CallError> {
        let all = ListParams::default().match_any();
        self.list_names(network, &all).await
    }

    /// The same without what this attachment may have claimed before, and not from a cache.
    pub(super) async fn claims_of_others(
        &self,
        network: &str,
        attachment: &Attachment,
    ) -> Result<Vec<IpAddr>, CallError> {
        let all = self.list_claims(&ListParams::default()).await?.into_iter();
        let others = all
            .map(|item| self.claim_of(item))
            .filter(|claim| !claim.is_of(attachment) || claim.may_run_elsewhere(attachment));
        let others: Vec<Claim> = others.collect();
        let names = others.iter().map(|claim| &*claim.id.name);
        Ok(names.flat_map(|name| addresses(name, network)).collect())
    }

    /// The addresses that were claimed for a pool a moment ago.
    pub(super) async fn recent_claims(
        &self,
        network: &str,
        pool: &ObjectId,
    ) -> Result<Vec<IpAddr>, CallError> {
        self.list_names(network, &self.recent(pool)).await
    }

    /// The same, each with its place and its owner.
    pub(super) async fn recent_owners(
        &self,
        network: &str,
        pool: &ObjectId,
    ) -> Result<Vec<Claimed>, CallError> {
        let items = self.list_claims(&self.recent(pool)).await?.into_iter();
        Ok(items.flat_map(|item| Claimed::all(item, network)).collect())
    }

    fn recent(&self, pool: &ObjectId) -> ListParams {
        let mut selector = format!("{POOL_LABEL}={}", label(&pool.name));
        if let Some(times) = self.recent_times() {
            selector = format!("{selector},{CLAIMED_LABEL} in ({})", times.join(","));
        }
        // From the server's cache: a claim that is missing there only costs another try.
        ListParams::default().match_any().labels(&selector)
    }

    /// Names only, as the first cells of the table that kubectl would print: the objects have twenty
    /// times as many bytes, and the metadata not much fewer.
    async fn list_names(
        &self,
        network: &str,
        params: &ListParams,
    ) -> Result<Vec<IpAddr>, CallError> {
        #[derive(Deserialize)]
        struct Table {
            // Null where there are none.
            rows: Option<Vec<Row>>,
        }
        #[derive(Deserialize)]
        struct Row {
            cells: Vec<Value>,
        }
        let call = Call {
            verb: "list",
            resource: RESERVATIONS,
            object: "",
        };
        let mut request = self.reservations().list(params);
        if let Ok(request) = &mut request {
            let uri = format!("{}&includeObject=None", request.uri()).parse();
            *request.uri_mut() = uri.map_err(|error: InvalidUri| call.unreadable(error))?;
            let table = HeaderValue::from_static("application/json;as=Table;g=meta.k8s.io;v=v1");
            request.headers_mut().insert(ACCEPT, table);
        }
        let table: Table = self.client.call(&call, request).await?;
        let rows = table.rows.unwrap_or_default();
        let names = rows.iter().filter_map(|row| row.cells.first()?.as_str());
        Ok(names.flat_map(|name| addresses(name, network)).collect())
    }

    async fn list_claims(
        &self,
        params: &ListParams,
    ) -> Result<Vec<OverlappingRangeIPReservation>, CallError> {
        #[derive(Deserialize)]
        struct List {
            items: Option<Vec<OverlappingRangeIPReservation>>,
        }
        let call = Call {
            verb: "list",
            resource: RESERVATIONS,
            object: "",
        };
        let list: List = self
            .client
            .call(&call, self.reservations().list(params))
            .await?;
        Ok(list.items.unwrap_or_default())
    }

    fn claim_of(&self, item: OverlappingRangeIPReservation) -> Claim {
        let id = self.id(item.metadata.name.clone().unwrap_or_default());
        Claim::of(item, id)
    }

    /// The claims made for a container.
    pub(super) async fn claims_of(&self, container: &str) -> Result<Vec<Claim>, CallError> {
        let params =
            ListParams::default().labels(&format!("{CONTAINER_LABEL}={}", label(container)));
        let claims = self.list_claims(&params).await?.into_iter();
        Ok(claims
            .map(|item| self.claim_of(item))
            .filter(|claim| claim.container.as_deref() == Some(container))
            .collect())
    }
}
