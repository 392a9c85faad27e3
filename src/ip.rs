//! PURE: addresses, and the ranges whose offsets a pool records.
//!
//! All arithmetic is checked and done on `u128`, so that an IPv6 range of any size is exact and
//! nothing is ever counted by walking through it.
#![warn(clippy::arithmetic_side_effects)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Longest text that is looked at as an address; a full IPv6 address with an embedded IPv4 part
/// has 45 characters.
const MAX_ADDRESS_TEXT: usize = 64;

/// Parses an address in any spelling that the Go program accepts.
///
/// IPv4 parts may carry leading zeros, which mean nothing (Go before 1.17). An IPv4-mapped IPv6
/// address is the IPv4 address. Zones and white space are refused.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    if text.len() > MAX_ADDRESS_TEXT {
        return None;
    }
    let Some((groups, tail)) = text.rsplit_once(':') else {
        return parse_v4(text).map(IpAddr::V4);
    };
    let v6 = if tail.contains('.') {
        let tail = parse_v4(tail)?;
        format!("{groups}:{tail}").parse::<Ipv6Addr>()
    } else {
        text.parse()
    };
    v6.ok().map(|v6| IpAddr::V6(v6).to_canonical())
}

/// Parses IPv4 with leading zeros.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.');
    let mut octets = [0u8; 4];
    for octet in &mut octets {
        *octet = parse_decimal(parts.next()?)?;
    }
    if parts.next().is_some() {
        return None;
    }
    Some(Ipv4Addr::from(octets))
}

/// Parses digits only: Rust's own parser would also take a sign.
fn parse_decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The text of an address inside an object name: `:` becomes `-`, and a name must not end in `-`.
///
/// ```
/// let name = |text| whereabouts::ip::name_of(whereabouts::ip::parse_address(text).unwrap());
/// assert_eq!(name("10.0.0.5"), "10.0.0.5");
/// assert_eq!(name("fd00::"), "fd00--0");
/// ```
#[must_use]
pub fn name_of(address: IpAddr) -> String {
    let text = address.to_string();
    if address.is_ipv4() {
        return text;
    }
    let mut name = text.replace(':', "-");
    if name.ends_with('-') {
        name.push('0');
    }
    name
}

/// The inverse of [`name_of`] for a text that is all of an address; see
/// [`crate::record`] for names with a network in front.
#[must_use]
pub fn from_name(text: &str) -> Option<IpAddr> {
    parse_address(text).or_else(|| parse_address(&text.replace('-', ":")))
}

/// The range of a pool: the address that offsets count from, and the network that bounds them.
///
/// Offsets count from the address part as it is written, host bits included, because the Go
/// program does not mask it when it reads a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    base: IpAddr,
    network: IpNet,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("range {0:?} is not an address and a prefix length, such as 10.0.0.0/24 or fd00::/64")]
pub struct InvalidRange(String);

impl IpRange {
    /// The address that is `offset` above the base; `None` when it lies outside the network.
    #[must_use]
    pub fn address_at(&self, offset: u128) -> Option<IpAddr> {
        let address = match self.base {
            IpAddr::V4(base) => {
                let bits = u128::from(base.to_bits()).checked_add(offset)?;
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?))
            }
            IpAddr::V6(base) => {
                IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().checked_add(offset)?))
            }
        };
        self.contains(address).then_some(address)
    }

    /// The address recorded under a pool's key, which is a decimal offset.
    #[must_use]
    pub fn address_of_key(&self, key: &str) -> Option<IpAddr> {
        self.address_at(parse_decimal(key)?)
    }

    /// How far `address` is above the base; `None` when it is below it or outside the network.
    #[must_use]
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        if !self.contains(address) {
            return None;
        }
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => address
                .to_bits()
                .checked_sub(base.to_bits())
                .map(u128::from),
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                address.to_bits().checked_sub(base.to_bits())
            }
            _ => None,
        }
    }

    /// Whether the network holds the address; never true across families.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network.contains(&address)
    }

    /// The address under which the Go program records one that is 2^64 or more above the base.
    ///
    /// It keeps offsets modulo 2^64, so in a range wider than /64 one key stands for many
    /// addresses. `None` where the key says the address itself.
    #[must_use]
    pub fn folded(&self, address: IpAddr) -> Option<IpAddr> {
        let low = self.offset_of(address)? & u128::from(u64::MAX);
        self.address_at(low).filter(|folded| *folded != address)
    }

    /// Whether one key can stand for several addresses, see [`IpRange::folded`].
    #[must_use]
    pub fn is_wider_than_a_key(&self) -> bool {
        matches!(self.network, IpNet::V6(network) if network.prefix_len() < 64)
    }

    /// The network's prefix length.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.network.prefix_len()
    }

    /// The same network, counted from its first address: the range of a pool that is to be made.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self {
            base: self.network.network(),
            network: self.network,
        }
    }

    /// The first address of the network.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.network.network()
    }

    /// The last address of the network.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.network.broadcast()
    }

    /// The first and the last address that may be given to anyone: neither the network's own nor
    /// the broadcast address, for IPv6 as well. `None` where nothing is left in between.
    #[must_use]
    pub fn usable(&self) -> Option<(IpAddr, IpAddr)> {
        let first = next(self.network.network())?;
        let last = previous(self.network.broadcast())?;
        (first <= last && self.network.contains(&first)).then_some((first, last))
    }

    /// The range as it stands at the end of a pool's name: `:` and `/` become `-`.
    ///
    /// ```
    /// let range: whereabouts::ip::IpRange = "2001:db8::/64".parse().unwrap();
    /// assert_eq!(range.name(), "2001-db8---64");
    /// ```
    #[must_use]
    pub fn name(&self) -> String {
        self.to_string().replace([':', '/'], "-")
    }
}

