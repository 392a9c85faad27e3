//! Why an address is kept, asked of a running cluster.

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::objects::{Object, node, pod, pool, reservation};
use crate::support::proxy::Proxy;
use crate::support::run::reconciler;

#[tokio::test]
async fn a_held_address_is_explained_and_nothing_is_written() {
    let cluster = Cluster::lock().await;
    let client = cluster.client();
    node("node-a").unreachable().create(client).await;
    let owner = json!({"id": "c1", "poduid": "u1", "nodename": "node-a"});
    let entry = json!({"id": "c1", "podref": "default/web", "ifname": "net1", "owner": owner});
    let pool = pool("kube-system", "10.0.0.0/24").raw_entry("5", entry);
    pool.entry(6, "default/gone", "net1", "c2")
        .create(client)
        .await;
    let reserved = reservation("kube-system", "10.0.0.5", "default/web").ifname("net1");
    reserved.create(client).await;
    pod("default", "bystander").create(client).await;
    let proxy = Proxy::start(&cluster).await;
    let kubeconfig = proxy.kubeconfig(&cluster, cluster.token());
    let explain = async |target: &str| {
        let run = reconciler(&kubeconfig).args(["explain", target]);
        run.output().await.expect(0).stdout
    };
    for target in ["10.0.0.5", "::ffff:10.0.0.5", "default/web"] {
        let said = explain(target).await;
        for part in [
            "10.0.0.5  Allocation kube-system/10.0.0.0-24/5",
            "10.0.0.5  Reservation kube-system/10.0.0.5",
            "pod uid     u1",
            "default/web: there is no such pod",
            "node-a is not Ready since 20",
            "HeldUnreachable: pod is gone, but node node-a is not Ready",
            "kubectl taint node node-a",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("default/gone"), "{said}");
    }
    let orphan = explain("10.0.0.6").await;
    assert!(orphan.contains("PodGone"), "{orphan}");
    let waits = reconciler(&kubeconfig).args(["explain", "10.0.0.6", "--grace", "2m"]);
    let waits = waits.output().await.expect(0).stdout;
    assert!(waits.contains("free it alone"), "{waits}");
    assert!(proxy.writes().is_empty(), "{:#?}", proxy.writes());
}
