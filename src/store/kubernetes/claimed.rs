//! I/O: lists of claims.

use std::net::IpAddr;

use http::header::{ACCEPT, HeaderValue};
use http::uri::InvalidUri;
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::Value;

use super::claims::{Claim, place};
use super::{Kubernetes, label};
use crate::api::{
    CLAIMED_LABEL, CONTAINER_LABEL, MAX_LABEL, NETWORK_LABEL, NODE_LABEL,
    OverlappingRangeIPReservation, POD_UID_LABEL, POOL_LABEL,
};
use crate::client::{Call, CallError};
use crate::reconcile::RESERVATIONS;
use crate::record::{ObjectId, readings};
use crate::store::Attachment;

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

/// Those of all these claims.
fn addresses_of(claims: impl Iterator<Item = Claim>, network: &str) -> Vec<IpAddr> {
    claims
        .flat_map(|claim| addresses(&claim.id.name, network))
        .collect()
}

impl Kubernetes {
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
        Ok(addresses_of(others, network))
    }

    /// The addresses that are claimed for this attachment, and for no other pool.
    pub(super) async fn own_claims(
        &self,
        network: &str,
        pool: &ObjectId,
        attachment: &Attachment,
    ) -> Result<Vec<IpAddr>, CallError> {
        let all = self.claims_of(&attachment.container).await?.into_iter();
        let own = all.filter(|claim| {
            claim.is_of(attachment) && claim.pool.as_deref() == Some(&*label(&pool.name))
        });
        Ok(addresses_of(own, network))
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
