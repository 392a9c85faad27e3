//! I/O: the snapshot from `kubectl get -o yaml|json` dumps.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Snapshot;
use super::documents::{Document, parse_documents};
use crate::pod::PodRef;
use crate::reconcile::explain::Target;
use crate::reconcile::foreign::{self, Part};
use crate::reconcile::pods::Pods;
use crate::reconcile::records::Records;
use crate::record::decode;
use crate::record::evidence::{self, Evidence};

/// The most that is read of one dump, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Why a dump is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read at all.
    #[error("cannot read {path}: {source}", path = shown(.path))]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what `kubectl get` prints.
    #[error("{path}: {reason}", path = shown(.path))]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The files together lack something.
    #[error(
        "the files hold no {0}; a kind that is absent is not an empty list, so nothing can be \
         said. Dump all of it: kubectl get ippools,overlappingrangeipreservations,nodes,pods -A -o yaml"
    )]
    Absent(&'static str),
}

/// The file's name, as it is told to a person.
fn shown(path: &Path) -> Cow<'_, str> {
    if path.as_os_str() == "-" {
        "standard input".into()
    } else {
        path.to_string_lossy()
    }
}

/// The kinds that a snapshot is made of; others are only skipped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pool,
    Reservation,
    Pod,
    Node,
    /// Need not be there.
    Definition,
    /// Need not be there.
    CronJob,
}

impl Kind {
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        let ours = api_version
            .strip_prefix(crate::api::GROUP)
            .is_some_and(|v| v.starts_with('/'));
        match kind {
            "IPPool" if ours => Some(Self::Pool),
            "OverlappingRangeIPReservation" if ours => Some(Self::Reservation),
            "Pod" if api_version == "v1" => Some(Self::Pod),
            "Node" if api_version == "v1" => Some(Self::Node),
            "NetworkAttachmentDefinition" if api_version == "k8s.cni.cncf.io/v1" => {
                Some(Self::Definition)
            }
            "CronJob" if api_version == "batch/v1" => Some(Self::CronJob),
            _ => None,
        }
    }
}

/// Namespace and name.
type Id = (String, String);

/// Where an object stands, and its JSON.
type Found = (String, Vec<u8>);

/// Objects by kind, and by namespace and name, so that none is there twice.
#[derive(Default)]
struct Objects {
    found: BTreeMap<Kind, BTreeMap<Id, Found>>,
    skipped: BTreeMap<String, usize>,
}

/// Reads dumps; `-` is standard input. Of the pods that `asked` is about, more is kept.
pub fn read_files(paths: &[PathBuf], asked: Option<&Target>) -> Result<Snapshot, FileError> {
    let mut texts = Vec::new();
    for path in paths {
        let text = read(path).map_err(|source| FileError::Io {
            path: path.clone(),
            source,
        })?;
        texts.push((path.clone(), text));
    }
    parse_dumps(&texts, asked)
}

/// Makes a snapshot of the texts of dumps; the paths are for messages.
pub fn parse_dumps(
    texts: &[(PathBuf, String)],
    asked: Option<&Target>,
) -> Result<Snapshot, FileError> {
    let mut objects = Objects::default();
    for (path, text) in texts {
        let content = |reason| FileError::Content {
            path: path.clone(),
            reason,
        };
        let documents = parse_documents(text).map_err(content)?;
        if documents.is_empty() {
            return Err(content("the file is empty".to_owned()));
        }
        for document in documents {
            objects.take(path, document).map_err(content)?;
        }
    }
    objects.into_snapshot(asked)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_FILE)
            .read_to_string(&mut text)?
    } else {
        std::fs::File::open(path)?
            .take(MAX_FILE)
            .read_to_string(&mut text)?
    };
    if u64::try_from(read).is_ok_and(|read| read >= MAX_FILE) {
        return Err(std::io::Error::other("it is larger than 1 GiB"));
    }
    Ok(text)
}

