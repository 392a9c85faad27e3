//! The role of the nodes is enough for the plugin, and gives nothing that is not used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, Network, call};
use super::slices;
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, reservation, send};
use crate::support::run::Outcome;

const ROLE: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/whereabouts-node";
const RECORDS: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";

/// One call after the other that together need every right, until one fails; gives the last.
async fn life(cluster: &Cluster, kubeconfig: &Path) -> Outcome {
    for kind in [
        "ippools",
        "overlappingrangeipreservations",
        "nodeslicepools",
    ] {
        let all = format!("{RECORDS}/{kind}");
        send(cluster.client(), Method::DELETE, &all, None)
            .await
            .unwrap();
    }
    // Somebody else's claim, that the second pod finds in its way.
    let other = reservation("kube-system", "10.0.0.2", "default/other");
    other.create(cluster.client()).await;
    slices::cut(cluster, "sliced", &[("node-a", "10.1.0.0/28")]).await;

    let network = Network::at(kubeconfig, json!({"range": "10.0.0.0/24"}));
    let sliced =
        json!({"range": "10.1.0.0/16", "node_slice_size": "/28", "network_name": "sliced"});
    let sliced = Network::at(kubeconfig, sliced);
    let given = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/24"}]});
    let valid = json!([{"containerID": "c2", "ifname": "net1"}]);
    let add = |network: &Network, container: &str, pod: &str| {
        call("ADD", network)
            .container(container)
            .pod("default", pod)
    };
    let del = |container: &str| call("DEL", &network).container(container);
    let calls: [Call; 9] = [
        add(&network, "c1", "web"),
        call("CHECK", &network.previous(&given)),
        call("STATUS", &network),
        // The pod's next container takes over what it has.
        add(&network, "c2", "web"),
        add(&network, "c3", "api"),
        call("GC", &network.top("cni.dev/valid-attachments", valid)),
        del("c2"),
        del("unknown"),
        add(&sliced, "c4", "db"),
    ];
    let mut last = None;
    for call in calls {
        let outcome = call.run().await;
        if outcome.code != Some(0) {
            return outcome;
        }
        last = Some(outcome);
    }
    last.unwrap()
}

/// The authorizer learns of a changed role a moment later.
async fn settled(cluster: &Cluster, kubeconfig: &Path, wanted: &str) -> Outcome {
    for _ in 0..20 {
        let last = life(cluster, kubeconfig).await;
        if last.stdout.replace('\\', "").contains(wanted) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    life(cluster, kubeconfig).await
}

/// Installs the manifest, and gives a kubeconfig as the installer writes it.
async fn install(cluster: &Cluster) -> (String, PathBuf) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/daemonset.yaml");
    let manifest = manifest.display().to_string();
    cluster.kubectl(&["apply", "-f", &manifest]);
    let token = cluster
        .service_account_token("kube-system", "whereabouts-node")
        .await;
    (manifest, cluster.kubeconfig_for(&token, &cluster.url()))
}

async fn set_rules(cluster: &Cluster, rules: &[Value]) {
    let patch = json!({ "rules": rules });
    send(cluster.client(), Method::PATCH, ROLE, Some(&patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_nodes_role_is_enough_and_every_verb_of_it_is_needed() {
    let cluster = Cluster::lock().await;
    let (manifest, kubeconfig) = install(&cluster).await;
    settled(&cluster, &kubeconfig, "10.1.0.1/16")
        .await
        .expect(0);

    let role = send(cluster.client(), Method::GET, ROLE, None).await;
    let rules = role.unwrap()["rules"].as_array().unwrap().clone();
    let mut needed = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        for verb in rule["verbs"].as_array().unwrap() {
            let mut less = rules.clone();
            let verbs = less[at]["verbs"].as_array_mut().unwrap();
            verbs.retain(|other| other != verb);
            // A rule without any verb is refused.
            verbs.push(json!("none"));
            set_rules(&cluster, &less).await;
            let resource = rule["resources"][0].as_str().unwrap();
            let advice = format!("grant the verb {verb} on {resource}.whereabouts.cni.cncf.io");
            let last = settled(&cluster, &kubeconfig, &advice).await;
            assert_eq!(
                last.code,
                Some(1),
                "without {verb} on {resource}: {last:#?}"
            );
            let text = last.stdout.replace('\\', "");
            assert!(text.contains(&advice), "{advice}: {last:#?}");
            needed.push(format!("{} {resource}", verb.as_str().unwrap()));
        }
    }
    assert_eq!(needed.len(), 9, "{needed:#?}");
    cluster.kubectl(&["delete", "-f", &manifest]);
}

#[tokio::test]
async fn a_node_may_do_nothing_else() {
    let cluster = Cluster::lock().await;
    let (manifest, _) = install(&cluster).await;
    let resources = |namespace: &str| {
        let node = "--as=system:serviceaccount:kube-system:whereabouts-node";
        let list = [
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            node,
            "-n",
            namespace,
        ];
        let list = cluster.kubectl(&list);
        // Paths begin with a space, and what everybody may ask about itself with `self`.
        let lines = list
            .lines()
            .filter(|line| !line.starts_with([' ', '[']) && !line.starts_with("self"));
        let resources = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
        resources.collect::<BTreeSet<String>>()
    };
    let records = [
        "ippools",
        "nodeslicepools",
        "overlappingrangeipreservations",
    ];
    let records = records.map(|kind| format!("{kind}.whereabouts.cni.cncf.io"));
    assert_eq!(resources("kube-system"), BTreeSet::from(records));
    assert_eq!(resources("default"), BTreeSet::new());
    cluster.kubectl(&["delete", "-f", &manifest]);
}
