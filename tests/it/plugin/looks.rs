//! CHECK and STATUS: what is recorded, and what could be.

use serde_json::json;

use super::call::{Network, addresses, call};
use crate::support::cluster::Cluster;
use crate::support::proxy::{Fault, Proxy};

#[tokio::test]
async fn each_address_of_parts_of_one_range_is_checked() {
    let cluster = Cluster::lock().await;
    let parts = json!({"ipRanges": [{"range": "10.0.0.10-10.0.0.20/24"},
        {"range": "10.0.0.30-10.0.0.40/24"}], "addresses": [{"address": "10.0.0.99/24"}]});
    let network = Network::new(&cluster, parts);
    let add = call("ADD", &network).pod("default", "web").run().await;
    let add = add.expect(0).json();
    assert_eq!(addresses(&add).len(), 3);
    let network = network.previous(&add);
    call("CHECK", &network).run().await.expect(0);
    let remove = r#"[{"op": "remove", "path": "/spec/allocations/30"}]"#;
    cluster.kubectl(&[
        "-n",
        "kube-system",
        "patch",
        "ippool",
        "10.0.0.0-24",
        "--type=json",
        "-p",
        remove,
    ]);
    let check = call("CHECK", &network).run().await.expect(1).json();
    let msg = check["msg"].as_str().unwrap();
    assert_eq!(msg, "10.0.0.30 is not recorded for container c1 on net1");
}

#[tokio::test]
async fn status_asks_for_claims_as_well() {
    let cluster = Cluster::lock().await;
    let proxy = Proxy::start(&cluster).await;
    let network = Network::through(&proxy, &cluster, json!({"range": "10.0.0.0/24"}));
    call("STATUS", &network).run().await.expect(0);
    proxy.rule(|seen| {
        let is_claim = seen.path.contains("/overlappingrangeipreservations");
        is_claim.then_some(Fault::Status(403, "Forbidden"))
    });
    let status = call("STATUS", &network).run().await.expect(1).json();
    assert_eq!(status["code"], 50, "{status}");
    // Ranges that may not overlap have none.
    let alone = network.with("enable_overlapping_ranges", json!(false));
    call("STATUS", &alone).run().await.expect(0);
}
