//! The plugin on the records of the real Go program, and that one on ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::NamedTempFile;

use super::call::{Call, Network, address, call, call_of};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, entries, pod, reservations};
use crate::support::run::{Running, reconciler};

const POOL: &str = "10.0.0.0-24";

/// How often a kubelet tries before the test fails.
const TRIES: u32 = 20;

/// One of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    /// The Go program.
    Theirs,
}

use Whose::{Ours, Theirs};

fn peer(name: &str) -> PathBuf {
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

    fn call(&self, whose: Whose, command: &str) -> Call {
        match whose {
            Whose::Ours => call(command, &self.network),
            Whose::Theirs => call_of(&peer("whereabouts"), command, &self.network),
        }
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

/// The address that an ADD was given.
async fn given(call: Call) -> String {
    address(&call.run().await.expect(0).json())
}

#[tokio::test]
async fn both_programs_give_addresses_of_one_pool_and_free_those_of_each_other() {
    let shared = Shared::lock().await;
    let of_pod = |call: Call, n: u32| {
        call.container(&format!("c{n}"))
            .pod("default", &format!("web-{n}"))
    };
    for (n, whose) in (1..).zip([Theirs, Ours, Theirs, Ours]) {
        let add = of_pod(shared.call(whose, "ADD"), n);
        assert_eq!(given(add).await, format!("10.0.0.{n}"));
    }
    assert_eq!(reservations(shared.cluster.client()).await.len(), 4);
    for (n, whose) in (1..).zip([Ours, Theirs, Ours, Theirs]) {
        of_pod(shared.call(whose, "DEL"), n).run().await.expect(0);
        assert_eq!(shared.owners().await.len(), 4 - n as usize);
    }
    shared.assert_nothing_left().await;
}

#[tokio::test]
async fn the_next_container_of_a_pod_keeps_its_address_whichever_program_adds_it() {
    let shared = Shared::lock().await;
    for (first, next) in [(Ours, Theirs), (Theirs, Ours)] {
        let web = |call: Call, container: &str| call.container(container).pod("default", "db-0");
        let address = given(web(shared.call(first, "ADD"), "c1")).await;
        assert_eq!(given(web(shared.call(next, "ADD"), "c2")).await, address);
        // The late DEL of the container before takes nothing from the pod.
        web(shared.call(first, "DEL"), "c1").run().await.expect(0);
        let owner = shared.owners().await.remove(&address);
        assert_eq!(owner.as_deref(), Some("default/db-0"));
        web(shared.call(next, "DEL"), "c2").run().await.expect(0);
        shared.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn each_reconciler_frees_what_the_other_program_left_and_keeps_what_runs() {
    let shared = Shared::lock().await;
    let client = shared.cluster.client();
    let kubeconfig = shared.cluster.kubeconfig();
    let add = |call: Call, name: &str| given(call.container(name).pod("default", name));
    let mut live = BTreeMap::new();
    for whose_run in [Ours, Theirs] {
        for (name, whose) in [
            ("a", Ours),
            ("b", Theirs),
            ("gone-a", Ours),
            ("gone-b", Theirs),
        ] {
            let name = format!("{name}-{whose_run:?}").to_lowercase();
            let address = add(shared.call(whose, "ADD"), &name).await;
            if !name.starts_with("gone") {
                pod("default", &name)
                    .shows("net1", &[&address])
                    .create(client)
                    .await;
                live.insert(address, format!("default/{name}"));
            }
        }
        match whose_run {
            Ours => {
                let run = reconciler(kubeconfig).args(["--force", "--settle", "100ms"]);
                run.output().await.expect(0);
            }
            Theirs => {
                let mut run = Command::new(peer("ip-reconciler"));
                let output = run.arg("-kubeconfig").arg(kubeconfig).output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
        }
        assert_eq!(shared.owners().await, live, "after a run of {whose_run:?}");
    }
    assert_eq!(reservations(client).await.len(), 4);
}

/// As a kubelet does it: after a failure DEL, and ADD for a new container.
async fn persistent(shared: &Shared, name: &str) -> String {
    for attempt in 0..TRIES {
        let container = format!("{name}-{attempt}");
        let of_pod = |call: Call| call.container(&container).pod("default", name);
        let add = of_pod(shared.call(Theirs, "ADD")).run().await;
        if add.code == Some(0) {
            return address(&add.json());
        }
        of_pod(shared.call(Theirs, "DEL")).run().await;
    }
    panic!("{name} has no address after {TRIES} attempts");
}

#[tokio::test]
async fn in_a_crowd_of_both_programs_no_address_has_two_owners() {
    let shared = Shared::lock().await;
    let ours = (0..24).map(|n| {
        let name = format!("ours-{n}");
        let running = shared
            .call(Ours, "ADD")
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
        let address = address(&running.wait().await.expect(0).json());
        assert_eq!(owners.insert(address, format!("default/{name}")), None);
    }
    assert_eq!(shared.owners().await, owners);
}
