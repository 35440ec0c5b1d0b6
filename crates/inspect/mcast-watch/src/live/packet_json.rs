//! The packets of `mcast sniff`, and their summary, as JSON.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mcast::InterfaceIndex;
use mcast_capture::{Frame, UnexaminedFrames};
use mcast_json::{PayloadRecord, record, rfc3339};
use mcast_packet::gmp::{self, Address, GmpMessage};
use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsValue};
use mcast_packet::{ChecksumStatus, Enclosing, Ip, Packet, Transport, Tunnel, Udp, protocol};
use mcast_stream_proto::dissect::StreamDatagram;
use serde::Serialize;

use super::RecognizedPayload;
use super::unexamined_json::UnexaminedRecord;
use crate::{PacketFlow, PacketTally, TrafficVolume};

record! {
    /// Creates the record of a packet, from its frame, with the packets around it, the payload that was recognized and
    /// the name of the interface.
    #[must_use]
    pub fn new(
        frame: &Frame<'_>,
        packet: &Packet<'a>,
        enclosing: Option<&Enclosing<'_>>,
        carried: Option<&'a RecognizedPayload<'a>>,
        interface: &'a str,
    ) {
        let (ip, udp) = (packet.ip_layer(), packet.udp());
        let hardware = packet.hardware_addresses();
    }

    /// A packet: `schemas/packet.json` of the crate `mcast-cli`.
    #[cfg_attr(
        feature = "schema",
        schemars(description = "One object per packet. For UDP, either `text` or `base64` is present.")
    )]
    pub struct PacketRecord<'a> {
        /// Capture time (RFC 3339, UTC, with nanoseconds), from the kernel or from the file
        time: String = rfc3339(frame.time),
        /// Name of the interface, or `#` and its index if it has no name
        interface: &'a str = interface,
        /// Whether this machine sent (`outgoing`) or received the packet, and then to what kind of address of the link; `unknown`
        /// if a file does not record it
        #[cfg_attr(feature = "schema", schemars(extend("enum" = mcast_capture::Direction::ALL.map(|(_, name)| name))))]
        direction: &'static str = frame.direction.name(),
        /// One-line summary of the packet
        summary: String =
            packet.summary_within(enclosing, carried.map(|carried| carried as &dyn fmt::Display)).to_string(),
        /// Tunnels and headers around the packet, outermost first: the protocol, the identifier if there is one, and the
        /// ends, such as `VXLAN 77 192.0.2.1 > 192.0.2.2`
        tunnels: Vec<String> = tunnels(enclosing),
        /// Length of the UDP payload in bytes; null for other protocols
        length: Option<usize> = udp.map(|udp| usize::from(udp.length).saturating_sub(Udp::HEADER_LENGTH)),
        /// Length of the frame in bytes
        frame_length: usize = frame.original_length,
        /// Number of captured bytes of the frame
        captured_length: usize = frame.bytes.len(),
        /// Ethernet source address; null without an Ethernet header
        ethernet_source: Option<String> = hardware.map(|(_, source)| source.to_string()),
        /// Ethernet destination address; null without an Ethernet header
        ethernet_destination: Option<String> = hardware.map(|(destination, _)| destination.to_string()),
        /// VLAN IDs from the tags, outermost first
        vlans: Vec<u16> = packet.vlans().map(|vlan| vlan.id).collect(),
        /// IP source address; null without an IP header
        source: Option<IpAddr> = ip.map(|ip| ip.source),
        /// UDP source port; null for other protocols and for later fragments
        source_port: Option<u16> = udp.map(|udp| udp.source_port),
        /// Destination group; null if the packet was not sent to a group, as is the case for some PIM messages
        group: Option<IpAddr> = ip.map(|ip| ip.destination).filter(IpAddr::is_multicast),
        /// IP destination address; null without an IP header
        destination: Option<IpAddr> = ip.map(|ip| ip.destination),
        /// UDP destination port; null for other protocols and for later fragments
        port: Option<u16> = udp.map(|udp| udp.destination_port),
        /// Hop limit (IPv4: TTL); null without an IP header
        ttl: Option<u8> = ip.map(|ip| ip.hop_limit),
        /// Differentiated services code point, 0 to 63; null without an IP header
        dscp: Option<u8> = ip.map(|ip| ip.dscp),
        /// Protocol in the IP packet: `udp`, `tcp`, `igmp`, `mld`, `pim`, `icmp`, `icmpv6`, or the number of
        /// another protocol; null without an IP header
        protocol: Option<String> = ip.map(|ip| protocol_of(ip, packet)),
        /// Status of the transport checksum: `not-computed` if it is left to the device, `not-computable` if some of the
        /// covered bytes are missing; null for protocols other than UDP, IGMP, MLD and PIM
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ChecksumStatus::NAMES)))]
        checksum: Option<&'static str> = packet.checksum().map(ChecksumStatus::name),
        /// Position in a fragmented datagram; null if the datagram is not fragmented
        fragment: Option<Fragment> = ip.and_then(|ip| ip.fragment).map(Fragment::new),
        /// Layer at which decoding failed, and why; null if the packet was decoded completely
        malformed: Option<String> = packet.malformed.as_ref().map(ToString::to_string),
        /// IGMP, MLD or PIM message; null for other packets
        control: Option<Control> = Control::of(packet),
        /// Format of the payload: RTP, MPEG-TS, MoldUDP64, PTP, mDNS, SSDP, the name of another protocol such as
        /// LLMNR or RTPS, mcast stream, mcast perf, mcast ping or mcast doctor; null if it is not recognized
        payload_format: Option<&'static str> = carried.map(RecognizedPayload::name),
        /// Sequence number in the payload; null if there is none
        sequence: Option<u64> = carried.and_then(RecognizedPayload::sequence),
        /// Datagram of `mcast publish` or one of its subscribers (docs/protocol.md); null for other packets.
        /// Without `--key`, only the header of a sealed datagram is shown.
        stream: Option<&'a StreamDatagram<'a>> = carried.and_then(RecognizedPayload::stream),
        /// Multicast DNS (mDNS) message; null for other packets
        dns: Option<DnsObject> = carried.and_then(RecognizedPayload::dns).map(DnsObject::new),
        #[serde(flatten)]
        payload: Option<PayloadRecord<'a>> = udp.map(|udp| PayloadRecord::new(udp.payload)),
    }
}

