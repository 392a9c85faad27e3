//! PURE: which address comes next.
#![warn(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cni::parse_cidr;
use crate::ip::{self, IpRange};

/// The largest offset that every reader of a pool understands: the Go program reads 63 bits.
const MAX_OFFSET: u128 = i64::MAX as u128;

/// The addresses of a range that may be allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    range: IpRange,
    first: IpAddr,
    last: IpAddr,
    /// Excluded blocks of the range's family, as first and last address, sorted and merged.
    excluded: Vec<(IpAddr, IpAddr)>,
    /// The exclusions as they were configured, for messages.
    exclude: Vec<IpNet>,
}

/// Why a range has no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWindow {
    /// There is nothing between the network address and the broadcast address.
    #[error("net mask is too short, subnet {0} has no usable IP addresses, it is too small")]
    TooSmall(IpRange),
    /// Nothing from the start on could be recorded.
    #[error(
        "range_start {start} is 2^63 or more addresses above the start of {range}, further than a \
         pool can record: use a range with a longer prefix"
    )]
    BeyondRecords {
        /// The start.
        start: IpAddr,
        /// The range.
        range: IpRange,
    },
}

/// There is no free address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    window: Window,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window {
            range,
            first,
            last,
            exclude,
            ..
        } = &self.window;
        let exclude: Vec<String> = exclude.iter().map(ToString::to_string).collect();
        write!(
            f,
            "Could not allocate IP in range: ip: {first} / - {last} / range: {range} / \
             excludeRanges: [{}]",
            exclude.join(" ")
        )
    }
}

impl std::error::Error for Exhausted {}

impl Window {
    /// The usable part of a range between two addresses, without the excluded blocks.
    ///
    /// An end that lies outside of the usable part, or before the start, is as good as none: so the
    /// Go program takes it. The far end of an IPv6 range whose offsets no record can hold is never
    /// part of it.
    ///
    /// # Errors
    /// When the range has no usable address at all, or none from the start on that could be
    /// recorded: to begin elsewhere could give out what is used for something else.
    pub fn new(
        range: IpRange,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        exclude: Vec<IpNet>,
    ) -> Result<Self, NoWindow> {
        let range = range.masked();
        let (lowest, end_of_range) = range.usable().ok_or(NoWindow::TooSmall(range))?;
        let highest = range
            .address_at(MAX_OFFSET)
            .map_or(end_of_range, |furthest| end_of_range.min(furthest));
        if let Some(start) = start.filter(|start| {
            start.is_ipv4() == highest.is_ipv4() && (*start > highest && *start <= end_of_range)
        }) {
            return Err(NoWindow::BeyondRecords { start, range });
        }
        let within = |address: &IpAddr, from: IpAddr| {
            address.is_ipv4() == from.is_ipv4() && (from..=highest).contains(address)
        };
        let first = start
            .filter(|start| within(start, lowest))
            .unwrap_or(lowest);
        let last = end.filter(|end| within(end, first)).unwrap_or(highest);
        let excluded = merged(&exclude, range);
        Ok(Self {
            range,
            first,
            last,
            excluded,
            exclude,
        })
    }

    /// The range that its pool records.
    #[must_use]
    pub fn range(&self) -> IpRange {
        self.range
    }

    /// The lowest and the highest address of it.
    #[must_use]
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        (self.first, self.last)
    }

    /// Whether the address lies between its ends; it may be excluded all the same.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    /// Whether the address lies in an excluded block.
    #[must_use]
    pub fn excludes(&self, address: IpAddr) -> bool {
        let mut blocks = self.excluded.iter();
        blocks.any(|(first, last)| (*first..=*last).contains(&address))
    }

    /// The addresses that are not taken, from the lowest on.
    ///
    /// Excluded blocks are jumped over, never walked through.
    pub fn free<'a>(&'a self, taken: &'a BTreeSet<IpAddr>) -> impl Iterator<Item = IpAddr> + 'a {
        let mut next = Some(self.first);
        let mut blocks = self.excluded.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let candidate = next.filter(|address| *address <= self.last)?;
                while blocks.next_if(|(_, end)| *end < candidate).is_some() {}
                if let Some((_, end)) = blocks.peek().filter(|(start, _)| *start <= candidate) {
                    next = ip::next(*end);
                    continue;
                }
                next = ip::next(candidate);
                if !taken.contains(&candidate) && !ends_in_zero(candidate) {
                    return Some(candidate);
                }
            }
        })
    }

    /// The lowest address that is not taken.
    ///
    /// # Errors
    /// When all of them are taken or excluded.
    pub fn lowest(&self, taken: &BTreeSet<IpAddr>) -> Result<IpAddr, Exhausted> {
        self.free(taken).next().ok_or_else(|| Exhausted {
            window: self.clone(),
        })
    }
}

/// Some equipment drops what comes from an IPv4 address that ends in `.0`.
pub(crate) fn ends_in_zero(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[3] == 0)
}

/// Blocks of the range's family by their first address, overlapping ones made one.
fn merged(exclude: &[IpNet], range: IpRange) -> Vec<(IpAddr, IpAddr)> {
    let is_v4 = matches!(range.usable(), Some((IpAddr::V4(_), _)));
    let mut blocks: Vec<(IpAddr, IpAddr)> = exclude
        .iter()
        .filter(|block| block.addr().is_ipv4() == is_v4)
        .map(|block| (block.network(), block.broadcast()))
        .collect();
    blocks.sort_unstable();
    blocks.dedup_by(|next, kept| {
        let joins = next.0 <= kept.1;
        if joins {
            kept.1 = kept.1.max(next.1);
        }
        joins
    });
    blocks
}

/// Reads an exclusion: a block, or one address; host bits count for nothing, and an IPv4-mapped one
/// excludes what it maps.
#[must_use]
pub fn parse_exclusion(text: &str) -> Option<IpNet> {
    if let Some(block) = parse_cidr(text) {
        return Some(block.trunc());
    }
    let address: IpAddr = text.parse().ok()?;
    Some(IpNet::from(address.to_canonical()))
}

#[cfg(test)]
mod tests {
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
}
