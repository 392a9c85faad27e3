//! Bad input, and clusters that are not ready for the plugin: a clear error, and nothing changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::call::{Network, call};
use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::send;
use crate::support::proxy::Proxy;

async fn refused(command: &str, network: &Network) -> String {
    let failed = call(command, network)
        .pod("default", "web")
        .run()
        .await
        .expect(1);
    let error = failed.json();
    assert_eq!(error["code"], 999, "{failed:#?}");
    error["msg"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bad_configuration_is_refused_before_anything_is_asked() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
    let cases: [(&str, Value, &str); 11] = [
        (
            "type",
            json!("host-local"),
            "only interested in networks whose IPAM type is 'whereabouts'. This one was: host-local",
        ),
        ("range", json!(5), "LoadIPAMConfig - JSON Parsing Error: "),
        (
            "range",
            json!("nonsense"),
            "invalid CIDR nonsense: invalid CIDR address: nonsense",
        ),
        (
            "range",
            json!("10.0.1.1-10.0.0.9/24"),
            "invalid range start for CIDR 10.0.0.0/24: 10.0.1.1",
        ),
        (
            "ipRanges",
            json!({}),
            "LoadIPAMConfig - JSON Parsing Error: ",
        ),
        (
            "gateway",
            json!("nonsense"),
            "couldn't parse gateway IP: nonsense",
        ),
        (
            "addresses",
            json!([{"address": "10.0.0.5"}]),
            "invalid CIDR in addresses 10.0.0.5: ",
        ),
        (
            "network_name",
            json!("Blue_1"),
            "network_name \"Blue_1\" cannot begin the name of a Kubernetes object: ",
        ),
        ("network_name", json!("b".repeat(210)), "network_name "),
        (
            "datastore",
            json!("consul"),
            "datastore \"consul\" is not known: ",
        ),
        (
            "kubernetes",
            json!({"kubeconfig": ""}),
            "you have not configured the storage engine ",
        ),
    ];
    for command in ["ADD", "DEL"] {
        for (member, value, expected) in cases.clone() {
            let msg = refused(command, &network.with(member, value)).await;
            assert!(msg.starts_with(expected), "{command} {member}: {msg}");
        }
        let subnet = network
            .with("range", Value::Null)
            .with("subnet", json!("10.0.0.0/24"));
        let msg = refused(command, &subnet).await;
        assert!(msg.contains("write 'range' instead of 'subnet'"), "{msg}");
    }
    for (member, value, expected) in [
        (
            "range",
            json!("10.0.0.0/31"),
            "net mask is too short, subnet 10.0.0.0/31 has no usable IP addresses",
        ),
        (
            "range",
            json!("fd00::8000:0:0:1-fd00::8000:0:0:9/64"),
            "range_start fd00::8000:0:0:1 is 2^63 or more addresses above the start of fd00::/64",
        ),
        (
            "exclude",
            json!(["10.0.0.300"]),
            "could not parse exclude range, err: ",
        ),
    ] {
        let network = network.with(member, value);
        let msg = refused("ADD", &network).await;
        assert!(msg.contains(expected), "{member}: {msg}");
        let status = call("STATUS", &network).run().await.expect(1).json();
        assert_eq!(status["code"], 50);
        let msg = status["msg"].as_str().unwrap();
        assert!(msg.contains(expected), "{member}: {msg}");
    }
    let nobody = call("ADD", &network).run().await.expect(1).json();
    let no_name = "error at storage engine: IPAM client initialization error: no pod name";
    assert_eq!(nobody["msg"], no_name);
    assert!(proxy.log().is_empty(), "{:#?}", proxy.log());
}

#[tokio::test]
async fn a_configuration_without_end_is_not_read_to_the_end() {
    let nowhere = Network::at(Path::new("/nonexistent"), json!({}));
    let endless = call("ADD", &nowhere).stdin(&" ".repeat(17 << 20));
    let error = endless.run().await.expect(1).json();
    assert_eq!(error["code"], 5);
    assert_eq!(
        error["msg"],
        "error reading from stdin: it has more than 16 MiB"
    );
}

#[tokio::test]
async fn a_password_is_never_part_of_an_error() {
    let secret = json!({"range": 5, "etcd_password": "hunter2"});
    let msg = refused("ADD", &Network::at(Path::new("/nonexistent"), secret)).await;
    assert!(!msg.contains("hunter2"), "{msg}");
}

#[tokio::test]
async fn what_is_ignored_is_said_in_the_log() {
    let cluster = Cluster::lock().await;
    let log = cluster.file("");
    let ipam = json!({"range": "10.0.0.0/24", "range_start": "10.9.0.1", "exlude": ["10.0.0.1"],
        "log_file": log, "log_level": "loud"});
    let network = Network::new(&cluster, ipam);
    call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("range_start 10.9.0.1 is not usable in 10.0.0.0/24"),
        "{log}"
    );
    assert!(
        log.contains("\"exlude\" is no setting and is ignored"),
        "{log}"
    );
    assert!(
        log.contains("log_level is ignored: \"loud\" is none of"),
        "{log}"
    );
    let nowhere = network.with("log_file", json!("/nonexistent/log"));
    let add = call("ADD", &nowhere).pod("default", "web").run().await;
    let said = add.expect(0).stderr;
    assert!(said.contains("log_file cannot be opened: "), "{said}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_no_use_is_named() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let folder = cluster.file("");
    let folder = folder.parent().unwrap();
    let no_context = cluster.file("apiVersion: v1\nkind: Config\ncurrent-context: gone\n");
    let broken = cluster.file("nonsense: [");
    for (path, said) in [
        (Path::new("/nonexistent"), "/nonexistent"),
        (folder, "directory"),
        (&broken, broken.to_str().unwrap()),
        (&no_context, "k8s config: namespace not present in context"),
    ] {
        let network = network.with("kubernetes", json!({ "kubeconfig": path }));
        let add = refused("ADD", &network).await;
        assert!(
            add.starts_with("failed to create Kubernetes IPAM manager: "),
            "{add}"
        );
        assert!(add.contains(said), "{said}: {add}");
        let del = refused("DEL", &network).await;
        assert!(
            del.starts_with("IPAM client initialization error: "),
            "{del}"
        );
    }
    let unreachable = cluster.kubeconfig_for(cluster.token(), "http://127.0.0.1:1");
    let network = network.with("kubernetes", json!({ "kubeconfig": unreachable }));
    let add = refused("ADD", &network).await;
    assert!(add.contains("127.0.0.1:1"), "{add}");
    let status = call("STATUS", &network).run().await.expect(1).json();
    assert_eq!(status["code"], 50, "{status}");
    refused("DEL", &network).await;
}

#[tokio::test]
async fn a_credential_plugin_that_hangs_does_not_keep_a_call_from_ending() {
    let cluster = Cluster::lock().await;
    let hanging = cluster.file(
        r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "/bin/sleep", "args": ["30"],
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}}}]}"#,
    );
    let ipam = json!({"range": "10.0.0.0/24", "add_timeout": "1s", "del_timeout": "1s"});
    let network = Network::at(&hanging, ipam);
    for command in ["ADD", "DEL"] {
        let msg = refused(command, &network).await;
        assert!(msg.contains("did not answer in time"), "{command}: {msg}");
    }
}

