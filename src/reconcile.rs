//! The reconciler: snapshot (I/O) → audit → plan (pure) → apply (I/O) → report (pure).
//!
//! A dry run is the same way without apply, so it cannot drift from a real one.

pub mod apply;
pub mod audit;
pub mod by_hand;
pub mod confirm;
pub mod events;
pub mod exhaustion;
pub mod explain;
pub mod findings;
pub mod foreign;
pub mod grace;
pub mod items;
pub mod kept;
pub mod ledger;
pub mod memory;
pub mod networks;
pub mod nodes;
pub mod originals;
pub mod plan;
pub mod pods;
pub mod put;
pub mod recheck;
pub mod records;
pub mod repair;
pub mod report;
pub mod saved;
pub mod snapshot;
pub mod stop;
pub mod undo;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::client::CallError;
use apply::{Applied, Writing, apply};
use grace::Grace;
use ledger::{Cluster, Datastore, NotOurs};
use networks::Networks;
use plan::{MaxRelease, Plan, Scope};
use repair::Repaired;
use snapshot::{ReadStep, Snapshot, read_cluster};
use stop::Stop;

/// `ippools`, as roles and messages spell it.
pub const POOLS: &str = "ippools.whereabouts.cni.cncf.io";
/// `overlappingrangeipreservations`, as roles and messages spell it.
pub const RESERVATIONS: &str = "overlappingrangeipreservations.whereabouts.cni.cncf.io";
/// `nodes`, as roles and messages spell it.
pub const NODES: &str = "nodes";
/// `pods`, as roles and messages spell it.
pub const PODS: &str = "pods";

/// What a run may do and how much of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which records it may touch.
    pub scope: Scope,
    /// Whether it writes.
    pub mode: Mode,
    /// Whether it puts back what live pods provably use.
    pub repairs: Repairs,
    /// How much it may release.
    pub max_release: MaxRelease,
    /// Whether brakes are overridden.
    pub brakes: Brakes,
    /// What is concluded from nodes.
    pub nodes: nodes::Rules,
    /// How long an orphan has to be seen as one.
    pub grace: Duration,
    /// Whether it tells what it did on the pools.
    pub events: Events,
    /// How far two looks at a suspect pod are apart.
    pub settle: Duration,
    /// Objects in a page of a list.
    pub page: u32,
    /// Calls side by side.
    pub at_once: usize,
    /// Where the records are.
    pub datastore: Datastore,
}

/// Whether a run writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It only reports.
    DryRun,
    /// It releases orphans.
    Release,
}

/// Whether a run that writes also writes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Whether a run puts back what live pods provably use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repairs {
    /// It only reports what is missing.
    Off,
    /// It does, unless it is a dry run.
    On,
}

/// Whether a brake stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brakes {
    /// It does.
    On,
    /// The operator has overridden them.
    Overridden,
}

/// Why a run ended before its plan was made; nothing has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of the view is missing.
    #[error("{0}; nothing was released")]
    View(#[from] CallError),
    /// The records may be those of another cluster.
    #[error("{0}; nothing was released")]
    NotOurs(#[from] NotOurs),
    /// Someone asked it to end.
    #[error("interrupted while reading the cluster; nothing was released")]
    Interrupted,
}

/// What a run saw, wanted and did.
#[derive(Debug)]
pub struct Run {
    /// What it saw.
    pub snapshot: Snapshot,
    /// What it wanted to release.
    pub plan: Plan,
    /// What it did; `None` when it released nothing on purpose.
    pub applied: Option<Applied>,
    /// What became of each finding that was to be repaired, by its index.
    pub repaired: Repaired,
    /// Why the next run will not know what this one saw, if so.
    pub forgotten: Option<String>,
}

/// How a live run is steered from outside.
pub struct Steering<'a> {
    /// When the whole run is over.
    pub deadline: Instant,
    /// Whether someone asked it to end.
    pub stop: Stop,
    /// Told what is being read.
    pub progress: &'a dyn Fn(ReadStep),
}

