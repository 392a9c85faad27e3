//! `cronjob.yaml` is enough on its own, and gives nothing that is not used.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, node, pod, pool, reservation, send};
use crate::support::proxy::Proxy;
use crate::support::run::{Outcome, reconciler};

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/ip-reconciler";

/// What a run does without, if it has to; `audit/definitions.rs` shows what it is for.
const OPTIONAL: [&str; 2] = ["network-attachment-definitions", "cronjobs"];

fn manifest(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(name)
        .display()
        .to_string()
}

/// Two runs that need every right: orphans to remember, with an entry and without, one whose node is
/// gone, a suspect pod, and an entry that comes back.
async fn full_run(cluster: &Cluster, token: &str) -> Outcome {
    let client = cluster.client();
    let pools = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools";
    for (path, name) in [
        (pools, "10.0.0.0-24"),
        (
            "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations",
            "10.0.0.1",
        ),
        (
            "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations",
            "10.0.0.77",
        ),
        (
            "/api/v1/namespaces/default/pods",
            "moved?gracePeriodSeconds=0",
        ),
        ("/api/v1/nodes", "node-a"),
    ] {
        let _ = send(client, Method::DELETE, &format!("{path}/{name}"), None).await;
    }
    pool("kube-system", "10.0.0.0/24")
        .raw_entry(
            "1",
            json!({"id": "c", "podref": "default/gone", "ifname": "net1",
            "owner": {"id": "c", "nodename": "node-gone"}}),
        )
        .entry(2, "default/moved", "net1", "c")
        .create(client)
        .await;
    for address in ["10.0.0.1", "10.0.0.77"] {
        let orphan = reservation("kube-system", address, "default/gone");
        orphan.create(client).await;
    }
    pod("default", "moved")
        .shows("net1", &["10.0.0.9"])
        .create(client)
        .await;
    node("node-a").create(client).await;
    let proxy = Proxy::start(cluster).await;
    let back = json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/gone", "ifname": "net1"}}}});
    let admin = client.clone();
    proxy.before(|seen| seen.is("DELETE", "/overlapping"), async move {
        send(
            &admin,
            Method::PATCH,
            &format!("{pools}/10.0.0.0-24"),
            Some(&back),
        )
        .await
        .unwrap();
    });
    let kubeconfig = proxy.kubeconfig(cluster, token);
    let args = ["--settle", "100ms", "-o", "json"];
    let remembering = reconciler(&kubeconfig).args(args).args(["--grace", "1h"]);
    let remembered = remembering.output().await;
    if remembered.code != Some(0) {
        return remembered;
    }
    let report = cluster.file("");
    let saving = reconciler(&kubeconfig).args(["--report", report.to_str().unwrap()]);
    saving.args(args).output().await
}

#[tokio::test]
async fn the_role_is_enough_and_every_verb_of_it_is_needed() {
    let cluster = Cluster::lock().await;
    cluster.kubectl(&["apply", "-f", &manifest("cronjob.yaml")]);
    let token = cluster
        .service_account_token("kube-system", "ip-reconciler")
        .await;
    let jobs = "/apis/batch/v1/namespaces/tenant-a/cronjobs";
    let client = cluster.client();
    send(client, Method::POST, jobs, Some(&go_program()))
        .await
        .unwrap();
    let run = full_run(&cluster, &token).await.expect(0);
    let theirs = format!("{jobs}/ip-reconciler");
    send(client, Method::DELETE, &theirs, None).await.unwrap();
    let remarks = run.json()["remarks"].to_string();
    assert!(
        remarks.contains("CronJob tenant-a/ip-reconciler"),
        "{remarks}"
    );
    assert!(!remarks.contains("CronJob kube-system"), "{remarks}");
    assert_eq!(may_list_definitions(client).await, json!(true));
    let summary = run.json()["summary"].clone();
    assert_eq!(
        (&summary["released"], &summary["restored"]),
        (&json!(4), &json!(1)),
        "{run:#?}"
    );

    let role = send(cluster.client(), Method::GET, ROLE, None)
        .await
        .unwrap();
    let rules = role["rules"].as_array().unwrap();
    let mut verbs = 0;
    for (at, rule) in rules.iter().enumerate() {
        for verb in rule["verbs"].as_array().unwrap() {
            verbs += 1;
            let mut less: Vec<Value> = rules.clone();
            less[at]["verbs"]
                .as_array_mut()
                .unwrap()
                .retain(|other| other != verb);
            // A rule without verbs is none.
            less.retain(|rule| rule["verbs"] != json!([]));
            let patch = json!({ "rules": less });
            send(cluster.client(), Method::PATCH, ROLE, Some(&patch))
                .await
                .unwrap();
            let resource = rule["resources"][0].as_str().unwrap();
            if OPTIONAL.contains(&resource) {
                full_run(&cluster, &token).await.expect(0);
                continue;
            }
            let run = settled(&cluster, &token, verb.as_str().unwrap()).await;
            // An event that cannot be written costs a warning.
            let code = Some(i32::from(resource != "events"));
            assert_eq!(run.code, code, "without {verb} on {resource}: {run:#?}");
            let text = format!("{}{}", run.stdout, run.stderr).replace('\\', "");
            let advice = format!("grant the verb {verb} on {resource}");
            assert!(text.contains(&advice), "{advice}: {run:#?}");
        }
    }
    assert_eq!(verbs, 15);
    send(
        cluster.client(),
        Method::PATCH,
        ROLE,
        Some(&json!({ "rules": rules })),
    )
    .await
    .unwrap();
}

