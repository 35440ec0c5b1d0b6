//! The packets inside of tunnels, and how they are written. All that arrive come from the network, so everything is checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast_group::{Family, Group, GroupAddr, SourceFilter};
use mcast_packet::gmp::{Address, GmpMessage, Record, RecordKind};
use mcast_packet::payload::AmtMessage;
use mcast_packet::{ChecksumStatus, ControlPacket, EmitError, Packet, Transport, UdpPacket};

/// A datagram of a group that arrived in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelledDatagram<'a> {
    /// The source.
    pub source: SocketAddr,
    /// The group and port.
    pub group: GroupAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why a packet inside of a tunnel is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPacket {
    /// It is not a complete IP packet.
    Malformed,
    /// It is a fragment. These are not reassembled.
    Fragment,
    /// A checksum is wrong or missing.
    Checksum,
    /// It is not UDP.
    NotUdp,
    /// Its destination is not a group, or its source cannot be a host.
    Address,
}

impl<'a> TunnelledDatagram<'a> {
    /// Reads the IP packet of a multicast data message.
    ///
    /// # Errors
    /// Returns [`InvalidPacket`] if it is not a whole UDP datagram from a host to a group.
    pub fn parse(packet: &'a [u8]) -> Result<Self, InvalidPacket> {
        let packet = Packet::ip(packet);
        let ip = packet.ip_layer().ok_or(InvalidPacket::Malformed)?;
        if ip.fragment.is_some() {
            return Err(InvalidPacket::Fragment);
        }
        if packet.malformed.is_some() || ip.truncated {
            return Err(InvalidPacket::Malformed);
        }
        let udp = packet.udp().ok_or(InvalidPacket::NotUdp)?;
        let stated = usize::from(udp.length);
        if stated != udp.payload.len() + mcast_packet::Udp::HEADER_LENGTH {
            return Err(InvalidPacket::Malformed);
        }
        // RFC 768: over IPv4, a datagram may have no checksum.
        let may_lack_checksum = ip.source.is_ipv4() && udp.checksum == ChecksumStatus::Absent;
        let is_intact = udp.checksum == ChecksumStatus::Valid || may_lack_checksum;
        if !is_intact || ip.header_checksum.is_invalid() {
            return Err(InvalidPacket::Checksum);
        }
        let group = Group::new(ip.destination).map_err(|_| InvalidPacket::Address)?;
        if !is_host(ip.source) || udp.destination_port == 0 {
            return Err(InvalidPacket::Address);
        }
        Ok(Self {
            source: SocketAddr::new(ip.source, udp.source_port),
            group: GroupAddr::new(group, udp.destination_port),
            hop_limit: ip.hop_limit,
            traffic_class: ip.dscp << 2 | ip.ecn,
            payload: udp.payload,
        })
    }
}

/// Returns whether the address can be that of a host.
pub(super) fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_multicast() && !address.is_unspecified() && !is_broadcast
}

/// Returns the query interval of a general query of IGMPv3 or MLDv2, with `None` in it if the query does not state it.
pub(super) fn general_query(packet: &[u8], family: Family) -> Option<Option<Duration>> {
    fn interval<A: Address>(message: &GmpMessage<'_, A>) -> Option<Option<Duration>> {
        match message {
            GmpMessage::Query(query) if query.group.is_none() && query.source_query.is_some() => {
                Some(query.interval())
            }
            _ => None,
        }
    }
    let packet = Packet::ip(packet);
    if packet.malformed.is_some() {
        return None;
    }
    match (family, packet.transport?) {
        (Family::V4, Transport::Igmp(control)) if control.checksum == ChecksumStatus::Valid => {
            interval(&control.message)
        }
        (Family::V6, Transport::Mld(control)) if control.checksum == ChecksumStatus::Valid => {
            interval(&control.message)
        }
        _ => None,
    }
}

/// The longest header of IP with that of UDP.
const HEADERS: usize = 48;

/// Returns a message as bytes.
pub(super) fn bytes(message: &AmtMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 64 + message.packet().map_or(0, <[u8]>::len)];
    // Every message fits in the buffer.
    let length = message.emit(&mut buffer).unwrap_or(0);
    buffer.truncate(length);
    buffer
}

