//! The behaviours, as a runtime sees them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::call::{Network, addresses, call};
use super::home::{Home, valid};
use crate::support::run::Running;

async fn add(network: &Network, container: &str, pod: &str) -> Value {
    let add = call("ADD", network).container(container);
    add.pod("default", pod).run().await.expect(0).json()
}

async fn del(network: &Network, container: &str) {
    let del = call("DEL", network).container(container);
    let del = del.run().await.expect(0);
    assert_eq!(del.stdout, "");
}

fn one(at: &str, container: &str) -> BTreeMap<IpAddr, String> {
    [(at.parse().unwrap(), container.to_owned())].into()
}

pub(super) async fn calls_may_be_repeated_and_come_late(home: &Home) {
    let network = home.network(&json!({"range": "10.0.0.0/24"}));
    // What was never there is not there.
    del(&network, "c1").await;
    let result = add(&network, "c1", "web").await;
    assert_eq!(addresses(&result), ["10.0.0.1/24"]);
    for _ in 0..2 {
        assert_eq!(add(&network, "c1", "web").await, result);
        assert_eq!(home.owners().await, one("10.0.0.1", "c1"));
    }
    for unknown in ["c", "c10", "web"] {
        del(&network, unknown).await;
    }
    let other_interface = call("DEL", &network).interface("net2");
    other_interface.run().await.expect(0);
    assert_eq!(home.count().await, 1);
    for _ in 0..2 {
        del(&network, "c1").await;
        assert_eq!(home.count().await, 0);
    }
    assert_eq!(add(&network, "c2", "api").await, result);
}

pub(super) async fn ranges_of_both_families_parts_and_exclusions(home: &Home) {
    let ranges = json!({"network_name": "blue", "ipRanges": [{"range": "fd00::/64",
        "exclude": ["fd00::/126"]}, {"range": "10.0.0.10-10.0.0.20/24", "exclude": ["10.0.0.10"]},
        {"range": "10.0.0.30-10.0.0.40/24"}], "addresses": [{"address": "10.7.0.1/8"}]});
    let network = home.network(&ranges);
    let given = ["fd00::4/64", "10.0.0.11/24", "10.0.0.30/24", "10.7.0.1/8"];
    for container in ["c1", "c1", "c2"] {
        assert_eq!(addresses(&add(&network, container, "web").await), given);
        assert_eq!(home.count().await, 3);
    }
    del(&network, "c1").await;
    let next = ["fd00::5/64", "10.0.0.12/24", "10.0.0.31/24", "10.7.0.1/8"];
    assert_eq!(addresses(&add(&network, "c3", "api").await), next);
    // Another network of the same ranges is another one.
    let green = network.with("network_name", json!("green"));
    assert_eq!(addresses(&add(&green, "c4", "db").await), given);
    for (network, container) in [(&network, "c2"), (&network, "c3"), (&green, "c4")] {
        del(network, container).await;
    }
    assert_eq!(home.count().await, 0);
}

pub(super) async fn all_or_nothing_of_several_ranges(home: &Home) {
    // Two parts of one range, and a range of two addresses.
    let ranges = json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "10.0.0.0/24"},
        {"range": "10.1.0.0/30"}]});
    let network = home.network(&ranges);
    for container in ["c1", "c2"] {
        add(&network, container, container).await;
    }
    let before = home.owners().await;
    for _ in 0..2 {
        let full = call("ADD", &network).container("c3").pod("default", "c3");
        let full = full.run().await.expect(1).json();
        assert_eq!(full["code"], 999, "{full}");
        assert_eq!(home.owners().await, before);
    }
    // Who has an address of each is given those again.
    add(&network, "c2", "c2").await;
    assert_eq!(home.owners().await, before);
    // And who has one of some, whose container may be running, keeps them.
    let some = home.network(&json!({"range": "10.0.0.0/24"}));
    let kept = add(&some, "c3", "c3").await;
    let full = call("ADD", &network).container("c3").pod("default", "c3");
    full.run().await.expect(1);
    let check = call("CHECK", &some.previous(&kept)).container("c3");
    check.run().await.expect(0);
    for container in ["c1", "c2", "c3"] {
        del(&network, container).await;
    }
    assert_eq!(home.count().await, 0);
}

pub(super) async fn the_next_container_has_the_address_and_the_old_one_frees_nothing(home: &Home) {
    let network = home.network(&json!({"range": "10.0.0.0/24"}));
    let result = add(&network, "c1", "web").await;
    assert_eq!(add(&network, "c2", "web").await, result);
    del(&network, "c1").await;
    assert_eq!(home.owners().await, one("10.0.0.1", "c2"));
    // Another pod of that name elsewhere: the first one's container may still be running.
    let elsewhere = call("ADD", &network).container("c3").pod("default", "web");
    let elsewhere = elsewhere.uid("another").env("NODENAME", "node-b");
    let elsewhere = elsewhere.run().await.expect(0).json();
    assert_eq!(addresses(&elsewhere), ["10.0.0.2/24"]);
    del(&network, "c2").await;
    assert_eq!(home.owners().await, one("10.0.0.2", "c3"));
}

