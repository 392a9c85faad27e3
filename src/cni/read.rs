//! PURE: reading JSON as Go's JSON package reads it into structs.
//!
//! Members match in any letter case, unknown ones are skipped, `null` leaves what was there, and of
//! a member that is given twice the last one counts.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// A struct that takes the members of an object one by one.
pub(super) trait Members: Default {
    /// Takes the member, or skips it.
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error>;
}

/// One member of an object whose value is still to be read.
pub(super) struct Member<'m, A> {
    name: &'m str,
    as_written: &'m str,
    value: &'m mut A,
}

impl<'m, 'de, A: MapAccess<'de>> Member<'m, A> {
    /// The member's name in lower case.
    pub(super) fn name(&self) -> &'m str {
        self.name
    }

    /// Reads the value into its place, which `null` leaves alone.
    pub(super) fn into<T: Deserialize<'de>>(self, place: &mut T) -> Result<(), A::Error> {
        let Self {
            name: _,
            as_written,
            value,
        } = self;
        let read: Option<T> = value
            .next_value()
            .map_err(|error| A::Error::custom(format!("{as_written}: {error}")))?;
        if let Some(read) = read {
            *place = read;
        }
        Ok(())
    }

    /// Reads over the value.
    pub(super) fn skip(self) -> Result<(), A::Error> {
        self.value.next_value::<IgnoredAny>().map(drop)
    }
}

/// Reads an object; `null` is one without members.
pub(super) fn object<'de, T: Members, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
    source.deserialize_any(ObjectVisitor(PhantomData))
}

/// Reads a document that is an object.
pub(super) fn document<T: Members>(json: &[u8]) -> Result<T, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_slice(json);
    let read = object(&mut source)?;
    source.end()?;
    Ok(read)
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Members> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut read = T::default();
        while let Some(as_written) = map.next_key::<String>()? {
            read.take(Member {
                name: &as_written.to_ascii_lowercase(),
                as_written: &as_written,
                value: &mut map,
            })?;
        }
        Ok(read)
    }
}

/// Parses an address as strictly as Go does: no zone, and no leading zeros in IPv4.
///
/// An IPv4-mapped IPv6 address is the IPv4 address.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Parses an address with a prefix length as strictly as Go does; host bits are kept.
///
/// An IPv4-mapped IPv6 network is the IPv4 network, and none if it is wider than all of IPv4.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    canonical(IpNet::new(address, prefix.parse().ok()?).ok()?)
}

/// The IPv4 network of an IPv4-mapped one; `None` when that is wider than all of IPv4.
pub(super) fn canonical(net: IpNet) -> Option<IpNet> {
    let address = net.addr().to_canonical();
    if address.is_ipv4() == net.addr().is_ipv4() {
        return Some(net);
    }
    IpNet::new(address, net.prefix_len().checked_sub(96)?).ok()
}

/// An address with its prefix length, as a member's value.
pub(super) struct Cidr(pub(super) IpNet);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        parse_cidr(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("invalid CIDR address: {text}")))
    }
}

/// An address as a member's value, where empty means absent.
#[derive(Debug, Default)]
pub(crate) struct OptionalAddress(pub(crate) Option<IpAddr>);

impl<'de> Deserialize<'de> for OptionalAddress {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        parse_address(&text)
            .map(|address| Self(Some(address)))
            .ok_or_else(|| D::Error::custom(format!("invalid IP address: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sample {
        name: String,
        count: Option<i64>,
    }

    impl Members for Sample {
        fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
            match member.name() {
                "name" => member.into(&mut self.name),
                "count" => member.into(&mut self.count),
                _ => member.skip(),
            }
        }
    }

    fn sample(name: &str, count: Option<i64>) -> Sample {
        Sample {
            name: name.to_owned(),
            count,
        }
    }

    #[test]
    fn objects_are_read_as_go_reads_them() {
        for (json, expected) in [
            ("{}", sample("", None)),
            ("null", sample("", None)),
            (r#"{"NAME":"a","Count":1}"#, sample("a", Some(1))),
            (r#"{"name":"a","Name":"b"}"#, sample("b", None)),
            (r#"{"name":"a","name":null}"#, sample("a", None)),
            (
                r#"{"other":{"name":["x",1e999]},"n\u0061me":"a"}"#,
                sample("a", None),
            ),
            (" {\"name\": \"ä\"}\n", sample("ä", None)),
        ] {
            assert_eq!(
                document::<Sample>(json.as_bytes()).unwrap(),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_no_such_object_is_an_error_that_names_the_member() {
        for (json, reason) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{} x", "trailing characters at line 1 column 4"),
            (
                "[]",
                "invalid type: sequence, expected an object at line 1 column 2",
            ),
            (
                "5",
                "invalid type: integer `5`, expected an object at line 1 column 1",
            ),
            (
                r#"{"Name":5}"#,
                "Name: invalid type: integer `5`, expected a string at line 1 column 9",
            ),
            (
                r#"{"count":1.0}"#,
                "count: invalid type: floating point `1.0`, expected i64 at line 1 column 12",
            ),
        ] {
            let error = document::<Sample>(json.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, reason, "{json}");
        }
    }

    #[test]
    fn networks_keep_their_host_bits_and_mapped_ones_are_ipv4() {
        for (text, expected) in [
            ("10.0.0.5/24", "10.0.0.5/24"),
            ("10.0.0.5/024", "10.0.0.5/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:0DB8::5/64", "2001:db8::5/64"),
            ("::102:304/96", "::102:304/96"),
            ("2001:db8:0:0:1:0:0:1/128", "2001:db8::1:0:0:1/128"),
            ("::ffff:10.0.0.5/120", "10.0.0.5/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(parse_cidr(text).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "",
            "10.0.0.5",
            "10.0.0.5/",
            "10.0.0.5/33",
            "10.0.0.5/+1",
            "10.0.0.05/24",
            " 10.0.0.5/24",
            "fe80::1%eth0/64",
            "::ffff:10.0.0.5/95",
            "10.0.0.0/24/24",
            "10.0.0.0/255.0.0.0",
        ] {
            assert_eq!(parse_cidr(text), None, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_strict() {
        for (text, expected) in [
            ("10.0.0.5", Some("10.0.0.5")),
            ("::ffff:10.0.0.5", Some("10.0.0.5")),
            ("FD00::0", Some("fd00::")),
            ("010.0.0.5", None),
            ("fe80::1%eth0", None),
            ("", None),
        ] {
            let address = parse_address(text).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{text:?}");
        }
    }
}
