//! Empties the shared control plane between two tests (I/O).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// How long the objects of one kind may take to go.
const GONE_WITHIN: Duration = Duration::from_mins(1);
/// How long the custom resources may take to be there.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// What a test may leave behind: group, version, kind and plural of a namespaced kind.
const NAMESPACED: [[&str; 4]; 4] = [
    ["", "v1", "Pod", "pods"],
    ["whereabouts.cni.cncf.io", "v1alpha1", "IPPool", "ippools"],
    [
        "whereabouts.cni.cncf.io",
        "v1alpha1",
        "OverlappingRangeIPReservation",
        "overlappingrangeipreservations",
    ],
    [
        "whereabouts.cni.cncf.io",
        "v1alpha1",
        "NodeSlicePool",
        "nodeslicepools",
    ],
];

/// Waits until all kinds are served: for a moment after it is established, a custom resource is not.
pub(super) async fn until_served(client: &Client) {
    let started = Instant::now();
    for [group, version, kind, plural] in NAMESPACED {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        while let Err(error) = all.list_metadata(&ListParams::default()).await {
            assert!(started.elapsed() < SERVED_WITHIN, "{plural}: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Removes all pods, nodes and objects of Whereabouts, in all namespaces.
pub(super) async fn everything(client: &Client) {
    for [group, version, kind, plural] in NAMESPACED {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        wipe(client, &resource, |namespace| {
            let namespace = namespace.unwrap_or_default();
            Api::namespaced_with(client.clone(), &namespace, &resource)
        })
        .await;
    }
    let kind = GroupVersionKind::gvk("", "v1", "Node");
    let resource = ApiResource::from_gvk_with_plural(&kind, "nodes");
    wipe(client, &resource, |_| {
        Api::all_with(client.clone(), &resource)
    })
    .await;
}

async fn wipe(
    client: &Client,
    resource: &ApiResource,
    scope: impl Fn(Option<String>) -> Api<DynamicObject>,
) {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let started = Instant::now();
    loop {
        let left = all
            .list_metadata(&ListParams::default())
            .await
            .unwrap()
            .items;
        if left.is_empty() {
            return;
        }
        assert!(
            started.elapsed() < GONE_WITHIN,
            "{} {} stay",
            left.len(),
            resource.plural
        );
        strip_finalizers(&left, &scope).await;
        let namespaces: BTreeSet<Option<String>> =
            left.iter().map(ResourceExt::namespace).collect();
        for namespace in namespaces {
            let now = DeleteParams::default().grace_period(0);
            let _ = scope(namespace)
                .delete_collection(&now, &ListParams::default())
                .await
                .unwrap();
        }
    }
}

async fn strip_finalizers(
    objects: &[PartialObjectMeta<DynamicObject>],
    scope: &impl Fn(Option<String>) -> Api<DynamicObject>,
) {
    for object in objects
        .iter()
        .filter(|object| !object.finalizers().is_empty())
    {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let result = scope(object.namespace())
            .patch(&object.name_any(), &PatchParams::default(), &patch)
            .await;
        match result {
            Ok(_) => {}
            // It was only waiting for a finalizer that somebody else has removed.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }
}
