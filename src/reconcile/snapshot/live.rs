//! I/O: the snapshot of a running cluster.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use kube::core::Resource;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Snapshot;
use super::list::{List, all_of};
use crate::api::{IPPool, OverlappingRangeIPReservation};
use crate::client::{Call, CallError, Cause, Client};
use crate::node::NodeState;
use crate::pod::{Finished, PodRef, PodState};
use crate::reconcile::ledger::Cluster;
use crate::reconcile::nodes::Nodes;
use crate::reconcile::pods::Pods;
use crate::reconcile::records::{Joined, Records};
use crate::reconcile::{NODES, PODS, POOLS, RESERVATIONS};
use crate::record::decode::{self, SeenPod};
use crate::record::evidence::{self, Evidence};
use crate::record::{ObjectId, Pool, PoolObject, Reservation};
use crate::text::{Text, Texts};

/// Pools are big objects: a page of them is bounded by their size, not by their number.
const MAX_POOLS_A_PAGE: u32 = 50;

/// A Node lists all images that are there: some ten kilobytes.
const MAX_NODES_A_PAGE: u32 = 200;

/// After so many pods whoever watches is told.
const PODS_A_STEP: usize = 1000;

/// What is being read, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStep {
    /// `ippools`.
    Pools,
    /// `overlappingrangeipreservations`.
    Reservations,
    /// `nodes`.
    Nodes,
    /// Pods, and then those that have finished; so many were read so far.
    Pods(usize),
}

/// Reads the records, then nodes, then pods.
///
/// # Errors
/// When any list cannot be read to its end: half a view must not look like a whole one.
pub async fn read_cluster(
    cluster: &Cluster,
    page: u32,
    progress: impl Fn(ReadStep),
) -> Result<Snapshot, CallError> {
    let ledger = &cluster.ledger;
    let mut texts = Texts::default();
    let pools = ledger.read_pools(page, &progress, &mut texts).await?;
    let records = Records::of(pools);
    let join = |joined: &mut Joined, reservation| joined.add(&records, reservation);
    let reservations = ledger.read_reservations(page, &progress, &mut texts, join);
    let joined = reservations.await?;
    drop(texts);
    read_users(cluster, page, progress, records.with(joined)).await
}

/// The same with records that are not there: `join` adds them to those that are, before the pods are
/// asked who uses them.
///
/// # Errors
/// When any list cannot be read to its end.
pub async fn read_cluster_with(
    cluster: &Cluster,
    page: u32,
    progress: impl Fn(ReadStep),
    join: impl FnOnce(Vec<PoolObject>, Vec<Reservation>) -> Records,
) -> Result<Snapshot, CallError> {
    let ledger = &cluster.ledger;
    let mut texts = Texts::default();
    let pools = ledger.read_pools(page, &progress, &mut texts).await?;
    let reservations = ledger.read_reservations(page, &progress, &mut texts, Vec::push);
    let records = join(pools, reservations.await?);
    drop(texts);
    read_users(cluster, page, progress, records).await
}

/// Reads who can use the addresses of records.
async fn read_users(
    cluster: &Cluster,
    page: u32,
    progress: impl Fn(ReadStep),
    records: Records,
) -> Result<Snapshot, CallError> {
    let client = &cluster.client;
    progress(ReadStep::Nodes);
    let nodes = read_nodes(client, page).await?;
    let pods = read_pods(client, page, &records, &nodes, &progress).await?;
    Ok(Snapshot {
        records,
        nodes,
        pods,
        ..Snapshot::default()
    })
}

/// Reads the pools with their entries, which have `texts` in common.
pub(in crate::reconcile) async fn read_pools(
    client: &Client,
    page: u32,
    texts: &mut Texts,
) -> Result<Vec<PoolObject>, CallError> {
    let list = List {
        resource: POOLS,
        path: all_of::<IPPool>(),
        fields: None,
        page: page.min(MAX_POOLS_A_PAGE),
    };
    let see = |pools: &mut Vec<PoolObject>, json: &[u8]| {
        let mut object = decode::pool(json)?;
        for entry in &mut object.entries {
            entry.share(texts);
        }
        pools.push(object);
        Ok(())
    };
    list.read(client, Vec::new, see).await
}

