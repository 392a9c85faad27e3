//! What happens in the last moment before a write, and answers that are lost.

use serde_json::{Value, json};

use super::{POOL, first_delete, first_patch, merge, one_record};
use crate::support::cluster::Cluster;
use crate::support::objects::{Object, pod, reservations};
use crate::support::proxy::Fault;
use crate::support::run::reconciler;

/// The entry, taken by the next container of the pod on this interface.
fn taken(interface: &str) -> Value {
    json!({"spec": {"allocations": {"1": {"id": "c2", "podref": "default/web-0", "ifname": interface}}}})
}

/// The answer to the delete is lost, and the second delete finds nothing: it may have been ours.
#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_put_back_as_well() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    proxy.before(first_delete, merge(&cluster, POOL, taken("net1")));
    proxy.once(first_delete, Fault::DropAfter);
    let run = reconciler(&kubeconfig).args(["-o", "json"]).output().await;
    assert_eq!(run.json()["summary"]["restored"], 1, "{run:#?}");
}

/// The Go program compares the pod of a reservation, not the interface: the new pod's net2 may take
/// over what net1 had.
#[tokio::test]
async fn an_entry_that_comes_back_for_another_interface_gets_its_reservation_back() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    proxy.before(first_delete, merge(&cluster, POOL, taken("net2")));
    let run = reconciler(&kubeconfig).output().await;
    assert_eq!(reservations(cluster.client()).await.len(), 1, "{run:#?}");
}

/// The Go program has looked at the reservation before our delete, and patches the pool after our
/// last look at it. Its pod is there all the time.
#[tokio::test]
async fn a_pod_that_comes_back_before_the_delete_keeps_its_reservation() {
    let cluster = Cluster::lock().await;
    let (proxy, kubeconfig) = one_record(&cluster).await;
    let client = cluster.client().clone();
    proxy.after(first_patch, async move {
        pod("default", "web-0").create(&client).await;
    });
    let run = reconciler(&kubeconfig).args(["-o", "json"]).output().await;
    assert_eq!(run.json()["summary"]["changed"], 1, "{run:#?}");
    assert_eq!(reservations(cluster.client()).await.len(), 1);
}