/// The Go program's job, of the name that ours has.
fn go_program() -> Value {
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main",
        "image": "example.invalid/x", "command": ["/ip-reconciler", "-log-level=verbose"]}]}});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "ip-reconciler"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod}}}})
}

/// What the authorizer says of a resource that this cluster does not have.
async fn may_list_definitions(client: &kube::Client) -> Value {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "system:serviceaccount:kube-system:ip-reconciler", "resourceAttributes": {
            "verb": "list", "group": "k8s.cni.cncf.io", "resource": "network-attachment-definitions"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let said = send(client, Method::POST, path, Some(&review))
        .await
        .unwrap();
    said["status"]["allowed"].clone()
}

#[tokio::test]
async fn the_role_for_reports_is_enough_and_every_verb_of_it_is_needed() {
    const ROLE: &str =
        "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/ip-reconciler-reports";
    const PLACE: &str = "/api/v1/namespaces/kube-system/configmaps";
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    cluster.kubectl(&["apply", "-f", &manifest("cronjob.yaml")]);
    let token = cluster
        .service_account_token("kube-system", "ip-reconciler")
        .await;
    let kubeconfig = cluster.kubeconfig_for(&token, &cluster.url());
    let whole = send(client, Method::GET, ROLE, None).await.unwrap()["rules"].clone();
    let mut number = 0;
    // Two runs that keep the last report: the second removes the first one's.
    let mut remarks = async |wanted: &str| {
        let mut remarks = String::new();
        for _ in 0..20 {
            let ours = format!("{PLACE}?labelSelector=whereabouts.cni.cncf.io%2Frelease-report");
            send(client, Method::DELETE, &ours, None).await.unwrap();
            remarks.clear();
            for _ in 0..2 {
                number += 1;
                let orphan =
                    reservation("kube-system", &format!("10.0.0.{number}"), "default/gone");
                orphan.create(client).await;
                let run = reconciler(&kubeconfig).args(["-o", "json", "--keep-reports", "1"]);
                let run = run.args(["--reports-namespace", "kube-system"]);
                remarks += &run.output().await.expect(0).json()["remarks"].to_string();
            }
            // The authorizer learns of a changed role a moment later.
            if remarks.contains(wanted) && remarks.contains("grant the verb") != wanted.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        remarks.replace('\\', "")
    };
    assert_eq!(remarks("").await, "[][]");
    let verbs: Vec<Value> = whole[0]["verbs"].as_array().unwrap().clone();
    for verb in &verbs {
        let mut less = whole.clone();
        let left = verbs.iter().filter(|other| *other != verb);
        less[0]["verbs"] = left.cloned().collect();
        let patch = json!({ "rules": less });
        send(client, Method::PATCH, ROLE, Some(&patch))
            .await
            .unwrap();
        let said = remarks(verb.as_str().unwrap()).await;
        assert!(
            said.contains(&format!("grant the verb {verb} on configmaps")),
            "{verb}: {said}"
        );
    }
    assert_eq!(verbs.len(), 4);
    cluster.kubectl(&["delete", "-f", &manifest("cronjob.yaml")]);
}

#[tokio::test]
async fn a_kept_report_that_may_not_be_read_says_who_needs_which_right() {
    let cluster = Cluster::lock().await;
    cluster.kubectl(&["apply", "-f", &manifest("cronjob.yaml")]);
    let token = cluster.service_account_token("kube-system", "ip-reconciler");
    let kubeconfig = cluster.kubeconfig_for(&token.await, &cluster.url());
    let run = reconciler(&kubeconfig).args(["undo", "configmap/kube-system/any"]);
    let run = run.output().await.expect(1);
    let said = "grant the verb \"get\" on configmaps to whoever undoes; nothing was put back";
    assert!(run.stderr.contains(said), "{run:#?}");
    cluster.kubectl(&["delete", "-f", &manifest("cronjob.yaml")]);
}

/// The authorizer learns of a changed role a moment later.
async fn settled(cluster: &Cluster, token: &str, verb: &str) -> Outcome {
    for _ in 0..10 {
        let run = full_run(cluster, token).await;
        let refused = |text: &str| text.contains("grant the verb") && text.contains(verb);
        if refused(&run.stderr) || refused(&run.stdout) {
            return run;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    full_run(cluster, token).await
}

#[tokio::test]
async fn a_viewer_can_make_a_dry_run_and_nothing_else() {
    let cluster = Cluster::lock().await;
    cluster.kubectl(&[
        "apply",
        "-f",
        &manifest("manifests/ip-reconciler-viewer.yaml"),
    ]);
    let token = cluster.service_account_token("tenant-a", "viewer").await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ip-reconciler-viewer"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": "tenant-a"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    send(cluster.client(), Method::POST, path, Some(&binding))
        .await
        .unwrap();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/gone", "net1", "c")
        .create(cluster.client())
        .await;
    let kubeconfig = cluster.kubeconfig_for(&token, &cluster.url());
    for _ in 0..50 {
        if reconciler(&kubeconfig)
            .args(["--dry-run"])
            .output()
            .await
            .code
            == Some(0)
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    reconciler(&kubeconfig)
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    let run = reconciler(&kubeconfig).output().await.expect(1);
    assert!(
        run.stderr.contains("grant the verb \"get\" on ippools"),
        "{run:#?}"
    );
}

#[tokio::test]
async fn the_cronjob_is_what_a_cluster_needs() {
    let cluster = Cluster::lock().await;
    cluster.kubectl(&["apply", "-f", &manifest("cronjob.yaml")]);
    let path = "/apis/batch/v1/namespaces/kube-system/cronjobs/ip-reconciler";
    let spec = send(cluster.client(), Method::GET, path, None)
        .await
        .unwrap()["spec"]
        .clone();
    let job = &spec["jobTemplate"]["spec"];
    let pod = &job["template"]["spec"];
    let container = &pod["containers"][0];
    for (found, expected) in [
        (&spec["schedule"], json!("*/5 * * * *")),
        (&spec["concurrencyPolicy"], json!("Forbid")),
        (&spec["successfulJobsHistoryLimit"], json!(0)),
        (&spec["failedJobsHistoryLimit"], json!(1)),
        (&job["backoffLimit"], json!(0)),
        (&pod["restartPolicy"], json!("Never")),
        (&pod["securityContext"]["runAsNonRoot"], json!(true)),
        (
            &pod["securityContext"]["seccompProfile"]["type"],
            json!("RuntimeDefault"),
        ),
        (
            &container["securityContext"]["readOnlyRootFilesystem"],
            json!(true),
        ),
        (
            &container["securityContext"]["allowPrivilegeEscalation"],
            json!(false),
        ),
        (
            &container["securityContext"]["capabilities"]["drop"],
            json!(["ALL"]),
        ),
        (
            &container["image"],
            json!(concat!("whereabouts:", env!("CARGO_PKG_VERSION"))),
        ),
    ] {
        assert_eq!(*found, expected);
    }
    assert!(job["activeDeadlineSeconds"].as_u64().unwrap() < 300);
    assert!(spec["startingDeadlineSeconds"].as_u64().unwrap() > 10);
    assert!(container["resources"]["limits"]["memory"].is_string());
    // The arguments are ones that the program takes.
    let arguments = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap());
    let mut run = reconciler(cluster.kubeconfig()).args(["--dry-run"]);
    for argument in arguments {
        run = run.args([argument]);
    }
    run.output().await.expect(0);
    // A one-off run, as the README says.
    cluster.kubectl(&[
        "create",
        "job",
        "-n",
        "kube-system",
        "--from=cronjob/ip-reconciler",
        "by-hand",
    ]);
    cluster.kubectl(&["delete", "job", "-n", "kube-system", "by-hand"]);
    cluster.kubectl(&["delete", "-f", &manifest("cronjob.yaml")]);
}