/// Frames of one protocol
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct LinkProtocol {
    /// Name of the protocol, or `other`
    name: &'static str,
    /// Number of frames
    frames: u64,
}

record! {
    fn new(fragment: mcast_packet::Fragment) {}

    /// The position in a fragmented datagram.
    struct Fragment {
        /// Identification that all fragments of the datagram share
        id: u32 = fragment.identification,
        /// Offset of the fragment in the datagram, in bytes
        offset: usize = fragment.offset,
        /// Whether more fragments follow
        more: bool = fragment.more,
    }
}

/// An IGMP, MLD or PIM message.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Control {
    /// Protocol, version and type of the message
    message: String,
    /// Protocol version; null for router discovery, which has none
    version: Option<u8>,
    /// Content of the message, as text
    text: String,
    /// Group of a query, report or leave; null for all groups and for messages with records
    group: Option<IpAddr>,
    /// Query: maximum response time, in seconds; null for other messages
    max_response_seconds: Option<f64>,
    /// IGMPv3 or MLDv2 query: query interval that the querier announces, in seconds; null for other messages
    interval_seconds: Option<f64>,
    /// IGMPv3 or MLDv2 query: robustness variable; null for other messages
    robustness: Option<u8>,
    /// IGMPv3 or MLDv2 report: group records; empty for other messages
    records: Vec<GroupRecord>,
}

record! {
    fn new(kind: gmp::RecordKind, group: IpAddr, sources: Vec<IpAddr>) {}

    /// Group record
    struct GroupRecord {
        /// Record type (RFC 3376, section 4.2.12): a state or a change of state
        #[cfg_attr(feature = "schema", schemars(extend("enum" = gmp::RecordKind::NAMES)))]
        kind: &'static str = kind.name(),
        /// Group
        group: IpAddr = group,
        /// Sources in the record
        sources: Vec<IpAddr> = sources,
    }
}

/// Returns the tunnels around a packet, outermost first.
fn tunnels(enclosing: Option<&Enclosing<'_>>) -> Vec<String> {
    let mut tunnels: Vec<_> = std::iter::successors(enclosing, |enclosing| enclosing.outer)
        .map(|enclosing| Tunnel::of(enclosing.packet, enclosing.encapsulation, None).to_string())
        .collect();
    tunnels.reverse();
    tunnels
}

/// Returns the name of the protocol. MLD is part of ICMPv6 and has no number of its own.
fn protocol_of(ip: &Ip<'_>, packet: &Packet<'_>) -> String {
    match packet.transport {
        Some(Transport::Mld(_)) => "mld".into(),
        _ => protocol_name(ip.protocol),
    }
}

