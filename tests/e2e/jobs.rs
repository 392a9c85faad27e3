//! The `CronJob`'s own behaviour: one run at a time, and none is repeated.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{NODES, World, until};

/// How long a run that is refused the way may take; it gives up at once.
const FAILED_WITHIN: Duration = Duration::from_mins(2);
/// How long the schedule may take for two turns.
const TWO_TURNS: Duration = Duration::from_secs(150);

impl World {
    /// Keeps all pods from the API server, as routers do: `prohibit` says so, `blackhole` does not.
    fn cut_off(&mut self, how: &str) {
        for node in NODES {
            let rule = format!("rule add from 10.244.0.0/16 to 10.96.0.1 {how}");
            self.node(node).ip(&rule);
        }
    }

    /// Stops all processes of the program where they are, or lets them go on.
    fn signal(&mut self, signal: &str) -> bool {
        let command = format!("busybox killall -q -{signal} ip-reconciler");
        let signalled = NODES.map(|node| self.node(node).run(&command).status.success());
        signalled.contains(&true)
    }

    /// The statuses of the jobs of the `CronJob`.
    fn jobs(&self) -> Vec<Value> {
        let list = self.get("jobs --namespace kube-system");
        let jobs = list["items"].as_array().unwrap();
        jobs.iter().map(|job| job["status"].clone()).collect()
    }
}

#[test]
fn a_run_that_cannot_reach_the_cluster_fails_once_and_is_not_repeated() {
    let mut world = World::lock();
    world.cut_off("prohibit");
    world.kubectl("--namespace kube-system create job --from=cronjob/ip-reconciler cut-off");
    let failed = "--namespace kube-system wait --for=condition=Failed --timeout=1s job/cut-off";
    until("the job has failed", FAILED_WITHIN, || {
        world.try_kubectl(failed).ok()
    });
    world.reconnect();
    let pods = world.get("pods --namespace kube-system --selector job-name=cut-off");
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 1, "{pods:#?}");
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["restartCount"], 0);
    let said = world.log("cut-off");
    assert!(
        said.contains("10.96.0.1"),
        "it says what it could not reach: {said}"
    );
}

#[test]
fn while_a_run_goes_on_the_next_one_does_not_start() {
    let mut world = World::lock();
    world.cut_off("blackhole");
    world.schedule(true);
    until("a run has begun, and stands still", TWO_TURNS, || {
        world.signal("STOP").then_some(())
    });
    world.reconnect();
    until("a turn was left out", TWO_TURNS, || {
        let left_out = "--namespace kube-system --field-selector reason=JobAlreadyActive";
        let events = world.get(&format!("events {left_out}"));
        (events["items"] != json!([])).then_some(())
    });
    let jobs = world.jobs();
    assert!(jobs.len() == 1 && jobs[0]["active"] == 1, "{jobs:#?}");
    world.schedule(false);
    world.signal("CONT");
}