/// Reads the reservations, and hands over each.
pub(in crate::reconcile) async fn read_reservations<T: Default>(
    client: &Client,
    page: u32,
    texts: &mut Texts,
    take: impl Fn(&mut T, Reservation),
) -> Result<T, CallError> {
    let list = List {
        resource: RESERVATIONS,
        path: all_of::<OverlappingRangeIPReservation>(),
        fields: None,
        page,
    };
    let see = |taken: &mut T, json: &[u8]| {
        let mut reservation = decode::reservation(json)?;
        reservation.share(texts);
        take(taken, reservation);
        Ok(())
    };
    list.read(client, T::default, see).await
}

/// Reads the metadata of all pods. Metadata has no phase, so those that have finished come from
/// lists of their own, and are joined by uid.
///
/// It has no node either: the pods of nodes that are not Ready are listed node by node, before
/// those that have finished, so that no pod is known to have finished and not known to be there.
async fn read_pods(
    client: &Client,
    page: u32,
    records: &Records,
    nodes: &Nodes,
    progress: &impl Fn(ReadStep),
) -> Result<Pods, CallError> {
    progress(ReadStep::Pods(0));
    let path = all_of::<Pod>();
    let list = List {
        resource: PODS,
        path,
        fields: None,
        page,
    };
    let see = |pods: &mut Pods, encoding, bytes: &[u8]| {
        pods.see(records, decode::listed_pod(encoding, bytes)?);
        if pods.total().is_multiple_of(PODS_A_STEP) {
            progress(ReadStep::Pods(pods.total()));
        }
        Ok(())
    };
    let fresh = || Pods::asked_by(records);
    let mut pods = list.read_metadata(client, fresh, see).await?;
    for node in nodes.not_ready() {
        let name = Text::from(node);
        let fields = format!("spec.nodeName={node}");
        let list = List {
            path: list.path.clone(),
            fields: Some(&fields),
            ..list
        };
        let note = |bound: &mut Vec<SeenPod>, encoding, bytes: &[u8]| {
            let seen = decode::listed_pod(encoding, bytes)?;
            bound.extend(Some(seen).filter(|seen| pods.ask_about(seen)));
            Ok(())
        };
        let bound = list.read_metadata(client, Vec::new, note).await?;
        for seen in bound {
            pods.bind(&seen.pod, &seen.state.uid, &name);
        }
    }
    for finished in Finished::ALL {
        let fields = format!("status.phase={}", finished.phase());
        let list = List {
            path: list.path.clone(),
            fields: Some(&fields),
            ..list
        };
        let note = |ended: &mut Vec<SeenPod>, encoding, bytes: &[u8]| {
            let seen = decode::listed_pod(encoding, bytes)?;
            ended.extend(Some(seen).filter(|seen| pods.ask_about(seen)));
            Ok(())
        };
        let ended = list.read_metadata(client, Vec::new, note).await?;
        for seen in ended {
            pods.finish(&seen.pod, &seen.state.uid, finished);
        }
    }
    Ok(pods)
}

async fn read_nodes(client: &Client, page: u32) -> Result<Nodes, CallError> {
    let list = List {
        resource: NODES,
        path: all_of::<Node>(),
        fields: None,
        page: page.min(MAX_NODES_A_PAGE),
    };
    let see = |nodes: &mut Nodes, json: &[u8]| {
        let (name, state) = decode::node(json)?;
        nodes.see(name, state);
        Ok(())
    };
    list.read(client, Nodes::default, see).await
}

