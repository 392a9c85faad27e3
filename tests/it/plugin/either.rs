//! What a runtime may rely on wherever the records are: the same calls, once with each datastore.

mod behaviour;
mod home;

/// Runs every behaviour with each datastore, through the plugin as a process.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        mod kubernetes {
            $(
                #[tokio::test]
                async fn $name() {
                    super::behaviour::$name(&super::home::Home::kubernetes().await).await;
                }
            )+
        }

        #[cfg(feature = "etcd")]
        mod etcd {
            $(
                #[tokio::test]
                async fn $name() {
                    super::behaviour::$name(&super::home::Home::etcd()).await;
                }
            )+
        }
    };
}

behaviours!(
    calls_may_be_repeated_and_come_late,
    ranges_of_both_families_parts_and_exclusions,
    all_or_nothing_of_several_ranges,
    the_next_container_has_the_address_and_the_old_one_frees_nothing,
    check_sees_what_is_lost,
    gc_frees_what_is_this_nodes_and_not_valid,
    status_says_whether_add_could_be_served,
    a_crowd_with_kills_gets_different_addresses_close_together,
);