/// Returns the name of a protocol in lowercase, or its number if it has no name here.
fn protocol_name(number: u8) -> String {
    protocol::name(number).map_or_else(|| number.to_string(), str::to_ascii_lowercase)
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
                let sources = |record: &gmp::Record<'_, A>| record.sources.iter().map(Into::into).collect();
                let record =
                    |it: gmp::Record<'_, A>| GroupRecord::new(it.kind, it.group.into(), sources(&it));
                Self { records: records.iter().map(record).collect(), ..plain }
            }
            GmpMessage::RouterDiscovery(_) => plain,
        }
    }
}

record! {
    /// Creates the record of the packets counted in this time, and of the frames that were not looked into. `dropped` is the number of packets that this machine
    /// dropped, if it is known; `name` returns the name of an interface.
    #[must_use]
    pub fn new(
        tally: &PacketTally,
        frames: &UnexaminedFrames,
        time: Duration,
        dropped: Option<u64>,
        name: impl Fn(InterfaceIndex) -> String,
    ) {
        let (all, counts) = (tally.flows().total(), tally.counts());
        let flows = tally.flows().busiest_first().into_iter();
    }

    /// The summary of packets: `schemas/sniff-summary.json` of the crate `mcast-cli`.
    #[cfg_attr(
        feature = "schema",
        schemars(description = "One object at the end.")
    )]
    pub struct PacketSummaryRecord {
        /// Packets captured that match the selection
        packets: u64 = all.count,
        /// Bytes in their frames
        bytes: u64 = all.bytes,
        /// Running time, in seconds; for a file, the time from its first to its last packet
        seconds: f64 = time.as_secs_f64(),
        /// Packets that this machine dropped because the capture buffer was full (lower bound); null if unknown, as
        /// for most files
        dropped: Option<u64> = dropped,
        /// IGMP messages
        igmp: u64 = counts.igmp,
        /// MLD messages
        mld: u64 = counts.mld,
        /// PIM messages
        pim: u64 = counts.pim,
        /// Packets with a wrong checksum
        bad_checksums: u64 = counts.bad_checksums,
        /// Packets that could not be decoded completely
        malformed: u64 = counts.malformed,
        /// Broadcast frames, not included in `packets`
        broadcast: u64 = counts.broadcast,
        /// Frames to Ethernet-only groups, such as spanning tree, not included in `packets`
        link_multicast: u64 = counts.link_multicast,
        /// Frames to Ethernet-only groups, by protocol
        link_protocols: Vec<LinkProtocol> =
            tally.link_protocols().into_iter().map(|(name, frames)| LinkProtocol { name, frames }).collect(),
        /// Datagrams in fragments, all of which came
        reassembled: u64 = counts.reassembled,
        /// Datagrams of which fragments are missing
        incomplete: u64 = counts.incomplete,
        /// Frames that carry packets which were not decoded, such as encrypted ones
        unexamined: u64 = frames.total(),
        /// These frames, by what is around the packets and why they were not decoded
        unexamined_by_reason: Vec<UnexaminedRecord> = UnexaminedRecord::list(frames),
        /// Packets by destination, port, protocol, interface and source, busiest first
        flows: Vec<FlowSummary> =
            flows.map(|(flow, volume)| FlowSummary::new(&flow, volume, name(flow.interface))).collect(),
        /// Packets of flows that are not listed
        other_packets: u64 = tally.flows().others().count,
    }
}

#[cfg(feature = "schema")]
impl PacketRecord<'_> {
    /// Returns its schema. Needs the feature `schema`.
    #[must_use]
    pub fn schema() -> mcast_json::RecordSchema {
        let dns = ["answers", "authorities", "additional"];
        let schema = mcast_json::RecordSchema::new::<Self>("packet", "Packet (`mcast sniff --json`)")
            .event("packet")
            .describe("vlans[]", "VLAN ID")
            .describe("tunnels[]", "Tunnel or header")
            .describe("text", "UDP payload, if it is valid UTF-8")
            .describe("base64", "UDP payload in base64 (RFC 4648, section 4), if it is not valid UTF-8")
            .describe("control.records[].sources[]", "Source address")
            .describe("stream.repairers[]", "Address and port")
            .describe(
                "stream.announcement.paths[]",
                "`GROUP:PORT`, or `SOURCE@GROUP:PORT` if a source is announced",
            )
            .describe(
                "stream.manifest.digests[]",
                "First 16 bytes of the SHA-256 hash of the datagram, in hexadecimal",
            )
            .describe(
                "stream.status.flags[]",
                "Flag: joining, leaving, passive, ended, catching up, delivered or repairs for others",
            );
        dns.into_iter().fold(schema, |schema, section| {
            schema.describe(&format!("dns.{section}[].texts[]"), "String; invalid UTF-8 is replaced")
        })
    }
}

