//! I/O: frees the records of one address by hand: shows them, asks, looks once more, and releases.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::datastore::{self, connect};
use super::journal::Journal;
use super::options::{ByHand, Options};
use super::{Error, Exit, ask, listen};
use crate::reconcile::apply::Outcome;
use crate::reconcile::by_hand::{self, Choice};
use crate::reconcile::explain::{self, Target};
use crate::reconcile::ledger::Cluster;
use crate::reconcile::plan::Plan;
use crate::reconcile::records::RecordId;
use crate::reconcile::report::escape;
use crate::reconcile::snapshot::{Snapshot, read_evidence};
use crate::reconcile::stop::Stop;
use crate::reconcile::{self, Brakes, Mode, Repairs, Run, Settings, Steering};

/// Frees the records of an address.
pub(super) async fn release(options: &Options, wanted: &ByHand) -> Result<Exit, Error> {
    let asks = options.mode() == Mode::Release && !wanted.yes;
    if asks && !ask::can() {
        return Err(Error::NobodyToAsk);
    }
    let journal = Journal::new(options)?;
    let by_hand = HandRelease::new(options, wanted);
    let stop = listen().map_err(Error::Signals)?;
    let deadline = Instant::now() + options.timeout();
    let mut cluster = connect(options, deadline, &stop).await?;
    let (mut snapshot, mut plan) = by_hand.look(&cluster, &stop, true).await?;
    if by_hand.settings.mode == Mode::DryRun {
        let ids = by_hand::ids(&plan);
        let lines = ids.map(|id| format!("would be released: {}", snapshot.records.name_of(id)));
        print_lines(lines)?;
        return Ok(Exit::Done);
    }
    if asks {
        let question = format!("Release {} records of {}?", plan.len(), wanted.address);
        if !ask::ask(&question, &stop).await {
            print_lines(std::iter::once("nothing was released".to_owned()))?;
            return Ok(Exit::Failed);
        }
        // The question may have stood there for an hour.
        let shown = evidence(&snapshot, &plan);
        let until = Instant::now() + options.timeout();
        let renewed = cluster.renewed(until).await;
        cluster = renewed.map_err(datastore::Error::Unreachable)?;
        (snapshot, plan) = by_hand.look(&cluster, &stop, false).await?;
        if evidence(&snapshot, &plan) != shown {
            return Err(Error::ChangedMeanwhile);
        }
    }
    let cluster = cluster.until(Instant::now() + options.timeout());
    let settings = &by_hand.settings;
    let steering = steering(&cluster, &stop);
    let opened = journal
        .begin(&cluster.client, &snapshot, &plan, settings)
        .await?;
    let mut run = reconcile::carry_out(&cluster, (snapshot, plan), settings, &steering).await;
    journal.end(&cluster.client, opened, &mut run).await;
    conclude(&run)
}

/// Which release by hand.
struct HandRelease<'a> {
    settings: Settings,
    choice: Choice,
    wanted: &'a ByHand,
}

impl<'a> HandRelease<'a> {
    fn new(options: &Options, wanted: &'a ByHand) -> Self {
        let mut settings = options.settings();
        settings.scope.address = Some(wanted.address);
        // Whoever frees an address by hand does not want to wait, and leaves no marks.
        settings.grace = std::time::Duration::ZERO;
        settings.repairs = Repairs::Off;
        let choice = Choice {
            scope: settings.scope.clone(),
            pod: wanted.pod.clone(),
        };
        Self {
            settings,
            choice,
            wanted,
        }
    }

