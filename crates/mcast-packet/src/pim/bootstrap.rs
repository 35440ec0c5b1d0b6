//! Which router is the rendezvous point of which groups: bootstrap messages and candidates' adverts
//! (RFC 5059 section 4).

use core::net::IpAddr;

use super::address::{EncodedGroup, put_unicast};
use super::list::{Element, List};
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};

/// What the bootstrap router tells everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap<'a> {
    /// What all fragments of one message have in common.
    pub fragment_tag: u16,
    /// How many bits of a group choose among several rendezvous points.
    pub hash_mask_length: u8,
    /// How much the bootstrap router wants to be it; the highest wins.
    pub priority: u8,
    /// The bootstrap router.
    pub router: IpAddr,
    /// The ranges of groups, and who serves them.
    pub mappings: List<'a, GroupMapping<'a>>,
}

/// A range of groups, and its rendezvous points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMapping<'a> {
    /// The groups.
    pub groups: EncodedGroup,
    /// How many rendezvous points the range has in all fragments together.
    pub total: u8,
    /// Those that are in this fragment.
    pub rendezvous_points: List<'a, RendezvousPoint>,
}

/// A router that would be, or is, a rendezvous point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RendezvousPoint {
    /// The router.
    pub address: IpAddr,
    /// For how many seconds this holds.
    pub hold_time: u16,
    /// Who serves: the lowest value.
    pub priority: u8,
}

/// What a router that would be a rendezvous point tells the bootstrap router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateRp<'a> {
    /// How much it wants to; the lowest value wins.
    pub priority: u8,
    /// For how many seconds this holds; 0 takes it back.
    pub hold_time: u16,
    /// The candidate.
    pub address: IpAddr,
    /// The ranges of groups that it would serve; none means all of them.
    pub groups: List<'a, EncodedGroup>,
}

impl<'a> Bootstrap<'a> {
    /// Reads what follows the header; `None` when it is cut off.
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
    /// Reads what follows the header; `None` when it is cut off.
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
