//! What is read beside the lists if it may be: definitions of networks, and what of the Go program runs.

use super::*;
use crate::support::control_plane::Options;

const DEFINITIONS: &str =
    "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
const CRON_JOBS: &str = "/apis/batch/v1/namespaces/kube-system/cronjobs";

/// A control plane that knows the resource of Multus.
pub(crate) async fn with_multus() -> Cluster {
    let cluster = Cluster::separate(&Options::default()).await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"config": {"type": "string"}}}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "network-attachment-definitions.k8s.cni.cncf.io"},
        "spec": {"group": "k8s.cni.cncf.io", "scope": "Namespaced",
            "names": {"plural": "network-attachment-definitions", "singular": "network-attachment-definition",
                "kind": "NetworkAttachmentDefinition", "shortNames": ["net-attach-def"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    send(cluster.client(), Method::POST, path, Some(&definition))
        .await
        .unwrap();
    for _ in 0..200 {
        if send(cluster.client(), Method::GET, DEFINITIONS, None)
            .await
            .is_ok()
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    cluster
}

pub(crate) async fn define(cluster: &Cluster, name: &str, ipam: &Value) {
    let config = json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam});
    let object = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name}, "spec": {"config": config.to_string()}});
    send(cluster.client(), Method::POST, DEFINITIONS, Some(&object))
        .await
        .unwrap();
}

#[tokio::test]
async fn definitions_tell_other_plugins_and_exclusions_where_they_can_be_read() {
    let cluster = with_multus().await;
    let client = cluster.client();
    define(
        &cluster,
        "net1",
        &json!({"type": "whereabouts", "range": "10.0.0.0/24", "exclude": ["10.0.0.4/30"]}),
    )
    .await;
    define(
        &cluster,
        "net2",
        &json!({"type": "host-local", "subnet": "10.0.0.0/24"}),
    )
    .await;
    let pool = pool("kube-system", "10.0.0.0/24").entry(5, "default/web", "net1", "c");
    pool.create(client).await;
    running("web", "10.0.0.5").create(client).await;
    running("lost", "10.0.0.8").create(client).await;
    for name in ["local-a", "local-b"] {
        let local = pod("default", name).shows("net2", &["10.0.0.9"]);
        local.create(client).await;
    }
    let run = look(&cluster, &["--dry-run"]).await.expect(0);
    let expected = [
        "Unrecorded 10.0.0.8 lost",
        "MissingReservation 10.0.0.5 web",
        "Unusable 10.0.0.5 web",
    ];
    assert_eq!(findings(&run), expected, "{run:#?}");
    // A dump says the same.
    let dump = cluster.kubectl(&[
        "get",
        "-A",
        "-o",
        "yaml",
        "ippools,overlappingrangeipreservations,nodes,pods,network-attachment-definitions",
    ]);
    let offline = reconciler(cluster.kubeconfig()).args(["--snapshot", "-", "-o", "json"]);
    let offline = offline.stdin(&dump).output().await.expect(0);
    assert_eq!(findings(&offline), expected, "{offline:#?}");
    // Whoever may not read them sees what the records say.
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    proxy.rule(|seen| {
        seen.path
            .contains("network-attachment")
            .then_some(Fault::Status(403, "Forbidden"))
    });
    let without = reconciler(&kubeconfig).args(["--dry-run", "-o", "json"]);
    let without = without.output().await.expect(0);
    assert_eq!(
        findings(&without),
        [
            "Unrecorded 10.0.0.8 lost",
            "TwoPods 10.0.0.9 local-a,local-b"
        ]
        .map(str::to_owned)
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
    );
    assert_eq!(without.json()["remarks"], json!([]));
    // With the definitions the reservation comes back, too.
    look(&cluster, &["--repair"]).await.expect(0);
    let all = crate::support::objects::reservations(client).await;
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        ["kube-system/10.0.0.5", "kube-system/10.0.0.8"]
    );
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 2);
}

