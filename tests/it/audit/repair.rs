//! `--repair`: what a live pod provably uses is put back, and nothing else.

use super::*;
use crate::support::objects::{delete_pod_now, reservations};

/// In each family one address that is in order, one without entry, one without reservation, and one
/// with neither.
pub(super) async fn losses(cluster: &Cluster) {
    let client = cluster.client();
    for [range, name, start] in FAMILIES {
        let at = |last: u8| format!("{start}{last}");
        let pod = |who: &str| format!("default/{who}-{name}");
        pool("kube-system", range)
            .entry(1, &pod("web"), "net1", "c1")
            .entry(3, &pod("bare"), "net1", "c3")
            .create(client)
            .await;
        for (last, who, container) in [(1, "web", "c1"), (2, "alone", "c2")] {
            let reserved = reservation("kube-system", &at(last), &pod(who)).ifname("net1");
            reserved.container(container).create(client).await;
        }
        for (last, who) in [(1, "web"), (2, "alone"), (3, "bare"), (4, "lost")] {
            running(&format!("{who}-{name}"), &at(last))
                .create(client)
                .await;
        }
    }
}

async fn reserved(cluster: &Cluster, address: &str) -> Value {
    let name = address.replace(':', "-");
    let path = format!("{GROUP}/overlappingrangeipreservations/{name}");
    send(cluster.client(), Method::GET, &path, None)
        .await
        .unwrap()["spec"]
        .clone()
}

/// What became of each repair.
fn outcomes(run: &Outcome) -> Vec<String> {
    let report = run.json();
    let found = report["findings"].as_array().unwrap().iter();
    found
        .map(|one| one["repair"].as_str().unwrap_or("-").to_owned())
        .collect()
}

#[tokio::test]
async fn what_is_missing_is_put_back_and_goes_with_its_pod() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    losses(&cluster).await;
    // A dry run says it and writes nothing; a run without the flag does not even plan it.
    for (args, said) in [
        (&["--dry-run", "--repair"][..], "Planned"),
        (&[], "Possible"),
    ] {
        let run = look(&cluster, args).await.expect(0);
        assert_eq!(outcomes(&run), vec![said; 6], "{run:#?}");
        assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 2);
        assert_eq!(reservations(client).await.len(), 4);
    }
    let run = look(&cluster, &["--repair", "--detailed-exitcode"])
        .await
        .expect(0);
    assert_eq!(outcomes(&run), vec!["Repaired"; 6], "{run:#?}");
    let summary = &run.json()["summary"];
    assert_eq!(
        (&summary["repaired"], &summary["conflicts"]),
        (&json!(6), &json!(0))
    );
    // What was put back counts in its pool.
    let pools = run.json()["pools"].clone();
    let pools = pools.as_array().unwrap().iter();
    let allocated = pools.map(|pool| pool["allocated"].as_u64().unwrap());
    assert_eq!(allocated.collect::<Vec<_>>(), [4, 4], "{run:#?}");
    for [_, name, start] in FAMILIES {
        let all = entries(client, "kube-system", name).await;
        for (key, who, id) in [
            ("1", "web", "c1"),
            ("2", "alone", "c2"),
            ("3", "bare", "c3"),
            ("4", "lost", ""),
        ] {
            let pod = format!("default/{who}-{name}");
            let entry = &all[key];
            assert_eq!((&entry["id"], &entry["podref"]), (&json!(id), &json!(pod)));
            assert_eq!(entry["ifname"], "net1");
            let reserved = reserved(&cluster, &format!("{start}{key}")).await;
            assert_eq!(
                (&reserved["podref"], &reserved["ifname"]),
                (&json!(pod), &json!("net1"))
            );
        }
        for (key, id) in [("2", "c2"), ("4", "")] {
            let owner = &all[key]["owner"];
            assert_eq!(
                (&owner["id"], &owner["nodename"]),
                (&json!(id), &json!("node-a"))
            );
            assert!(owner["poduid"].is_string(), "{owner}");
        }
        assert_eq!(
            reserved(&cluster, &format!("{start}3")).await["containerid"],
            "c3"
        );
        assert!(reserved(&cluster, &format!("{start}4")).await["containerid"].is_null());
    }
    // Nothing is left to do.
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let again = reconciler(&kubeconfig).args(["-o", "json", "--repair", "--detailed-exitcode"]);
    let again = again.output().await.expect(0);
    assert_eq!(findings(&again), Vec::<String>::new());
    assert!(proxy.writes().is_empty(), "{:#?}", proxy.writes());
    // The records go as any others do.
    for [_, name, _] in FAMILIES {
        for who in ["alone", "bare", "lost"] {
            delete_pod_now(client, "default", &format!("{who}-{name}")).await;
        }
    }
    look(&cluster, &["--repair"]).await.expect(0);
    for [_, name, _] in FAMILIES {
        let left = entries(client, "kube-system", name).await;
        assert_eq!(left.keys().collect::<Vec<_>>(), ["1"]);
    }
    assert_eq!(reservations(client).await.len(), 2);
}

