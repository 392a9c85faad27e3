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

#[cfg(feature = "etcd")]
async fn etcd(server: &crate::support::etcd::Etcd) -> whereabouts::store::etcd::Etcd {
    let config = whereabouts::config::EtcdConfig {
        endpoints: vec![server.host()],
        user: None,
        ca_cert_file: None,
        cert_file: None,
        key_file: None,
    };
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    whereabouts::store::etcd::Etcd::connect(&config, deadline)
        .await
        .unwrap()
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

        #[cfg(feature = "etcd")]
        mod etcd_store {
            $(
                #[tokio::test]
                async fn $name() {
                    let server = crate::support::etcd::Etcd::start();
                    super::behaviour::$name(&super::etcd(&server).await).await;
                }
            )+
        }
    };
}

behaviours!(
    the_lowest_free_address_is_given_and_given_again,
    an_attachment_keeps_its_address,
    an_address_is_checked_against_its_owner,
    overlapping_ranges_share_no_address,
    ranges_without_protection_stand_for_themselves,
    within_a_range_an_address_is_given_once_protected_or_not,
    addresses_to_avoid_are_avoided,
    what_is_released_is_only_what_was_meant,
    only_garbage_of_this_node_is_collected,
    a_full_range_says_so,
    networks_are_apart,
    the_other_family_and_the_far_end_of_a_range,
    what_is_excluded_or_beyond_the_ends_is_never_given,
    parts_of_one_range_keep_their_addresses,
    an_address_that_the_range_gives_no_more_is_not_given_again,
    whether_an_address_was_held_before_is_said,
    what_an_add_was_given_is_taken_back,
    interfaces_of_one_pod_have_addresses_of_their_own,
    containers_without_kubernetes_keep_their_addresses,
    many_at_once_get_different_addresses_close_together,
);

/// The store that the Go program shares does as that does; etcd gives no protected address.
#[tokio::test]
async fn in_kubernetes_overlapping_ranges_share_addresses_where_that_is_ignored() {
    let cluster = Cluster::lock().await;
    let store = kubernetes(&cluster).await;
    behaviour::overlapping_ranges_share_addresses_where_that_is_ignored(&store).await;
}
