//! PURE: the members of a call's configuration that the protocol itself defines.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess};

use super::error::{Code, Error};
use super::read::{Cidr, Member, Members, OptionalAddress, document, object};
use super::result::Address;

/// An interface of a container that the caller of GC still knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The container's id; never empty.
    pub container_id: String,
    /// The interface's name inside the container; may be empty.
    pub ifname: String,
}

/// The network's name, if any.
pub(super) fn network_name(stdin: &[u8]) -> Result<String, Error> {
    let Name(name) = document(stdin).map_err(|error| {
        Error::new(
            Code::Decoding,
            format!("error unmarshall network config: {error}"),
        )
    })?;
    Ok(name)
}

/// The text of the configuration's version; one that is not there is that of 0.1.0.
pub(super) fn version_text(stdin: &[u8]) -> Result<String, Error> {
    let CniVersion(text) = document(stdin).map_err(|error| {
        Error::new(
            Code::Decoding,
            format!("decoding version from network config: {error}"),
        )
    })?;
    Ok(if text.is_empty() {
        "0.1.0".to_owned()
    } else {
        text
    })
}

/// The attachments that GC must leave alone.
///
/// `None` when the configuration has no such list, which is not the same as an empty one.
///
/// # Errors
///
/// An element that names no container is an error, because what it protects cannot be known.
pub fn valid_attachments(stdin: &[u8]) -> Result<Option<Vec<Attachment>>, Error> {
    let AttachmentList(attachments) = document(stdin).map_err(|error| {
        Error::new(
            Code::Decoding,
            format!("error decoding the valid attachments: {error}"),
        )
    })?;
    Ok(attachments)
}

/// The addresses of `prevResult`, whatever the version of its form.
///
/// `None` when the configuration has no such member.
pub fn previous_addresses(stdin: &[u8]) -> Result<Option<Vec<Address>>, Error> {
    let PrevResult(result) = document(stdin).map_err(|error| {
        Error::new(
            Code::Decoding,
            format!("error decoding the previous result: {error}"),
        )
    })?;
    Ok(result.map(|Addresses { ips, ip4, ip6 }| {
        let ips = ips.into_iter().map(|ListedAddress(address)| address);
        let by_family = [ip4, ip6].into_iter().flatten();
        ips.chain(by_family.map(|FamilyAddress(address)| address))
            .collect()
    }))
}

#[derive(Default)]
struct Name(String);

impl Members for Name {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "name" => member.into(&mut self.0),
            _ => member.skip(),
        }
    }
}

#[derive(Default)]
struct CniVersion(String);

impl Members for CniVersion {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "cniversion" => member.into(&mut self.0),
            _ => member.skip(),
        }
    }
}

#[derive(Default)]
struct AttachmentList(Option<Vec<Attachment>>);

impl Members for AttachmentList {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "cni.dev/valid-attachments" => member.into(&mut self.0),
            _ => member.skip(),
        }
    }
}

#[derive(Default)]
struct AttachmentMembers {
    container_id: String,
    ifname: String,
}

impl Members for AttachmentMembers {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "containerid" => member.into(&mut self.container_id),
            "ifname" => member.into(&mut self.ifname),
            _ => member.skip(),
        }
    }
}

impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let AttachmentMembers {
            container_id,
            ifname,
        } = object(source)?;
        if container_id.is_empty() {
            return Err(D::Error::custom("an attachment has no containerID"));
        }
        Ok(Self {
            container_id,
            ifname,
        })
    }
}

#[derive(Default)]
struct PrevResult(Option<Addresses>);

impl Members for PrevResult {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "prevresult" => member.into(&mut self.0),
            _ => member.skip(),
        }
    }
}

/// The addresses of a result: `ips` from 0.3.0 on, before that one of each family.
#[derive(Default)]
struct Addresses {
    ips: Vec<ListedAddress>,
    ip4: Option<FamilyAddress>,
    ip6: Option<FamilyAddress>,
}

impl Members for Addresses {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "ips" => member.into(&mut self.ips),
            "ip4" => member.into(&mut self.ip4),
            "ip6" => member.into(&mut self.ip6),
            _ => member.skip(),
        }
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        object(source)
    }
}

/// The members of an address; only its own member changed its name.
#[derive(Default)]
struct AddressMembers {
    ip: Option<Cidr>,
    address: Option<Cidr>,
    gateway: OptionalAddress,
}

impl Members for AddressMembers {
    fn take<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.name() {
            "ip" => member.into(&mut self.ip),
            "address" => member.into(&mut self.address),
            "gateway" => member.into(&mut self.gateway),
            _ => member.skip(),
        }
    }
}

impl AddressMembers {
    fn with<E: serde::de::Error>(self, cidr: Option<Cidr>, member: &str) -> Result<Address, E> {
        let Cidr(address) = cidr.ok_or_else(|| E::custom(format!("an address has no {member}")))?;
        Ok(Address {
            address,
            gateway: self.gateway.0,
        })
    }
}

/// An element of `ips`.
struct ListedAddress(Address);

impl<'de> Deserialize<'de> for ListedAddress {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let mut members: AddressMembers = object(source)?;
        let cidr = members.address.take();
        members.with(cidr, "address").map(Self)
    }
}

/// The value of `ip4` or `ip6`.
struct FamilyAddress(Address);

impl<'de> Deserialize<'de> for FamilyAddress {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let mut members: AddressMembers = object(source)?;
        let cidr = members.ip.take();
        members.with(cidr, "ip").map(Self)
    }
}

#[cfg(test)]
mod tests;
