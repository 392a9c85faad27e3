//! PURE: a window in blocks, of which etcd can say how many addresses are taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::allocate::Window;

/// How many addresses the first block has.
const FIRST: u128 = 256;

/// Addresses that follow one another, none of which is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first: IpAddr,
    pub(super) last: IpAddr,
}

impl Block {
    fn new(first: u128, last: u128, like: IpAddr) -> Self {
        Self {
            first: address(first, like),
            last: address(last, like),
        }
    }

    /// How many addresses there are.
    fn len(self) -> u128 {
        bits(self.last)
            .saturating_sub(bits(self.first))
            .saturating_add(1)
    }

    /// How many of them may be allocated: no IPv4 address that ends in `.0`.
    pub(super) fn capacity(self) -> u128 {
        if self.first.is_ipv6() {
            return self.len();
        }
        let up_to = |at: u128| at.checked_div(256).unwrap_or_default();
        let before = bits(self.first)
            .checked_sub(1)
            .map_or(0, |at| up_to(at).saturating_add(1));
        let zeros = up_to(bits(self.last)).saturating_add(1);
        self.len().saturating_sub(zeros.saturating_sub(before))
    }

    /// In at most so many equal parts.
    pub(super) fn split(self, parts: u128) -> Vec<Self> {
        let size = self.len().div_ceil(parts.max(1)).max(1);
        let (mut next, last) = (bits(self.first), bits(self.last));
        let mut all = Vec::new();
        while next <= last {
            let end = next.saturating_add(size.saturating_sub(1)).min(last);
            all.push(Self::new(next, end, self.first));
            let Some(after) = end.checked_add(1) else {
                break;
            };
            next = after;
        }
        all
    }
}

/// A window in blocks, from the lowest on, cut at exclusions, each twice as large as the one before:
/// few blocks for any window, and small ones where addresses are given first.
pub(super) fn blocks(window: &Window) -> impl Iterator<Item = Block> + '_ {
    let mut size = FIRST;
    let mut segments = window.segments();
    let mut rest: Option<(IpAddr, IpAddr)> = None;
    std::iter::from_fn(move || {
        let (first, last) = rest.take().or_else(|| segments.next())?;
        let end = bits(first)
            .saturating_add(size.saturating_sub(1))
            .min(bits(last));
        size = size.saturating_mul(2);
        if end < bits(last) {
            rest = Some((address(end.saturating_add(1), first), last));
        }
        Some(Block::new(bits(first), end, first))
    })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(bits: u128, like: IpAddr) -> IpAddr {
    match (like, u32::try_from(bits)) {
        (IpAddr::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::allocate::parse_exclusion;

    fn window(range: &str, exclude: &[&str]) -> Window {
        let exclude = exclude.iter().map(|text| parse_exclusion(text).unwrap());
        Window::new(range.parse().unwrap(), None, None, exclude.collect()).unwrap()
    }

    #[test]
    fn blocks_are_exactly_what_may_be_allocated() {
        for (range, exclude) in [
            (
                "10.0.0.0/22",
                &["10.0.1.0/25", "10.0.0.5", "10.0.3.254"][..],
            ),
            ("10.0.0.0/16", &[]),
            ("10.0.0.0/30", &[]),
            ("fd00::/118", &["fd00::/120"]),
        ] {
            let window = window(range, exclude);
            let free = window.free(&BTreeSet::new()).count();
            let all: Vec<Block> = blocks(&window).collect();
            let capacity: u128 = all.iter().map(|block| block.capacity()).sum();
            assert_eq!(capacity, u128::try_from(free).unwrap(), "{range}");
            assert!(all.windows(2).all(|pair| pair[0].last < pair[1].first));
            for block in all {
                let parts = block.split(7);
                assert!(parts.len() <= 7);
                let of_parts: u128 = parts.iter().map(|part| part.capacity()).sum();
                assert_eq!(of_parts, block.capacity());
            }
        }
    }

    #[test]
    fn a_huge_range_has_few_blocks() {
        let window = window("fd00::/48", &[]);
        assert!(blocks(&window).count() < 64);
    }
}
