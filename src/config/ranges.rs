//! PURE: the ranges of a configuration.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Error;
use super::raw::{self, Ipam};
use crate::allocate::{Window, parse_exclusion};
use crate::ip::{IpRange, parse_address};

/// A range to allocate from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeConfig {
    /// The network, from its first address on: what a pool records.
    pub range: IpRange,
    /// The part of it to allocate from, or why there is none: an error of ADD only, because DEL has
    /// to find what was recorded before.
    pub window: Result<Window, String>,
    /// The excluded blocks, or which of them cannot be read.
    exclude: Result<Vec<IpNet>, String>,
}

impl RangeConfig {
    /// The slice of the range that a node allocates from.
    ///
    /// The slice's own ends take the place of `range_start` and `range_end`, as in the Go program;
    /// what is excluded stays excluded.
    #[must_use]
    pub fn slice(&self, slice: IpRange) -> Self {
        let range = slice.masked();
        let exclude = self.exclude.clone();
        let window = window(range, None, None, &exclude);
        Self {
            range,
            window,
            exclude,
        }
    }
}

fn window(
    range: IpRange,
    start: Option<IpAddr>,
    end: Option<IpAddr>,
    exclude: &Result<Vec<IpNet>, String>,
) -> Result<Window, String> {
    Window::new(range, start, end, exclude.clone()?).map_err(|error| error.to_string())
}

/// A range as it is written, alone or as an element of the list.
struct Written<'a> {
    range: &'a str,
    start: Option<IpAddr>,
    end: Option<IpAddr>,
    exclude: &'a [String],
}

/// All ranges: `range` first, then `ipRanges`.
pub(super) fn ranges_of(
    ipam: &Ipam,
    warnings: &mut Vec<String>,
) -> Result<Vec<RangeConfig>, Error> {
    let mut written = Vec::new();
    if !ipam.range.is_empty() {
        written.push(Written {
            range: &ipam.range,
            // These two may be anything; what is no address is as good as none.
            start: lenient("range_start", &ipam.range_start, warnings),
            end: lenient("range_end", &ipam.range_end, warnings),
            exclude: &ipam.exclude,
        });
    }
    for raw::Range {
        range,
        range_start,
        range_end,
        exclude,
        subnet,
    } in &ipam.ipranges
    {
        if let Some(subnet) = subnet.as_ref().filter(|_| range.is_empty()) {
            return Err(Error::subnet(subnet));
        }
        written.push(Written {
            range,
            start: range_start.0,
            end: range_end.0,
            exclude,
        });
    }
    written
        .into_iter()
        .map(|written| parse(&written, warnings))
        .collect()
}

fn lenient(setting: &str, text: &str, warnings: &mut Vec<String>) -> Option<IpAddr> {
    let address = parse_address(text);
    if address.is_none() && !text.is_empty() {
        warnings.push(format!("{setting} {text:?} is no address and is ignored"));
    }
    address
}

fn parse(written: &Written<'_>, warnings: &mut Vec<String>) -> Result<RangeConfig, Error> {
    let Written {
        range: text,
        mut start,
        mut end,
        exclude,
    } = *written;
    let range: IpRange = match text.split_once('-') {
        None => text.parse().map_err(|_| {
            Error::Range(format!("invalid CIDR {text}: invalid CIDR address: {text}"))
        })?,
        Some((first, rest)) => {
            let first_address = parse_address(first)
                .ok_or_else(|| Error::Range(format!("invalid range start IP: {first}")))?;
            let range: IpRange = rest.parse().map_err(|_| {
                Error::Range(format!(
                    "invalid CIDR (do you have the 'range' parameter set for Whereabouts?) \
                     '{rest}': invalid CIDR address: {rest}"
                ))
            })?;
            if !range.contains(first_address) {
                let network = range.masked();
                return Err(Error::Range(format!(
                    "invalid range start for CIDR {network}: {first_address}"
                )));
            }
            start = Some(first_address);
            end = rest.split('/').next().and_then(parse_address);
            range
        }
    };
    let range = range.masked();
    let exclude = exclude.iter().map(|text| {
        parse_exclusion(text).ok_or_else(|| {
            format!("could not parse exclude range, err: \"invalid CIDR address: {text}\"")
        })
    });
    let exclude = exclude.collect();
    let window = window(range, start, end, &exclude);
    if let Ok(window) = &window {
        warn_of_ends(range, window, start, end, warnings);
    }
    Ok(RangeConfig {
        range,
        window,
        exclude,
    })
}

/// Says which end of the window is not the one that was asked for.
fn warn_of_ends(
    range: IpRange,
    window: &Window,
    start: Option<IpAddr>,
    end: Option<IpAddr>,
    warnings: &mut Vec<String>,
) {
    let (first, last) = window.ends();
    for (setting, wanted, used) in [("range_start", start, first), ("range_end", end, last)] {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != used) {
            warnings.push(format!(
                "{setting} {wanted} is not usable in {range} and is ignored; {used} is used"
            ));
        }
    }
}