#[cfg(feature = "schema")]
impl PacketSummaryRecord {
    /// Returns its schema. Needs the feature `schema`.
    #[must_use]
    pub fn schema() -> mcast_json::RecordSchema {
        mcast_json::RecordSchema::new::<Self>("sniff-summary", "Summary (`mcast sniff --discard --json`)")
            .event("summary")
    }
}

record! {
    fn new(flow: &PacketFlow, volume: TrafficVolume, interface: String) {}

    /// Flow
    struct FlowSummary {
        /// Destination address
        group: IpAddr = flow.destination,
        /// UDP destination port; null if there is none
        port: Option<u16> = flow.port,
        /// Protocol in the IP packet: `udp`, `tcp`, `igmp`, `pim`, `icmp`, `icmpv6`, or the number of another
        /// protocol
        protocol: String = protocol_name(flow.protocol),
        /// Name of the interface
        interface: String = interface,
        /// Source address
        source: IpAddr = flow.source,
        /// Packets captured
        packets: u64 = volume.count,
        /// Bytes in their frames
        bytes: u64 = volume.bytes,
    }
}

record! {
    fn new(dns: &Dns<'_>) {
        let of = |wanted| {
            let records = dns.records().filter(move |(section, _)| *section == wanted);
            records.map(|(_, record)| Record::new(record)).collect()
        };
    }

    /// A message of multicast DNS (mDNS).
    struct DnsObject {
        /// Whether the message is a response; otherwise it is a query
        response: bool = dns.is_response,
        /// Questions
        questions: Vec<Question> = dns.questions().map(Question::new).collect(),
        /// Answer section; in a query, the answers already known to the host that sent it
        answers: Vec<Record> = of(DnsSection::Answer),
        /// Authority section; in a query, the records that the host intends to claim
        authorities: Vec<Record> = of(DnsSection::Authority),
        /// Additional section: records likely to be requested next
        additional: Vec<Record> = of(DnsSection::Additional),
    }
}

record! {
    fn new(question: DnsQuestion<'_>) {}

    /// Question
    struct Question {
        /// Requested name
        name: String = question.name.to_string(),
        /// Requested record type, or ANY
        r#type: String = DnsKind(question.kind).to_string(),
        /// Whether the response may be sent by unicast
        unicast_response: bool = question.unicast_response,
    }
}

record! {
    fn new(record: DnsRecord<'_>) {}

    /// Resource record
    struct Record {
        /// Name of the record
        name: String = record.name.to_string(),
        /// Record type: A, AAAA, PTR, SRV, TXT, …
        r#type: String = DnsKind(record.kind).to_string(),
        /// Time to live, in seconds; 0 withdraws the record
        ttl_seconds: u32 = record.time_to_live,
        /// Whether receivers discard older records of the same name and type
        cache_flush: bool = record.cache_flush,
        #[serde(flatten)]
        value: Value = Value::from(record.value()),
    }
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Value {
    Address {
        /// A, AAAA: address
        address: IpAddr,
    },
    Name {
        /// PTR, CNAME: target name; SRV: target host
        target: String,
    },
    Service {
        target: String,
        /// SRV: port
        port: u16,
    },
    Texts {
        /// TXT: strings, mostly `key=value`
        texts: Vec<String>,
    },
    Other {
        /// Other types: record data in base64
        base64: String,
    },
}

impl From<DnsValue<'_>> for Value {
    fn from(value: DnsValue<'_>) -> Self {
        match value {
            DnsValue::Address(address) => Self::Address { address },
            DnsValue::Name(name) => Self::Name { target: name.to_string() },
            DnsValue::Service { target, port } => Self::Service { target: target.to_string(), port },
            DnsValue::Texts(texts) => {
                Self::Texts { texts: texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect() }
            }
            DnsValue::Other(bytes) => Self::Other { base64: mcast_json::base64(bytes) },
            _ => Self::Other { base64: String::new() },
        }
    }
}