/// A workload's pod that runs `command`.
async fn program(cluster: &Cluster, name: &str, command: &[&str], labels: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/x", "command": command}]}});
    let path = "/api/v1/namespaces/kube-system/pods";
    send(cluster.client(), Method::POST, path, Some(&object))
        .await
        .unwrap();
}

async fn cron_job(cluster: &Cluster, command: &[&str], suspended: bool) {
    let pod = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "main", "image": "example.invalid/x", "command": command}]}});
    let object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "ip-reconciler"},
        "spec": {"schedule": "* * * * *", "suspend": suspended,
            "jobTemplate": {"spec": {"template": pod}}}});
    let name = format!("{CRON_JOBS}/ip-reconciler");
    let _ = send(cluster.client(), Method::DELETE, &name, None).await;
    send(cluster.client(), Method::POST, CRON_JOBS, Some(&object))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_runs_of_the_go_program_is_said_and_ours_is_not() {
    let cluster = Cluster::separate(&Options::default()).await;
    pool("kube-system", "10.0.0.0/24")
        .create(cluster.client())
        .await;
    let remarks = async || {
        let run = look(&cluster, &["--dry-run"]).await.expect(0);
        let remarks = run.json()["remarks"].as_array().unwrap().clone();
        remarks
            .iter()
            .map(|remark| remark.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ours = json!({"app.kubernetes.io/name": "ip-reconciler"});
    program(&cluster, "ip-reconciler-1-x", &["/ip-reconciler"], ours).await;
    program(
        &cluster,
        "whereabouts-installer-x",
        &["/install"],
        json!({}),
    )
    .await;
    cron_job(&cluster, &["/ip-reconciler", "--grace=2m"], false).await;
    assert_eq!(remarks().await, Vec::<String>::new());
    cron_job(&cluster, &["/ip-reconciler", "-log-level=verbose"], true).await;
    assert_eq!(remarks().await, Vec::<String>::new());

    cron_job(&cluster, &["/ip-reconciler", "-log-level=verbose"], false).await;
    let script = "/install-cni.sh && /ip-control-loop -log-level debug";
    program(
        &cluster,
        "whereabouts-a",
        &["/bin/sh", "-c", script],
        json!({}),
    )
    .await;
    program(
        &cluster,
        "whereabouts-b",
        &["/bin/sh", "-c", script],
        json!({}),
    )
    .await;
    program(
        &cluster,
        "whereabouts-reconciler-5-x",
        &["/ip-reconciler", "-log-level", "debug"],
        json!({}),
    )
    .await;
    let said = remarks().await;
    assert_eq!(said.len(), 3, "{said:?}");
    for part in [
        "CronJob kube-system/ip-reconciler runs the Go program's reconciler",
        "pod kube-system/whereabouts-a runs the Go program's pod controller",
        "pod kube-system/whereabouts-reconciler-5-x runs the Go program's reconciler",
    ] {
        assert!(
            said.iter().any(|remark| remark.starts_with(part)),
            "{part}: {said:?}"
        );
    }
    let dump = cluster.kubectl(&[
        "get",
        "-A",
        "-o",
        "yaml",
        "ippools,overlappingrangeipreservations,nodes,pods,cronjobs",
    ]);
    let offline = reconciler(cluster.kubeconfig()).args(["--snapshot", "-"]);
    let offline = offline.stdin(&dump).output().await.expect(0);
    assert_eq!(
        offline.stdout.matches("the Go program's").count(),
        4,
        "{offline:#?}"
    );
    // A right that is missing is not missed.
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    proxy.rule(|seen| {
        seen.path
            .contains("cronjobs")
            .then_some(Fault::Status(403, "Forbidden"))
    });
    let run = reconciler(&kubeconfig)
        .args(["--dry-run"])
        .output()
        .await
        .expect(0);
    assert_eq!(
        run.stdout.matches("the Go program's").count(),
        2,
        "{run:#?}"
    );
}
