//! I/O: puts back what a run released, as its saved report says, where nothing has taken the place.
//!
//! **Reservation first, entry second**, as the plugin claims an address. If the entry has no place
//! any more, the reservation that was made for it is taken back.

mod intent;
mod print;

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;
use serde_json::Value;

use super::apply::Writing;
use super::ledger::{Cluster, Datastore, Ledger};
use super::originals::read_cluster_uid;
use super::put::{self, Made, Put};
use super::saved::{SavedEntry, SavedReport, SavedReservation};
use super::snapshot::{read_cluster_with, read_reservation};
use super::{Mode, Settings, Steering};
use crate::client::{CallError, Client};
use crate::record::ObjectId;
use intent::{Claim, Fate, Intent};

/// How many claims are begun before anybody asks whether to go on.
const CLAIMS_AT_ONCE: usize = 100;

/// Why nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of the view is missing.
    #[error("{0}; nothing was put back")]
    View(#[from] CallError),
    /// Someone asked it to end.
    #[error("interrupted while reading the cluster; nothing was put back")]
    Interrupted,
    /// The report speaks of records that are kept elsewhere.
    #[error(
        "the report is of records in the datastore {report}: undo it with --datastore {report}; nothing \
         was put back", report = .0.name()
    )]
    OtherDatastore(Datastore),
    /// The report speaks of other records.
    #[error(
        "the report is that of another cluster: its namespace kube-system has the uid {report}, and \
         here it is {here}; nothing was put back"
    )]
    OtherCluster {
        /// The report's.
        report: String,
        /// This one's.
        here: String,
    },
}

/// What became of the records of a report.
#[derive(Debug)]
pub struct Undone<'a> {
    intent: Intent<'a>,
    /// What went wrong beside the records themselves.
    problems: Vec<String>,
    mode: Mode,
}

/// Puts back what a report says was released.
///
/// # Errors
/// When the report is that of another cluster, or this one cannot be read.
pub async fn undo<'a>(
    cluster: &Cluster,
    report: &'a SavedReport,
    settings: &Settings,
    steering: &Steering<'_>,
) -> Result<Undone<'a>, Error> {
    let look = look(cluster, report, settings, steering);
    let intent = tokio::select! {
        intent = look => intent?,
        () = steering.stop.requested() => return Err(Error::Interrupted),
    };
    let mut undone = Undone {
        intent,
        problems: Vec::new(),
        mode: settings.mode,
    };
    if settings.mode == Mode::Release {
        let how = settings.writing(steering);
        let claims = undone.intent.claims();
        for claims in claims.chunks(CLAIMS_AT_ONCE) {
            undone.put_back(cluster, claims, &how).await;
        }
    }
    Ok(undone)
}

async fn look<'a>(
    cluster: &Cluster,
    report: &'a SavedReport,
    settings: &Settings,
    steering: &Steering<'_>,
) -> Result<Intent<'a>, Error> {
    let Cluster { client, ledger } = cluster;
    if report.datastore != ledger.datastore() {
        return Err(Error::OtherDatastore(report.datastore));
    }
    let here = read_cluster_uid(client).await?;
    if here != report.cluster {
        let report = report.cluster.clone();
        return Err(Error::OtherCluster { report, here });
    }
    let mut intent = Intent::of(report);
    let join = |mut pools, there| {
        let named = report.allocations.iter();
        ledger.add_bare(&mut pools, named.map(|it| (it.pool_id(), &*it.range)));
        intent.join(pools, there)
    };
    let snapshot = read_cluster_with(cluster, settings.page, steering.progress, join).await?;
    intent.judge(&snapshot);
    for at in std::mem::take(&mut intent.present) {
        let found = read_reservation(client, &intent.reservation_id(at)).await?;
        let wanted = report
            .reservations
            .get(at)
            .and_then(|saved| saved.object.get("spec"));
        let spec = found.as_ref().map(|found| found.get("spec"));
        let fate = match spec {
            // It has gone meanwhile.
            None => continue,
            Some(spec) if spec == wanted => Put::AlreadyThere,
            Some(spec) => {
                let podref = spec.and_then(|spec| spec.get("podref"));
                let podref = podref.and_then(Value::as_str).unwrap_or_default();
                Put::Taken(podref.to_owned())
            }
        };
        set(&mut intent.reservations, at, fate.into());
    }
    for claim in intent.claims() {
        intent.settle_if_hindered(&claim);
    }
    Ok(intent)
}

fn set(fates: &mut [Fate], at: usize, fate: Fate) {
    if let Some(place) = fates.get_mut(at) {
        *place = fate;
    }
}

