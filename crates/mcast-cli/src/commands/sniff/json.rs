//! Packets and the summary as JSON: `schemas/packet.json`, `schemas/sniff-summary.json`.

use std::borrow::Cow;
use std::net::IpAddr;

use mcast::InterfaceIndex;
use mcast_capture::{Direction, Frame};
use mcast_packet::gmp::{self, Address, GmpMessage, RecordKind};
use mcast_packet::{ChecksumStatus, Ip, Packet, Transport, Udp};
use mcast_stream::dissect::StreamDatagram;
use mcast_watch::PacketTally;
use mcast_watch::live::RecognizedPayload;
use serde::Serialize;

use super::dns::DnsObject;
use super::text::Ending;
use crate::output::{Payload, protocol_name, rfc3339};

#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    time: String,
    interface: &'a str,
    direction: Option<&'static str>,
    summary: String,
    /// The length of the UDP payload.
    length: Option<usize>,
    frame_length: usize,
    captured_length: usize,
    ethernet_source: Option<String>,
    ethernet_destination: Option<String>,
    vlans: Vec<u16>,
    source: Option<IpAddr>,
    source_port: Option<u16>,
    group: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<u16>,
    ttl: Option<u8>,
    dscp: Option<u8>,
    protocol: Option<Cow<'static, str>>,
    checksum: Option<&'static str>,
    fragment: Option<Fragment>,
    malformed: Option<String>,
    control: Option<Control>,
    payload_format: Option<&'static str>,
    sequence: Option<u64>,
    stream: Option<&'a StreamDatagram<'a>>,
    dns: Option<DnsObject>,
    #[serde(flatten)]
    payload: Option<Payload<'a>>,
}

#[derive(Debug, Serialize)]
struct Fragment {
    id: u32,
    offset: usize,
    more: bool,
}

#[derive(Debug, Default, Serialize)]
struct Control {
    message: String,
    version: Option<u8>,
    text: String,
    group: Option<IpAddr>,
    max_response_seconds: Option<f64>,
    interval_seconds: Option<f64>,
    robustness: Option<u8>,
    records: Vec<GroupRecord>,
}

#[derive(Debug, Serialize)]
struct GroupRecord {
    kind: &'static str,
    group: IpAddr,
    sources: Vec<IpAddr>,
}

impl<'a> Record<'a> {
    pub(super) fn new(
        frame: &Frame<'_>,
        packet: &Packet<'a>,
        carried: Option<&'a RecognizedPayload<'a>>,
        interface: &'a str,
    ) -> Self {
        let (ip, udp) = (packet.ip_layer(), packet.udp());
        let ethernet = packet.ethernet.as_ref();
        Self {
            time: rfc3339(frame.time),
            interface,
            direction: direction_name(frame.direction),
            summary: match carried {
                Some(carried) => packet.summary_with(carried).to_string(),
                None => packet.to_string(),
            },
            length: udp.map(|udp| usize::from(udp.length).saturating_sub(Udp::HEADER_LENGTH)),
            frame_length: frame.original_length,
            captured_length: frame.bytes.len(),
            ethernet_source: ethernet.map(|ethernet| ethernet.source.to_string()),
            ethernet_destination: ethernet.map(|ethernet| ethernet.destination.to_string()),
            vlans: packet.vlans().map(|vlan| vlan.id).collect(),
            source: ip.map(|ip| ip.source),
            source_port: udp.map(|udp| udp.source_port),
            group: ip.map(|ip| ip.destination).filter(IpAddr::is_multicast),
            destination: ip.map(|ip| ip.destination),
            port: udp.map(|udp| udp.destination_port),
            ttl: ip.map(|ip| ip.hop_limit),
            dscp: ip.map(|ip| ip.dscp),
            protocol: ip.map(|ip| protocol(ip, packet)),
            checksum: packet.checksum().map(checksum_name),
            fragment: ip.and_then(|ip| ip.fragment).map(Fragment::from),
            malformed: packet.malformed.as_ref().map(ToString::to_string),
            control: Control::of(packet),
            payload_format: carried.map(RecognizedPayload::name),
            sequence: carried.and_then(RecognizedPayload::sequence),
            stream: carried.and_then(RecognizedPayload::stream),
            dns: carried.and_then(RecognizedPayload::dns).map(DnsObject::new),
            payload: udp.map(|udp| Payload::new(udp.payload)),
        }
    }
}

/// Returns `out` for packets that this machine sent, otherwise `in`; `None` if it is unknown.
pub(super) const fn direction_name(direction: Direction) -> Option<&'static str> {
    match direction {
        Direction::Unknown => None,
        Direction::Outgoing => Some("out"),
        _ => Some("in"),
    }
}

