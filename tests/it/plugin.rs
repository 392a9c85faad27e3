//! The plugin as a process, against the real API server.

mod caches;
pub(crate) mod call;
mod crowds;
mod either;
#[cfg(feature = "etcd")]
mod etcd;
mod examples;
mod faults;
mod looks;
mod neighbours;
mod owners;
mod peer;
mod protocol;
mod refusals;
mod restarts;
mod rights;
mod slices;
mod together;

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::objects::{
    Object, create_all, delete_pod_now, entries, pod, pool, reservation, reservations,
};
use crate::support::proxy::Proxy;
use crate::support::run::reconciler;
use call::{Network, addresses, call};

async fn keys(cluster: &Cluster, pool: &str) -> Vec<u64> {
    let entries = entries(cluster.client(), "kube-system", pool).await;
    let mut keys: Vec<u64> = entries.keys().map(|key| key.parse().unwrap()).collect();
    keys.sort_unstable();
    keys
}

async fn assert_nothing_left(cluster: &Cluster, pool: &str) {
    assert!(keys(cluster, pool).await.is_empty());
    assert!(reservations(cluster.client()).await.is_empty());
}

#[tokio::test]
async fn an_address_is_recorded_given_checked_and_taken_back() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let add = call("ADD", &network)
        .pod("default", "web-0")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&add.json()), ["10.0.0.1/24"]);
    let entry = entries(cluster.client(), "kube-system", "10.0.0.0-24").await["1"].clone();
    let expected = json!({"id": "c1", "podref": "default/web-0", "ifname": "net1",
        "owner": {"id": "c1", "poduid": "uid-web-0", "nodename": "node-a"}});
    assert_eq!(entry, expected);
    let left: Vec<String> = reservations(cluster.client()).await.into_iter().collect();
    assert_eq!(left, ["kube-system/10.0.0.1"]);

    let network = network.previous(&add.json());
    call("CHECK", &network)
        .pod("default", "web-0")
        .run()
        .await
        .expect(0);
    let other = call("CHECK", &network)
        .container("c2")
        .pod("default", "web-0")
        .run()
        .await
        .expect(1);
    assert!(other.stdout.contains("records none of"), "{other:#?}");
    let unknown = call("DEL", &network).container("c2").run().await.expect(0);
    assert_eq!(
        (
            unknown.stdout.as_str(),
            keys(&cluster, "10.0.0.0-24").await.len()
        ),
        ("", 1)
    );
    for _ in 0..2 {
        let del = call("DEL", &network)
            .pod("default", "web-0")
            .run()
            .await
            .expect(0);
        assert_eq!(del.stdout, "");
        assert_nothing_left(&cluster, "10.0.0.0-24").await;
    }
}

#[tokio::test]
async fn both_families_named_networks_and_two_parts_of_one_range() {
    let cluster = Cluster::lock().await;
    let ranges = json!({"network_name": "blue", "ipRanges": [{"range": "fd00::/64"},
        {"range": "10.0.0.10-10.0.0.20/24"}, {"range": "10.0.0.30-10.0.0.40/24"}],
        "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}], "addresses": [{"address": "10.7.0.1/8"}]});
    let network = Network::new(&cluster, ranges);
    let add = call("ADD", &network)
        .pod("default", "web-0")
        .run()
        .await
        .expect(0);
    let given = ["fd00::1/64", "10.0.0.10/24", "10.0.0.30/24", "10.7.0.1/8"];
    assert_eq!(addresses(&add.json()), given);
    assert_eq!(keys(&cluster, "blue-10.0.0.0-24").await, [10, 30]);
    let left: Vec<String> = reservations(cluster.client()).await.into_iter().collect();
    let expected = ["blue-10.0.0.10", "blue-10.0.0.30", "blue-fd00--1"];
    assert_eq!(left, expected.map(|name| format!("kube-system/{name}")));
    // The same again: the same addresses, for the new container.
    let again = call("ADD", &network)
        .container("c2")
        .pod("default", "web-0")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&again.json()), given);
    call("DEL", &network).container("c1").run().await.expect(0);
    assert_eq!(keys(&cluster, "blue-10.0.0.0-24").await, [10, 30]);
    call("DEL", &network).container("c2").run().await.expect(0);
    assert_nothing_left(&cluster, "blue-10.0.0.0-24").await;
}

#[tokio::test]
async fn two_interfaces_of_one_pod_in_overlapping_ranges_differ() {
    let cluster = Cluster::lock().await;
    let wide = Network::new(&cluster, json!({"range": "10.0.0.0/16"}));
    let narrow = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let first = call("ADD", &wide)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    let second = call("ADD", &narrow)
        .interface("net2")
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&first.json()), ["10.0.0.1/16"]);
    assert_ne!(addresses(&second.json()), ["10.0.0.1/24"]);
    call("DEL", &narrow).interface("net2").run().await.expect(0);
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}

#[tokio::test]
async fn an_entry_of_the_go_program_is_taken_over() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .raw_entry("7", json!({"id": "old", "podref": "default/web"}))
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.7", "default/web")
        .create(client)
        .await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    let add = call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&add.json()), ["10.0.0.7/24"]);
    assert_eq!(
        entries(client, "kube-system", "10.0.0.0-24").await["7"]["id"],
        "c1"
    );
    // The old container's DEL comes late and frees nothing.
    call("DEL", &network).container("old").run().await.expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [7]);
    assert_eq!(reservations(client).await.len(), 1);
}