impl Objects {
    fn take(&mut self, path: &Path, document: Document) -> Result<(), String> {
        let Document { place, value } = document;
        let text = |value: &Value, member: &str| {
            value
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (text(&value, "apiVersion"), text(&value, "kind"));
        if kind.is_empty() {
            return Err(format!(
                "{place} has no kind: it is no Kubernetes object, or the file is cut off"
            ));
        }
        let Some(element) = kind.strip_suffix("List") else {
            return match Kind::of(&api_version, &kind) {
                Some(kind) => self.add(path, &place, kind, &value),
                None => Err(format!(
                    "{place} is a {kind} of {api_version:?}; a snapshot is made of IPPools, \
                     OverlappingRangeIPReservations, Nodes and Pods"
                )),
            };
        };
        if value
            .pointer("/metadata/continue")
            .and_then(Value::as_str)
            .is_some_and(|t| !t.is_empty())
        {
            return Err(format!("{place} is only one page of a list"));
        }
        let Some(items) = value.get("items").and_then(Value::as_array) else {
            return Err(format!("{place} is a {kind} without items"));
        };
        let of_list = Kind::of(&api_version, element);
        if let Some(kind) = of_list {
            // A list of one kind says that there are no others of it, even when it is empty.
            self.found.entry(kind).or_default();
        } else if !element.is_empty() {
            return Err(format!(
                "{place} is a {kind} of {api_version:?}, which is of no use here"
            ));
        }
        for (at, item) in items.iter().enumerate() {
            let place = format!("{place}, item {}", at + 1);
            let (item_version, item_kind) = (text(item, "apiVersion"), text(item, "kind"));
            // The items of a raw list, as opposed to kubectl's, do not repeat their kind.
            match of_list.or_else(|| Kind::of(&item_version, &item_kind)) {
                Some(kind) => self.add(path, &place, kind, item)?,
                None if item_kind.is_empty() => return Err(format!("{place} has no kind")),
                None => *self.skipped.entry(item_kind).or_default() += 1,
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, place: &str, kind: Kind, value: &Value) -> Result<(), String> {
        let name = |member| {
            let name = value
                .pointer(member)
                .and_then(Value::as_str)
                .unwrap_or_default();
            name.to_owned()
        };
        let id = (name("/metadata/namespace"), name("/metadata/name"));
        let place = format!("{}: {place}", path.display());
        let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
        let same_kind = self.found.entry(kind).or_default();
        if let Some((first, _)) = same_kind.get(&id) {
            return Err(format!(
                "{kind:?} {}/{} is there twice: {first} and {place}",
                id.0, id.1
            ));
        }
        same_kind.insert(id, (place, json));
        Ok(())
    }

    fn decoded<T>(
        &self,
        kind: Kind,
        decode: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<Vec<T>, FileError> {
        let objects = self.found.get(&kind).into_iter().flat_map(BTreeMap::values);
        objects
            .map(|(place, json)| {
                decode(json).map_err(|error| {
                    let (path, place) = place.split_once(": ").unwrap_or(("", place));
                    FileError::Content {
                        path: path.into(),
                        reason: format!("{place}: {error}"),
                    }
                })
            })
            .collect()
    }

    fn evidence(&self, asked: Option<&Target>, records: &Records) -> HashMap<PodRef, Evidence> {
        let pods = asked.map(|asked| asked.pods(records)).unwrap_or_default();
        let seen = pods.into_iter().filter_map(|pod| {
            let id = (pod.namespace().to_owned(), pod.name().to_owned());
            let (_, json) = self.found.get(&Kind::Pod)?.get(&id)?;
            Some((pod, evidence::read(json).ok()?))
        });
        seen.collect()
    }

    fn into_snapshot(self, asked: Option<&Target>) -> Result<Snapshot, FileError> {
        if !self.found.contains_key(&Kind::Pool) && !self.found.contains_key(&Kind::Reservation) {
            return Err(FileError::Absent(
                "IPPools and no OverlappingRangeIPReservations",
            ));
        }
        if !self.found.contains_key(&Kind::Pod) {
            return Err(FileError::Absent("Pods"));
        }
        let mut notes = Vec::new();
        for (kind, name) in [
            (Kind::Pool, "IPPool"),
            (Kind::Reservation, "OverlappingRangeIPReservation"),
        ] {
            if !self.found.contains_key(&kind) {
                notes.push(format!("the files hold no {name}"));
            }
        }
        for (kind, count) in &self.skipped {
            notes.push(format!("{count} objects of kind {kind} were skipped"));
        }
        let records = Records::new(
            self.decoded(Kind::Pool, decode::pool)?,
            self.decoded(Kind::Reservation, decode::reservation)?,
        );
        let mut pods = Pods::asked_by(&records);
        for seen in self.decoded(Kind::Pod, decode::pod)? {
            pods.see(&records, seen);
        }
        if !self.found.contains_key(&Kind::Node) {
            notes.push(
                "the files hold no Nodes: whether a node is unreachable is not looked at"
                    .to_owned(),
            );
        }
        let mut snapshot = Snapshot {
            evidence: self.evidence(asked, &records),
            records,
            pods,
            notes,
            ..Snapshot::default()
        };
        for (name, state) in self.decoded(Kind::Node, decode::node)? {
            snapshot.nodes.see(name, state);
        }
        for object in self.decoded(Kind::Definition, whole)? {
            if let Some(id) = decode::id(&object) {
                snapshot.networks.see(&id, &object);
            }
        }
        snapshot.notes.extend(self.go_program()?);
        Ok(snapshot)
    }

    /// Which parts of the Go program run that free addresses.
    fn go_program(&self) -> Result<BTreeSet<String>, FileError> {
        let mut remarks = BTreeSet::new();
        let mut see = |place: &str, object: &Value, part: Option<Part>| {
            if let (Some(part), Some(id)) = (part, decode::id(object)) {
                remarks.insert(part.remark(&format!("{place} {id}")));
            }
        };
        for object in self.decoded(Kind::Pod, whole)? {
            let pod = decode::id(&object).and_then(|id| PodRef::parse(&id.to_string()));
            if pod.is_some_and(|pod| foreign::is_suspect(&pod)) {
                see("pod", &object, foreign::of_pod(&object));
            }
        }
        for object in self.decoded(Kind::CronJob, whole)? {
            see("CronJob", &object, foreign::of_cron_job(&object));
        }
        Ok(remarks)
    }
}

fn whole(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(json)
}
