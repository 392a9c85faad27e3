//! The plugin on the records of the real Go program, and that one on ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::NamedTempFile;

use super::call::{Call, Network, addresses, call, call_of};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, reservations};
use crate::support::run::{Running, reconciler};

const POOL: &str = "10.0.0.0-24";

/// How often a kubelet tries before the test fails.
const TRIES: u32 = 20;

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/peer")
        .join(name);
    assert!(path.exists(), "{} is missing: make peer", path.display());
    path
}

/// A cluster with a network that both programs can read.
struct Shared {
    network: Network,
    cluster: Cluster,
    _flat_file: NamedTempFile,
}

impl Shared {
    async fn lock() -> Shared {
        let cluster = Cluster::lock().await;
        // The Go program fails without one.
        let flat_file = NamedTempFile::new().unwrap();
        std::fs::write(flat_file.path(), "{}").unwrap();
        let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}))
            .with("configuration_path", json!(flat_file.path()))
            .top("cniVersion", json!("1.0.0"));
        Shared {
            network,
            cluster,
            _flat_file: flat_file,
        }
    }

    /// A call of the Go program.
    fn theirs(&self, command: &str) -> Call {
        call_of(&program("whereabouts"), command, &self.network)
    }

    fn ours(&self, command: &str) -> Call {
        call(command, &self.network)
    }

    /// The pod of each recorded address.
    async fn owners(&self) -> BTreeMap<String, String> {
        let recorded = entries(self.cluster.client(), "kube-system", POOL).await;
        let owners = recorded.into_iter().map(|(key, entry)| {
            let pod = entry["podref"].as_str().unwrap();
            (format!("10.0.0.{key}"), pod.to_owned())
        });
        owners.collect()
    }

    async fn assert_nothing_left(&self) {
        assert_eq!(self.owners().await, BTreeMap::new());
        assert!(reservations(self.cluster.client()).await.is_empty());
    }
}

async fn given(call: Call) -> String {
    let add = call.run().await.expect(0);
    without_length(&addresses(&add.json()).remove(0))
}

fn without_length(address: &str) -> String {
    address.split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn both_programs_give_addresses_of_one_pool_and_free_those_of_each_other() {
    let shared = Shared::lock().await;
    let add = |call: Call, n: u32| {
        call.container(&format!("c{n}"))
            .pod("default", &format!("web-{n}"))
    };
    for n in 1..=4 {
        let program = if n % 2 == 0 {
            shared.ours("ADD")
        } else {
            shared.theirs("ADD")
        };
        assert_eq!(given(add(program, n)).await, format!("10.0.0.{n}"));
    }
    assert_eq!(reservations(shared.cluster.client()).await.len(), 4);
    for n in 1..=4 {
        let program = if n % 2 == 0 {
            shared.theirs("DEL")
        } else {
            shared.ours("DEL")
        };
        add(program, n).run().await.expect(0);
        assert_eq!(shared.owners().await.len(), 4 - n as usize);
    }
    shared.assert_nothing_left().await;
}

#[tokio::test]
async fn the_next_container_of_a_pod_keeps_its_address_whichever_program_adds_it() {
    let shared = Shared::lock().await;
    for (first, next) in [
        (
            Shared::ours as fn(&Shared, &str) -> Call,
            Shared::theirs as fn(&Shared, &str) -> Call,
        ),
        (Shared::theirs, Shared::ours),
    ] {
        let web = |call: Call, container: &str| call.container(container).pod("default", "db-0");
        let address = given(web(first(&shared, "ADD"), "c1")).await;
        assert_eq!(given(web(next(&shared, "ADD"), "c2")).await, address);
        // The late DEL of the container before takes nothing from the pod.
        web(first(&shared, "DEL"), "c1").run().await.expect(0);
        let owner = shared.owners().await.remove(&address);
        assert_eq!(owner.as_deref(), Some("default/db-0"));
        web(next(&shared, "DEL"), "c2").run().await.expect(0);
        shared.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn each_reconciler_frees_what_the_other_program_left_and_keeps_what_runs() {
    let shared = Shared::lock().await;
    let client = shared.cluster.client();
    let kubeconfig = shared.cluster.kubeconfig();
    let add = |call: Call, name: &str| given(call.container(name).pod("default", name));
    for reconciler_is_ours in [true, false] {
        let mut live = BTreeMap::new();
        for (name, is_ours) in [
            ("a", true),
            ("b", false),
            ("gone-a", true),
            ("gone-b", false),
        ] {
            let name = format!("{name}-{reconciler_is_ours}");
            let program = if is_ours {
                shared.ours("ADD")
            } else {
                shared.theirs("ADD")
            };
            let address = add(program, &name).await;
            if !name.starts_with("gone") {
                pod("default", &name)
                    .shows("net1", &[&address])
                    .create(client)
                    .await;
                live.insert(address, format!("default/{name}"));
            }
        }
        if reconciler_is_ours {
            let run = reconciler(kubeconfig).args(["--force", "--settle", "100ms"]);
            run.output().await.expect(0);
        } else {
            let mut run = Command::new(program("ip-reconciler"));
            let output = run.arg("-kubeconfig").arg(kubeconfig).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let owners = shared.owners().await;
        let left: BTreeMap<String, String> = owners
            .into_iter()
            .filter(|(_, pod)| pod.ends_with(&reconciler_is_ours.to_string()))
            .collect();
        assert_eq!(left, live, "our reconciler: {reconciler_is_ours}");
    }
    assert_eq!(reservations(client).await.len(), 4);
}

/// As a kubelet does it: after a failure DEL, and ADD for a new container.
async fn persistent(shared: &Shared, name: &str) -> String {
    for attempt in 0..TRIES {
        let container = format!("{name}-{attempt}");
        let of_pod = |call: Call| call.container(&container).pod("default", name);
        let add = of_pod(shared.theirs("ADD")).run().await;
        if add.code == Some(0) {
            return without_length(&addresses(&add.json()).remove(0));
        }
        of_pod(shared.theirs("DEL")).run().await;
    }
    panic!("{name} has no address after {TRIES} attempts");
}

#[tokio::test]
async fn in_a_crowd_of_both_programs_no_address_has_two_owners() {
    let shared = Shared::lock().await;
    let ours = (0..24).map(|n| {
        let name = format!("ours-{n}");
        let running = shared
            .ours("ADD")
            .container(&name)
            .pod("default", &name)
            .spawn();
        (name, running)
    });
    let ours: Vec<(String, Running)> = ours.collect();
    let names: Vec<String> = (0..8).map(|n| format!("theirs-{n}")).collect();
    let theirs = names.iter().map(|name| persistent(&shared, name));
    let theirs = futures::future::join_all(theirs).await;
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (address, name) in theirs.into_iter().zip(names) {
        assert_eq!(owners.insert(address, format!("default/{name}")), None);
    }
    for (name, running) in ours {
        let add = running.wait().await.expect(0);
        let address = without_length(&addresses(&add.json()).remove(0));
        assert_eq!(owners.insert(address, format!("default/{name}")), None);
    }
    assert_eq!(shared.owners().await, owners);
}