#[tokio::test]
async fn a_cluster_without_the_definitions_is_told_what_to_install() {
    let cluster = Cluster::separate(&Options::default()).await;
    for plural in ["ippools", "overlappingrangeipreservations"] {
        let path = format!(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.whereabouts.cni.cncf.io"
        );
        send(cluster.client(), Method::DELETE, &path, None)
            .await
            .unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    for command in ["ADD", "DEL"] {
        let msg = refused(command, &network).await;
        assert!(msg.contains("manifests/crds"), "{command}: {msg}");
    }
    let status = call("STATUS", &network).run().await.expect(1).json();
    assert_eq!(status["code"], 50, "{status}");
}

#[tokio::test]
async fn without_permission_the_verb_that_is_missing_is_named() {
    let cluster = Cluster::lock().await;
    let token = cluster.service_account_token("kube-system", "nobody").await;
    let kubeconfig = cluster.kubeconfig_for(&token, &cluster.url());
    std::fs::set_permissions(&kubeconfig, std::fs::Permissions::from_mode(0o600)).unwrap();
    let network = Network::at(&kubeconfig, json!({"range": "10.0.0.0/24"}));
    for command in ["ADD", "DEL"] {
        let msg = refused(command, &network).await;
        assert!(
            msg.contains("grant the verb \"get\" on ippools"),
            "{command}: {msg}"
        );
        assert!(!msg.contains(&token), "{msg}");
    }
}
