//! `manifests/ip-reconciler-etcd.yaml` is enough on its own, and gives nothing that is not used.

use std::fs;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::settings::{client_certificates, with_certificates};
use super::{add, key, put};
use crate::support::cluster::Cluster;
use crate::support::etcd::Etcd;
use crate::support::objects::{Object, node, pod, send};
use crate::support::run::{Outcome, reconciler};

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/ip-reconciler-etcd";
const JOBS: &str = "/apis/batch/v1/namespaces/kube-system/cronjobs";
const FOLDER: &str = "/etc/whereabouts-etcd";
/// What a run does without, if it has to.
const OPTIONAL: [&str; 2] = ["network-attachment-definitions", "cronjobs"];

fn manifest() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("manifests/ip-reconciler-etcd.yaml");
    path.display().to_string()
}

/// The Secret as the manifest says how to make it; its settings name files where they are mounted.
fn make_secret(cluster: &Cluster, etcd: &Etcd) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("client.crt", "tls.crt"),
        ("client.key", "tls.key"),
    ] {
        fs::copy(etcd.path(from), file(to)).unwrap();
    }
    let settings = json!({"etcd_host": format!("https://{}", etcd.host()),
        "etcd_ca_cert_file": format!("{FOLDER}/ca.crt"),
        "etcd_cert_file": format!("{FOLDER}/tls.crt"), "etcd_key_file": format!("{FOLDER}/tls.key")});
    fs::write(file("whereabouts.conf"), settings.to_string()).unwrap();
    let files = ["whereabouts.conf", "ca.crt", "tls.crt", "tls.key"];
    let files = files.map(|name| format!("--from-file={}", file(name).display()));
    let mut arguments = vec![
        "create",
        "secret",
        "generic",
        "-n",
        "kube-system",
        "ip-reconciler-etcd",
    ];
    arguments.extend(files.iter().map(String::as_str));
    cluster.kubectl(&arguments);
    folder
}

/// Puts the files of the Secret that the job mounts where a test can read them, and gives the job's
/// arguments with that place in them.
async fn mounted(cluster: &Cluster, folder: &Path) -> Vec<String> {
    let path = format!("{JOBS}/ip-reconciler-etcd");
    let job = send(cluster.client(), Method::GET, &path, None)
        .await
        .unwrap();
    let spec = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let volume = &spec["volumes"][0];
    let container = &spec["containers"][0];
    let mount = &container["volumeMounts"][0];
    assert_eq!(
        (&mount["name"], &mount["mountPath"]),
        (&volume["name"], &json!(FOLDER))
    );
    // Nobody but the program's own group reads them.
    assert_eq!(volume["secret"]["defaultMode"], 0o440);
    assert_eq!(
        spec["securityContext"]["fsGroup"],
        spec["securityContext"]["runAsGroup"]
    );
    let name = volume["secret"]["secretName"].as_str().unwrap();
    let path = format!("/api/v1/namespaces/kube-system/secrets/{name}");
    let secret = send(cluster.client(), Method::GET, &path, None)
        .await
        .unwrap();
    let place = folder.display().to_string();
    for name in secret["data"].as_object().unwrap().keys() {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        fs::write(folder.join(name), text.replace(FOLDER, &place)).unwrap();
    }
    let arguments = container["args"].as_array().unwrap().iter();
    arguments
        .map(|argument| argument.as_str().unwrap().replace(FOLDER, &place))
        .collect()
}

/// A run that needs every right: a suspect pod, one on a node that does not answer, and one whose node
/// is gone.
async fn full_run(cluster: &Cluster, etcd: &Etcd, token: &str, arguments: &[String]) -> Outcome {
    let record = json!({"container": "c", "ifname": "net1", "podref": "default/gone",
        "node": "node-gone", "range": "10.0.0.0/24", "network": "lan"});
    for (address, podref) in [("10.0.0.1", "default/gone"), ("10.0.0.2", "default/moved")] {
        let mut record = record.clone();
        record["podref"] = podref.into();
        put_as_root(etcd, &key(address), &record.to_string()).await;
    }
    let kubeconfig = cluster.kubeconfig_for(token, &cluster.url());
    let mut run = reconciler(&kubeconfig).args(["--settle", "100ms", "-o", "json"]);
    // In a pod it is the pod's own.
    run = run.args(["--reports-namespace", "kube-system"]);
    for argument in arguments.iter().filter(|it| !it.starts_with("--grace")) {
        run = run.args([argument.as_str()]);
    }
    run.output().await
}

