//! Bootstrap and Candidate-RP-Advertisement messages, which map groups to rendezvous points (RFC 5059 section
//! 4).

use core::net::IpAddr;

use super::address::{EncodedGroup, put_unicast};
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};
use crate::list::{Element, List};

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
