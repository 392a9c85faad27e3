//! PURE: what a run tells those who look at a pool with `kubectl describe`.

use std::collections::BTreeMap;

use super::Run;
use super::apply::Outcome;
use super::findings::Place;
use super::records::RecordId;

/// So many events of one run at most.
const MAX_EVENTS: usize = 100;

/// So many addresses are named in one event.
const MAX_EXAMPLES: usize = 10;

/// The longest message that the API server takes is 1024 bytes.
const MAX_MESSAGE: usize = 1000;

/// Something to tell of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Index of the pool.
    pub pool: usize,
    /// Whether a person should look.
    pub kind: Kind,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// The type of an event, as Kubernetes names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing to do.
    Normal,
    /// A person should look.
    Warning,
}

impl Kind {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What a run has to tell, the most dangerous first; one event for all addresses of a pool.
#[must_use]
pub fn events(run: &Run) -> Vec<Event> {
    let mut events = describe(
        conflicts(run),
        Kind::Warning,
        "AddressConflict",
        "in conflict",
    );
    if let Some(refusal) = &run.plan.refusal {
        let planned = by_pool(run, |id| match id {
            RecordId::Entry(index) => run.plan.entries.binary_search(&index).is_ok(),
            RecordId::Reservation(_) => false,
        });
        events.extend(planned.into_keys().map(|pool| Event {
            pool,
            kind: Kind::Warning,
            reason: "ReleaseRefused",
            message: cut(&format!("Nothing was released: {refusal}")),
        }));
    }
    let released = by_pool(run, |id| {
        let applied = run.applied.as_ref();
        let outcome = applied.and_then(|applied| applied.outcomes.get(&id));
        outcome == Some(&Outcome::Released)
    });
    let released = describe(
        released,
        Kind::Normal,
        "Released",
        "released from gone pods",
    );
    events.extend(released);
    events.truncate(MAX_EVENTS);
    events
}

/// The addresses of each pool that two pods have or can get, with what is wrong and those pods.
fn conflicts(run: &Run) -> BTreeMap<usize, Vec<String>> {
    let pools = &run.snapshot.records.pools;
    let mut conflicts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for finding in &run.snapshot.findings {
        let pool = pools.binary_search_by(|pool| pool.id.cmp(finding.place.id()));
        if let (true, Place::Pool(_), Ok(pool), Some(address)) = (
            finding.kind.is_conflict(),
            &finding.place,
            pool,
            finding.address,
        ) {
            let pods: Vec<String> = finding.pods.iter().map(ToString::to_string).collect();
            let text = format!("{address} {} ({})", finding.kind.name(), pods.join(", "));
            conflicts.entry(pool).or_default().push(text);
        }
    }
    conflicts
}

/// The addresses of all entries that are meant, with the pod that each names.
fn by_pool(run: &Run, is_meant: impl Fn(RecordId) -> bool) -> BTreeMap<usize, Vec<String>> {
    let records = &run.snapshot.records;
    let mut addresses: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (index, entry) in records.entries.iter().enumerate() {
        if let (Ok(address), true) = (&entry.address, is_meant(RecordId::Entry(index))) {
            let pod = entry.owner.pod.as_ref().map(ToString::to_string);
            let text = format!("{address} ({})", pod.unwrap_or_default());
            addresses.entry(entry.pool).or_default().push(text);
        }
    }
    addresses
}

fn describe(
    by_pool: BTreeMap<usize, Vec<String>>,
    kind: Kind,
    reason: &'static str,
    what: &str,
) -> Vec<Event> {
    let one = |(pool, addresses): (usize, Vec<String>)| {
        let examples: Vec<&str> = addresses
            .iter()
            .take(MAX_EXAMPLES)
            .map(String::as_str)
            .collect();
        let noun = if addresses.len() == 1 {
            "address"
        } else {
            "addresses"
        };
        let mut message = format!("{} {noun} {what}: {}", addresses.len(), examples.join(", "));
        if addresses.len() > MAX_EXAMPLES {
            message.push_str(", ...");
        }
        Event {
            pool,
            kind,
            reason,
            message: cut(&message),
        }
    };
    by_pool.into_iter().map(one).collect()
}

/// Keeps a message short enough, and free of what moves a cursor.
fn cut(message: &str) -> String {
    let mut safe = super::report::escape(message).into_owned();
    if safe.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE)
            .rev()
            .find(|at| safe.is_char_boundary(*at));
        safe.truncate(end.unwrap_or_default());
        safe.push_str("...");
    }
    safe
}