const fn checksum_name(status: ChecksumStatus) -> &'static str {
    match status {
        ChecksumStatus::Valid => "good",
        ChecksumStatus::Invalid { .. } => "bad",
        ChecksumStatus::Absent => "absent",
        ChecksumStatus::NotComputed => "left to the device",
        ChecksumStatus::NotComputable => "unknown",
    }
}

/// Returns the name of the protocol. MLD is part of ICMPv6 and has no number of its own.
fn protocol(ip: &Ip<'_>, packet: &Packet<'_>) -> Cow<'static, str> {
    match packet.transport {
        Some(Transport::Mld(_)) => Cow::Borrowed("mld"),
        _ => protocol_name(ip.protocol),
    }
}

impl From<mcast_packet::Fragment> for Fragment {
    fn from(fragment: mcast_packet::Fragment) -> Self {
        Self { id: fragment.identification, offset: fragment.offset, more: fragment.more }
    }
}

impl Control {
    fn of(packet: &Packet<'_>) -> Option<Self> {
        Some(match &packet.transport {
            Some(Transport::Igmp(control)) => Self::of_message(&control.message),
            Some(Transport::Mld(control)) => Self::of_message(&control.message),
            Some(Transport::Pim(pim)) => Self {
                message: pim.message.title().to_owned(),
                version: Some(2),
                text: pim.message.content().to_string(),
                ..Self::default()
            },
            _ => return None,
        })
    }

    fn of_message<A: Address>(message: &GmpMessage<'_, A>) -> Self {
        let plain = Self {
            message: message.title().to_string(),
            version: Some(message.version()).filter(|version| *version > 0),
            text: message.content().to_string(),
            ..Self::default()
        };
        match message {
            GmpMessage::Query(query) => Self {
                group: query.group.map(Into::into),
                max_response_seconds: Some(query.max_response_time.as_secs_f64()),
                interval_seconds: query.source_query.map(|extension| extension.interval.as_secs_f64()),
                robustness: query.source_query.map(|extension| extension.robustness),
                ..plain
            },
            GmpMessage::V1Report { group } | GmpMessage::Report { group } | GmpMessage::Leave { group } => {
                Self { group: Some((*group).into()), ..plain }
            }
            GmpMessage::V3Report(records) => {
                Self { records: records.iter().map(GroupRecord::new).collect(), ..plain }
            }
            GmpMessage::RouterDiscovery(_) => plain,
        }
    }
}

impl GroupRecord {
    fn new<A: Address>(record: gmp::Record<'_, A>) -> Self {
        Self {
            kind: match record.kind {
                RecordKind::ModeIsInclude => "is include",
                RecordKind::ModeIsExclude => "is exclude",
                RecordKind::ChangeToInclude => "to include",
                RecordKind::ChangeToExclude => "to exclude",
                RecordKind::AllowNewSources => "allow",
                RecordKind::BlockOldSources => "block",
                RecordKind::Unknown(_) => "unknown",
            },
            group: record.group.into(),
            sources: record.sources.iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    packets: u64,
    bytes: u64,
    seconds: f64,
    dropped: Option<u64>,
    igmp: u64,
    mld: u64,
    pim: u64,
    bad_checksums: u64,
    malformed: u64,
    broadcast: u64,
    link_multicast: u64,
    flows: Vec<FlowSummary>,
    other_packets: u64,
}

#[derive(Debug, Serialize)]
struct FlowSummary {
    group: IpAddr,
    port: Option<u16>,
    protocol: Cow<'static, str>,
    interface: String,
    source: IpAddr,
    packets: u64,
    bytes: u64,
}

impl Summary {
    pub(super) fn new(tally: &PacketTally, ending: Ending, name: impl Fn(InterfaceIndex) -> String) -> Self {
        let (all, counts) = (tally.flows().total(), tally.counts());
        let flows = tally.flows().busiest_first().into_iter().map(|(flow, volume)| FlowSummary {
            group: flow.destination,
            port: flow.port,
            protocol: protocol_name(flow.protocol),
            interface: name(flow.interface),
            source: flow.source,
            packets: volume.count,
            bytes: volume.bytes,
        });
        Self {
            packets: all.count,
            bytes: all.bytes,
            seconds: ending.time.as_secs_f64(),
            dropped: ending.lost,
            igmp: counts.igmp,
            mld: counts.mld,
            pim: counts.pim,
            bad_checksums: counts.bad_checksums,
            malformed: counts.malformed,
            broadcast: counts.broadcast,
            link_multicast: counts.link_multicast,
            flows: flows.collect(),
            other_packets: tally.flows().others().count,
        }
    }
}
