//! PURE: what a run released, saved so that it can be put back.
//!
//! It is written before the first release, and once more with what became of each record: a run
//! that is killed in between leaves a report of what it was about to do.

mod check;
mod packed;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::apply::{Applied, Outcome};
use super::ledger::Datastore;
use super::plan::Plan;
use super::records::{RecordId, Records};
use super::snapshot::Snapshot;

pub use packed::{Fitted, fit, pack, unpack};

/// The version of the format; it changes when a member changes its meaning.
const API_VERSION: &str = "report.whereabouts.cni.cncf.io/v1alpha1";
/// What kind of document this is.
const KIND: &str = "ReleaseReport";

/// Members of `metadata` that a user writes; all others are the server's.
const OWN_METADATA: [&str; 6] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
];

/// A saved report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedReport {
    api_version: String,
    kind: String,
    /// The uid of the namespace `kube-system`: no other cluster has the same.
    pub cluster: String,
    /// Where the records were.
    #[serde(default, skip_serializing_if = "is_default")]
    pub datastore: Datastore,
    /// When the run began, as RFC 3339 in UTC.
    pub started_at: String,
    /// Whether the run came to its end; before, nothing is said of the records' fates.
    pub finished: bool,
    /// How many records were left out, since they did not fit.
    #[serde(default)]
    pub left_out: usize,
    /// Entries of pools.
    pub allocations: Vec<SavedEntry>,
    /// Reservations.
    pub reservations: Vec<SavedReservation>,
}

/// An entry as it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedEntry {
    /// The pool's namespace.
    pub namespace: String,
    /// The pool's name.
    pub pool: String,
    /// The pool's range, as it is written there.
    pub range: String,
    /// The entry's key.
    pub offset: String,
    /// The entry.
    pub entry: Value,
    /// Names of the reservations of the same claim, in the same namespace.
    #[serde(default)]
    pub reservations: Vec<String>,
    /// Why it was released.
    pub verdict: String,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A reservation as it was directly before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedReservation {
    /// The object, without what the server sets.
    pub object: Value,
    /// Why it was released.
    pub verdict: String,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// A text that is no saved report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReport {
    /// It is not even complete JSON, or lacks members.
    #[error("it is no complete report: {0}")]
    Unreadable(String),
    /// It is another kind of document.
    #[error(
        "it is a {0:?} of {1:?}; what can be undone is a {KIND} of {API_VERSION:?}, as --report and \
         --keep-reports save it"
    )]
    Other(String, String),
}