    /// Looks at the records of the address, and finds out which of them are to go.
    async fn look(
        &self,
        cluster: &Cluster,
        stop: &Stop,
        show: bool,
    ) -> Result<(Snapshot, Plan), Error> {
        let address = self.wanted.address;
        let steering = steering(cluster, stop);
        let (mut snapshot, _) = reconcile::look(cluster, &self.settings, &steering).await?;
        let mut text = Vec::new();
        let target = Target::Address(address);
        if show {
            let pods = target.pods(&snapshot.records);
            let evidence = read_evidence(&cluster.client, pods).await;
            snapshot.evidence = evidence.map_err(reconcile::Error::View)?;
        }
        explain::print(&snapshot, &target, &mut text).map_err(Error::Output)??;
        let text = String::from_utf8_lossy(&text).into_owned();
        let is_recorded = snapshot.records.at(address).next().is_some();
        let mut findings = snapshot.findings.iter();
        let is_concerned = findings.any(|finding| finding.address == Some(address));
        if !is_recorded && !is_concerned {
            return Err(Error::NothingToRelease(text.trim().to_owned()));
        }
        if show {
            print_lines(std::iter::once(text))?;
        }
        if !is_recorded {
            let text = format!("nothing records {address}: there is nothing to release");
            return Err(Error::NothingToRelease(text));
        }
        let plan = by_hand::plan(&snapshot, address, &self.choice)?;
        if self.settings.brakes == Brakes::On {
            by_hand::brake(&snapshot)?;
        }
        Ok((snapshot, plan))
    }
}

fn steering<'a>(cluster: &Cluster, stop: &Stop) -> Steering<'a> {
    Steering {
        deadline: cluster.client.deadline(),
        stop: stop.clone(),
        progress: &|step| tracing::debug!(?step, "Reading"),
    }
}

/// What a person has agreed to.
fn evidence(snapshot: &Snapshot, plan: &Plan) -> Vec<String> {
    let (records, audit) = (&snapshot.records, snapshot.audit());
    let each = by_hand::ids(plan).map(|id| {
        let state = match id {
            RecordId::Entry(at) => records
                .entries
                .get(at)
                .map(|entry| entry.raw().into_owned()),
            RecordId::Reservation(at) => {
                let found = records.reservation(at);
                found.map(|found| format!("{} {}", found.uid(), found.resource_version()))
            }
        };
        let state = state.unwrap_or_default();
        format!(
            "{} {} {state}",
            records.name_of(id),
            audit.verdict(id).name()
        )
    });
    each.collect()
}

/// Says what became of each record.
fn conclude(run: &Run) -> Result<Exit, Error> {
    let Run {
        snapshot,
        plan,
        applied,
        forgotten: _,
        repaired: _,
    } = run;
    let outcome = |id| {
        applied
            .as_ref()
            .and_then(|applied| applied.outcomes.get(&id))
    };
    let lines = by_hand::ids(plan).map(|id| {
        let name = snapshot.records.name_of(id);
        match outcome(id) {
            Some(Outcome::Released) => format!("released: {name}"),
            Some(Outcome::AlreadyGone) => format!("gone already: {name}"),
            Some(Outcome::Changed) => format!("kept, it has changed meanwhile: {name}"),
            Some(Outcome::KeptWithEntry) => format!("kept with its entry: {name}"),
            Some(Outcome::Failed(error)) => format!("failed: {name}: {error}"),
            Some(Outcome::NotStarted) | None => format!("kept, the time was over before: {name}"),
        }
    });
    let applied = applied.iter();
    let restored = applied.clone().flat_map(|applied| &applied.restored);
    let restored = restored.map(|id| format!("reservation {id} was put back: its entry came back"));
    let problems = applied.flat_map(|applied| applied.problems.iter().cloned());
    let mut remarks: Vec<String> = restored.chain(problems).collect();
    let is_done = remarks.is_empty()
        && by_hand::ids(plan)
            .all(|id| matches!(outcome(id), Some(Outcome::Released | Outcome::AlreadyGone)));
    remarks.extend(snapshot.notes.iter().cloned());
    let result = if is_done { Exit::Done } else { Exit::Failed };
    tracing::info!(records = plan.len(), done = is_done, at = %Timestamp::now(), "Released by hand");
    print_lines(lines.chain(remarks))?;
    Ok(result)
}

/// Prints lines; a reader that has gone away has seen enough.
fn print_lines(lines: impl Iterator<Item = String>) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    for line in lines {
        // What is explained has lines of its own, escaped one by one.
        let written = line
            .split('\n')
            .try_for_each(|line| writeln!(out, "{}", escape(line)));
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Error::Output(error));
            }
            _ => {}
        }
    }
    Ok(())
}