/// The address after this one, in its family.
#[must_use]
pub fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// The address before this one, in its family.
#[must_use]
pub fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

impl FromStr for IpRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_range(text).ok_or_else(|| InvalidRange(text.chars().take(MAX_ADDRESS_TEXT).collect()))
    }
}

fn parse_range(text: &str) -> Option<IpRange> {
    let (address, prefix) = text.split_once('/')?;
    let written_as_v6 = address.contains(':');
    let base = parse_address(address)?;
    let mut prefix: u8 = parse_decimal(prefix)?;
    if base.is_ipv4() && written_as_v6 {
        // An IPv4-mapped network; one wider than the mapped block is no IPv4 network.
        prefix = prefix.checked_sub(96)?;
    }
    let network = IpNet::new(base, prefix).ok()?.trunc();
    Some(IpRange { base, network })
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.network.prefix_len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> IpRange {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        parse_address(text).unwrap()
    }

    #[test]
    fn addresses_are_equal_in_any_spelling() {
        for (one, other) in [
            ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
            ("::ffff:a00:5", "10.0.0.5"),
            ("010.000.0.05", "10.0.0.5"),
        ] {
            assert_eq!(address(one), address(other), "{one} {other}");
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1.2",
            " 10.0.0.1",
            "fe80::1%eth0",
            "+1.0.0.0",
        ] {
            assert_eq!(parse_address(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_an_offset_from_the_address_as_written() {
        assert_eq!(
            range("10.0.0.0/24").address_of_key("5"),
            Some(address("10.0.0.5"))
        );
        assert_eq!(
            range("10.0.0.4/24").address_of_key("5"),
            Some(address("10.0.0.9"))
        );
        assert_eq!(
            range("::ffff:10.0.0.0/120").address_of_key("255"),
            Some(address("10.0.0.255"))
        );
        for key in [
            "256",
            "-1",
            "+1",
            "",
            "x",
            "0x1",
            "18446463706800585572",
            "1e3",
            " 1",
        ] {
            assert_eq!(range("10.0.0.0/24").address_of_key(key), None, "{key:?}");
        }
        let upper = range("fd00::/64").address_of_key("9223372036854775809");
        assert_eq!(upper, Some(address("fd00::8000:0:0:1")));
    }

    #[test]
    fn texts_that_are_no_range_are_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "fd00::/129",
            "a/24",
            "::ffff:10.0.0.0/95",
            "10.0.0.1-10.0.0.9/24",
            "10.0.0.0/24/2",
        ] {
            assert!(text.parse::<IpRange>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_beyond_64_bits_folds_to_the_key_that_go_wrote() {
        let wide = range("2001:db8::/48");
        assert!(wide.is_wider_than_a_key());
        assert_eq!(
            wide.folded(address("2001:db8:0:1::1")),
            Some(address("2001:db8::1"))
        );
        assert_eq!(wide.folded(address("2001:db8::1")), None);
        assert!(!range("2001:db8::/64").is_wider_than_a_key());
    }

    #[test]
    fn names_of_pools_and_reservations_are_those_of_the_field() {
        assert_eq!(range("10.0.0.0/24").name(), "10.0.0.0-24");
        assert_eq!(name_of(address("2001:db8::1")), "2001-db8--1");
        assert_eq!(from_name("fd00--0"), Some(address("fd00::")));
    }

    proptest! {
        #[test]
        fn offset_and_address_are_inverse(base: u128, prefix in 0u8..=128, offset: u128) {
            let range = range(&format!("{}/{prefix}", Ipv6Addr::from_bits(base | 1 << 127)));
            if let Some(address) = range.address_at(offset) {
                prop_assert!(range.contains(address));
                prop_assert_eq!(range.offset_of(address), Some(offset));
            }
        }

        #[test]
        fn a_name_reads_back_as_its_address(bits: u128, v4: bool) {
            let address = if v4 {
                IpAddr::V4(Ipv4Addr::from_bits((bits & 0xffff_ffff).try_into().unwrap()))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
            };
            prop_assert_eq!(from_name(&name_of(address)), Some(address));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse_address(&text);
            let _ = text.parse::<IpRange>();
        }
    }
}