impl SavedReport {
    /// What a run is about to release; `objects` are the reservations of the plan, as [`own_part`]s.
    #[must_use]
    pub fn planned(
        (datastore, cluster): (Datastore, &str),
        started_at: &str,
        snapshot: &Snapshot,
        plan: &Plan,
        mut objects: HashMap<usize, Value>,
    ) -> Self {
        let (records, audit) = (&snapshot.records, snapshot.audit());
        let verdict = |id| audit.verdict(id).name().to_owned();
        let claims = claims(records, plan);
        let allocations = plan.entries.iter().filter_map(|index| {
            let entry = records.entries.get(*index)?;
            let pool = records.pool_of(entry);
            Some(SavedEntry {
                namespace: pool.id.namespace.to_string(),
                pool: pool.id.name.to_string(),
                range: pool.range_text.to_string(),
                offset: entry.key.to_string(),
                entry: serde_json::from_str(&entry.raw()).ok()?,
                reservations: claims.get(index).cloned().unwrap_or_default(),
                verdict: verdict(RecordId::Entry(*index)),
                result: None,
            })
        });
        let reservations = plan.reservations.iter().filter_map(|index| {
            Some(SavedReservation {
                object: objects.remove(index)?,
                verdict: verdict(RecordId::Reservation(*index)),
                result: None,
            })
        });
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            cluster: cluster.to_owned(),
            datastore,
            started_at: started_at.to_owned(),
            finished: false,
            left_out: 0,
            allocations: allocations.collect(),
            reservations: reservations.collect(),
        }
    }

    /// Takes note of what became of the records.
    pub fn finish(&mut self, records: &Records, applied: &Applied) {
        self.finished = true;
        let mut results: HashMap<(String, String, String), &'static str> = HashMap::new();
        for (id, outcome) in &applied.outcomes {
            let place = match id {
                RecordId::Entry(index) => records.entries.get(*index).map(|entry| {
                    let pool = &records.pool_of(entry).id;
                    (
                        pool.namespace.to_string(),
                        pool.name.to_string(),
                        entry.key.to_string(),
                    )
                }),
                RecordId::Reservation(index) => records.reservation(*index).map(|r| {
                    (
                        r.namespace().to_string(),
                        r.name().into_owned(),
                        String::new(),
                    )
                }),
            };
            if let Some(place) = place {
                results.insert(place, outcome.name());
            }
        }
        let result = |place| results.get(&place).map(|result| (*result).to_owned());
        for saved in &mut self.allocations {
            let place = (
                saved.namespace.clone(),
                saved.pool.clone(),
                saved.offset.clone(),
            );
            saved.result = result(place);
        }
        for saved in &mut self.reservations {
            let (namespace, name) = saved.id();
            saved.result = result((namespace.to_owned(), name.to_owned(), String::new()));
        }
    }

    /// Whether the run has freed anything, or may have.
    #[must_use]
    pub fn may_have_freed(&self) -> bool {
        let of_entries = self.allocations.iter().map(|saved| &saved.result);
        let of_reservations = self.reservations.iter().map(|saved| &saved.result);
        let mut results = of_entries.chain(of_reservations);
        results.any(|result| may_be_freed(result.as_deref()))
    }

    /// The first `most` claims: entries with their reservations, and then reservations alone.
    #[must_use]
    pub fn first(&self, most: usize) -> Self {
        let mut part = self.clone();
        part.allocations.truncate(most);
        let names = |entries: &[SavedEntry]| -> HashSet<(String, String)> {
            let of_each = entries.iter().map(|saved| {
                let names = saved.reservations.iter();
                names.map(|name| (saved.namespace.clone(), name.clone()))
            });
            of_each.flatten().collect()
        };
        let (all, kept) = (names(&self.allocations), names(&part.allocations));
        let mut alone = most.saturating_sub(self.allocations.len());
        part.reservations.retain(|saved| {
            let (namespace, name) = saved.id();
            let id = (namespace.to_owned(), name.to_owned());
            if all.contains(&id) {
                return kept.contains(&id);
            }
            let fits = alone > 0;
            alone = alone.saturating_sub(1);
            fits
        });
        part.left_out += self.len() - part.len();
        part
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.allocations.len() + self.reservations.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a saved report.
    ///
    /// # Errors
    /// When it is something else, of another version, or cut off.
    pub fn parse(text: &[u8]) -> Result<Self, NoReport> {
        let unreadable = |error: serde_json::Error| NoReport::Unreadable(error.to_string());
        let value: Value = serde_json::from_slice(text).map_err(unreadable)?;
        let member = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
        if member("apiVersion") != API_VERSION || member("kind") != KIND {
            let (kind, version) = (member("kind"), member("apiVersion"));
            return Err(NoReport::Other(kind.to_owned(), version.to_owned()));
        }
        let report: Self = serde_json::from_value(value).map_err(unreadable)?;
        match check::odd_name(&report) {
            Some(name) => Err(NoReport::Unreadable(format!(
                "{name:?} is no object's name"
            ))),
            None => Ok(report),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_default(datastore: &Datastore) -> bool {
    *datastore == Datastore::default()
}

impl SavedReservation {
    /// Its namespace and name.
    #[must_use]
    pub fn id(&self) -> (&str, &str) {
        let member = |name: &str| {
            let member = self.object.pointer(&format!("/metadata/{name}"));
            member.and_then(Value::as_str).unwrap_or_default()
        };
        (member("namespace"), member("name"))
    }
}

/// Whether a run with this result for a record may have freed it. Nothing is said of a run that did
/// not come to its end, and what was gone may be gone by a write whose answer was lost.
#[must_use]
pub fn may_be_freed(result: Option<&str>) -> bool {
    let spared = [
        Outcome::Changed.name(),
        Outcome::KeptWithEntry.name(),
        Outcome::NotStarted.name(),
    ];
    result.is_none_or(|result| !spared.contains(&result))
}

/// The names of the reservations to be released with each entry.
fn claims(records: &Records, plan: &Plan) -> HashMap<usize, Vec<String>> {
    let mut claims: HashMap<usize, Vec<String>> = HashMap::new();
    for index in &plan.reservations {
        let Some(reservation) = records.reservation(*index) else {
            continue;
        };
        for entry in reservation.entries {
            let names = claims.entry(*entry).or_default();
            names.push(reservation.name().into_owned());
        }
    }
    claims
}

/// What of an object is not the server's.
#[must_use]
pub fn own_part(object: &Value) -> Value {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let own = metadata.into_iter().flatten();
    let own = own.filter(|(name, _)| OWN_METADATA.contains(&name.as_str()));
    let own: serde_json::Map<String, Value> = own
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let (group, version) = (crate::api::GROUP, crate::api::VERSION);
    json!({
        "apiVersion": format!("{group}/{version}"),
        "kind": "OverlappingRangeIPReservation",
        "metadata": own,
        "spec": object.get("spec"),
    })
}
