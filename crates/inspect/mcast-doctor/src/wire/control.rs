//! Messages between hosts, queriers and routers.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_packet::gmp::{Address, GmpMessage, RecordKind};

use super::Tagging;

/// The response time of IGMPv1, whose queries do not contain it (RFC 2236 section 4).
const V1_RESPONSE_TIME: Duration = Duration::from_secs(10);

/// A captured IGMP, MLD or PIM message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlPacket {
    pub(crate) time: SystemTime,
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
    pub(crate) message: ControlMessage,
    /// The VLAN tags of the frame.
    pub(crate) vlan: Option<Tagging>,
}

/// Messages of IGMP or MLD from one source that routers, switches and hosts ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DamagedControl {
    pub(crate) interface: InterfaceIndex,
    pub(crate) source: IpAddr,
    pub(crate) defect: ControlDefect,
}

/// Why a message of IGMP or MLD is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ControlDefect {
    /// Its checksum is wrong.
    Checksum,
    /// Its hop limit is not 1: it may come from another network.
    HopLimit(u8),
}

/// The part of a control message that the causes need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlMessage {
    /// A general query, or a query for one group. Hosts may delay their response by up to `response_time`.
    Query { version: u8, group: Option<IpAddr>, interval: Option<Duration>, response_time: Duration },
    /// A report or leave: the groups that are joined, those that are left, and the only sources of joined groups that are
    /// admitted.
    Report { version: u8, joined: Vec<IpAddr>, left: Vec<IpAddr>, sources: Vec<(IpAddr, IpAddr)> },
    /// PIM.
    Pim,
}

impl ControlMessage {
    /// Returns whether it reports a member of a group.
    pub(crate) fn joins(&self, group: IpAddr) -> bool {
        matches!(self, Self::Report { joined, .. } if joined.contains(&group))
    }

    /// Returns whether it reports a member of a group that admits a source.
    pub(crate) fn joins_from(&self, group: IpAddr, source: IpAddr) -> bool {
        let Self::Report { sources, .. } = self else { return false };
        let mut admitted = sources.iter().filter(|(of, _)| *of == group).peekable();
        self.joins(group) && (admitted.peek().is_none() || admitted.any(|(_, admitted)| *admitted == source))
    }

    /// Returns whether it reports that a host has left a group.
    pub(crate) fn leaves(&self, group: IpAddr) -> bool {
        matches!(self, Self::Report { left, .. } if left.contains(&group))
    }

    /// Returns the number of groups and sources that it lists.
    pub(super) fn groups(&self) -> usize {
        match self {
            Self::Report { joined, left, sources, .. } => joined.len() + left.len() + sources.len(),
            Self::Query { .. } | Self::Pim => 0,
        }
    }

    /// Returns what the causes need of an IGMP or MLD message; `None` if that is nothing.
    pub(crate) fn of<A: Address + Into<IpAddr>>(message: &GmpMessage<'_, A>) -> Option<Self> {
        let version = message.version();
        let report = |joined, left| Some(Self::Report { version, joined, left, sources: Vec::new() });
        match message {
            GmpMessage::Query(query) => Some(Self::Query {
                version,
                group: query.group.map(Into::into),
                interval: query.source_query.map(|source| source.interval),
                response_time: match version {
                    1 if query.max_response_time.is_zero() => V1_RESPONSE_TIME,
                    _ => query.max_response_time,
                },
            }),
            GmpMessage::V1Report { group } | GmpMessage::Report { group } => {
                report(vec![(*group).into()], Vec::new())
            }
            GmpMessage::Leave { group } => report(Vec::new(), vec![(*group).into()]),
            GmpMessage::V3Report(records) => {
                let (mut joined, mut left, mut sources) = (Vec::new(), Vec::new(), Vec::new());
                for record in records.iter() {
                    let none = record.sources.is_empty();
                    let group: IpAddr = record.group.into();
                    if matches!(
                        record.kind,
                        RecordKind::ChangeToInclude | RecordKind::ModeIsInclude | RecordKind::AllowNewSources
                    ) {
                        sources.extend(record.sources.iter().map(|source| (group, source.into())));
                    }
                    let list = match record.kind {
                        RecordKind::ChangeToInclude | RecordKind::ModeIsInclude if none => &mut left,
                        RecordKind::BlockOldSources => &mut left,
                        _ => &mut joined,
                    };
                    list.push(group);
                }
                Some(Self::Report { version, joined, left, sources })
            }
            GmpMessage::RouterDiscovery(_) => None,
        }
    }
}
