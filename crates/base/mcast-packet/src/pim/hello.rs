//! The bodies of messages: options of Hello (RFC 7761 section 4.9.2), Join/Prune and Graft (section 4.9.5, RFC 3973), and
//! Bootstrap and Candidate-RP-Advertisement (RFC 5059).

use core::net::IpAddr;

use crate::EmitError;
use crate::list::{Element, List, Writer, array_at, u8_at, u16_at, u32_at};

/// An option of a Hello message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloOption<'a> {
    /// How long, in seconds, neighbors keep the router: 0 removes it at once, 65535 means forever.
    HoldTime(u16),
    /// The delay of prunes, during which other routers can override them.
    LanPruneDelay {
        /// Whether the router can disable join suppression (the T bit).
        tracking: bool,
        /// The expected propagation delay of the network in milliseconds, up to 32767.
        propagation_delay: u16,
        /// The maximum time before a router overrides a prune, in milliseconds.
        override_interval: u16,
    },
    /// The priority in the election of the designated router. The highest priority wins, then the highest
    /// address.
    DrPriority(u32),
    /// A random number chosen when the router starts. A different number means that it has lost its state.
    GenerationId(u32),
    /// The router's secondary addresses on this interface.
    AddressList(List<'a, IpAddr>),
    /// The router supports bidirectional trees (RFC 5015).
    BidirectionalCapable,
    /// An option that is not decoded, or whose length does not match its type.
    Other {
        /// The option type (IANA, PIM-Hello Options).
        kind: u16,
        /// The option value.
        value: &'a [u8],
    },
}

const HOLD_TIME: u16 = 1;
const LAN_PRUNE_DELAY: u16 = 2;
const DR_PRIORITY: u16 = 19;
const GENERATION_ID: u16 = 20;
const BIDIRECTIONAL_CAPABLE: u16 = 22;
const ADDRESS_LIST: u16 = 24;

/// The T bit, above the 15 bits of the delay.
const TRACKING: u16 = 0x8000;

impl<'a> HelloOption<'a> {
    fn decode(kind: u16, value: &'a [u8]) -> Self {
        Self::decode_known(kind, value).unwrap_or(Self::Other { kind, value })
    }

    /// Decodes a known option. Returns `None` for an unknown type or an unexpected length.
    fn decode_known(kind: u16, value: &'a [u8]) -> Option<Self> {
        Some(match (kind, value.len()) {
            (HOLD_TIME, 2) => Self::HoldTime(u16_at(value, 0)?),
            (LAN_PRUNE_DELAY, 4) => {
                let delay = u16_at(value, 0)?;
                Self::LanPruneDelay {
                    tracking: delay & TRACKING != 0,
                    propagation_delay: delay & !TRACKING,
                    override_interval: u16_at(value, 2)?,
                }
            }
            (DR_PRIORITY, 4) => Self::DrPriority(u32_at(value, 0)?),
            (GENERATION_ID, 4) => Self::GenerationId(u32_at(value, 0)?),
            (BIDIRECTIONAL_CAPABLE, 0) => Self::BidirectionalCapable,
            (ADDRESS_LIST, _) => Self::AddressList(List::take_all(value)?),
            _ => return None,
        })
    }

    const fn kind(&self) -> u16 {
        match self {
            Self::HoldTime(_) => HOLD_TIME,
            Self::LanPruneDelay { .. } => LAN_PRUNE_DELAY,
            Self::DrPriority(_) => DR_PRIORITY,
            Self::GenerationId(_) => GENERATION_ID,
            Self::AddressList(_) => ADDRESS_LIST,
            Self::BidirectionalCapable => BIDIRECTIONAL_CAPABLE,
            Self::Other { kind, .. } => *kind,
        }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        writer.put_u16(self.kind())?;
        let length_offset = writer.position();
        writer.put_u16(0)?;
        let start = writer.position();
        self.put_value(writer)?;
        let length = u16::try_from(writer.position() - start).map_err(|_| EmitError::TooMany)?;
        writer.patch_u16(length_offset, length)
    }

    fn put_value(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        match *self {
            Self::HoldTime(seconds) => writer.put_u16(seconds),
            Self::LanPruneDelay { tracking, propagation_delay, override_interval } => {
                let tracking = if tracking { TRACKING } else { 0 };
                writer.put_u16(tracking | propagation_delay & !TRACKING)?;
                writer.put_u16(override_interval)
            }
            Self::DrPriority(value) | Self::GenerationId(value) => writer.put_u32(value),
            Self::AddressList(addresses) => {
                addresses.iter().try_for_each(|address| put_unicast(writer, address))
            }
            Self::BidirectionalCapable => Ok(()),
            Self::Other { value, .. } => writer.put(value),
        }
    }
}

impl<'a> Element<'a> for HelloOption<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let kind = u16_at(bytes, 0)?;
        let length = usize::from(u16_at(bytes, 2)?);
        let (value, rest) = bytes.get(4..)?.split_at_checked(length)?;
        Some((Self::decode(kind, value), rest))
    }
}

/// The joins and prunes that a router sends to its upstream neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinPrune<'a> {
    /// The upstream neighbor, to which the message is addressed.
    pub upstream_neighbor: IpAddr,
    /// The holdtime in seconds; 65535 means forever.
    pub hold_time: u16,
    /// The joins and prunes per group.
    pub groups: List<'a, GroupSet<'a>>,
}

/// The joined and pruned sources of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSet<'a> {
    /// The group.
    pub group: EncodedGroup,
    /// The joined sources.
    pub joined: List<'a, EncodedSource>,
    /// The pruned sources.
    pub pruned: List<'a, EncodedSource>,
}

