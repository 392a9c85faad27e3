//! The records of Whereabouts: pools and overlapping-range reservations (I/O in `create` only).

use kube::Client;
use serde_json::{Map, Value, json};

use super::{GROUP, Object, post};

/// Starts a pool for `range`, with the name that the CNI plugin gives it and without entries.
pub(crate) fn pool(namespace: &str, range: &str) -> PoolBuilder {
    PoolBuilder {
        namespace: namespace.to_owned(),
        name: object_name(range),
        range: range.to_owned(),
        annotations: Map::new(),
        allocations: Map::new(),
    }
}

/// An `IPPool` to be.
#[derive(Clone)]
pub(crate) struct PoolBuilder {
    namespace: String,
    name: String,
    range: String,
    annotations: Map<String, Value>,
    allocations: Map<String, Value>,
}

impl PoolBuilder {
    /// Makes it the pool of a named network: the name becomes a prefix of the object's.
    pub(crate) fn network(mut self, network: &str) -> Self {
        self.name = format!("{network}-{}", self.name);
        self
    }

    /// Gives the object a name that has nothing to do with its range.
    pub(crate) fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Adds an allocation as the CNI plugin writes it.
    pub(crate) fn entry(self, offset: u128, podref: &str, ifname: &str, id: &str) -> Self {
        let entry = json!({"id": id, "podref": podref, "ifname": ifname});
        self.raw_entry(&offset.to_string(), entry)
    }

    /// Adds an allocation with whatever content; the server insists on an `id` and a `podref`.
    pub(crate) fn raw_entry(mut self, key: &str, entry: Value) -> Self {
        self.allocations.insert(key.to_owned(), entry);
        self
    }

    /// Sets an annotation.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Writes another range into the object than its name says, a broken one for example.
    pub(crate) fn range(mut self, range: &str) -> Self {
        range.clone_into(&mut self.range);
        self
    }

    /// The name of the object.
    pub(crate) fn object_name(&self) -> &str {
        &self.name
    }
}

impl Object for PoolBuilder {
    async fn create(&self, client: &Client) {
        let PoolBuilder {
            namespace,
            name,
            range,
            annotations,
            allocations,
        } = self;
        let object = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "IPPool",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"range": range, "allocations": allocations},
        });
        post(
            client,
            &format!("{GROUP}/namespaces/{namespace}/ippools"),
            &object,
        )
        .await;
    }
}

/// Starts the reservation of one address for the pod `podref`, as the CNI plugin names it.
pub(crate) fn reservation(namespace: &str, address: &str, podref: &str) -> ReservationBuilder {
    ReservationBuilder {
        namespace: namespace.to_owned(),
        name: object_name(address),
        annotations: Map::new(),
        spec: Map::from_iter([
            ("podref".to_owned(), podref.into()),
            ("containerid".to_owned(), "container-id".into()),
        ]),
    }
}

/// An `OverlappingRangeIPReservation` to be.
#[derive(Clone)]
pub(crate) struct ReservationBuilder {
    namespace: String,
    name: String,
    annotations: Map<String, Value>,
    spec: Map<String, Value>,
}

impl ReservationBuilder {
    /// Says for which interface of the pod; old versions did not.
    pub(crate) fn ifname(self, ifname: &str) -> Self {
        self.spec("ifname", ifname)
    }

    /// Says for which container, instead of `container-id`.
    pub(crate) fn container(self, id: &str) -> Self {
        self.spec("containerid", id)
    }

    fn spec(mut self, field: &str, value: &str) -> Self {
        self.spec.insert(field.to_owned(), value.into());
        self
    }

    /// Reserves in a named network: the name becomes a prefix of the object's.
    pub(crate) fn network(mut self, network: &str) -> Self {
        self.name = format!("{network}-{}", self.name);
        self
    }

    /// Gives the object a name that is no address.
    pub(crate) fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets an annotation.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }
}

impl Object for ReservationBuilder {
    async fn create(&self, client: &Client) {
        let ReservationBuilder {
            namespace,
            name,
            annotations,
            spec,
        } = self;
        let object = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "OverlappingRangeIPReservation",
            "metadata": {"name": name, "annotations": annotations},
            "spec": spec,
        });
        let path = format!("{GROUP}/namespaces/{namespace}/overlappingrangeipreservations");
        post(client, &path, &object).await;
    }
}

/// The CNI plugin's name for a range or an address: an object's name may hold neither `:` nor `/`,
/// nor end with the `-` that `fd00::` would become.
fn object_name(text: &str) -> String {
    let zero = if text.ends_with(':') { "0" } else { "" };
    format!("{text}{zero}").replace([':', '/'], "-")
}
