//! PURE: one JSON object of the API to a record or a pod.
//!
//! Only the members that matter are read, borrowed where possible; `managedFields`, most of an
//! object's bytes, are skipped over. An object without a name cannot be spoken of and is an error;
//! everything else that is odd is kept as a record with a problem, so that it is reported and never
//! freed.

#[cfg(test)]
mod tests;
mod wire;

use std::borrow::Cow;
use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::history::{self, USE_HISTORY_KEY};
use super::marks::{FIRST_SEEN_KEY, Mark, Marks, Print};
use super::words::Words;
use super::{Entry, ObjectId, Owner, Pool, PoolObject, Reservation};
use crate::api::{MAX_LABEL, NODE_LABEL};
use crate::client::Encoding;
use crate::node::{NodeState, OUT_OF_SERVICE};
use crate::pod::{
    Finished, MIRROR_KEY, NetworkStatus, PodRef, PodState, RECONCILE_KEY, STATUS_KEYS, Sandbox,
    Stage, Traits,
};
use crate::text::{Text, Uid};

type Annotations<'a> = HashMap<Cow<'a, str>, Cow<'a, str>>;

/// `metadata` of any object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: Cow<'a, str>,
    #[serde(default)]
    namespace: Cow<'a, str>,
    #[serde(default)]
    uid: Cow<'a, str>,
    #[serde(default)]
    resource_version: Cow<'a, str>,
    #[serde(default)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    annotations: Option<Annotations<'a>>,
    #[serde(default, borrow)]
    labels: Option<Annotations<'a>>,
}

impl Metadata<'_> {
    fn id(&self) -> ObjectId {
        ObjectId {
            namespace: (&*self.namespace).into(),
            name: (&*self.name).into(),
        }
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(|value| &**value)
    }

    /// The node for which our plugin made a reservation; a name that may have been cut off for the
    /// label is none.
    fn node_label(&self) -> Option<Text> {
        let name = self.labels.as_ref()?.get(NODE_LABEL)?;
        (name.len() < MAX_LABEL && !name.is_empty()).then(|| (&**name).into())
    }

    fn is_protected(&self) -> bool {
        self.annotation(RECONCILE_KEY) == Some("false")
    }
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(default, borrow)]
    spec: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PoolSpec<'a> {
    #[serde(borrow)]
    range: Cow<'a, str>,
    #[serde(default, borrow)]
    allocations: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

#[derive(Deserialize)]
struct EntryFields<'a> {
    #[serde(default)]
    id: Cow<'a, str>,
    #[serde(default)]
    podref: Cow<'a, str>,
    #[serde(default)]
    ifname: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    owner: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OwnerFields<'a> {
    #[serde(default)]
    id: Cow<'a, str>,
    #[serde(default)]
    poduid: Option<Cow<'a, str>>,
    #[serde(default)]
    nodename: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ReservationSpec<'a> {
    #[serde(default)]
    podref: Cow<'a, str>,
    #[serde(default)]
    ifname: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec<'a> {
    #[serde(default)]
    node_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct NodeSpec<'a> {
    #[serde(default, borrow)]
    taints: Option<Vec<Taint<'a>>>,
}

#[derive(Deserialize)]
struct Taint<'a> {
    #[serde(default)]
    key: Cow<'a, str>,
}

#[derive(Deserialize)]
struct NodeStatus<'a> {
    #[serde(default, borrow)]
    conditions: Option<Vec<Condition<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(default)]
    status: Cow<'a, str>,
    #[serde(default)]
    last_transition_time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus<'a> {
    #[serde(default)]
    phase: Cow<'a, str>,
    #[serde(default, borrow)]
    conditions: Option<Vec<Condition<'a>>>,
    #[serde(default)]
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    #[serde(default)]
    state: Option<ContainerState>,
}

#[derive(Deserialize)]
struct ContainerState {
    #[serde(default)]
    running: Option<serde::de::IgnoredAny>,
}

impl PodStatus<'_> {
    /// Whether the kubelet says that the sandbox is not ready, or that no container runs.
    fn sandbox(&self) -> Sandbox {
        let mut conditions = self.conditions.iter().flatten();
        let sandbox_missing = conditions.any(|condition| {
            condition.kind == "PodReadyToStartContainers" && condition.status == "False"
        });
        let none_runs = self.container_statuses.as_ref().is_some_and(|containers| {
            let runs = |container: &ContainerStatus| {
                let state = container.state.as_ref();
                state.is_some_and(|state| state.running.is_some())
            };
            !containers.is_empty() && !containers.iter().any(runs)
        });
        if sandbox_missing || none_runs {
            Sandbox::BeingMade
        } else {
            Sandbox::Settled
        }
    }
}