pub(super) async fn check_sees_what_is_lost(home: &Home) {
    let network = home.network(
        &json!({"ipRanges": [{"range": "10.0.0.0/24"}, {"range": "fd00::/64"}],
        "addresses": [{"address": "10.0.0.99/24"}]}),
    );
    let result = add(&network, "c1", "web").await;
    let check = |container: &str, interface: &str| {
        let check = call("CHECK", &network.previous(&result));
        check.container(container).interface(interface)
    };
    check("c1", "net1").run().await.expect(0);
    check("c2", "net1").run().await.expect(1);
    check("c1", "net2").run().await.expect(1);
    let first = home.network(&json!({"range": "10.0.0.0/24"}));
    del(&first, "c1").await;
    let lost = check("c1", "net1").run().await.expect(1);
    assert!(lost.stdout.contains("10.0.0.1"), "{lost:#?}");
}

pub(super) async fn gc_frees_what_is_this_nodes_and_not_valid(home: &Home) {
    let network = home.network(&json!({"range": "10.0.0.0/24"}));
    for (container, node) in [("c1", "node-a"), ("c2", "node-a"), ("c3", "node-b")] {
        let add = call("ADD", &network).container(container);
        let add = add.pod("default", container).env("NODENAME", node);
        add.run().await.expect(0);
    }
    let gc = async |network: &Network| {
        call("GC", network).run().await.expect(0);
        let owners = home.owners().await.into_values();
        owners.collect::<Vec<String>>()
    };
    let with = |valid: Value| network.top("cni.dev/valid-attachments", valid);
    // Nobody said what is still there.
    for silent in [network.clone(), with(json!([]))] {
        assert_eq!(gc(&silent).await, ["c1", "c2", "c3"]);
    }
    // Another network's runtime speaks of its own containers only.
    let other = with(valid("c9")).top("name", json!("wan"));
    assert_eq!(gc(&other).await, ["c1", "c2", "c3"]);
    assert_eq!(gc(&with(valid("c1"))).await, ["c1", "c3"]);
    assert_eq!(gc(&with(valid("c9"))).await, ["c3"]);
}

pub(super) async fn status_says_whether_add_could_be_served(home: &Home) {
    let network = home.network(&json!({"range": "10.0.0.0/30"}));
    let status = async || call("STATUS", &network).run().await;
    status().await.expect(0);
    for container in ["c1", "c2"] {
        status().await.expect(0);
        add(&network, container, container).await;
    }
    assert_eq!(status().await.expect(1).json()["code"], 50);
    let full = call("ADD", &network).container("c3").pod("default", "c3");
    let full = full.run().await.expect(1).json();
    let msg = full["msg"].as_str().unwrap();
    let expected = "error at storage engine: Could not allocate IP in range: ip: 10.0.0.1";
    assert!(msg.starts_with(expected), "{msg}");
    del(&network, "c1").await;
    status().await.expect(0);
    assert_eq!(addresses(&add(&network, "c3", "c3").await), ["10.0.0.1/30"]);
}

pub(super) async fn a_crowd_with_kills_gets_different_addresses_close_together(home: &Home) {
    const COUNT: u8 = 60;
    /// How far apart addresses may be when many chose at once, beyond their number.
    const SLACK: u8 = 100;
    let ranges =
        ["10.0.0.0/24", "10.0.0.0/23"].map(|range| home.network(&json!({ "range": range })));
    let start = |n: u8| {
        let name = format!("web-{n}");
        let add = call("ADD", &ranges[usize::from(n % 2)]).container(&name);
        add.pod("default", &name).spawn()
    };
    let running: Vec<Running> = (0..COUNT).map(start).collect();
    // Every fifth is killed somewhere on its way.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut given = BTreeMap::new();
    for (n, running) in (0..COUNT).zip(running) {
        if n % 5 == 4 {
            running.signal_if_running("KILL");
            running.wait().await;
            continue;
        }
        let address = addresses(&running.wait().await.expect(0).json()).remove(0);
        let at: IpAddr = address.split('/').next().unwrap().parse().unwrap();
        let before = given.insert(at, format!("web-{n}"));
        assert_eq!(before, None, "{at} was given twice");
    }
    // As a runtime does after an ADD that failed.
    for n in (0..COUNT).filter(|n| n % 5 == 4) {
        del(&ranges[usize::from(n % 2)], &format!("web-{n}")).await;
    }
    // Who is called again has the same, and who was killed gets its own.
    for n in 0..COUNT {
        let again = addresses(&start(n).wait().await.expect(0).json()).remove(0);
        let at: IpAddr = again.split('/').next().unwrap().parse().unwrap();
        let name = format!("web-{n}");
        assert_eq!(given.entry(at).or_insert(name.clone()), &name, "{at}");
    }
    assert_eq!(given.len(), usize::from(COUNT), "{given:#?}");
    assert_eq!(home.owners().await, given);
    let highest = given.keys().max().unwrap();
    let limit = IpAddr::from([10, 0, 0, COUNT + SLACK]);
    assert!(*highest <= limit, "{highest}");
    for n in 0..COUNT {
        del(&ranges[usize::from(n % 2)], &format!("web-{n}")).await;
    }
    assert_eq!(home.count().await, 0);
}
