//! The token of the plugin changes while pods are made.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::pods::{Workload, offsets};
use crate::world::{World, until};

/// How long the installer may take to hand a token on; it looks every few seconds.
const HANDED_ON_WITHIN: Duration = Duration::from_mins(1);
const RANGE: &str = "10.58.0.0/24";

/// A new token of the installer of one node.
struct Token {
    node: String,
    /// The uid of the installer's pod.
    uid: String,
    text: String,
}

impl World {
    /// Gives each installer a new token.
    fn rotate(&mut self) -> Vec<Token> {
        let installers =
            "pods --namespace kube-system --selector app.kubernetes.io/name=whereabouts-node";
        let list = self.get(installers);
        let mut tokens = Vec::new();
        for pod in list["items"].as_array().unwrap() {
            let text = |path: &str| pod.pointer(path).unwrap().as_str().unwrap().to_owned();
            let (name, uid) = (text("/metadata/name"), text("/metadata/uid"));
            let created = self.kubectl(&format!(
                "--namespace kube-system create token whereabouts-node --bound-object-kind Pod \
                 --bound-object-name {name} --bound-object-uid {uid}"
            ));
            let token = Token {
                node: text("/spec/nodeName"),
                uid,
                text: created.trim().to_owned(),
            };
            self.put(&token);
            tokens.push(token);
        }
        tokens
    }

    /// Puts a token into its pod, if it is not there, in the way of the kubelet: a new folder, and
    /// then a link to it by rename.
    fn put(&mut self, token: &Token) {
        let Token { node, uid, text } = token;
        let output = self.node(node).run(&format!(
            "set -e
            cd /var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/*
            [ \"$(cat ..data/token)\" != '{text}' ] || exit 0
            folder=..rotated-$(date +%N)
            mkdir $folder
            cp ..data/ca.crt ..data/namespace $folder
            printf %s '{text}' >$folder/token
            ln -s $folder ..data_tmp
            mv -T ..data_tmp ..data"
        ));
        assert!(output.status.success(), "{output:#?}");
    }

    /// Waits until the plugin of each node has its token.
    fn handed_on(&mut self, tokens: &[Token]) {
        for token in tokens {
            let folder = self.node(&token.node).file("etc/cni/net.d/whereabouts.d");
            until("the token is handed on", HANDED_ON_WITHIN, || {
                let kubeconfig = fs::read_to_string(folder.join("whereabouts.kubeconfig")).unwrap();
                let is_there = kubeconfig.contains(&token.text);
                if !is_there {
                    // About once a minute the kubelet looks at a volume and writes back what it knows.
                    self.put(token);
                }
                is_there.then_some(())
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
    for _ in 0..3 {
        web.replicas += 6;
        world.run("tokens", &web);
        let tokens = world.rotate();
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