/// Returns a datagram as a multicast data message.
///
/// # Errors
/// Returns an error if the datagram is too long for an IP packet, or the addresses are of different families.
pub fn encapsulate(
    source: SocketAddr,
    destination: SocketAddr,
    hop_limit: u8,
    payload: &[u8],
) -> Result<Vec<u8>, EmitError> {
    let mut buffer = vec![0; AmtMessage::DATA_HEADER_LENGTH + HEADERS + payload.len()];
    let start = AmtMessage::MulticastData { packet: &[] }.emit(&mut buffer)?;
    let packet = UdpPacket { source, destination, hop_limit, traffic_class: 0, payload };
    let length = packet.emit(buffer.get_mut(start..).unwrap_or_default())?;
    buffer.truncate(start + length);
    Ok(buffer)
}

/// The maximum length of the records of a report, so that the datagram around it is not fragmented.
const MAX_RECORDS: usize = 1_000;
/// The maximum number of sources of a record. Of longer lists of excluded sources, the rest is admitted by the relay and
/// dropped by the gateway.
const MAX_SOURCES: usize = 48;
/// The source of reports of MLD, which has to be link-local (RFC 3810 section 5.2.13).
const MLD_SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// Whether a report is the answer to a query, or reports a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportKind {
    CurrentState,
    Change,
}

/// Returns the packets that report these memberships, which are of one family.
pub(super) fn report_packets(
    family: Family,
    kind: ReportKind,
    memberships: &[(Group, SourceFilter)],
) -> Vec<Vec<u8>> {
    match family {
        Family::V4 => packets(Ipv4Addr::UNSPECIFIED, kind, memberships, |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        Family::V6 => packets(MLD_SOURCE, kind, memberships, |address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }),
    }
}

fn packets<A: Address>(
    source: A,
    kind: ReportKind,
    memberships: &[(Group, SourceFilter)],
    of_family: impl Fn(IpAddr) -> Option<A>,
) -> Vec<Vec<u8>> {
    let mut records: Vec<(RecordKind, A, Vec<A>)> = Vec::new();
    for (group, filter) in memberships {
        let Some(group) = of_family(group.addr()) else { continue };
        let sources: Vec<A> = filter.sources().filter_map(&of_family).collect();
        match filter {
            SourceFilter::Exclude(_) => {
                let kept = sources.into_iter().take(MAX_SOURCES).collect();
                records.push((excluding(kind), group, kept));
            }
            SourceFilter::Include(_) if sources.len() <= MAX_SOURCES => {
                records.push((including(kind), group, sources));
            }
            // Several records together request all of the sources, but cannot exclude others.
            SourceFilter::Include(_) => {
                let parts = sources.chunks(MAX_SOURCES).map(<[A]>::to_vec);
                records.extend(parts.map(|part| (RecordKind::ModeIsInclude, group, part)));
            }
        }
    }
    let (mut packets, mut rest) = (Vec::new(), records.as_slice());
    while !rest.is_empty() {
        let mut length = 0;
        let fits = |(_, _, sources): &&(RecordKind, A, Vec<A>)| {
            length += 4 + A::LENGTH * (1 + sources.len());
            length <= MAX_RECORDS
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        packets.extend(packet(source, now));
        rest = later;
    }
    packets
}

fn packet<A: Address>(source: A, records: &[(RecordKind, A, Vec<A>)]) -> Option<Vec<u8>> {
    let records = records.iter().map(|(kind, group, sources)| {
        let (kind, group) = (*kind, *group);
        Record { kind, group, sources: sources.as_slice().into() }
    });
    let records: Vec<Record<'_, A>> = records.collect();
    let message = GmpMessage::V3Report(records.as_slice().into());
    let mut buffer = vec![0; 48 + message.length()];
    let length = ControlPacket { source, message }.emit(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

const fn including(kind: ReportKind) -> RecordKind {
    match kind {
        ReportKind::CurrentState => RecordKind::ModeIsInclude,
        ReportKind::Change => RecordKind::ChangeToInclude,
    }
}

const fn excluding(kind: ReportKind) -> RecordKind {
    match kind {
        ReportKind::CurrentState => RecordKind::ModeIsExclude,
        ReportKind::Change => RecordKind::ChangeToExclude,
    }
}
