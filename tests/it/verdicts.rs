//! Every verdict on a real cluster: the state that leads to it, and what changes it.
//!
//! For each row there are two tests. The first, named after the verdict, shows that the entry and
//! the reservation get it and what is left of them then. The second shows what stops the release, or
//! what ends the keeping.

mod keeping;
mod nodes;
mod releasing;
pub(crate) mod scene;

use whereabouts::reconcile::audit::Verdict;

/// One line for each verdict, in the order of the rows: where its tests are written, its name, the
/// test that shows it, and the one that shows what changes it.
macro_rules! rows {
    ($($file:ident $verdict:ident: $shown:ident, $changed:ident;)+) => {
        /// Verdicts, and the tests that show them.
        const ROWS: &[(&str, &str)] = &[$((stringify!($verdict), stringify!($shown))),+];
        $(
            #[tokio::test]
            async fn $shown() {
                let scene = scene::Scene::of(stringify!($verdict)).await;
                let shown: scene::Shown = $file::$shown(scene).await;
                assert_eq!(shown.verdict, stringify!($verdict));
            }

            #[tokio::test]
            async fn $changed() {
                $file::$changed(scene::Scene::of(stringify!($verdict)).await).await;
            }
        )+
    };
}

rows! {
    keeping Malformed: malformed, malformed_until_somebody_mends_it;
    keeping Unowned: unowned, unowned_until_somebody_names_the_pod;
    keeping Protected: protected, protected_until_the_annotation_goes;
    keeping UsedByAnother: used_by_another, used_by_another_until_that_is_gone;
    nodes HeldUnreachable: held_unreachable, held_unreachable_until_a_taint_a_deletion_or_its_return;
    nodes UnreachableTooLong: unreachable_too_long, unreachable_too_long_stops_at_what_is_used_or_not_long_enough;
    nodes NodeOutOfService: node_out_of_service, node_out_of_service_stops_at_a_kubelet_that_answers_and_a_pod_that_lives;
    nodes NodeGone: node_gone, node_gone_stops_at_a_node_that_is_there_after_all;
    releasing PodFinished: pod_finished, pod_finished_stops_at_a_pod_that_runs;
    keeping Terminating: terminating, terminating_until_the_kubelet_is_done;
    keeping InUse: in_use, in_use_until_the_pod_shows_another_address;
    keeping StatusUnreadable: status_unreadable, status_unreadable_until_it_can_be_read;
    releasing PodReplaced: pod_replaced, pod_replaced_stops_at_a_mirror_pod_and_without_a_status;
    releasing AddressNotOnPod: address_not_on_pod, address_not_on_pod_stops_at_every_doubt;
    keeping Starting: starting, starting_until_the_pod_is_gone;
    releasing PodGone: pod_gone, pod_gone_stops_at_a_pod_of_that_name;
    releasing WithinGrace: within_grace, within_grace_until_it_is_over_or_the_pod_is_back;
}

#[test]
fn every_verdict_has_its_tests_and_they_are_named_after_it() {
    let verdicts: Vec<&str> = ROWS.iter().map(|(verdict, _)| *verdict).collect();
    assert_eq!(verdicts, Verdict::NAMES);
    for (verdict, test) in ROWS {
        let words = verdict.split_inclusive(|_: char| true).map(|letter| {
            let starts_a_word = letter.chars().all(char::is_uppercase);
            let before = if starts_a_word { "_" } else { "" };
            format!("{before}{}", letter.to_lowercase())
        });
        assert_eq!(words.collect::<String>(), format!("_{test}"));
    }
}
