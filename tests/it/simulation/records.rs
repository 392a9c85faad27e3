//! What the cluster has recorded (I/O).

use std::collections::BTreeMap;

use serde_json::Value;

/// Entries and owners of reservations, by the name that the reservation has.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) entries: BTreeMap<String, Value>,
    pub(super) claims: BTreeMap<String, String>,
}

impl Records {
    /// Reads those of one history, or of all.
    pub(super) async fn read(client: &kube::Client, network: Option<&str>) -> Records {
        const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";
        let list = async |plural: &str| {
            let path = format!("{GROUP}/{plural}");
            let list = crate::support::objects::send(client, http::Method::GET, &path, None).await;
            let mut list = list.unwrap();
            let mut items = list["items"].take();
            std::mem::take(items.as_array_mut().unwrap())
        };
        let mut records = Records::default();
        let is_own =
            |name: &str| network.is_none_or(|network| name.starts_with(&format!("{network}-")));
        for mut pool in list("ippools").await {
            let name = pool["metadata"]["name"].as_str().unwrap().to_owned();
            let network = name.trim_end_matches("-10.0.0.0-29");
            let entries = pool["spec"]["allocations"].take();
            for (key, entry) in entries.as_object().into_iter().flatten() {
                let name = format!("{network}-10.0.0.{key}");
                records.entries.insert(name, entry.clone());
            }
        }
        for claim in list("overlappingrangeipreservations").await {
            let name = claim["metadata"]["name"].as_str().unwrap().to_owned();
            let owner = claim["spec"]["podref"].as_str().unwrap().to_owned();
            records.claims.insert(name, owner);
        }
        records.entries.retain(|name, _| is_own(name));
        records.claims.retain(|name, _| is_own(name));
        records
    }
}