/// A pod as a list or a GET shows it.
#[derive(Debug, Clone)]
pub struct SeenPod {
    /// Its namespace and name.
    pub pod: PodRef,
    /// What it shows; `finished` is only known from a whole pod.
    pub state: PodState,
}

/// Reads an `IPPool`.
pub fn pool(json: &[u8]) -> Result<PoolObject, serde_json::Error> {
    let Object { metadata, spec, .. } = serde_json::from_slice(json)?;
    let spec: Result<PoolSpec, _> = serde_json::from_str(spec.map_or("null", RawValue::get));
    let spec = match spec {
        Ok(spec) => spec,
        Err(error) => {
            let reason = format!("spec: {error}");
            let pool = Pool::unreadable(metadata.id(), &reason, metadata.is_protected());
            return Ok(PoolObject {
                pool,
                entries: Vec::new(),
            });
        }
    };
    let mut pool = Pool::new(metadata.id(), &spec.range, metadata.is_protected());
    pool.uid = (&*metadata.uid).into();
    pool.resource_version = (&*metadata.resource_version).into();
    let first_seen = metadata.annotation(FIRST_SEEN_KEY).map(Marks::parse);
    pool.first_seen = first_seen.unwrap_or_default();
    let samples = metadata.annotation(USE_HISTORY_KEY).map(history::parse);
    pool.samples = samples.unwrap_or_default();
    let allocations = spec.allocations.unwrap_or_default();
    let entries = allocations
        .into_iter()
        .map(|(key, raw)| entry(&pool, &key, raw.get()))
        .collect();
    Ok(PoolObject { pool, entries })
}

/// Reads an entry of a pool.
#[must_use]
pub fn entry(pool: &Pool, key: &str, raw: &str) -> Entry {
    let address = match &pool.range {
        Ok(range) => range.address_of_key(key).ok_or_else(|| {
            format!("key {key:?} is no offset inside the range {range}").into_boxed_str()
        }),
        Err(reason) => Err(reason.clone()),
    };
    let (address, words, owner, uid) = match entry_owner(raw) {
        Ok((container, owner, uid)) => {
            let words = Words::of(raw, &container, &owner, uid.as_deref());
            (address, words, owner, uid.as_deref().map(Uid::from))
        }
        Err(error) => (
            Err(format!("entry {key:?}: {error}").into()),
            Words::other(raw),
            Owner::default(),
            None,
        ),
    };
    Entry {
        pool: 0,
        key: key.into(),
        words,
        address,
        owner,
        uid,
    }
}

type Whose<'a> = (Cow<'a, str>, Owner, Option<Cow<'a, str>>);

/// The container and the owner of an entry, and the uid of the pod.
fn entry_owner(raw: &str) -> Result<Whose<'_>, serde_json::Error> {
    let fields: EntryFields = serde_json::from_str(raw)?;
    // An owner that cannot be read says nothing; the entry without it is still the Go program's.
    let owner: Option<OwnerFields> = fields
        .owner
        .and_then(|owner| serde_json::from_str(owner.get()).ok());
    let owner = owner.filter(|owner| owner.id == fields.id);
    let (uid, node) = owner.map_or((None, None), |owner| (owner.poduid, owner.nodename));
    let owner = Owner {
        pod: PodRef::parse(&fields.podref).filter(PodRef::can_exist),
        interface: non_empty(fields.ifname),
        node: non_empty(node),
    };
    Ok((fields.id, owner, uid.filter(|uid| !uid.is_empty())))
}

fn non_empty(text: Option<Cow<str>>) -> Option<Text> {
    text.filter(|text| !text.is_empty())
        .map(|text| (&*text).into())
}

/// Reads an `OverlappingRangeIPReservation`; its addresses are found when it is joined.
pub fn reservation(json: &[u8]) -> Result<Reservation, serde_json::Error> {
    let Object { metadata, spec, .. } = serde_json::from_slice(json)?;
    let text = spec.map_or("null", RawValue::get);
    let spec: Result<ReservationSpec, _> = serde_json::from_str(text);
    let owner = spec
        .map_err(|error| format!("spec: {error}").into())
        .map(|spec| Owner {
            pod: PodRef::parse(&spec.podref).filter(PodRef::can_exist),
            interface: non_empty(spec.ifname),
            node: metadata.node_label(),
        });
    Ok(Reservation {
        id: metadata.id(),
        uid: (&*metadata.uid).into(),
        resource_version: (&*metadata.resource_version).into(),
        protected: metadata.is_protected(),
        owner,
        first_seen: metadata
            .annotation(FIRST_SEEN_KEY)
            .map(|text| Box::new(first_seen(text))),
        print: Print::of(&[&metadata.uid, text]),
        addresses: SmallVec::new(),
        entries: SmallVec::new(),
    })
}

