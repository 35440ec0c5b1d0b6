//! Joins and prunes (RFC 7761 section 4.9.5), and grafts, which have the same form (RFC 3973).

use core::net::IpAddr;

use super::address::{EncodedGroup, EncodedSource, put_unicast};
use super::list::{Element, List};
use crate::EmitError;
use crate::bytes::{Writer, u8_at, u16_at};

/// A router's wishes to the router before it on the way to the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinPrune<'a> {
    /// The router that is asked.
    pub upstream_neighbor: IpAddr,
    /// For how many seconds the wishes hold; 65535 means forever.
    pub hold_time: u16,
    /// The wishes, group by group.
    pub groups: List<'a, GroupSet<'a>>,
}

/// The sources of a group that are wanted, and those that are not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSet<'a> {
    /// The group.
    pub group: EncodedGroup,
    /// Whose traffic is wanted.
    pub joined: List<'a, EncodedSource>,
    /// Whose traffic is not wanted any more.
    pub pruned: List<'a, EncodedSource>,
}

impl<'a> JoinPrune<'a> {
    /// Reads what follows the header; `None` when it is cut off.
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