impl Intent<'_> {
    fn reservation_id(&self, at: usize) -> ObjectId {
        let id = self.report.reservations.get(at).map(SavedReservation::id);
        let (namespace, name) = id.unwrap_or_default();
        ObjectId {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Why a claim cannot be put back as a whole, if so.
    fn obstacle(&self, claim: &Claim) -> Option<Fate> {
        let entry = claim.entry.and_then(|at| self.entries.get(at));
        let reservations = claim.reservations.iter();
        let mut parts = reservations
            .filter_map(|at| self.reservations.get(*at))
            .chain(entry);
        let found =
            parts.find(|fate| matches!(fate, Fate::Taken(_) | Fate::NoPlace(_) | Fate::Failed(_)));
        found.cloned()
    }

    /// Gives up a claim that cannot be put back as a whole.
    fn settle_if_hindered(&mut self, claim: &Claim) {
        if let Some(obstacle) = self.obstacle(claim) {
            self.settle(claim, &obstacle);
        }
    }

    /// Gives what is missing of a claim this fate.
    fn settle(&mut self, claim: &Claim, fate: &Fate) {
        for at in &claim.reservations {
            if self.reservations.get(*at) == Some(&Fate::Missing) {
                set(&mut self.reservations, *at, fate.clone());
            }
        }
        let is_missing = |at: &usize| self.entries.get(*at) == Some(&Fate::Missing);
        if let Some(at) = claim.entry.filter(is_missing) {
            set(&mut self.entries, at, fate.clone());
        }
    }
}

impl Undone<'_> {
    /// Puts some claims back; once begun, they are finished.
    async fn put_back(&mut self, cluster: &Cluster, claims: &[Claim], how: &Writing) {
        if !how.may_start() {
            for claim in claims {
                self.intent.settle(claim, &Fate::NotStarted);
            }
            return;
        }
        let client = &cluster.client;
        let made = self.claim(client, claims, how.at_once).await;
        let mut by_pool: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
        for claim in claims {
            self.intent.settle_if_hindered(claim);
            let Some(at) = claim.entry else { continue };
            let saved = self.intent.report.allocations.get(at);
            let is_missing = self.intent.entries.get(at) == Some(&Fate::Missing);
            if let Some(saved) = saved.filter(|_| is_missing) {
                let pool = (&*saved.namespace, &*saved.pool, &*saved.range);
                by_pool.entry(pool).or_default().push(at);
            }
        }
        let pools = by_pool.into_iter().map(|((.., range), entries)| {
            put_entries(&cluster.ledger, self.intent.report, range, entries)
        });
        let put: Vec<_> = futures::stream::iter(pools)
            .buffer_unordered(how.at_once)
            .collect()
            .await;
        for (at, fate) in put.into_iter().flatten() {
            set(&mut self.intent.entries, at, fate);
        }
        self.take_back(client, claims, &made).await;
    }

    /// Makes the reservations of some claims, and says which were made here.
    async fn claim(
        &mut self,
        client: &Client,
        claims: &[Claim],
        at_once: usize,
    ) -> HashMap<usize, Made> {
        let intent = &self.intent;
        let missing = claims.iter().flat_map(|claim| &claim.reservations);
        let missing = missing.filter(|at| intent.reservations.get(**at) == Some(&Fate::Missing));
        let creates = missing.filter_map(|at| {
            let saved = intent.report.reservations.get(*at)?;
            let id = intent.reservation_id(*at);
            Some(async move { (*at, put::claim(client, &id, &saved.object).await) })
        });
        let answers: Vec<_> = futures::stream::iter(creates)
            .buffer_unordered(at_once)
            .collect()
            .await;
        let mut all = HashMap::new();
        for (at, result) in answers {
            let fate = match result {
                Ok((put, made)) => {
                    all.extend(made.map(|made| (at, made)));
                    put.into()
                }
                Err(error) => Fate::Failed(error.to_string()),
            };
            set(&mut self.intent.reservations, at, fate);
        }
        all
    }

    /// Takes back the reservations of claims that have no place for their entry any more. Where
    /// nobody knows whether the entry is there, they stay.
    async fn take_back(&mut self, client: &Client, claims: &[Claim], made: &HashMap<usize, Made>) {
        for claim in claims {
            let obstacle = self.intent.obstacle(claim);
            let Some(obstacle @ (Fate::Taken(_) | Fate::NoPlace(_))) = obstacle else {
                continue;
            };
            for at in &claim.reservations {
                let Some(made) = made.get(at) else { continue };
                let id = self.intent.reservation_id(*at);
                let fate = match put::take_back(client, &id, made).await {
                    Ok(()) => obstacle.clone(),
                    Err(error) => {
                        self.problems.push(format!(
                            "reservation {id} was made for an entry that has no place any more, \
                             and could not be taken back; the next run releases it: {error}"
                        ));
                        Fate::Failed(error.to_string())
                    }
                };
                set(&mut self.intent.reservations, *at, fate);
            }
        }
    }
}

async fn put_entries(
    ledger: &Ledger,
    report: &SavedReport,
    range: &str,
    at: Vec<usize>,
) -> Vec<(usize, Fate)> {
    let mut fates = Vec::new();
    for at in at.chunks(ledger.entries_a_write()) {
        let saved = at.iter().filter_map(|at| report.allocations.get(*at));
        let new: Vec<(&str, &Value)> = saved.map(|saved| (&*saved.offset, &saved.entry)).collect();
        let pool = at.first().and_then(|at| report.allocations.get(*at));
        let Some(pool) = pool.map(SavedEntry::pool_id) else {
            continue;
        };
        match put::entries(ledger, &pool, range, &new).await {
            Ok(put) => fates.extend(at.iter().copied().zip(put.into_iter().map(Fate::from))),
            Err(error) => {
                let fate = Fate::Failed(error.to_string());
                fates.extend(at.iter().map(|at| (*at, fate.clone())));
            }
        }
    }
    fates
}