async fn put_as_root(etcd: &Etcd, key: &str, value: &str) {
    let mut client = client_certificates(etcd).await;
    client.put(key, value, None).await.unwrap();
}

#[tokio::test]
async fn the_role_is_enough_without_any_right_on_custom_resources() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let etcd = with_certificates();
    let applied = cluster.kubectl(&["apply", "-f", &manifest()]);
    assert_eq!(applied.lines().count(), 6, "{applied}");
    let again = cluster.kubectl(&["apply", "-f", &manifest()]);
    assert!(
        again.lines().all(|line| line.ends_with(" unchanged")),
        "{again}"
    );
    let folder = make_secret(&cluster, &etcd);
    let arguments = mounted(&cluster, folder.path()).await;
    let token = cluster
        .service_account_token("kube-system", "ip-reconciler-etcd")
        .await;
    let moved = pod("default", "moved").shows("net1", &["10.0.0.9"]);
    moved.create(client).await;
    node("node-a").create(client).await;
    node("node-b").unreachable().create(client).await;
    let run = full_run(&cluster, &etcd, &token, &arguments)
        .await
        .expect(0);
    assert_eq!(run.json()["summary"]["released"], 2, "{run:#?}");
    assert!(!run.stdout.contains("grant the verb"), "{run:#?}");

    let whole = send(client, Method::GET, ROLE, None).await.unwrap()["rules"].clone();
    assert!(
        !whole.to_string().contains("whereabouts.cni.cncf.io"),
        "{whole}"
    );
    let rules = whole.as_array().unwrap();
    let mut verbs = 0;
    for (at, rule) in rules.iter().enumerate() {
        for verb in rule["verbs"].as_array().unwrap() {
            verbs += 1;
            let mut less: Vec<Value> = rules.clone();
            let others = less[at]["verbs"].as_array_mut().unwrap();
            others.retain(|other| other != verb);
            less.retain(|rule| rule["verbs"] != json!([]));
            send(client, Method::PATCH, ROLE, Some(&json!({ "rules": less })))
                .await
                .unwrap();
            let resource = rule["resources"][0].as_str().unwrap();
            if OPTIONAL.contains(&resource) {
                full_run(&cluster, &etcd, &token, &arguments)
                    .await
                    .expect(0);
                continue;
            }
            let advice = format!("grant the verb {verb} on {resource}");
            let mut said = String::new();
            // The authorizer learns of a changed role a moment later.
            for _ in 0..20 {
                let run = full_run(&cluster, &etcd, &token, &arguments).await;
                said = format!("{}{}", run.stdout, run.stderr).replace('\\', "");
                if run.code == Some(1) && said.contains(&advice) {
                    break;
                }
            }
            assert!(said.contains(&advice), "{advice}: {said}");
        }
    }
    assert_eq!(verbs, 7);
    cluster.kubectl(&["delete", "-f", &manifest()]);
    cluster.kubectl(&[
        "delete",
        "secret",
        "-n",
        "kube-system",
        "ip-reconciler-etcd",
    ]);
}

#[tokio::test]
async fn the_records_of_another_cluster_are_left_alone() {
    let (cluster, etcd) = (Cluster::lock().await, Etcd::start());
    let lan = super::network(&cluster, &etcd, "10.0.0.0/24");
    add(&lan, "default", "gone").await;
    super::run(&cluster, &etcd).output().await.expect(0);
    let ours = super::value_of_all(&etcd, super::CLUSTER).await.unwrap();
    let path = "/api/v1/namespaces/kube-system";
    let here = send(cluster.client(), Method::GET, path, None)
        .await
        .unwrap();
    assert_eq!(ours, here["metadata"]["uid"].as_str().unwrap());
    add(&lan, "default", "gone").await;
    put(&etcd, super::CLUSTER, "another").await;
    let before = etcd.all().await;
    let hand = ["release", "10.0.0.1", "--yes"];
    for refused in [
        super::run(&cluster, &etcd).output().await,
        super::run(&cluster, &etcd)
            .args(["--dry-run"])
            .output()
            .await,
        super::run(&cluster, &etcd).args(["--force"]).output().await,
        super::run(&cluster, &etcd).args(hand).output().await,
    ] {
        let refused = refused.expect(1);
        assert!(
            refused.stderr.contains("those of another cluster"),
            "{refused:#?}"
        );
        assert!(
            refused.stderr.contains("nothing was released"),
            "{refused:#?}"
        );
    }
    assert_eq!(etcd.all().await, before);
}