#[tokio::test]
async fn a_network_without_reservations_gets_none() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    let pool = pool("kube-system", "10.0.0.0/24").entry(1, "default/web", "net1", "c1");
    pool.create(client).await;
    running("web", "10.0.0.1").create(client).await;
    running("lost", "10.0.0.8").create(client).await;
    let run = look(&cluster, &["--repair"]).await.expect(0);
    assert_eq!(findings(&run), ["Unrecorded 10.0.0.8 lost"]);
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 2);
    assert!(reservations(client).await.is_empty());
}

#[tokio::test]
async fn in_doubt_nothing_is_put_back() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    pool("kube-system", "10.0.0.0/24").create(client).await;
    pool("kube-system", "10.1.0.0/24")
        .network("blue")
        .create(client)
        .await;
    pool("kube-system", "10.1.0.0/24")
        .network("red")
        .create(client)
        .await;
    // Shown by two, also by one that goes, not running, on no node, and of a range that two networks
    // have.
    for (name, address) in [
        ("twin-a", "10.0.0.1"),
        ("twin-b", "10.0.0.1"),
        ("near", "10.0.0.2"),
        ("either", "10.1.0.1"),
    ] {
        running(name, address).create(client).await;
    }
    running("leaving", "10.0.0.2")
        .terminating()
        .create(client)
        .await;
    running("going", "10.0.0.3")
        .terminating()
        .create(client)
        .await;
    let pending = pod("default", "pending").shows("net1", &["10.0.0.4"]);
    pending.node("node-a").create(client).await;
    let unbound = pod("default", "unbound").shows("net1", &["10.0.0.5"]);
    unbound.phase("Running").create(client).await;
    let run = look(&cluster, &["--repair", "--detailed-exitcode"])
        .await
        .expect(5);
    let found: Vec<(String, String)> = findings(&run).into_iter().zip(outcomes(&run)).collect();
    let expected = [
        ("TwoPods 10.0.0.1 twin-a,twin-b", "-"),
        ("Unrecorded 10.0.0.2 near", "Repaired"),
        ("Unrecorded 10.0.0.4 pending", "Changed"),
        ("Unrecorded 10.0.0.5 unbound", "Changed"),
        ("Unrecorded 10.1.0.1 either", "-"),
    ];
    let expected = expected.map(|(finding, outcome)| (finding.to_owned(), outcome.to_owned()));
    assert_eq!(found, expected, "{run:#?}");
    let left = entries(client, "kube-system", "10.0.0.0-24").await;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["2"]);
    for name in ["blue-10.1.0.0-24", "red-10.1.0.0-24"] {
        assert!(entries(client, "kube-system", name).await.is_empty());
    }
    assert!(reservations(client).await.is_empty());
}

#[tokio::test]
async fn a_run_that_is_refused_repairs_nothing() {
    let cluster = Cluster::lock().await;
    losses(&cluster).await;
    let orphan = pool("kube-system", "10.7.0.0/24").entry(1, "default/gone", "net1", "c");
    orphan.create(cluster.client()).await;
    let run = look(&cluster, &["--repair", "--max-release", "0"])
        .await
        .expect(4);
    assert_eq!(outcomes(&run), vec!["Refused"; 6], "{run:#?}");
    assert_eq!(reservations(cluster.client()).await.len(), 4);
}

#[tokio::test]
async fn only_what_is_in_scope_is_repaired() {
    let cluster = Cluster::lock().await;
    losses(&cluster).await;
    look(&cluster, &["--repair", "--pool", "fd00---64"])
        .await
        .expect(0);
    let client = cluster.client();
    assert_eq!(entries(client, "kube-system", "fd00---64").await.len(), 4);
    assert_eq!(entries(client, "kube-system", "10.0.0.0-24").await.len(), 2);
}
