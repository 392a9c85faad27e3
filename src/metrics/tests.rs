//! PURE: what the text of a run says.

use super::*;
use crate::reconcile::findings::Kind;

const ENDING: Ending = Ending {
    at: 1_700_000_000,
    duration: Duration::from_millis(1_250),
    dry_run: false,
    last_success: Some(1_700_000_000),
};

fn seen(pools: Vec<PoolUse>) -> Counts {
    Counts {
        view: Some(View {
            pools,
            ..View::default()
        }),
        ..Counts::default()
    }
}

#[test]
fn every_reason_and_kind_is_there_even_with_nothing_to_count() {
    let text = render(&ENDING, &seen(Vec::new()));
    for name in ["released", "orphan", "held"] {
        for kind in KINDS {
            for reason in Verdict::NAMES {
                let line =
                    format!("{PREFIX}{name}_records{{kind=\"{kind}\",reason=\"{reason}\"}} 0\n");
                assert!(text.contains(&line), "{line} is not in {text}");
            }
        }
    }
    for brake in Refusal::BRAKES {
        assert!(text.contains(&format!("{PREFIX}brake_refusals{{reason=\"{brake}\"}} 0\n")));
    }
    for kind in CONFLICTS {
        assert!(text.contains(&format!("{PREFIX}conflicts{{kind=\"{kind}\"}} 0\n")));
    }
    for kind in DEFECTS {
        assert!(text.contains(&format!("{PREFIX}defects{{kind=\"{kind}\"}} 0\n")));
    }
    for kind in WRITES {
        assert!(text.contains(&format!("{PREFIX}write_failures{{kind=\"{kind}\"}} 0\n")));
    }
}

#[test]
fn the_sets_of_labels_are_those_of_the_program() {
    let too_many = "1".parse().map(|limit| Refusal::TooMany {
        confirmed: 0,
        orphans: 2,
        records: 2,
        limit,
    });
    let refusals = [Refusal::NoPods { addresses: 11 }, too_many.unwrap()];
    assert_eq!(refusals.map(|refusal| refusal.brake()), Refusal::BRAKES);
    let (conflicts, defects): (Vec<Kind>, Vec<Kind>) =
        Kind::ALL.into_iter().partition(|kind| kind.is_conflict());
    assert_eq!(
        conflicts.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        CONFLICTS
    );
    assert_eq!(
        defects.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        DEFECTS
    );
    assert!(KINDS.iter().all(|kind| WRITES.contains(kind)));
}

#[test]
fn a_failed_run_says_what_is_known_and_no_more() {
    let ending = Ending {
        last_success: None,
        ..ENDING
    };
    let text = render(&ending, &Counts::default());
    assert!(text.contains(&format!("{PREFIX}view_complete 0\n")));
    assert!(text.contains(&format!("{PREFIX}last_run_timestamp_seconds 1700000000\n")));
    for unknown in [
        "held_records",
        "orphan_records",
        "conflicts",
        "pool_",
        LAST_SUCCESS,
    ] {
        assert!(!text.contains(unknown), "{unknown} is in {text}");
    }
}

#[test]
fn the_last_success_is_found_again() {
    let text = render(&ENDING, &Counts::default());
    assert_eq!(last_success(&text), Some(1_700_000_000));
    for text in [
        "",
        "whereabouts_reconciler_last_success_timestamp_seconds",
        "whereabouts_reconciler_last_success_timestamp_seconds x",
        "whereabouts_reconciler_last_success_timestamp_seconds_more 5",
        "# whereabouts_reconciler_last_success_timestamp_seconds 5",
    ] {
        assert_eq!(last_success(text), None, "{text:?}");
    }
}

#[test]
fn a_pool_without_a_range_has_no_size() {
    let pool = |name: &str, usable| PoolUse {
        pool: name.to_owned(),
        usable,
        allocated: 3,
    };
    let text = render(
        &ENDING,
        &seen(vec![
            pool("a/b", Some(u128::MAX)),
            pool("a/\"c\"\n\\", None),
        ]),
    );
    let size = format!(
        "{PREFIX}pool_usable_addresses{{pool=\"a/b\"}} {}\n",
        u128::MAX
    );
    assert!(text.contains(&size), "{text}");
    assert_eq!(text.matches("pool_usable_addresses{").count(), 1);
    let used = r#"pool_allocated_addresses{pool="a/\"c\"\n\\"} 3"#;
    assert!(text.contains(used), "{text}");
}

#[test]
fn a_duration_is_in_seconds() {
    let text = render(&ENDING, &Counts::default());
    assert!(text.contains("run_duration_seconds 1.250\n"), "{text}");
}