/// Looks at one Node; `None` when there is none.
pub async fn read_node(client: &Client, node: &str) -> Result<Option<NodeState>, CallError> {
    let call = Call {
        verb: "get",
        resource: NODES,
        object: node,
    };
    let request = Request::new(Node::url_path(&(), None)).get(node, &GetParams::default());
    let read = client.call::<Box<RawValue>>(&call, request).await;
    match read {
        Ok(json) => decode::node(json.get().as_bytes())
            .map(|(_, state)| Some(state))
            .map_err(|error| call.failed(Cause::Unreadable(error.into()))),
        Err(error) if error.cause.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at one pod; `None` when there is none.
pub async fn read_pod(client: &Client, pod: &PodRef) -> Result<Option<PodState>, CallError> {
    let state = |json: &[u8]| decode::pod(json).map(|seen| seen.state);
    read_part(client, pod, state).await
}

/// Looks at some pods once more, for the sake of a person who asks about them.
pub async fn read_evidence(
    client: &Client,
    pods: BTreeSet<PodRef>,
) -> Result<HashMap<PodRef, Evidence>, CallError> {
    let mut all = HashMap::new();
    for pod in pods {
        if let Some(evidence) = read_part(client, &pod, evidence::read).await? {
            all.insert(pod, evidence);
        }
    }
    Ok(all)
}

async fn read_part<T>(
    client: &Client,
    pod: &PodRef,
    decode: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<Option<T>, CallError> {
    let object = pod.to_string();
    let Some(json) = read_whole_pod(client, pod).await? else {
        return Ok(None);
    };
    decode(json.get().as_bytes())
        .map(Some)
        .map_err(|error| get_pod(&object).failed(Cause::Unreadable(error.into())))
}

fn get_pod(object: &str) -> Call<'_> {
    Call {
        verb: "get",
        resource: PODS,
        object,
    }
}

/// Reads all of one pod; `None` when there is none.
pub async fn read_whole_pod(
    client: &Client,
    pod: &PodRef,
) -> Result<Option<Box<RawValue>>, CallError> {
    let object = pod.to_string();
    let call = get_pod(&object);
    let request = Request::new(Pod::url_path(&(), Some(pod.namespace())))
        .get(pod.name(), &GetParams::default());
    match client.call::<Box<RawValue>>(&call, request).await {
        Ok(json) => Ok(Some(json)),
        Err(error) if error.cause.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at one pool; `None` when there is none.
pub async fn read_pool(client: &Client, pool: &ObjectId) -> Result<Option<PoolObject>, CallError> {
    get_pool(client, pool, &GetParams::default()).await
}

/// The same from the server's cache, which costs a fifth: as it is, or has been at some time; but not as it
/// was before it was `seen`.
pub async fn glance_at_pool(
    client: &Client,
    id: &ObjectId,
    seen: Option<&Pool>,
) -> Result<Option<PoolObject>, CallError> {
    let params = seen.map_or_else(GetParams::any, |seen| GetParams::at(&seen.resource_version));
    get_pool(client, id, &params).await
}

async fn get_pool(
    client: &Client,
    pool: &ObjectId,
    params: &GetParams,
) -> Result<Option<PoolObject>, CallError> {
    let object = pool.to_string();
    let call = Call {
        verb: "get",
        resource: POOLS,
        object: &object,
    };
    let request =
        Request::new(IPPool::url_path(&(), Some(&pool.namespace))).get(&pool.name, params);
    let read = client.call::<Box<RawValue>>(&call, request).await;
    match read {
        Ok(json) => decode::pool(json.get().as_bytes())
            .map(Some)
            .map_err(|error| call.failed(Cause::Unreadable(error.into()))),
        Err(error) if error.cause.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at one reservation; `None` when there is none. It is a list of one, for which no verb is
/// needed but that of the list of all.
pub async fn read_reservation(client: &Client, id: &ObjectId) -> Result<Option<Value>, CallError> {
    #[derive(serde::Deserialize)]
    struct Found {
        items: Option<Vec<Value>>,
    }
    let object = id.to_string();
    let call = Call {
        verb: "list",
        resource: RESERVATIONS,
        object: &object,
    };
    let path = OverlappingRangeIPReservation::url_path(&(), Some(&id.namespace));
    let only = ListParams::default().fields(&format!("metadata.name={}", id.name));
    let found: Found = client.call(&call, Request::new(path).list(&only)).await?;
    Ok(found.items.into_iter().flatten().next())
}
