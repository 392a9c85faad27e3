//! An address from ADD to DEL: on the link, in the pool, and gone from both.

use http::Method;
use serde_json::{Value, json};

use super::Site;
use super::cnitool::{Main, cnitool, container_of};
use crate::support::objects::{Object, reservation, send};

const POOL: &str =
    "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-24";
const RESERVATION: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/overlappingrangeipreservations/10.0.0.1";

#[tokio::test]
async fn bridge_puts_the_recorded_address_on_the_link_until_del() {
    lives(Main::Bridge).await;
}

#[tokio::test]
async fn macvlan_puts_the_recorded_address_on_the_link_until_del() {
    lives(Main::Macvlan).await;
}

async fn lives(main: Main) {
    let site = Site::start().await;
    site.network(main, json!({"range": "10.0.0.0/24"}))
        .install(&site.node);
    let add = site.add("web-0").await;
    assert_eq!(add["ips"][0]["address"], "10.0.0.1/24", "{add}");
    assert_eq!(site.node.addresses("web-0", "eth0"), ["10.0.0.1/24"]);
    let id = container_of(&site.node, "web-0");
    assert!(id.starts_with("cnitool-"), "{id}");
    let entry = json!({"id": id, "podref": "default/web-0", "ifname": "eth0",
        "owner": {"id": id, "poduid": "uid-web-0", "nodename": "node-a"}});
    assert_eq!(site.entries("10.0.0.0-24").await, json!({"1": entry}));
    assert_eq!(site.reservations().await, ["kube-system/10.0.0.1"]);
    for _ in 0..2 {
        let del = cnitool(&site.node, "del", "web-0").run().await.expect(0);
        assert_eq!((del.stdout.as_str(), del.stderr.as_str()), ("", ""));
        assert!(!site.node.has_link("web-0", "eth0"));
        site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
    }
}

#[tokio::test]
async fn check_under_bridge_needs_the_records_and_the_link() {
    check_needs_the_records_and_the_link(Main::Bridge).await;
}

#[tokio::test]
async fn check_under_macvlan_needs_the_records_and_the_link() {
    check_needs_the_records_and_the_link(Main::Macvlan).await;
}

async fn check_needs_the_records_and_the_link(main: Main) {
    let site = Site::start().await;
    let client = site.cluster.client();
    site.network(main, json!({"range": "10.0.0.0/24"}))
        .install(&site.node);
    site.add("web-0").await;
    assert_check(&site, None).await;

    let entries = site.entries("10.0.0.0-24").await;
    record(&site, json!({"1": null})).await;
    assert_check(&site, Some("records none of [10.0.0.1]")).await;
    record(&site, entries).await;
    assert_check(&site, None).await;

    send(client, Method::DELETE, RESERVATION, None)
        .await
        .unwrap();
    assert_check(&site, Some("reservation kube-system/10.0.0.1 is missing")).await;
    let taken = reservation("kube-system", "10.0.0.1", "default/web-0");
    taken.create(client).await;
    assert_check(&site, None).await;

    let link = ["10.0.0.1/24", "dev", "eth0"];
    site.node
        .ip(&[&["-n", "web-0", "addr", "del"], link.as_slice()].concat());
    assert_check(&site, Some("10.0.0.1/24 on interface eth0")).await;
    site.node
        .ip(&[&["-n", "web-0", "addr", "add"], link.as_slice()].concat());
    assert_check(&site, None).await;
}

/// Changes the entries of the pool behind the plugin's back.
async fn record(site: &Site, entries: Value) {
    let patch = json!({"spec": {"allocations": entries}});
    send(site.cluster.client(), Method::PATCH, POOL, Some(&patch))
        .await
        .unwrap();
}

/// CHECK passes, or fails with this in its message.
async fn assert_check(site: &Site, fails: Option<&str>) {
    let check = cnitool(&site.node, "check", "web-0").run().await;
    match fails {
        None => drop(check.expect(0)),
        Some(reason) => {
            let check = check.expect(1);
            assert!(check.stderr.contains(reason), "{reason}: {check:#?}");
        }
    }
}

#[tokio::test]
async fn del_frees_the_records_of_a_pod_whose_namespace_is_gone() {
    for main in [Main::Bridge, Main::Macvlan] {
        let site = Site::start().await;
        site.network(main, json!({"range": "10.0.0.0/24"}))
            .install(&site.node);
        site.add("web-0").await;
        site.node.remove_pod("web-0");
        assert_eq!(site.reservations().await, ["kube-system/10.0.0.1"]);
        for _ in 0..2 {
            cnitool(&site.node, "del", "web-0").run().await.expect(0);
            site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
        }
    }
}

#[tokio::test]
async fn every_version_of_the_protocol_gives_and_takes_an_address() {
    for main in [Main::Bridge, Main::Macvlan] {
        let site = Site::start().await;
        for version in [
            "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
        ] {
            let network = site.network(main, json!({"range": "10.0.0.0/24"}));
            network.version(version).install(&site.node);
            let add = site.add("web-0").await;
            assert_eq!(add["cniVersion"], version);
            // The form of the result has changed with 0.3.0.
            let given = match version {
                "0.1.0" | "0.2.0" => &add["ip4"]["ip"],
                _ => &add["ips"][0]["address"],
            };
            assert_eq!(given, "10.0.0.1/24", "{add}");
            assert_eq!(site.node.addresses("web-0", "eth0"), ["10.0.0.1/24"]);
            assert_eq!(site.reservations().await, ["kube-system/10.0.0.1"]);
            // CHECK has come with 0.4.0.
            if version >= "0.4.0" {
                assert_check(&site, None).await;
            }
            cnitool(&site.node, "del", "web-0").run().await.expect(0);
            site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
            site.node.remove_pod("web-0");
        }
    }
}

#[tokio::test]
async fn a_pod_that_starts_again_keeps_its_address_when_the_old_del_comes_late() {
    let site = Site::start().await;
    site.network(Main::Macvlan, json!({"range": "10.0.0.0/24"}))
        .install(&site.node);
    for sandbox in ["old", "new"] {
        site.node.add_pod(sandbox);
        let add = cnitool(&site.node, "add", "web-0").sandbox(sandbox);
        add.run().await.expect(0);
        assert_eq!(site.node.addresses(sandbox, "eth0"), ["10.0.0.1/24"]);
    }
    let del = || cnitool(&site.node, "del", "web-0");
    del().sandbox("old").run().await.expect(0);
    let check = cnitool(&site.node, "check", "web-0").sandbox("new");
    check.run().await.expect(0);
    del().sandbox("new").run().await.expect(0);
    site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
}
