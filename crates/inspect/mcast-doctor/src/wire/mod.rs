//! What was captured on the wire, by interface: flows, and the messages between hosts, queriers and routers.

mod flow;
mod loss_pattern;
mod recorder;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Family, InterfaceIndex};
use mcast_packet::gmp::{Address, GmpMessage, RecordKind};

use crate::snapshot::Link;
#[cfg(test)]
pub(crate) use flow::DatagramSummary;
pub(crate) use flow::{Defect, Flow, FlowKey, Gap, Tagging};
pub(crate) use loss_pattern::LossPattern;
pub(crate) use recorder::{FragmentedDatagram, Recorder, UnicastFlow, UnicastRecorder};

/// What was captured on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// The interfaces that were tapped, or could not be.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    /// IGMP, MLD and PIM messages.
    pub(crate) control: Vec<ControlPacket>,
    /// Datagrams to groups that arrived in fragments.
    pub(crate) fragmented: Vec<FragmentedDatagram>,
    /// The time of the first and the last observation.
    pub(crate) span: Option<(SystemTime, SystemTime)>,
    /// How many packets to groups the IP layer accepted in that span, where the system counts them.
    pub(crate) accepted: BTreeMap<Family, u64>,
    /// How many frames each interface had refused at the beginning and at the end of that span.
    pub(crate) refused: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// How many frames of other protocols than IP and ARP arrived, which an interface refuses if nothing takes them; where
    /// all were counted.
    pub(crate) other_protocols: BTreeMap<InterfaceIndex, u64>,
    /// Captured frames that were not recorded, because they were of too many flows, datagrams or messages.
    pub(crate) unrecorded: u64,
    /// Frames of a file whose link layer cannot be decoded.
    pub(crate) undecodable: u64,
    /// What was captured on the ports of tapped bridges and bonds.
    pub(crate) ports: PortTraffic,
    /// All frames that arrived behind the XDP program of an interface that has one, and their bytes.
    pub(crate) unfiltered: BTreeMap<InterfaceIndex, (u64, u64)>,
    /// Datagrams from and to the examined ports that were not sent to a group.
    pub(crate) unicast: Vec<UnicastFlow>,
    /// Messages of IGMP and MLD that arrived and are ignored, and how many.
    pub(crate) damaged_control: BTreeMap<DamagedControl, u64>,
}

/// What was captured on the ports of bridges and bonds, before it reaches the bridge or after it has left it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortTraffic {
    /// The ports that were tapped.
    pub(crate) taps: Vec<Tap>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) control: Vec<ControlPacket>,
}

/// A packet tap on an interface, or the failure to open one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) interface: InterfaceIndex,
    pub(crate) name: String,
    /// Why it could not be tapped.
    pub(crate) refused: Option<Refusal>,
    /// Frames that the tap dropped.
    pub(crate) dropped: u64,
}

/// Why an interface could not be tapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// Whether a privilege is missing.
    pub(crate) needs_rights: bool,
}

impl Tap {
    /// Returns a tap that has captured everything so far.
    pub(crate) fn on(link: &Link) -> Self {
        Self { interface: link.index(), name: link.name().to_owned(), refused: None, dropped: 0 }
    }
}

impl Refusal {
    pub(crate) fn new(error: &mcast_capture::Error) -> Self {
        let needs_rights = error.kind() == mcast_capture::ErrorKind::Permission;
        Self { why: error.to_string(), needs_rights }
    }
}

#[cfg(test)]
impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), needs_rights: true }
    }
}

impl Wire {
    /// Returns whether there was a tap on an interface.
    pub(crate) fn is_tapped(&self, interface: InterfaceIndex) -> bool {
        self.taps.iter().any(|tap| tap.interface == interface && tap.refused.is_none())
    }

    /// Returns whether an interface was tapped and every frame was recorded. Only then is silence conclusive.
    pub(crate) fn is_complete(&self, interface: InterfaceIndex) -> bool {
        self.is_tapped(interface) && self.unrecorded == 0 && self.taps.iter().all(|tap| tap.dropped == 0)
    }

    /// Returns why an interface was not tapped.
    pub(crate) fn refusal(&self, interface: InterfaceIndex) -> Option<&Refusal> {
        self.taps.iter().find(|tap| tap.interface == interface)?.refused.as_ref()
    }

    pub(crate) fn duration(&self) -> Duration {
        let length = self.span.and_then(|(from, until)| until.duration_since(from).ok());
        length.unwrap_or_default()
    }

    /// Returns the flows to a group that arrived.
    pub(crate) fn incoming(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| !flow.key.outgoing && flow.key.group == group)
    }

    /// Returns the flows to a group that this machine sent.
    pub(crate) fn outgoing(&self, group: IpAddr) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.key.outgoing && flow.key.group == group)
    }

    /// Returns the queries of one family that were received or sent on an interface.
    pub(crate) fn queries(
        &self,
        interface: InterfaceIndex,
        v4: bool,
    ) -> impl Iterator<Item = &ControlPacket> {
        self.control.iter().filter(move |packet| {
            packet.interface == interface
                && packet.source.is_ipv4() == v4
                && matches!(packet.message, ControlMessage::Query { .. })
        })
    }
}

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
    fn groups(&self) -> usize {
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
