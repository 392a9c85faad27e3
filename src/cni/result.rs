//! PURE: what ADD answers, in the form of each version.

use std::net::IpAddr;
use std::num::NonZeroI64;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess};

use super::error::Error;
use super::print::{Node, Object};
use super::read::{Cidr, Member, Members, OptionalAddress, canonical, object};
use super::version::Version;

/// An address for the container's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address, and the prefix length of its network.
    pub address: IpNet,
    /// The default gateway of that network.
    pub gateway: Option<IpAddr>,
}

/// A route for the container's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: IpNet,
    /// The next hop; without one it is the gateway of the address.
    pub gw: Option<IpAddr>,
    /// The largest packet on the path.
    pub mtu: Option<NonZeroI64>,
    /// The largest TCP segment to announce.
    pub advmss: Option<NonZeroI64>,
    /// The route's priority; the lower one is preferred.
    pub priority: Option<NonZeroI64>,
    /// The routing table; 0 is one.
    pub table: Option<i64>,
    /// The scope of the destinations; 0 is one.
    pub scope: Option<i64>,
}

/// Name resolution for the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// The name servers, the most preferred first.
    pub nameservers: Vec<String>,
    /// The local domain; empty when there is none.
    pub domain: String,
    /// The domains to search, the most preferred first.
    pub search: Vec<String>,
    /// Options for the resolver.
    pub options: Vec<String>,
}

/// What an IPAM plugin gives to the plugin that called it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpamResult {
    /// The addresses, in the order in which the ranges are configured.
    pub addresses: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The name resolution.
    pub dns: Dns,
}

impl IpamResult {
    /// The document for stdout in the form of a version.
    ///
    /// # Errors
    ///
    /// Up to 0.2.0 a result must have an address.
    pub fn render(&self, version: Version) -> Result<Vec<u8>, Error> {
        Ok(match version {
            Version::V0_1_0 | Version::V0_2_0 => self.by_family(version)?.pretty(),
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => self.with_families(version),
            Version::V1_0_0 | Version::V1_1_0 => self.current(version),
        })
    }

    /// Up to 0.2.0: the first address of each family, with the routes of that family.
    fn by_family(&self, version: Version) -> Result<Object, Error> {
        let v4 = self.family(|address| address.is_ipv4());
        let v6 = self.family(|address| address.is_ipv6());
        if v4.is_none() && v6.is_none() {
            return Err(Error::internal("cannot convert: no valid IP addresses"));
        }
        let mut document = Object::default().text("cniVersion", version.as_str());
        for (member, family) in [("ip4", v4), ("ip6", v6)] {
            if let Some(family) = family {
                document = document.object(member, family);
            }
        }
        Ok(document.object("dns", self.dns.document()))
    }

    fn family(&self, is_of_it: fn(IpAddr) -> bool) -> Option<Object> {
        let of_it = |net: IpNet| is_of_it(printed(net).addr());
        let address = self.addresses.iter().find(|a| of_it(a.address))?;
        let routes = self.routes.iter().filter(|route| of_it(route.dst));
        let document = Object::default()
            .text("ip", printed(address.address).to_string())
            .text_if_any("gateway", address.gateway.map(text_of))
            .list_unless_empty(
                "routes",
                routes.map(|route| Node::Object(route.head())).collect(),
            );
        Some(document)
    }

    /// From 0.3.0 to 0.4.0: all addresses, each with its family.
    fn with_families(&self, version: Version) -> Vec<u8> {
        let ips = self.addresses.iter().map(|address| {
            let family = if printed(address.address).addr().is_ipv4() {
                "4"
            } else {
                "6"
            };
            Node::Object(address.onto(Object::default().text("version", family)))
        });
        self.with_lists(version, ips.collect())
            .object("dns", self.dns.document())
            .pretty()
    }

    /// From 1.0.0 on: members sorted, and no `dns` that says nothing.
    fn current(&self, version: Version) -> Vec<u8> {
        let ips = self.addresses.iter();
        let ips = ips.map(|address| Node::Object(address.onto(Object::default())));
        let document = self.with_lists(version, ips.collect());
        let dns = self.dns.document();
        if dns.is_empty() {
            return document.sorted().pretty();
        }
        document.object("dns", dns).sorted().pretty()
    }

    fn with_lists(&self, version: Version, ips: Vec<Node>) -> Object {
        let routes = self.routes.iter();
        Object::default()
            .text("cniVersion", version.as_str())
            .list_unless_empty("ips", ips)
            .list_unless_empty(
                "routes",
                routes.map(|route| Node::Object(route.document())).collect(),
            )
    }
}

impl Address {
    fn onto(self, document: Object) -> Object {
        let Self { address, gateway } = self;
        document
            .text("address", printed(address).to_string())
            .text_if_any("gateway", gateway.map(text_of))
    }
}

impl Route {
    /// The members that every version has.
    fn head(&self) -> Object {
        Object::default()
            .text("dst", printed(self.dst).to_string())
            .text_if_any("gw", self.gw.map(text_of))
    }

    /// All members, which callers of older versions skip.
    fn document(&self) -> Object {
        self.head()
            .number_if_any("mtu", self.mtu.map(NonZeroI64::get))
            .number_if_any("advmss", self.advmss.map(NonZeroI64::get))
            .number_if_any("priority", self.priority.map(NonZeroI64::get))
            .number_if_any("table", self.table)
            .number_if_any("scope", self.scope)
    }
}

impl Dns {
    fn document(&self) -> Object {
        let Self {
            nameservers,
            domain,
            search,
            options,
        } = self;
        let texts = |list: &[String]| list.iter().cloned().map(Node::Text).collect();
        Object::default()
            .list_unless_empty("nameservers", texts(nameservers))
            .text_unless_empty("domain", domain)
            .list_unless_empty("search", texts(search))
            .list_unless_empty("options", texts(options))
    }
}

/// An IPv4-mapped network as the IPv4 one.
fn printed(net: IpNet) -> IpNet {
    canonical(net).unwrap_or(net)
}

fn text_of(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The members of a route as they are read.
#[derive(Default)]
struct RouteMembers {
    dst: Option<Cidr>,
    gw: OptionalAddress,
    mtu: i64,
    advmss: i64,
    priority: i64,
    table: Option<i64>,
    scope: Option<i64>,
}

impl Members for RouteMembers {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "dst" => member.into(&mut self.dst),
            "gw" => member.into(&mut self.gw),
            "mtu" => member.into(&mut self.mtu),
            "advmss" => member.into(&mut self.advmss),
            "priority" => member.into(&mut self.priority),
            "table" => member.into(&mut self.table),
            "scope" => member.into(&mut self.scope),
            _ => member.skip(),
        }
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let RouteMembers {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        } = object(source)?;
        let Cidr(dst) = dst.ok_or_else(|| D::Error::custom("a route has no dst"))?;
        Ok(Self {
            dst,
            gw: gw.0,
            mtu: NonZeroI64::new(mtu),
            advmss: NonZeroI64::new(advmss),
            priority: NonZeroI64::new(priority),
            table,
            scope,
        })
    }
}

impl Members for Dns {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "nameservers" => member.into(&mut self.nameservers),
            "domain" => member.into(&mut self.domain),
            "search" => member.into(&mut self.search),
            "options" => member.into(&mut self.options),
            _ => member.skip(),
        }
    }
}

impl<'de> Deserialize<'de> for Dns {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        object(source)
    }
}

#[cfg(test)]
mod tests;
