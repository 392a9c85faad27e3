//! Orphans go, everything else stays as it is.

use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::control_plane::Options;
use crate::support::objects::{
    Object, delete_pod_now, entries, pod, pool, reservation, reservations, send,
};
use crate::support::run::reconciler;

/// Runs the program once more: nothing is left to do.
async fn nothing_left(cluster: &Cluster) {
    let again = reconciler(cluster.kubeconfig())
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    assert_eq!(again.json()["summary"]["orphans"], 0, "{again:#?}");
}

#[tokio::test]
async fn a_pod_deleted_behind_the_plugins_back_loses_its_address_and_the_others_nothing() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/web-0", "net1", "c0")
        .entry(2, "default/web-1", "net1", "c1")
        .entry(3, "default/web-2", "net1", "c2")
        .create(client)
        .await;
    for (name, address) in [
        ("web-0", "10.0.0.1"),
        ("web-1", "10.0.0.2"),
        ("web-2", "10.0.0.3"),
    ] {
        let podref = format!("default/{name}");
        reservation("kube-system", address, &podref)
            .ifname("net1")
            .create(client)
            .await;
        pod("default", name)
            .shows("net1", &[address])
            .phase("Running")
            .create(client)
            .await;
    }
    delete_pod_now(client, "default", "web-1").await;
    let before = entries(client, "kube-system", "10.0.0.0-24").await;

    let dry = reconciler(cluster.kubeconfig())
        .args(["--dry-run", "-o", "name"])
        .output()
        .await;
    let dry = dry.expect(0);
    assert_eq!(
        dry.stdout,
        "ippools.whereabouts.cni.cncf.io/kube-system/10.0.0.0-24/2\n\
         overlappingrangeipreservations.whereabouts.cni.cncf.io/kube-system/10.0.0.2\n"
    );
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await, before);

    let run = reconciler(cluster.kubeconfig())
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    let summary = &run.json()["summary"];
    assert_eq!(
        (&summary["released"], &summary["orphans"]),
        (&json!(2), &json!(2)),
        "{run:#?}"
    );
    let mut expected = before;
    expected.remove("2");
    assert_eq!(
        entries(client, "kube-system", "10.0.0.0-24").await,
        expected
    );
    let left: Vec<String> = reservations(client).await.into_iter().collect();
    assert_eq!(left, ["kube-system/10.0.0.1", "kube-system/10.0.0.3"]);
    nothing_left(&cluster).await;
}

#[tokio::test]
async fn what_stays_stays_byte_for_byte_with_members_nobody_knows() {
    let cluster = Cluster::separate(&Options::default()).await;
    let client = cluster.client();
    let open = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let path =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ippools.whereabouts.cni.cncf.io";
    send(client, http::Method::PATCH, path, Some(&open))
        .await
        .unwrap();
    let stranger = json!({"id": "c0", "podref": "default/web-0", "colour": {"b": 1, "a": [1.5, null]},
        "owner": {"id": "c0", "poduid": "u", "shoe": 43}});
    let pool = pool("kube-system", "fd00:1::/64").raw_entry("1", stranger.clone());
    let pool = pool.raw_entry(
        "2",
        json!({"id": "c1", "podref": "default/gone", "x": [{}]}),
    );
    // The API server takes a moment to serve the new schema.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    pool.annotation("example.com/note", "keep me")
        .create(client)
        .await;
    pod("default", "web-0")
        .shows("net1", &["fd00:1::1"])
        .create(client)
        .await;
    let path = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/fd00-1---64";
    let more = json!({"spec": {"extra": {"z": 0}}});
    send(client, http::Method::PATCH, path, Some(&more))
        .await
        .unwrap();

    reconciler(cluster.kubeconfig()).output().await.expect(0);
    let after = send(client, http::Method::GET, path, None).await.unwrap();
    assert_eq!(after["spec"]["allocations"], json!({"1": stranger}));
    assert_eq!(after["spec"]["extra"], more["spec"]["extra"]);
    assert_eq!(
        after["metadata"]["annotations"],
        json!({"example.com/note": "keep me"})
    );
}

