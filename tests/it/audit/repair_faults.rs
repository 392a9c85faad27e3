//! What goes wrong while something is put back.

use super::*;
use crate::support::objects::{delete_pod_now, reservations};
use crate::support::proxy::Seen;

/// A pod with an address that nothing records, in a network with reservations.
async fn lost(cluster: &Cluster) {
    let client = cluster.client();
    let pool = pool("kube-system", "10.0.0.0/24").entry(1, "default/web", "net1", "c1");
    pool.create(client).await;
    let reserved = reservation("kube-system", "10.0.0.1", "default/web").ifname("net1");
    reserved.create(client).await;
    running("web", "10.0.0.1").create(client).await;
    running("lost", "10.0.0.8").create(client).await;
}

async fn clear(cluster: &Cluster) {
    for object in [
        "ippools/10.0.0.0-24",
        "overlappingrangeipreservations/10.0.0.1",
        "overlappingrangeipreservations/10.0.0.8",
    ] {
        let path = format!("{GROUP}/{object}");
        let _ = send(cluster.client(), Method::DELETE, &path, None).await;
    }
    for pod in ["web", "lost"] {
        delete_pod_now(cluster.client(), "default", pod).await;
    }
}

fn creates(seen: &Seen) -> bool {
    seen.is("POST", "/overlappingrangeipreservations")
}

fn patches(seen: &Seen) -> bool {
    seen.is("PATCH", "/ippools/")
}

#[tokio::test]
async fn an_answer_that_fails_or_is_lost_does_not_stop_it() {
    let cluster = Cluster::lock().await;
    for write in [creates as fn(&Seen) -> bool, patches] {
        for fault in [
            Fault::Status(500, "InternalError"),
            Fault::Status(429, "TooManyRequests"),
            Fault::StatusAfter(500),
            Fault::DropConnection,
            Fault::DropAfter,
        ] {
            lost(&cluster).await;
            let proxy = Proxy::start(&cluster).await;
            let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
            proxy.once(write, fault.clone());
            let run = reconciler(&kubeconfig).args(["-o", "json", "--repair"]);
            let run = run.output().await.expect(0);
            assert_eq!(run.json()["summary"]["repaired"], 1, "{fault:?} {run:#?}");
            let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
            assert_eq!(left["8"]["podref"], "default/lost", "{fault:?}");
            assert!(
                reservations(cluster.client())
                    .await
                    .contains("kube-system/10.0.0.8")
            );
            clear(&cluster).await;
        }
    }
}

#[tokio::test]
async fn what_fails_for_good_is_reported_and_done_by_the_next_run() {
    let cluster = Cluster::lock().await;
    for write in [creates as fn(&Seen) -> bool, patches] {
        lost(&cluster).await;
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        proxy.rule(move |seen| write(seen).then_some(Fault::Status(403, "Forbidden")));
        let run = |format: &'static str| {
            reconciler(&kubeconfig)
                .args(["-o", format, "--repair"])
                .output()
        };
        let failed = run("json").await.expect(1);
        assert_eq!(
            failed.json()["findings"][0]["repair"],
            "Failed",
            "{failed:#?}"
        );
        let reason = failed.json()["findings"][0]["reason"].to_string();
        assert!(reason.contains("403"), "{reason}");
        assert!(failed.stderr.contains("Repair failed"), "{failed:#?}");
        proxy.heal();
        run("table").await.expect(0);
        let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
        assert_eq!(left["8"]["podref"], "default/lost");
        clear(&cluster).await;
    }
}

#[tokio::test]
async fn an_address_that_another_took_meanwhile_is_left_to_it_and_reported() {
    let cluster = Cluster::lock().await;
    let taken = json!({"id": "c9", "podref": "default/quick", "ifname": "net1"});
    for (write, is_entry) in [(creates as fn(&Seen) -> bool, false), (patches, true)] {
        lost(&cluster).await;
        let proxy = Proxy::start(&cluster).await;
        let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
        let (admin, entry) = (cluster.client().clone(), taken.clone());
        proxy.before(write, async move {
            if is_entry {
                let change = json!({"spec": {"allocations": {"8": entry}}});
                let path = format!("{GROUP}/ippools/10.0.0.0-24");
                send(&admin, Method::PATCH, &path, Some(&change))
                    .await
                    .unwrap();
            } else {
                let reserved = reservation("kube-system", "10.0.0.8", "default/quick");
                reserved.create(&admin).await;
            }
        });
        let run = reconciler(&kubeconfig).args(["-o", "json", "--repair"]);
        let run = run.output().await.expect(1);
        let reason = run.json()["findings"][0]["reason"].to_string();
        assert!(reason.contains("now belongs to default/quick"), "{reason}");
        let left = entries(cluster.client(), "kube-system", "10.0.0.0-24").await;
        if is_entry {
            assert_eq!(left["8"], taken);
        } else {
            // The claim comes first, so there is no entry.
            assert_eq!(left.keys().collect::<Vec<_>>(), ["1"]);
        }
        clear(&cluster).await;
    }
}

#[tokio::test]
async fn a_pod_that_goes_before_the_write_gets_nothing_back() {
    let cluster = Cluster::lock().await;
    lost(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let mut looks = 0;
    // The first look is that which confirms the finding.
    proxy.rule(move |seen| {
        looks += usize::from(seen.is("GET", "/pods/lost"));
        (looks == 2 && seen.is("GET", "/pods/lost")).then_some(Fault::Status(404, "NotFound"))
    });
    let run = reconciler(&kubeconfig).args(["-o", "json", "--repair"]);
    let run = run.output().await.expect(0);
    assert_eq!(run.json()["findings"][0]["repair"], "Changed", "{run:#?}");
    assert_eq!(proxy.changes(), Vec::<String>::new());
    clear(&cluster).await;
}

#[tokio::test]
async fn an_address_that_the_pod_shows_no_more_is_not_put_back() {
    let cluster = Cluster::lock().await;
    lost(&cluster).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let admin = cluster.client().clone();
    // Between the second look at the pods and the last one: the pools are read again.
    let again = |seen: &Seen| seen.is("GET", "/ippools") && seen.query.contains("metadata.name");
    proxy.after(again, async move {
        let status = json!([{"name": "default/net1", "interface": "net1", "ips": ["10.0.0.99"]}]);
        let change = json!({"metadata": {"annotations":
            {"k8s.v1.cni.cncf.io/network-status": status.to_string()}}});
        let path = "/api/v1/namespaces/default/pods/lost";
        send(&admin, Method::PATCH, path, Some(&change))
            .await
            .unwrap();
    });
    let run = reconciler(&kubeconfig).args(["-o", "json", "--repair"]);
    let run = run.output().await.expect(0);
    assert_eq!(run.json()["findings"][0]["repair"], "Changed", "{run:#?}");
    assert_eq!(proxy.changes(), Vec::<String>::new());
    clear(&cluster).await;
}
