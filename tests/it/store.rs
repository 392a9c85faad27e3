//! What any store must do, tried on each that there is.

mod behaviour;

use whereabouts::client::{self, Client, Target};
use whereabouts::store::kubernetes::Kubernetes;

use crate::support::cluster::Cluster;

async fn kubernetes(cluster: &Cluster) -> Kubernetes {
    let target = Target {
        kubeconfig: Some(cluster.kubeconfig().to_owned()),
        context: None,
    };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    let connection = client::connect(target, deadline).await.unwrap();
    let locks = cluster.file("").with_extension("locks");
    let client = Client::new(connection, deadline);
    Kubernetes::new(client, "kube-system".to_owned(), locks)
}

/// Runs every behaviour against a fresh store of each kind.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        mod kubernetes_store {
            $(
                #[tokio::test]
                async fn $name() {
                    let cluster = crate::support::cluster::Cluster::lock().await;
                    super::behaviour::$name(&super::kubernetes(&cluster).await).await;
                }
            )+
        }
    };
}

behaviours!(
    the_lowest_free_address_is_given_and_given_again,
    an_attachment_keeps_its_address,
    an_address_is_checked_against_its_owner,
    overlapping_ranges_share_addresses_or_not,
    addresses_to_avoid_are_avoided,
    what_is_released_is_only_what_was_meant,
    only_garbage_of_this_node_is_collected,
    a_full_range_says_so,
    networks_are_apart,
    the_other_family_and_the_far_end_of_a_range,
);
