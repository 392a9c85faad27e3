//! PURE: why an address is kept or freed, and what the operator can do about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;

use super::audit::{Action, Audit, Verdict};
use super::findings::Finding;
use super::ledger::Datastore;
use super::pods::Known;
use super::records::{RecordId, Records};
use super::report::escape;
use super::snapshot::Snapshot;
use crate::ip::parse_address;
use crate::pod::PodRef;
use crate::record::Owner;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All records of an address, in every network.
    Address(IpAddr),
    /// All records of a pod.
    Pod(PodRef),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = parse_address(text).map(Self::Address);
        if let Some((address, _)) = text.split_once('/')
            && parse_address(address).is_some()
        {
            return Err(format!(
                "{text:?} is a range; name one address, such as {address}"
            ));
        }
        address
            .or_else(|| PodRef::parse(text).map(Self::Pod))
            .ok_or_else(|| format!("{text:?} is neither an address nor a pod as NAMESPACE/NAME"))
    }
}

impl Target {
    /// The pods whose state matters.
    #[must_use]
    pub fn pods(&self, records: &Records) -> BTreeSet<PodRef> {
        match self {
            Self::Pod(pod) => BTreeSet::from([pod.clone()]),
            Self::Address(address) => records
                .at(*address)
                .filter_map(|id| records.pod_of(id).cloned())
                .collect(),
        }
    }
}

/// Nothing is recorded of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No pool has the address in its range.
    #[error("no pool covers {0}, and no reservation names it")]
    Address(IpAddr),
    /// No record names the pod.
    #[error("no record names the pod {0}")]
    Pod(PodRef),
}

/// Prints what is known of the target, with the verdict on each record.
///
/// # Errors
/// When it cannot be printed. The inner error says that there is nothing to print.
pub fn print(
    snapshot: &Snapshot,
    target: &Target,
    out: &mut dyn Write,
) -> io::Result<Result<(), Unknown>> {
    let records = &snapshot.records;
    let ids: Vec<RecordId> = match target {
        Target::Address(address) => {
            let at = records.at(*address);
            at.chain(records.unreadable_at(*address)).collect()
        }
        Target::Pod(pod) => {
            let of_pod = records.ids().filter(|id| records.pod_of(*id) == Some(pod));
            of_pod.collect()
        }
    };
    let found = findings(snapshot, target);
    if ids.is_empty() && !found.is_empty() {
        out.write_all(found.trim_start().as_bytes())?;
        return Ok(Ok(()));
    }
    if ids.is_empty() {
        return match target {
            Target::Pod(pod) => Ok(Err(Unknown::Pod(pod.clone()))),
            Target::Address(address) => print_free(records, *address, out),
        };
    }
    let mut text = String::new();
    for (at, id) in ids.into_iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        explain(snapshot, id, &mut text);
    }
    text.push_str(&found);
    for note in snapshot.notes.iter().chain(&snapshot.unsure) {
        let _ = write!(text, "\n{}\n", escape(note));
    }
    out.write_all(text.as_bytes())?;
    Ok(Ok(()))
}

/// What is wrong with it.
fn findings(snapshot: &Snapshot, target: &Target) -> String {
    let mut text = String::new();
    let is_meant = |finding: &&Finding| match target {
        Target::Address(address) => finding.address == Some(*address),
        Target::Pod(pod) => finding.pods.contains(pod),
    };
    for finding in snapshot.findings.iter().filter(is_meant) {
        let address = finding.address.map(|address| format!("{address}  "));
        let kind = finding.kind;
        let _ = writeln!(
            text,
            "\n{}Finding {}, danger {} of 6",
            address.unwrap_or_default(),
            kind.name(),
            kind.danger()
        );
        line(&mut text, "in", &finding.place.id().to_string());
        line(&mut text, "because", &finding.evidence);
        line(&mut text, "you can", finding.advice());
    }
    text
}

/// An address that nothing records.
fn print_free(
    records: &Records,
    address: IpAddr,
    out: &mut dyn Write,
) -> io::Result<Result<(), Unknown>> {
    let covers = |range: &crate::ip::IpRange| range.contains(address);
    let mut pools = records.pools.iter();
    let pool = pools.find(|pool| pool.range.as_ref().is_ok_and(covers));
    let Some(pool) = pool else {
        return Ok(Err(Unknown::Address(address)));
    };
    let pool = pool.id.to_string();
    writeln!(
        out,
        "{address} is in the range of pool {}, and nothing records it.",
        escape(&pool)
    )?;
    Ok(Ok(()))
}

/// One line of an explanation; nothing where there is nothing to say.
fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(text, "  {name:<12}{}", escape(value));
    }
}

fn explain(snapshot: &Snapshot, id: RecordId, text: &mut String) {
    let (records, audit) = (&snapshot.records, snapshot.audit());
    let owner = match id {
        RecordId::Entry(index) => describe_entry(snapshot, index, text),
        RecordId::Reservation(index) => describe_reservation(records, index, text),
    };
    if let Some(owner) = owner {
        line(
            text,
            "interface",
            owner.interface.as_deref().unwrap_or_default(),
        );
        let uid = match id {
            RecordId::Entry(index) => records.entries.get(index).and_then(|it| it.uid.as_ref()),
            RecordId::Reservation(_) => None,
        };
        line(
            text,
            "pod uid",
            &uid.map(ToString::to_string).unwrap_or_default(),
        );
        if let Some(pod) = &owner.pod {
            let state = snapshot.pods.get(pod);
            line(text, "pod", &describe_pod(pod, state));
            if let Some(evidence) = snapshot.evidence.get(pod) {
                line(text, "seen as", &evidence.to_string());
            }
        }
    }
    if let Some(place) = audit.place_of(id) {
        let since = snapshot.nodes.since(place.node);
        let since = since
            .map(|since| format!(" since {since}"))
            .unwrap_or_default();
        line(
            text,
            "node",
            &format!("{} {}{since}", place.node, place.standing),
        );
    }
    let verdict = audit.verdict(id);
    line(text, "verdict", &format!("{}: {verdict}", verdict.name()));
    line(text, "so it is", becomes(&audit, id, &verdict));
    let datastore = snapshot.networks.datastore();
    match (id, datastore, verdict.action()) {
        (RecordId::Entry(index), Datastore::Etcd, Action::Release) => {
            let entry = records.entries.get(index);
            let pool = entry.map(|entry| records.pool_of(entry));
            let exempt = datastore.exempt(pool);
            line(text, "you can", &format!("keep it all the same: {exempt}"));
        }
        _ => line(text, "you can", advice(&verdict)),
    }
}