impl<'a> JoinPrune<'a> {
    /// Parses the part after the header. Returns `None` if it is truncated.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (upstream_neighbor, rest) = IpAddr::split(body)?;
        let count = usize::from(u8_at(rest, 1)?);
        let hold_time = u16_at(rest, 2)?;
        let (groups, _) = List::take(rest.get(4..)?, count)?;
        Some(Self { upstream_neighbor, hold_time, groups })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        put_unicast(writer, self.upstream_neighbor)?;
        let count = u8::try_from(self.groups.len()).map_err(|_| EmitError::TooMany)?;
        writer.put(&[0, count])?;
        writer.put_u16(self.hold_time)?;
        self.groups.iter().try_for_each(|group| group.put(writer))
    }
}

impl GroupSet<'_> {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        let count =
            |sources: List<'_, EncodedSource>| u16::try_from(sources.len()).map_err(|_| EmitError::TooMany);
        self.group.put(writer)?;
        writer.put_u16(count(self.joined)?)?;
        writer.put_u16(count(self.pruned)?)?;
        self.joined.iter().chain(self.pruned).try_for_each(|source| source.put(writer))
    }
}

impl<'a> Element<'a> for GroupSet<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (group, rest) = EncodedGroup::split(bytes)?;
        let (joined, pruned) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
        let (joined, rest) = List::take(rest.get(4..)?, usize::from(joined))?;
        let (pruned, rest) = List::take(rest, usize::from(pruned))?;
        Some((Self { group, joined, pruned }, rest))
    }
}

// Bootstrap and Candidate-RP-Advertisement messages, which map groups to rendezvous points (RFC 5059 section
// 4).

/// A Bootstrap message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap<'a> {
    /// The fragment tag, which all fragments of a message share.
    pub fragment_tag: u16,
    /// The number of group address bits in the hash that selects among several rendezvous points.
    pub hash_mask_length: u8,
    /// The priority of the bootstrap router; the highest wins the election.
    pub priority: u8,
    /// The bootstrap router.
    pub router: IpAddr,
    /// The ranges of groups with their rendezvous points.
    pub mappings: List<'a, GroupMapping<'a>>,
}

/// A range of groups with its rendezvous points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMapping<'a> {
    /// The groups.
    pub groups: EncodedGroup,
    /// The number of rendezvous points of the range in all fragments together.
    pub total: u8,
    /// The rendezvous points in this fragment.
    pub rendezvous_points: List<'a, RendezvousPoint>,
}

/// A rendezvous point in a Bootstrap message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RendezvousPoint {
    /// The router.
    pub address: IpAddr,
    /// The holdtime in seconds.
    pub hold_time: u16,
    /// The priority; the lowest value wins.
    pub priority: u8,
}

/// A Candidate-RP-Advertisement, sent to the bootstrap router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateRp<'a> {
    /// The priority; the lowest value wins.
    pub priority: u8,
    /// The holdtime in seconds; 0 withdraws the candidacy.
    pub hold_time: u16,
    /// The address of the candidate.
    pub address: IpAddr,
    /// The ranges of groups of the candidate; an empty list stands for all groups.
    pub groups: List<'a, EncodedGroup>,
}

impl<'a> Bootstrap<'a> {
    /// Parses the part after the header. Returns `None` if it is truncated.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (router, rest) = IpAddr::split(body.get(4..)?)?;
        Some(Self {
            fragment_tag: u16_at(body, 0)?,
            hash_mask_length: u8_at(body, 2)?,
            priority: u8_at(body, 3)?,
            router,
            mappings: List::take_all(rest)?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        writer.put_u16(self.fragment_tag)?;
        writer.put(&[self.hash_mask_length, self.priority])?;
        put_unicast(writer, self.router)?;
        self.mappings.iter().try_for_each(|mapping| mapping.put(writer))
    }
}

impl GroupMapping<'_> {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        let count = u8::try_from(self.rendezvous_points.len()).map_err(|_| EmitError::TooMany)?;
        self.groups.put(writer)?;
        writer.put(&[self.total, count, 0, 0])?;
        self.rendezvous_points.iter().try_for_each(|point| point.put(writer))
    }
}

impl RendezvousPoint {
    fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        put_unicast(writer, self.address)?;
        writer.put_u16(self.hold_time)?;
        writer.put(&[self.priority, 0])
    }
}

impl<'a> CandidateRp<'a> {
    /// Parses the part after the header. Returns `None` if it is truncated.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let count = usize::from(u8_at(body, 0)?);
        let (address, rest) = IpAddr::split(body.get(4..)?)?;
        let (groups, _) = List::take(rest, count)?;
        Some(Self { priority: u8_at(body, 1)?, hold_time: u16_at(body, 2)?, address, groups })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), EmitError> {
        let count = u8::try_from(self.groups.len()).map_err(|_| EmitError::TooMany)?;
        writer.put(&[count, self.priority])?;
        writer.put_u16(self.hold_time)?;
        put_unicast(writer, self.address)?;
        self.groups.iter().try_for_each(|group| group.put(writer))
    }
}

impl<'a> Element<'a> for GroupMapping<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (groups, rest) = EncodedGroup::split(bytes)?;
        let (total, count) = (u8_at(rest, 0)?, u8_at(rest, 1)?);
        let (rendezvous_points, rest) = List::take(rest.get(4..)?, usize::from(count))?;
        Some((Self { groups, total, rendezvous_points }, rest))
    }
}

impl<'a> Element<'a> for RendezvousPoint {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (address, rest) = IpAddr::split(bytes)?;
        let point = Self { address, hold_time: u16_at(rest, 0)?, priority: u8_at(rest, 2)? };
        Some((point, rest.get(4..)?))
    }
}

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
