//! Which addresses come next, and which never do.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn window(range: &str, start: &str, end: &str, exclude: &[&str]) -> Window {
    let exclude = exclude
        .iter()
        .map(|text| parse_exclusion(text).unwrap())
        .collect();
    let end_of = |text: &str| (!text.is_empty()).then(|| address(text));
    Window::new(range.parse().unwrap(), end_of(start), end_of(end), exclude).unwrap()
}

fn lowest(window: &Window, taken: &[&str]) -> Result<String, String> {
    let taken = taken.iter().map(|text| address(text)).collect();
    window
        .lowest(&taken)
        .map(|a| a.to_string())
        .map_err(|error| error.to_string())
}

#[test]
fn the_lowest_free_address_of_the_window_comes_next() {
    for (range, start, end, exclude, taken, expected) in [
        ("10.0.0.0/24", "", "", &[][..], &[][..], "10.0.0.1"),
        ("10.0.0.7/24", "", "", &[], &[], "10.0.0.1"),
        (
            "10.0.0.0/24",
            "",
            "",
            &[],
            &["10.0.0.1", "10.0.0.2", "10.0.0.4"],
            "10.0.0.3",
        ),
        ("10.0.0.0/24", "10.0.0.9", "", &[], &[], "10.0.0.9"),
        // Outside, of the other family, or in the wrong order: as good as none.
        ("10.0.0.0/24", "10.0.1.9", "", &[], &[], "10.0.0.1"),
        ("10.0.0.0/24", "fd00::1", "", &[], &[], "10.0.0.1"),
        (
            "10.0.0.0/24",
            "10.0.0.9",
            "10.0.0.3",
            &[],
            &["10.0.0.9"],
            "10.0.0.10",
        ),
        (
            "10.0.0.0/24",
            "",
            "",
            &["10.0.0.0/25", "10.0.0.129/32"],
            &["10.0.0.128"],
            "10.0.0.130",
        ),
        (
            "10.0.0.0/24",
            "",
            "",
            &["10.0.0.1", "10.0.0.2/31", "fd00::/8"],
            &[],
            "10.0.0.4",
        ),
        (
            "10.0.0.0/16",
            "10.0.0.255",
            "",
            &[],
            &["10.0.0.255"],
            "10.0.1.1",
        ),
        (
            "10.0.0.0/24",
            "",
            "",
            &["::ffff:10.0.0.0/124"],
            &[],
            "10.0.0.16",
        ),
        ("10.0.0.0/24", "", "", &["10.0.0.0/028"], &[], "10.0.0.16"),
        ("fd00::/64", "", "", &["fd00::/100"], &[], "fd00::1000:0"),
        (
            "fd00::/64",
            "fd00::7fff:ffff:ffff:ffff",
            "",
            &[],
            &[],
            "fd00::7fff:ffff:ffff:ffff",
        ),
        ("fd00::/48", "", "", &[], &["fd00::1"], "fd00::2"),
        ("10.0.0.0/30", "", "", &[], &["10.0.0.1"], "10.0.0.2"),
    ] {
        let window = window(range, start, end, exclude);
        assert_eq!(
            lowest(&window, taken).as_deref(),
            Ok(expected),
            "{range} {start} {end}"
        );
    }
}

#[test]
fn an_exhausted_range_says_what_was_looked_at() {
    let full = window("10.0.0.0/30", "", "", &["10.0.0.2/32"]);
    let expected = "Could not allocate IP in range: ip: 10.0.0.1 / - 10.0.0.2 / \
        range: 10.0.0.0/30 / excludeRanges: [10.0.0.2/32]";
    assert_eq!(lowest(&full, &["10.0.0.1"]), Err(expected.to_owned()));
    let far = window("fd00::/64", "fd00::7fff:ffff:ffff:ffff", "", &[]);
    assert!(lowest(&far, &["fd00::7fff:ffff:ffff:ffff"]).is_err());
}

#[test]
fn a_start_that_no_record_can_hold_is_refused() {
    for (range, start) in [
        ("fd00::/64", "fd00::8000:0:0:0"),
        ("fd00::/64", "fd00::ffff:ffff:ffff:fffe"),
        ("fd00::/48", "fd00:0:0:1::1"),
    ] {
        let window = Window::new(
            range.parse().unwrap(),
            Some(address(start)),
            None,
            Vec::new(),
        );
        let refused = matches!(window, Err(NoWindow::BeyondRecords { .. }));
        assert!(refused, "{range} {start}");
    }
}

#[test]
fn a_range_without_room_is_refused() {
    for range in [
        "10.0.0.0/31",
        "10.0.0.0/32",
        "fd00::/127",
        "fd00::/128",
        "255.255.255.255/32",
    ] {
        assert!(
            Window::new(range.parse().unwrap(), None, None, Vec::new()).is_err(),
            "{range}"
        );
    }
}

#[test]
fn a_huge_exclusion_is_jumped_over() {
    let blocks: Vec<String> = (0..1000).map(|n| format!("fd00:0:0:{n:x}::/64")).collect();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let window = window("fd00::/16", "", "", &blocks);
    assert!(
        lowest(&window, &[]).is_err(),
        "all that offsets can hold is excluded"
    );
}

proptest! {
    #[test]
    fn what_is_given_is_free_usable_and_the_lowest(
        base: u32, prefix in 20u8..=30, start in 0u32..300, end in 0u32..300,
        taken in proptest::collection::vec(0u32..300, 0..40),
        exclude in proptest::collection::vec((0u32..300, 26u8..=32), 0..5),
    ) {
        let range: IpRange = format!("{}/{prefix}", Ipv4Addr::from_bits(base)).parse().unwrap();
        let network = range.masked();
        let at = |offset: u32| network.address_at(offset.into());
        let exclude: Vec<IpNet> = exclude.into_iter()
            .filter_map(|(offset, prefix)| IpNet::new(at(offset)?, prefix).ok()).collect();
        let taken: BTreeSet<IpAddr> = taken.into_iter().filter_map(at).collect();
        let window = Window::new(range, at(start), at(end), exclude.clone()).unwrap();
        let (first, last) = window.ends();
        let may = |address: &IpAddr| {
            !taken.contains(address) && !ends_in_zero(*address)
                && !exclude.iter().any(|block| block.contains(address))
        };
        // Slow and simple: walk through the window.
        let expected: Vec<IpAddr> = std::iter::successors(Some(first), |at| ip::next(*at))
            .take_while(|address| *address <= last).filter(may).take(5).collect();
        let found: Vec<IpAddr> = window.free(&taken).take(5).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(window.lowest(&taken).ok(), expected.first().copied());
        // Taken and given back, it comes again.
        if let Some(address) = expected.first() {
            let mut more = taken.clone();
            more.insert(*address);
            prop_assert_ne!(window.lowest(&more).ok(), Some(*address));
            more.remove(address);
            prop_assert_eq!(window.lowest(&more).ok(), Some(*address));
        }
    }
}
