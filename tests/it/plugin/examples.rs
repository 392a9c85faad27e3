//! Every example of a network is one that the plugin takes, and gives what it says.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Network, addresses, call};
use super::{assert_nothing_left, slices};
use crate::support::cluster::Cluster;

/// Each network of each file: the addresses of its first pod, and the pool that one of them is in.
const EXAMPLES: [(&str, &str, &str); 9] = [
    (
        "dual-stack.yaml",
        "10.0.0.1/24 fd00:10::2/64",
        "10.0.0.0-24",
    ),
    ("excludes.yaml", "10.0.0.17/24", "10.0.0.0-24"),
    ("ipv4.yaml", "192.168.10.2/24", "192.168.10.0-24"),
    ("ipv6.yaml", "fd00:10::2/64", "fd00-10---64"),
    ("named-networks.yaml", "10.0.0.1/24", "storage-10.0.0.0-24"),
    ("named-networks.yaml", "10.0.0.1/24", "cameras-10.0.0.0-24"),
    ("node-slices.yaml", "10.0.0.17/16", "node-a-10.0.0.16-28"),
    ("range-end.yaml", "10.0.0.5/24", "10.0.0.0-24"),
    ("range-start-and-end.yaml", "10.0.0.5/24", "10.0.0.0-24"),
];

/// The networks of one file, as Multus would hand them to the main plugin.
fn networks(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text);
    let definitions = documents.map(|document| Value::deserialize(document).unwrap());
    let configuration = |definition: Value| {
        assert_eq!(definition["apiVersion"], "k8s.cni.cncf.io/v1");
        assert_eq!(definition["kind"], "NetworkAttachmentDefinition");
        let config = definition["spec"]["config"].as_str().unwrap();
        let config: Value = serde_json::from_str(config).unwrap();
        assert_eq!(
            config["name"], definition["metadata"]["name"],
            "{definition}"
        );
        config
    };
    definitions.map(configuration).collect()
}

#[tokio::test]
async fn every_example_gives_the_addresses_that_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/networks");
    let there = std::fs::read_dir(&folder).unwrap();
    let there: BTreeSet<String> = there
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, EXAMPLES.map(|(file, ..)| file.to_owned()).into());

    let cluster = Cluster::lock().await;
    slices::cut(&cluster, "sliced", &[("node-a", "10.0.0.16/28")]).await;
    for file in there {
        let expected: Vec<(&str, &str)> = EXAMPLES
            .iter()
            .filter(|(of, ..)| *of == file)
            .map(|(_, given, pool)| (*given, *pool))
            .collect();
        let kubeconfig = json!({"kubeconfig": cluster.kubeconfig()});
        let networks: Vec<Network> = networks(&folder.join(&file))
            .into_iter()
            .map(|config| Network::of(config).with("kubernetes", kubeconfig.clone()))
            .collect();
        assert_eq!(networks.len(), expected.len(), "{file}");
        // All networks of a file at once: they do not get into each other's way.
        for (network, (given, _)) in networks.iter().zip(&expected) {
            let add = call("ADD", network).pod("default", "web");
            let add = add.run().await.expect(0);
            assert_eq!(addresses(&add.json()).join(" "), *given, "{file}");
            assert!(!add.stderr.contains("WARN"), "{file}: {}", add.stderr);
        }
        for network in &networks {
            call("DEL", network).run().await.expect(0);
        }
        for (_, pool) in expected {
            assert_nothing_left(&cluster, pool).await;
        }
    }
}
