//! Many histories beside each other, and the reconciler in the midst of them (I/O).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use tokio::sync::Mutex;

use super::cut::Cut;
use super::dice::Dice;
use super::live::{Hands, History};
use super::model::{Limits, Tally};
use super::records::Records;
use crate::support::cluster::Cluster;
use crate::support::proxy::{Proxy, Seen};
use crate::support::run::reconciler;

/// How many events each history has at least, but for those beside the runs.
const ROUNDS: usize = 12;
/// How many histories are moved at once.
const AT_ONCE: usize = 24;

/// Histories that share a cluster and the runs of its reconciler.
pub(super) struct Batch {
    cluster: Cluster,
    seed: u64,
    dice: Dice,
    histories: Vec<Arc<Mutex<History>>>,
    runs: Proxy,
    is_strict: bool,
    tally: Tally,
}

impl Batch {
    /// Begins so many.
    pub(super) async fn begin(seed: u64, histories: usize) -> Batch {
        let cluster = Cluster::lock().await;
        let mut dice = Dice::of(seed);
        let is_strict = dice.percent(50);
        let limits = Limits {
            all_at_once: false,
            lag: 0,
            go_pods_vanish: is_strict,
        };
        let hands = Arc::new(Hands::new(&cluster).await);
        let dices: Vec<Dice> = (0..histories).map(|_| dice.another()).collect();
        let begun = dices.into_iter().enumerate().map(|(number, dice)| {
            let prefix = format!("h{number}");
            History::begin(prefix, &cluster, &hands, limits, dice)
        });
        let begun: Vec<History> = futures::stream::iter(begun)
            .buffered(AT_ONCE)
            .collect()
            .await;
        let histories = begun
            .into_iter()
            .map(|it| Arc::new(Mutex::new(it)))
            .collect();
        let runs = Proxy::start(&cluster).await;
        Batch {
            cluster,
            seed,
            dice,
            histories,
            runs,
            is_strict,
            tally: Tally::default(),
        }
    }

    /// All of it.
    pub(super) async fn play(mut self) -> Tally {
        for _ in 0..ROUNDS {
            self.each(|history| Box::pin(history.step())).await;
            self.check("a step").await;
            if self.dice.percent(50) {
                self.run_in_the_midst().await;
                self.check("a run").await;
            }
        }
        self.rest().await;
        let histories = self.histories.len();
        Tally {
            histories,
            ..self.tally
        }
    }

