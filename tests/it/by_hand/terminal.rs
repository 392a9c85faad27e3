//! The question, in a terminal.

use std::path::Path;
use std::process::Command;

use super::{held, left};
use crate::support::cluster::Cluster;
use crate::support::objects::node;
use crate::support::proxy::Proxy;
use crate::support::run::{Outcome, Run};

/// Runs a release in a terminal of its own, and types an answer.
async fn answered(kubeconfig: &Path, answer: &str) -> Outcome {
    let program = env!("CARGO_BIN_EXE_ip-reconciler");
    let line = format!(
        "{program} release 10.0.0.1 --kubeconfig {}",
        kubeconfig.display()
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    Run::of(command, answer.to_owned()).output().await
}

#[tokio::test]
async fn at_a_terminal_it_asks_and_only_yes_is_yes() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    for answer in ["n\n", "\n", "yess\n", "\u{4}"] {
        let run = answered(cluster.kubeconfig(), answer).await.expect(1);
        assert!(
            run.stdout.contains("Release 2 records of 10.0.0.1? [y/N]"),
            "{run:#?}"
        );
        assert!(run.stdout.contains("nothing was released"), "{run:#?}");
        assert_eq!(left(&cluster).await, ["1", "2"]);
    }
    let run = answered(cluster.kubeconfig(), "y\n").await.expect(0);
    assert!(
        run.stdout
            .contains("released: Allocation kube-system/10.0.0.0-24/1"),
        "{run:#?}"
    );
    assert_eq!(left(&cluster).await, ["2"]);
}

#[tokio::test]
async fn what_changed_while_the_question_stood_there_is_not_released() {
    let cluster = Cluster::lock().await;
    held(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    // The second look is the one after the answer.
    let looks = std::sync::atomic::AtomicUsize::new(0);
    let admin = cluster.client().clone();
    let is_second = move |seen: &crate::support::proxy::Seen| {
        let counts = seen.method == "GET" && seen.path.ends_with("/ippools");
        counts && looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1
    };
    proxy.before(is_second, async move {
        node("node-a").report(&admin).await;
    });
    let run = answered(&kubeconfig, "y\n").await.expect(1);
    assert!(
        run.stdout
            .contains("has changed while the question stood there"),
        "{run:#?}"
    );
    assert!(proxy.writes().is_empty());
    assert_eq!(left(&cluster).await, ["1", "2"]);
}
