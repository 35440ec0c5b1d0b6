//! Encoded addresses (RFC 7761 section 4.9.1).

use core::net::IpAddr;

use crate::EmitError;
use crate::list::{Element, Writer, array_at, u8_at};

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// The native encoding. The only other one, with join attributes (RFC 5384), is not supported.
const NATIVE_ENCODING: u8 = 0;

/// An encoded group address: a range of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodedGroup {
    /// The first address of the range.
    pub address: IpAddr,
    /// The length of the prefix in bits; 32 or 128 for a single group.
    pub prefix: u8,
    /// Whether the range uses bidirectional trees (the B bit, RFC 5015).
    pub bidirectional: bool,
    /// Whether this is an administratively scoped range (the Z bit, RFC 5059).
    pub scope_zone: bool,
}

/// An encoded source address: a source, or a rendezvous point that stands for all sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodedSource {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix in bits. The RFC requires the full length of the address.
    pub prefix: u8,
    /// The S bit, which sparse mode always sets.
    pub sparse: bool,
    /// Whether this stands for all sources, and the address is that of the rendezvous point (the W bit).
    pub wildcard: bool,
    /// Whether the message is sent towards the rendezvous point (the R bit).
    pub rendezvous_tree: bool,
}

impl EncodedGroup {
    const BIDIRECTIONAL: u8 = 0x80;
    const SCOPE_ZONE: u8 = 0x01;

    /// Encodes a single group.
    #[must_use]
    pub const fn single(group: IpAddr) -> Self {
        Self { address: group, prefix: full_prefix(group), bidirectional: false, scope_zone: false }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        let bidirectional = if self.bidirectional { Self::BIDIRECTIONAL } else { 0 };
        let scope_zone = if self.scope_zone { Self::SCOPE_ZONE } else { 0 };
        put_family(writer, self.address)?;
        writer.put(&[bidirectional | scope_zone, self.prefix])?;
        put_octets(writer, self.address)
    }
}

impl EncodedSource {
    const SPARSE: u8 = 0x04;
    const WILDCARD: u8 = 0x02;
    const RENDEZVOUS_TREE: u8 = 0x01;

    /// Encodes the source of an (S,G) join.
    #[must_use]
    pub const fn of_source(source: IpAddr) -> Self {
        Self {
            address: source,
            prefix: full_prefix(source),
            sparse: true,
            wildcard: false,
            rendezvous_tree: false,
        }
    }

    /// Encodes all sources, for a (*,G) join towards this rendezvous point.
    #[must_use]
    pub const fn any_through(rendezvous_point: IpAddr) -> Self {
        Self { wildcard: true, rendezvous_tree: true, ..Self::of_source(rendezvous_point) }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(self.sparse, Self::SPARSE)
            | flag(self.wildcard, Self::WILDCARD)
            | flag(self.rendezvous_tree, Self::RENDEZVOUS_TREE);
        put_family(writer, self.address)?;
        writer.put(&[flags, self.prefix])?;
        put_octets(writer, self.address)
    }
}

impl<'a> Element<'a> for EncodedGroup {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (address, rest) = split_octets(bytes, 4)?;
        let flags = u8_at(bytes, 2)?;
        let group = Self {
            address,
            prefix: u8_at(bytes, 3)?,
            bidirectional: flags & Self::BIDIRECTIONAL != 0,
            scope_zone: flags & Self::SCOPE_ZONE != 0,
        };
        Some((group, rest))
    }
}

impl<'a> Element<'a> for EncodedSource {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (address, rest) = split_octets(bytes, 4)?;
        let flags = u8_at(bytes, 2)?;
        let source = Self {
            address,
            prefix: u8_at(bytes, 3)?,
            sparse: flags & Self::SPARSE != 0,
            wildcard: flags & Self::WILDCARD != 0,
            rendezvous_tree: flags & Self::RENDEZVOUS_TREE != 0,
        };
        Some((source, rest))
    }
}

/// An encoded unicast address.
impl<'a> Element<'a> for IpAddr {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        split_octets(bytes, 2)
    }
}

pub(super) fn put_unicast(writer: &mut Writer<'_>, address: IpAddr) -> Result<(), EmitError> {
    put_family(writer, address)?;
    put_octets(writer, address)
}

/// Splits the address at this offset, after family and encoding, from the rest.
fn split_octets(bytes: &[u8], offset: usize) -> Option<(IpAddr, &[u8])> {
    let (family, encoding) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
    match (family, encoding) {
        (FAMILY_IPV4, NATIVE_ENCODING) => {
            Some((array_at::<4>(bytes, offset)?.into(), bytes.get(offset + 4..)?))
        }
        (FAMILY_IPV6, NATIVE_ENCODING) => {
            Some((array_at::<16>(bytes, offset)?.into(), bytes.get(offset + 16..)?))
        }
        _ => None,
    }
}

fn put_family(writer: &mut Writer<'_>, address: IpAddr) -> Result<(), EmitError> {
    writer.put(&[if address.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 }, NATIVE_ENCODING])
}

fn put_octets(writer: &mut Writer<'_>, address: IpAddr) -> Result<(), EmitError> {
    match address {
        IpAddr::V4(address) => writer.put(&address.octets()),
        IpAddr::V6(address) => writer.put(&address.octets()),
    }
}

const fn full_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
