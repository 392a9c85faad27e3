//! The keys of etcd.

use std::net::Ipv4Addr;

use etcd_client::{Txn, TxnOp};
use serde_json::json;

use super::super::record::Record;
use super::RANGE;
use crate::support::etcd::Etcd;

/// What stands before the keys of addresses of the unnamed network.
pub(super) const UNNAMED: &str = "/whereabouts/v1/networks/-/";
/// What stands before those that lead to an address, which only changes name.
pub(super) const LEADS: &str = "/whereabouts/v1/containers/";
/// What stands before what the range is told, or remembers.
pub(super) const NOTES: &str = "/whereabouts/v1/annotations/networks/-/10.0.0.0-24/";
/// Whose the records are.
pub(super) const CLUSTER: &str = "/whereabouts/v1/annotations/cluster";

pub(super) fn key(at: u8) -> String {
    let bits = Ipv4Addr::new(10, 0, 0, at).to_ipv6_mapped().to_bits();
    format!("{UNNAMED}{bits:032x}")
}

pub(super) async fn put_key(etcd: &Etcd, key: &str, value: &str) {
    etcd.client().await.put(key, value, None).await.unwrap();
}

pub(super) async fn put_keys(etcd: &Etcd, records: &[Record]) {
    let mut client = etcd.client().await;
    for some in records.chunks(40) {
        let puts = some.iter().flat_map(|record| {
            let (container, podref) = (record.container(), &record.podref);
            let key = key(record.at);
            let of_pod = if podref.contains('/') {
                podref.clone()
            } else {
                format!("-/{podref}")
            };
            let tail = key.strip_prefix("/whereabouts/v1/").unwrap().to_owned();
            let mut value = json!({"container": container, "ifname": "net1", "podref": podref,
                "range": RANGE, "network": "lan"});
            if let Some((uid, node)) = &record.owner {
                value["poduid"] = json!(uid);
                value["node"] = json!(node);
            }
            [
                TxnOp::put(format!("{LEADS}{container}/net1/{tail}"), "", None),
                TxnOp::put(
                    format!("/whereabouts/v1/pods/{of_pod}/net1/{tail}"),
                    "",
                    None,
                ),
                TxnOp::put(key, value.to_string(), None),
            ]
        });
        let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(txn).await.unwrap();
    }
}
