//! The token of the plugin changes while pods are made.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::pods::{Workload, offsets};
use crate::world::{World, until};

/// How long the installer may take to hand a token on; it looks every few seconds.
const HANDED_ON_WITHIN: Duration = Duration::from_mins(1);
const RANGE: &str = "10.58.0.0/24";

impl World {
    /// Gives each installer a new token in the way of the kubelet: a new folder, and then a link to
    /// it by rename. Gives the nodes with their tokens.
    fn rotate(&mut self, folder: &str) -> Vec<(String, String)> {
        let installers =
            "pods --namespace kube-system --selector app.kubernetes.io/name=whereabouts-node";
        let list = self.get(installers);
        let mut tokens = Vec::new();
        for pod in list["items"].as_array().unwrap() {
            let text = |path: &str| pod.pointer(path).unwrap().as_str().unwrap().to_owned();
            let (name, uid, node) = (
                text("/metadata/name"),
                text("/metadata/uid"),
                text("/spec/nodeName"),
            );
            let token = self.kubectl(&format!(
                "--namespace kube-system create token whereabouts-node --bound-object-kind Pod \
                 --bound-object-name {name} --bound-object-uid {uid}"
            ));
            let token = token.trim().to_owned();
            let output = self.node(&node).run(&format!(
                "set -e
                cd /var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/*
                mkdir {folder}
                cp ..data/ca.crt ..data/namespace {folder}
                printf %s '{token}' >{folder}/token
                ln -s {folder} ..data_tmp
                mv -T ..data_tmp ..data"
            ));
            assert!(output.status.success(), "{output:#?}");
            tokens.push((node, token));
        }
        tokens
    }

    /// Waits until the plugin of each node has its token.
    fn handed_on(&mut self, tokens: &[(String, String)]) {
        for (node, token) in tokens {
            let folder = self.node(node).file("etc/cni/net.d/whereabouts.d");
            until("the token is handed on", HANDED_ON_WITHIN, || {
                let kubeconfig = fs::read_to_string(folder.join("whereabouts.kubeconfig")).unwrap();
                kubeconfig.contains(token).then_some(())
            });
        }
    }

    /// No pod had to be tried twice.
    fn no_pod_failed(&self, namespace: &str) {
        let failed = "--field-selector reason=FailedCreatePodSandBox";
        let events = self.get(&format!("events --namespace {namespace} {failed}"));
        assert_eq!(events["items"], json!([]));
    }
}

#[test]
fn no_pod_fails_while_tokens_and_installers_are_replaced() {
    let mut world = World::lock();
    world.namespace("tokens");
    world.network("tokens", "lan", json!({ "range": RANGE }));
    let mut web = Workload::deployment("web", "lan", 0);
    for round in 0..3 {
        web.replicas += 6;
        world.run("tokens", &web);
        let tokens = world.rotate(&format!("..rotated-{round}"));
        world.ready("tokens", "web", web.replicas);
        world.handed_on(&tokens);
    }
    // The token of an installer ends with it.
    world.kubectl("--namespace kube-system rollout restart daemonset/whereabouts-node");
    web.replicas += 6;
    world.run("tokens", &web);
    world.kubectl(
        "--namespace kube-system rollout status daemonset/whereabouts-node --timeout=120s",
    );
    let pods = world.ready("tokens", "web", web.replicas);
    world.no_pod_failed("tokens");
    assert_eq!(world.offsets(RANGE), offsets(&pods));
    world.kubectl("--namespace tokens delete deployment web");
    world.recorded(RANGE, []);
    world.no_pod_failed("tokens");
}
