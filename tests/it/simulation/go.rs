//! The calls of the Go program: each write tests the version of the pool that was read, entries come
//! before reservations, and a reservation of its pod is taken over as it is (I/O).

use std::collections::BTreeSet;

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use crate::support::objects::send;

const GROUP: &str = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system";
/// How often it tries again after a conflict.
const TRIES: usize = 20;

/// One container of a pod, and where its network has its records.
#[derive(Clone)]
pub(super) struct Go {
    pub(super) client: Client,
    pub(super) network: String,
    pub(super) podref: String,
    pub(super) container: String,
}

/// What it has read, and wants to write.
pub(super) struct Wish {
    version: Value,
    pub(super) offset: usize,
    /// Whether the pool has an entry of this pod there.
    is_recorded: bool,
    /// Whether the pod has the reservation.
    is_claimed: bool,
}

impl Go {
    fn pool(&self) -> String {
        format!("{GROUP}/ippools/{}-10.0.0.0-29", self.network)
    }

    fn claim(&self, offset: usize) -> String {
        let name = format!("{}-10.0.0.{offset}", self.network);
        format!("{GROUP}/overlappingrangeipreservations/{name}")
    }

    async fn patch(&self, operations: Value) -> kube::Result<Value> {
        let request =
            Request::patch(self.pool()).header("content-type", "application/json-patch+json");
        let body = operations.to_string().into_bytes();
        self.client.request(request.body(body).unwrap()).await
    }

    async fn read_pool(&self) -> kube::Result<Value> {
        let pool = send(&self.client, Method::GET, &self.pool(), None).await;
        if !matches!(&pool, Err(kube::Error::Api(status)) if status.code == 404) {
            return pool;
        }
        let name = format!("{}-10.0.0.0-29", self.network);
        let new = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": {"name": name}, "spec": {"range": "10.0.0.0/29", "allocations": {}}});
        let path = format!("{GROUP}/ippools");
        send(&self.client, Method::POST, &path, Some(&new)).await
    }

    /// The first half of an ADD; nothing if the range is full.
    pub(super) async fn read(&self) -> kube::Result<Option<Wish>> {
        let pool = self.read_pool().await?;
        let entries = pool["spec"]["allocations"].as_object();
        let entries = entries.cloned().unwrap_or_default();
        let mut skipped = BTreeSet::new();
        loop {
            let offset_of = |key: &String| key.parse::<usize>().unwrap();
            let own = entries.iter().find(|(key, entry)| {
                entry["podref"] == self.podref.as_str() && !skipped.contains(&offset_of(key))
            });
            let is_recorded = own.is_some();
            let mut free = (1..7).filter(|offset: &usize| {
                !entries.contains_key(&offset.to_string()) && !skipped.contains(offset)
            });
            let Some(offset) = own.map(|(key, _)| offset_of(key)).or_else(|| free.next()) else {
                return Ok(None);
            };
            let claim = send(&self.client, Method::GET, &self.claim(offset), None).await;
            let is_claimed = match claim {
                Ok(claim) if claim["spec"]["podref"] == self.podref.as_str() => true,
                Ok(_) => {
                    skipped.insert(offset);
                    continue;
                }
                Err(kube::Error::Api(status)) if status.code == 404 => false,
                Err(error) => return Err(error),
            };
            return Ok(Some(Wish {
                version: pool["metadata"]["resourceVersion"].clone(),
                offset,
                is_recorded,
                is_claimed,
            }));
        }
    }

    /// The second half: whether it came to an end, or has to be begun anew.
    pub(super) async fn write(&self, wish: &Wish) -> kube::Result<bool> {
        let at = format!("/spec/allocations/{}", wish.offset);
        let change = if wish.is_recorded {
            json!({"op": "replace", "path": format!("{at}/id"), "value": self.container})
        } else {
            let entry = json!({"id": self.container, "podref": self.podref, "ifname": "net1"});
            json!({"op": "add", "path": at, "value": entry})
        };
        let test =
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": wish.version});
        match self.patch(json!([test, change])).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => return Ok(false),
            Err(error) => return Err(error),
        }
        if !wish.is_claimed {
            let name = format!("{}-10.0.0.{}", self.network, wish.offset);
            let claim = json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
                "kind": "OverlappingRangeIPReservation", "metadata": {"name": name},
                "spec": {"podref": self.podref, "ifname": "net1", "containerid": self.container}});
            let path = format!("{GROUP}/overlappingrangeipreservations");
            send(&self.client, Method::POST, &path, Some(&claim)).await?;
        }
        Ok(true)
    }

    /// A whole ADD: the last part of the address that it got.
    pub(super) async fn add(&self) -> Option<usize> {
        for _ in 0..TRIES {
            let wish = self.read().await.ok()??;
            if self.write(&wish).await.ok()? {
                return Some(wish.offset);
            }
        }
        None
    }

    /// DEL; whether it succeeded.
    pub(super) async fn del(&self) -> bool {
        for _ in 0..TRIES {
            let Ok(pool) = self.read_pool().await else {
                return false;
            };
            let entries = pool["spec"]["allocations"].as_object();
            let own = entries
                .into_iter()
                .flatten()
                .find(|(_, entry)| entry["id"] == self.container.as_str());
            let Some((key, _)) = own else { return true };
            let version = &pool["metadata"]["resourceVersion"];
            let patch = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version},
                {"op": "remove", "path": format!("/spec/allocations/{key}")}]);
            match self.patch(patch).await {
                Ok(_) => {
                    let claim = self.claim(key.parse().unwrap());
                    let gone = send(&self.client, Method::DELETE, &claim, None).await;
                    return match gone {
                        Err(kube::Error::Api(status)) => status.code == 404,
                        gone => gone.is_ok(),
                    };
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