#[tokio::test]
async fn addresses_of_both_families_and_of_named_networks() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    for (range, network, offsets) in [
        ("10.0.0.0/24", "", [1u128, 2]),
        ("10.0.0.0/24", "blue-net", [1, 2]),
        ("fd00::/64", "", [0, 1]),
        ("2001:db8::/64", "blue-net", [1, 0x8000_0000_0000_0001]),
    ] {
        let mut object = pool("kube-system", range);
        if !network.is_empty() {
            object = object.network(network);
        }
        let live = format!("default/live{network}");
        let gone = format!("tenant-a/live{network}");
        object
            .entry(offsets[0], &live, "net1", "c1")
            .entry(offsets[1], &gone, "net1", "c2")
            .create(client)
            .await;
        let range: whereabouts::ip::IpRange = range.parse().unwrap();
        for (offset, podref) in offsets.iter().zip([&live, &gone]) {
            let address = range.address_at(*offset).unwrap().to_string();
            let mut object = reservation("kube-system", &address, podref);
            if !network.is_empty() {
                object = object.network(network);
            }
            object.create(client).await;
        }
    }
    pod("default", "live")
        .shows("net1", &["10.0.0.1", "fd00::"])
        .create(client)
        .await;
    let spelled = ["::ffff:10.0.0.1", "2001:0DB8:0:0::1"];
    pod("default", "liveblue-net")
        .shows("net1", &spelled)
        .create(client)
        .await;

    reconciler(cluster.kubeconfig()).output().await.expect(0);
    for (name, key) in [
        ("10.0.0.0-24", "1"),
        ("blue-net-10.0.0.0-24", "1"),
        ("fd00---64", "0"),
        ("blue-net-2001-db8---64", "1"),
    ] {
        let left = entries(client, "kube-system", name).await;
        assert_eq!(left.keys().collect::<Vec<_>>(), [key], "{name}");
    }
    let left: Vec<String> = reservations(client).await.into_iter().collect();
    let expected = [
        "10.0.0.1",
        "blue-net-10.0.0.1",
        "blue-net-2001-db8--1",
        "fd00--0",
    ];
    assert_eq!(left, expected.map(|name| format!("kube-system/{name}")));
    nothing_left(&cluster).await;
}

#[tokio::test]
async fn the_same_range_in_two_namespaces_is_two_pools() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/web", "net1", "c1")
        .create(client)
        .await;
    pool("tenant-a", "10.0.0.0/24")
        .entry(1, "tenant-a/web", "net1", "c2")
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.1", "default/web")
        .create(client)
        .await;
    reservation("tenant-a", "10.0.0.1", "tenant-a/web")
        .create(client)
        .await;
    pod("default", "web")
        .shows("net1", &["10.0.0.1"])
        .create(client)
        .await;

    let only = reconciler(cluster.kubeconfig())
        .args(["-n", "kube-system"])
        .output()
        .await
        .expect(0);
    assert!(only.stdout.contains("0 orphaned of 2 records"), "{only:#?}");
    reconciler(cluster.kubeconfig()).output().await.expect(0);
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 1);
    assert!(entries(client, "tenant-a", "10.0.0.0-24").await.is_empty());
    assert_eq!(
        reservations(client).await.into_iter().collect::<Vec<_>>(),
        ["kube-system/10.0.0.1"]
    );
}

#[tokio::test]
async fn odd_objects_are_reported_and_everything_else_is_cleaned() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let gone = json!({"id": "c", "podref": "default/gone"});
    pool("kube-system", "10.0.0.0/99")
        .name("broken")
        .entry(1, "default/gone", "net1", "c")
        .create(client)
        .await;
    pool("kube-system", "10.0.0.0/24")
        .raw_entry("x", gone.clone())
        .raw_entry("300", gone.clone())
        .raw_entry("a/b~c", gone.clone())
        .raw_entry("4", json!({"id": "c", "podref": "no-namespace"}))
        .raw_entry("5", gone)
        .create(client)
        .await;
    reservation("kube-system", "10.0.0.5", "default/gone")
        .create(client)
        .await;
    reservation("kube-system", "x", "default/gone")
        .name("not-an-address")
        .create(client)
        .await;
    pod("default", "bystander").create(client).await;

    let run = reconciler(cluster.kubeconfig())
        .args(["-o", "json"])
        .output()
        .await
        .expect(0);
    let report = run.json();
    assert_eq!(report["summary"]["released"], 2, "{run:#?}");
    assert_eq!(report["summary"]["verdicts"]["Malformed"], 5);
    assert_eq!(report["summary"]["verdicts"]["Unowned"], 1);
    assert!(
        report["remarks"]
            .to_string()
            .contains("kube-system/broken cannot be read")
    );
    let malformed = |record: &&Value| record["verdict"] == "Malformed";
    let records = report["records"].as_array().unwrap();
    assert!(
        records
            .iter()
            .filter(malformed)
            .all(|record| record["action"] == "Warn")
    );
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 4);
    assert_eq!(
        reservations(client).await.into_iter().collect::<Vec<_>>(),
        ["kube-system/not-an-address"]
    );
}

#[tokio::test]
async fn without_time_for_two_looks_a_moved_pod_keeps_both() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24")
        .entry(1, "default/moved", "net1", "c")
        .entry(2, "default/gone", "net1", "c")
        .create(client)
        .await;
    pod("default", "moved")
        .shows("net1", &["10.0.0.9"])
        .create(client)
        .await;
    let run = reconciler(cluster.kubeconfig())
        .args(["--timeout", "20s"])
        .output()
        .await
        .expect(0);
    assert!(
        run.stdout.contains("leaves no time to look at them twice"),
        "{run:#?}"
    );
    let left = entries(client, "kube-system", "10.0.0.0-24").await;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["1"]);
}
