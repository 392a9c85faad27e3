//! What `ip-reconciler` does wherever the records are: the same clusters, once with each datastore.
//!
//! What only one of them has (reservations, events, patches; compaction, credentials, members) has tests
//! of its own.

mod by_hand;
mod home;
mod races;
mod record;
mod runs;
mod told;
mod verdicts;

/// Runs every behaviour with each datastore, through the program as a process.
macro_rules! behaviours {
    ($($file:ident: $($name:ident),+;)+) => {
        mod kubernetes {
            $($(
                #[tokio::test]
                async fn $name() {
                    super::$file::$name(&super::home::Home::kubernetes().await).await;
                }
            )+)+
        }

        #[cfg(feature = "etcd")]
        mod etcd {
            $($(
                #[tokio::test]
                async fn $name() {
                    super::$file::$name(&super::home::Home::etcd().await).await;
                }
            )+)+
        }
    };
}

behaviours! {
    verdicts:
        every_verdict_is_given_and_does_what_its_name_says,
        what_was_kept_goes_when_its_reason_does,
        what_cannot_be_read_is_reported_and_kept,
        a_range_that_is_exempted_is_left_alone,
        what_no_pod_has_is_kept;
    runs:
        the_plugin_knows_what_a_run_has_freed,
        a_dry_run_changes_nothing_and_every_format_shows_it,
        the_report_counts,
        exit_codes_say_how_it_ended,
        brakes_hold_and_force_overrides_them,
        an_orphan_goes_when_it_was_seen_for_long_enough,
        another_record_in_its_place_waits_anew_and_marks_of_nothing_go,
        a_brake_lets_pass_what_was_seen_a_quarter_of_an_hour_ago,
        one_pool_can_be_chosen,
        how_full_a_range_is_is_remembered_once_an_hour;
    by_hand:
        an_address_is_freed_by_hand_and_its_release_undone,
        what_a_pod_may_use_is_not_freed_by_hand,
        an_address_that_nothing_records_is_an_error,
        a_held_address_is_explained_and_nothing_is_written,
        what_was_released_is_put_back_as_it_was,
        what_is_taken_or_shown_by_another_stays_that_ones,
        a_report_that_a_config_map_keeps_is_undone,
        what_a_pod_shows_and_nothing_records_is_repaired,
        one_address_for_two_is_a_conflict;
    races:
        what_is_taken_over_before_its_release_is_kept,
        what_is_freed_and_claimed_anew_before_its_release_is_kept,
        what_is_gone_before_its_release_is_not_missed,
        a_range_that_is_exempted_during_the_run_is_left_alone,
        a_pod_that_comes_during_the_run_keeps_its_address,
        a_release_whose_answer_is_lost_is_looked_at_again,
        without_pods_in_view_nothing_is_freed,
        two_runs_at_once_free_nothing_twice,
        a_run_that_is_asked_to_stop_starts_nothing_more,
        pods_that_come_and_go_beside_runs_keep_their_addresses_and_leave_none_behind;
}
