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

    /// The part of it between two of its addresses.
    #[must_use]
    pub fn part(&self, first: IpAddr, last: IpAddr) -> Self {
        Self {
            first: self.first.max(first),
            last: self.last.min(last),
            ..self.clone()
        }
    }

    /// Its parts between the excluded blocks, as first and last address, from the lowest on.
    pub fn segments(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let mut next = Some(self.first);
        let mut blocks = self.excluded.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let first = next.filter(|address| *address <= self.last)?;
                while blocks.next_if(|(_, end)| *end < first).is_some() {}
                let Some((start, end)) = blocks.peek() else {
                    next = None;
                    return Some((first, self.last));
                };
                if *start <= first {
                    next = ip::next(*end);
                    continue;
                }
                next = ip::next(*end);
                let last = ip::previous(*start)?.min(self.last);
                return Some((first, last));
            }
        })
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
mod tests;