/// A mark that cannot be read is one of nothing: it waits to be written anew.
fn first_seen(text: &str) -> Mark {
    let nothing = Mark {
        at: Timestamp::MAX,
        print: Print::default(),
    };
    Mark::parse(text).unwrap_or(nothing)
}

/// Reads which object it is.
#[must_use]
pub fn id(object: &serde_json::Value) -> Option<ObjectId> {
    let text = |pointer| object.pointer(pointer)?.as_str();
    Some(ObjectId {
        namespace: text("/metadata/namespace").unwrap_or_default().into(),
        name: text("/metadata/name")?.into(),
    })
}

/// Reads a pod, whole or metadata only.
pub fn pod(json: &[u8]) -> Result<SeenPod, serde_json::Error> {
    let Object {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(json)?;
    let spec: Option<PodSpec> = spec
        .map(|spec| serde_json::from_str(spec.get()))
        .transpose()?;
    let status: Option<PodStatus> = status
        .map(|status| serde_json::from_str(status.get()))
        .transpose()?;
    let mut seen = metadata_of_pod(&PodMetadata {
        name: &metadata.name,
        namespace: &metadata.namespace,
        uid: &metadata.uid,
        deleting: metadata.deletion_timestamp.is_some(),
        annotation: |key: &str| metadata.annotation(key).map(Cow::Borrowed),
    })?;
    seen.state.traits.sandbox = status.as_ref().map(PodStatus::sandbox).unwrap_or_default();
    seen.state.traits.node = spec.and_then(|spec| non_empty(spec.node_name));
    seen.state.traits.stage = match status.as_ref().map(|status| &*status.phase) {
        Some("Running") => Stage::Running,
        _ => Stage::Other,
    };
    seen.state.traits.finished = status.and_then(|status| Finished::from_phase(&status.phase));
    Ok(seen)
}

/// Reads an item of a list of the metadata of pods.
pub fn listed_pod(encoding: Encoding, bytes: &[u8]) -> Result<SeenPod, serde_json::Error> {
    match encoding {
        Encoding::Json => pod(bytes),
        Encoding::Protobuf => wire::pod(bytes),
    }
}

/// What of a pod's metadata counts, however it is written.
struct PodMetadata<'a, F: Fn(&str) -> Option<Cow<'a, str>>> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    deleting: bool,
    annotation: F,
}

/// What a pod's metadata says.
fn metadata_of_pod<'a, F: Fn(&str) -> Option<Cow<'a, str>>>(
    metadata: &PodMetadata<'a, F>,
) -> Result<SeenPod, serde_json::Error> {
    let PodMetadata {
        name, namespace, ..
    } = metadata;
    let pod = PodRef::parse(&format!("{namespace}/{name}"))
        .ok_or_else(|| serde::de::Error::custom(format_args!("{name:?} is no namespaced name")))?;
    let annotation = &metadata.annotation;
    let shown = STATUS_KEYS.map(annotation);
    let state = PodState {
        uid: metadata.uid.into(),
        traits: Traits {
            deleting: metadata.deleting,
            protected: annotation(RECONCILE_KEY).as_deref() == Some("false"),
            mirror: annotation(MIRROR_KEY).is_some(),
            ..Traits::default()
        },
        status: NetworkStatus::parse(shown.iter().flatten().map(|text| &**text)),
    };
    Ok(SeenPod { pod, state })
}

/// Reads a Node and its name. One that says nothing of its condition is not Ready.
pub fn node(json: &[u8]) -> Result<(Box<str>, NodeState), serde_json::Error> {
    let Object {
        metadata,
        spec,
        status,
    } = serde_json::from_slice(json)?;
    let spec: Option<NodeSpec> = spec
        .map(|spec| serde_json::from_str(spec.get()))
        .transpose()?;
    let status: Option<NodeStatus> = status
        .map(|status| serde_json::from_str(status.get()))
        .transpose()?;
    let conditions = status.and_then(|status| status.conditions);
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition.kind == "Ready");
    let mut taints = spec.and_then(|spec| spec.taints).into_iter().flatten();
    let state = NodeState {
        out_of_service: taints.any(|taint| taint.key == OUT_OF_SERVICE),
        since: ready
            .as_ref()
            .and_then(|ready| ready.last_transition_time.as_ref()?.parse().ok()),
        ready: ready.is_some_and(|ready| ready.status == "True"),
    };
    Ok(((&*metadata.name).into(), state))
}