#[tokio::test]
async fn a_container_that_may_still_run_elsewhere_keeps_its_address() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    let elsewhere = call("ADD", &network).container("c2").pod("default", "web");
    let elsewhere = elsewhere
        .uid("another")
        .env("NODENAME", "node-b")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&elsewhere.json()), ["10.0.0.2/24"]);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 2]);
}

#[tokio::test]
async fn addresses_that_another_range_has_taken_cost_only_a_few_calls() {
    let cluster = Cluster::lock().await;
    let taken =
        (1..=200).map(|n| reservation("kube-system", &format!("10.0.0.{n}"), "default/other"));
    create_all(cluster.client(), taken, 32).await;
    let proxy = Proxy::start(&cluster).await;
    let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
    let add = call("ADD", &network)
        .pod("default", "web")
        .run()
        .await
        .expect(0);
    let given = addresses(&add.json()).remove(0);
    let last: u8 = given
        .trim_end_matches("/24")
        .rsplit('.')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(last > 200, "{given}");
    assert!(proxy.log().len() <= 12, "{:#?}", proxy.log());

    // And without anybody in the way: the pool, the claim, the record, and a look at the claim.
    let before = proxy.log().len();
    call("ADD", &network)
        .container("c2")
        .pod("default", "api")
        .run()
        .await
        .expect(0);
    let lone = Network::through(&proxy, &cluster, json!({"range": "10.5.0.0/24"}));
    call("ADD", &lone)
        .container("c3")
        .pod("default", "db")
        .run()
        .await
        .expect(0);
    let before_lone = proxy.log().len();
    call("ADD", &lone)
        .container("c4")
        .pod("default", "mq")
        .run()
        .await
        .expect(0);
    let calls: Vec<String> = proxy.log()[before_lone..]
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect();
    assert!(before_lone > before && calls.len() == 4, "{calls:#?}");
}

#[tokio::test]
async fn garbage_of_this_node_goes_and_that_of_others_stays() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    for (n, node) in [(1, "node-a"), (2, "node-a"), (3, "node-b")] {
        let add = call("ADD", &network)
            .container(&format!("c{n}"))
            .pod("default", &format!("web-{n}"));
        add.env("NODENAME", node).run().await.expect(0);
    }
    let valid = |ids: &[&str]| {
        let valid: Vec<Value> = ids
            .iter()
            .map(|id| json!({"containerID": id, "ifname": "eth0"}))
            .collect();
        network.top("cni.dev/valid-attachments", json!(valid))
    };
    call("GC", &network).run().await.expect(0);
    call("GC", &valid(&[])).run().await.expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 2, 3]);
    call("GC", &valid(&["c1", "unrelated"]))
        .run()
        .await
        .expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 3]);
    assert_eq!(reservations(cluster.client()).await.len(), 2);
    // Another network with the same range: its runtime speaks of its own containers only.
    let other = valid(&["c9"]).top("name", json!("wan"));
    call("GC", &other).run().await.expect(0);
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 3]);
}

#[tokio::test]
async fn status_says_whether_add_could_be_served() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/30"}));
    call("STATUS", &network).run().await.expect(0);
    for n in 0..2 {
        let add = call("ADD", &network)
            .container(&format!("c{n}"))
            .pod("default", &format!("web-{n}"));
        add.run().await.expect(0);
    }
    let full = call("STATUS", &network).run().await.expect(1);
    assert_eq!(full.json()["code"], 50);
    let add = call("ADD", &network)
        .container("c9")
        .pod("default", "web-9")
        .run()
        .await
        .expect(1);
    let msg = add.json()["msg"].as_str().unwrap().to_owned();
    assert!(
        msg.starts_with("error at storage engine: Could not allocate IP in range: ip: 10.0.0.1"),
        "{msg}"
    );
    let nowhere = network.with("kubernetes", json!({"kubeconfig": "/nonexistent"}));
    assert_eq!(
        call("STATUS", &nowhere).run().await.expect(1).json()["code"],
        50
    );
}

#[tokio::test]
async fn the_reconciler_reads_what_the_plugin_records() {
    let cluster = Cluster::lock().await;
    let network = Network::new(&cluster, json!({"range": "10.0.0.0/24"}));
    for n in 0..3 {
        let name = format!("web-{n}");
        let add = call("ADD", &network)
            .container(&format!("c{n}"))
            .pod("default", &name)
            .run()
            .await;
        let given = addresses(&add.expect(0).json()).remove(0);
        let address = given.trim_end_matches("/24");
        pod("default", &name)
            .shows("net1", &[address])
            .create(cluster.client())
            .await;
    }
    delete_pod_now(cluster.client(), "default", "web-1").await;
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    // Pods here have other uids than the plugin was told, and show their addresses: in use.
    assert_eq!(keys(&cluster, "10.0.0.0-24").await, [1, 3]);
    assert_eq!(reservations(cluster.client()).await.len(), 2);
    // Lowest first.
    let add = call("ADD", &network)
        .container("c9")
        .pod("default", "web-9")
        .run()
        .await
        .expect(0);
    assert_eq!(addresses(&add.json()), ["10.0.0.2/24"]);
}