/// Reads the cluster and judges its records; nothing is written.
///
/// # Errors
/// When the view is incomplete.
pub async fn look(
    cluster: &Cluster,
    settings: &Settings,
    steering: &Steering<'_>,
) -> Result<(Snapshot, Plan), Error> {
    let client = &cluster.client;
    let view = async {
        let mut snapshot = read_cluster(cluster, settings.page, steering.progress).await?;
        snapshot.nodes.set_rules(settings.nodes);
        snapshot.networks = Networks::of(cluster.ledger.datastore());
        snapshot.grace = Grace {
            wanted: settings.grace,
            now: client.server_time().unwrap_or_else(Timestamp::now),
        };
        let Settings {
            scope,
            settle,
            at_once,
            ..
        } = settings;
        confirm::confirm(client, &mut snapshot, scope, *settle, *at_once).await?;
        recheck::recheck(cluster, &mut snapshot, settings.page, *at_once).await;
        Ok::<_, CallError>(snapshot)
    };
    let snapshot = tokio::select! {
        view = view => view?,
        () = steering.stop.requested() => return Err(Error::Interrupted),
    };
    let plan = plan(&snapshot, settings);
    let is_to_write = !plan.is_empty() || settings.repairs == Repairs::On;
    let writes = settings.releases(&plan) && is_to_write;
    cluster.own_records(settings.mode, writes).await?;
    Ok((snapshot, plan))
}

/// Releases what is planned, unless that is refused or it is a dry run, and remembers what it saw.
pub async fn carry_out(
    cluster: &Cluster,
    (snapshot, plan): (Snapshot, Plan),
    settings: &Settings,
    steering: &Steering<'_>,
) -> Run {
    let how = settings.writing(steering);
    // First: what is in use is protected before anything goes.
    let repaired = if settings.repairs == Repairs::On && settings.releases(&plan) {
        repair::repair(cluster, &snapshot, &settings.scope, &how).await
    } else {
        Repaired::default()
    };
    let applied = if settings.releases(&plan) {
        Some(apply(&plan, &snapshot, cluster, &how).await)
    } else {
        None
    };
    let mut forgotten = None;
    if settings.mode == Mode::Release && snapshot.grace.remembers() {
        let (audit, grace) = (snapshot.audit(), snapshot.grace);
        let changes = memory::changes(&audit, grace, &settings.scope, applied.as_ref());
        forgotten = apply::remember(&cluster.ledger, &snapshot.records, changes, &how).await;
    }
    let run = Run {
        snapshot,
        plan,
        applied,
        repaired,
        forgotten,
    };
    // An event is about an object.
    let has_objects = cluster.ledger.datastore() == Datastore::Kubernetes;
    if settings.mode == Mode::Release && settings.events == Events::On && has_objects {
        let client = &cluster.client;
        let now = client.server_time().unwrap_or_else(Timestamp::now);
        let events = events::events(&run);
        apply::tell(client, &run.snapshot.records, events, now, &how).await;
    }
    run
}

impl Settings {
    /// Whether a run carries this plan out.
    #[must_use]
    pub fn releases(&self, plan: &Plan) -> bool {
        self.mode == Mode::Release && plan.refusal.is_none()
    }

    /// How its writes are sent.
    #[must_use]
    pub fn writing(&self, steering: &Steering<'_>) -> Writing {
        Writing {
            at_once: self.at_once,
            until: last_write(Instant::now(), steering.deadline),
            stop: steering.stop.clone(),
        }
    }
}

/// Judges a snapshot that was read from files; nothing can be applied to it.
#[must_use]
pub fn judge(mut snapshot: Snapshot, settings: &Settings) -> Run {
    snapshot.nodes.set_rules(settings.nodes);
    snapshot.grace = Grace {
        wanted: settings.grace,
        now: Timestamp::now(),
    };
    snapshot.findings = snapshot.find().0;
    let plan = plan(&snapshot, settings);
    Run {
        snapshot,
        plan,
        applied: None,
        repaired: Repaired::default(),
        forgotten: None,
    }
}

fn plan(snapshot: &Snapshot, settings: &Settings) -> Plan {
    let pods = snapshot.pods.total();
    let mut plan = Plan::of(
        snapshot.audit(),
        &settings.scope,
        settings.max_release,
        pods,
    );
    if settings.brakes == Brakes::Overridden {
        plan.refusal = None;
    }
    plan
}

/// When no further write is started: an eighth of what is left is kept for the end of what the
/// writes began.
fn last_write(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(now);
    deadline.checked_sub(left / 8).unwrap_or(deadline)
}