    async fn each(
        &self,
        action: impl for<'a> Fn(&'a mut History) -> futures::future::BoxFuture<'a, ()>,
    ) {
        futures::stream::iter(&self.histories)
            .for_each_concurrent(AT_ONCE, |history| async {
                action(&mut *history.lock().await).await;
            })
            .await;
    }

    /// A run that may be cut off, and between whose calls the histories go on.
    async fn run_in_the_midst(&mut self) {
        let histories = self.histories.clone();
        for history in &histories {
            if self.dice.percent(70) {
                self.step_before_some_call(history).await;
            }
            self.post_before_second_looks(history).await;
            let mut history = history.lock().await;
            history.model.set_in_run(true);
            self.tally.ghosts += history.model.ghosts();
        }
        let writes = 2 * self.histories.len();
        let cut = self
            .dice
            .percent(60)
            .then(|| Cut::any(&mut self.dice, writes));
        let run = self.run(&[]);
        let ended = Cut::during(cut, &self.runs, |_| true, run).await;
        let table = ended.as_ref().map(|ended| ended.stdout.as_str());
        let has_released = table.is_some_and(|table| table.contains("Released"));
        self.tally.released += usize::from(has_released);
        for history in &self.histories {
            let code = ended.as_ref().map(|ended| ended.code);
            history
                .lock()
                .await
                .log
                .push(format!("-- run {cut:?}: {code:?}"));
        }
        // What was to happen beside it happens in none of the next.
        self.runs = Proxy::start(&self.cluster).await;
    }

    /// Before a list, or before one of the calls about this very history: a write above all.
    async fn step_before_some_call(&mut self, history: &Arc<Mutex<History>>) {
        const LISTS: [&str; 4] = [
            "/ippools",
            "/overlappingrangeipreservations",
            "/nodes",
            "/pods",
        ];
        let own = format!("/{}-", history.lock().await.mirror.prefix);
        let list = self
            .dice
            .percent(30)
            .then(|| self.dice.pick(&LISTS).unwrap());
        let is_write = self.dice.percent(60);
        let nth = self.dice.below(if is_write { 2 } else { 6 });
        let calls = AtomicUsize::new(0);
        let matches = move |seen: &Seen| {
            if let Some(list) = list {
                return seen.path.ends_with(list);
            }
            let is_meant = seen.path.contains(&own) && (seen.is_write() || !is_write);
            is_meant && calls.fetch_add(1, Ordering::Relaxed) == nth
        };
        let steps = 1 + self.dice.below(4);
        let history = Arc::clone(history);
        self.runs.before(matches, async move {
            let mut history = history.lock().await;
            history.log.push("-- in a run:".to_owned());
            for _ in 0..steps {
                history.step_at_last().await;
            }
        });
    }

    /// What kubelets are late with, they have written when the settling time is over.
    async fn post_before_second_looks(&self, history: &Arc<Mutex<History>>) {
        let prefix = history.lock().await.mirror.prefix.clone();
        for pod in 0..super::model::PODS {
            let path = format!("/pods/{prefix}-web-{pod}");
            let looks = AtomicUsize::new(0);
            let is_second = move |seen: &Seen| {
                seen.path.ends_with(&path) && looks.fetch_add(1, Ordering::Relaxed) == 1
            };
            let history = Arc::clone(history);
            let post = async move { history.lock().await.post().await };
            self.runs.before(is_second, post);
        }
    }

    /// A run of the program as a process.
    fn run(&self, args: &[&str]) -> impl Future<Output = crate::support::run::Outcome> + use<> {
        let kubeconfig = self.runs.kubeconfig(&self.cluster, self.cluster.token());
        let mut run = reconciler(&kubeconfig).args(["--force", "--settle=50ms", "--concurrency=1"]);
        if self.is_strict {
            run = run.args(["--strict"]);
        }
        for argument in args {
            run = run.args([*argument]);
        }
        run.output()
    }

    async fn rest(&mut self) {
        for _ in 0..2 {
            self.each(|history| Box::pin(history.repair())).await;
            self.run(&[]).await.expect(0);
            self.check("a run at rest").await;
        }
        self.run(&[]).await.expect(0);
        let records = Records::read(self.cluster.client(), None).await;
        for history in &self.histories {
            let history = history.lock().await;
            let wrong = history.freed(&records).or_else(|| history.orphan(&records));
            let waiting = history.model.waiting();
            let starved = || (!waiting.is_empty()).then(|| format!("{waiting:?} have no address"));
            self.assert(&history, "rest", wrong.or_else(starved));
        }
    }

    async fn check(&self, after: &str) {
        let records = Records::read(self.cluster.client(), None).await;
        for history in &self.histories {
            let history = history.lock().await;
            self.assert(&history, after, history.freed(&records));
        }
    }

    fn assert(&self, history: &History, after: &str, wrong: Option<String>) {
        let Some(wrong) = wrong else { return };
        panic!(
            "after {after}: {wrong}\nSIMULATION_SEED={} SIMULATION_HISTORIES={} repeats it\n{}",
            self.seed,
            self.histories.len(),
            history.log.join("\n")
        );
    }
}

/// How many histories, how many of them share a cluster, and the seed.
pub(super) struct Wanted {
    pub(super) histories: usize,
    pub(super) seed: u64,
}

impl Wanted {
    /// As the environment says.
    pub(super) fn or(histories: usize) -> Wanted {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse::<u64>()
                    .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
            )
        };
        let wanted = number("SIMULATION_HISTORIES");
        Wanted {
            histories: wanted.map_or(histories, |wanted| usize::try_from(wanted).unwrap()),
            seed: number("SIMULATION_SEED").unwrap_or(1),
        }
    }
}

/// How many histories share a cluster.
const IN_A_BATCH: usize = 60;

#[tokio::test]
async fn no_address_that_a_live_container_holds_is_ever_free_and_no_orphan_stays() {
    let Wanted { histories, seed } = Wanted::or(120);
    let mut tally = Tally::default();
    for seed in seed.. {
        let left = histories - tally.histories;
        if left == 0 {
            break;
        }
        let now = left.min(IN_A_BATCH);
        tally.add(Batch::begin(seed, now).await.play().await);
    }
    tally.assert();
}
