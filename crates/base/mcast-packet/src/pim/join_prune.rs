//! Join/Prune messages (RFC 7761 section 4.9.5), and Graft messages, which have the same format (RFC 3973).

use core::net::IpAddr;

use super::address::{EncodedGroup, EncodedSource, put_unicast};
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};
use crate::list::{Element, List};

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