fn describe_entry<'a>(
    snapshot: &'a Snapshot,
    index: usize,
    text: &mut String,
) -> Option<&'a Owner> {
    let (records, datastore) = (&snapshot.records, snapshot.networks.datastore());
    let entry = records.entries.get(index)?;
    let pool = records.pool_of(entry);
    let address = entry.address.as_ref().map(ToString::to_string);
    let address = address.unwrap_or_else(|_| "?".to_owned());
    let place = format!("{}/{}", pool.id, entry.key);
    let _ = writeln!(text, "{address}  Allocation {}", escape(&place));
    line(text, "range", &pool.range_text);
    line(text, "pool uid", &pool.uid);
    line(text, "version", &pool.resource_version);
    line(text, "entry", &entry.raw());
    let at = entry.address.as_ref().ok();
    let key = at.and_then(|address| datastore.key_of(pool, *address));
    line(text, "key", key.as_deref().unwrap_or_default());
    Some(&entry.owner)
}

fn describe_reservation<'a>(
    records: &'a Records,
    index: usize,
    text: &mut String,
) -> Option<&'a Owner> {
    let reservation = records.reservation(index)?;
    let addresses: Vec<String> = reservation
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    let name = reservation.id().to_string();
    let _ = writeln!(
        text,
        "{}  Reservation {}",
        addresses.join(" or "),
        escape(&name)
    );
    line(text, "uid", &reservation.uid().to_string());
    line(text, "version", &reservation.resource_version().to_string());
    let entries = reservation
        .entries
        .iter()
        .filter_map(|at| records.entries.get(*at));
    let entries: Vec<String> = entries
        .map(|entry| format!("{}/{}", records.pool_of(entry).id, entry.key))
        .collect();
    let none = "none: nothing in a pool stands for it";
    line(
        text,
        "entry",
        if entries.is_empty() {
            none.to_owned()
        } else {
            entries.join(", ")
        }
        .as_str(),
    );
    reservation.owner.ok()
}

fn describe_pod(pod: &PodRef, state: Option<Known<'_>>) -> String {
    let Some(state) = state else {
        return format!("{pod}: there is no such pod");
    };
    let mut text = pod.to_string();
    if !state.uid.is_empty() {
        let _ = write!(text, ", uid {}", state.uid);
    }
    if let Some(finished) = state.traits.finished {
        let _ = write!(text, ", phase {}", finished.phase());
    }
    if state.traits.deleting {
        text.push_str(", being deleted");
    }
    for interface in state.interfaces() {
        let addresses = interface.addresses.iter();
        let shown: Vec<String> = addresses.map(ToString::to_string).collect();
        let _ = write!(text, ", {} shows {}", interface.name, shown.join(" "));
    }
    if !state.shows_interfaces() {
        text.push_str(", shows no interfaces");
    }
    text
}

fn becomes(audit: &Audit<'_>, id: RecordId, verdict: &Verdict<'_>) -> &'static str {
    match (verdict.action(), id) {
        (Action::Keep, _) => "kept",
        (Action::Wait, _) => "kept until --grace is over",
        (Action::Warn, _) => "kept, and reported",
        (Action::Release, RecordId::Reservation(index)) if audit.has_entry(index) => {
            "released after its entry, if nothing changes before"
        }
        (Action::Release, _) => "released, if nothing changes before",
    }
}

/// What an operator can do who wants it otherwise.
fn advice(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Malformed(_) => {
            "look at the object and correct it, or delete it if nothing uses the address"
        }
        Verdict::Unowned => {
            "set podref to NAMESPACE/NAME, or free it if nothing uses it: ip-reconciler release ADDRESS"
        }
        Verdict::Protected(_) => "remove the annotation, if the address is no longer to be kept",
        Verdict::UsedByAnother(_) => {
            "delete one of the two pods: it then gets an address of its own"
        }
        // The verdict says it already.
        Verdict::HeldUnreachable { .. } => "",
        Verdict::WithinGrace { .. } => {
            "wait for --grace, or free it alone: ip-reconciler release ADDRESS"
        }
        Verdict::Terminating => "wait: the kubelet calls DEL when the containers have ended",
        Verdict::InUse(_) => "delete the pod, if the address is to be free",
        Verdict::StatusUnreadable(_) => "correct the pod's network status, or delete the pod",
        Verdict::Starting => "wait until Multus has written the pod's network status",
        Verdict::UnreachableTooLong(_)
        | Verdict::NodeOutOfService(_)
        | Verdict::NodeGone(_)
        | Verdict::PodFinished(_)
        | Verdict::PodReplaced { .. }
        | Verdict::AddressNotOnPod { .. }
        | Verdict::PodGone => {
            "keep it all the same: annotate the pool or the reservation with \
             whereabouts.cni.cncf.io/reconcile=false"
        }
    }
}
