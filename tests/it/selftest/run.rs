//! A run of the program is bounded, separate from the developer's environment, and told in full.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::proxy::{Fault, Proxy};
use crate::support::run::{Outcome, reconciler};

#[tokio::test]
async fn a_run_gives_the_code_and_both_outputs() {
    let help = reconciler(Path::new("/nonexistent"))
        .args(["--help"])
        .output()
        .await
        .expect(0);
    assert!(help.stdout.contains("ip-reconciler"), "{help:#?}");
    assert_eq!(help.stderr, "");
}

#[tokio::test]
async fn input_that_nobody_reads_and_foreign_variables_do_no_harm() {
    let outcome = reconciler(Path::new("/nonexistent"))
        .args(["--no-such-flag"])
        .stdin(&"text ".repeat(100_000))
        .env("NO_COLOR", "1")
        .env_remove("KUBECONFIG")
        .output()
        .await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("--no-such-flag"), "{outcome:#?}");
}

#[tokio::test]
async fn a_signal_ends_a_program_that_waits() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    proxy.rule(|_| Some(Fault::Hang));
    let running = reconciler(&proxy.kubeconfig(&cluster, cluster.token())).spawn();
    while proxy.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.signal("KILL");
    assert_eq!(running.wait().await.code, None);
}

#[test]
fn an_outcome_is_parsed_as_json() {
    let outcome = Outcome {
        code: Some(0),
        stdout: "{\"a\": 1}\n".into(),
        stderr: String::new(),
    };
    assert_eq!(outcome.json(), json!({"a": 1}));
}
