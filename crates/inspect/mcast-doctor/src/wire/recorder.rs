//! Sorts captured frames into flows, fragmented datagrams, and messages of control.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::SystemTime;

use mcast::InterfaceIndex;
use mcast_capture::{Frame, Part, UnexaminedFrames, UnwrappedPacket};
use mcast_packet::payload::Ptp;
use mcast_packet::{
    Carried, ChecksumStatus, EncapsulationProtocol, Fragment, Ip, MacAddress, Network, Packet, Transport,
    Udp, ether_type,
};

use super::flow::{DatagramSummary, Defect, Destination, Role};
use super::{
    ControlDefect, ControlMessage, ControlPacket, CountedTogether, DamagedControl, Flow, FlowKey,
    PortTraffic, PtpFrames, Tagging, Tap, Wire,
};

/// Limits of what is recorded, which bound the memory. A capture of more is not complete.
const MAX_FLOWS: usize = 10_000;
/// The number of flows to the same destination. The datagrams of further ones are counted together. The counters of the kernel
/// keep as many sources apart.
const MAX_SOURCES: usize = 4_000;
/// IGMP, MLD and PIM messages, and the groups in them.
const MAX_CONTROL: usize = 20_000;
const MAX_FRAGMENTED: usize = 20_000;
const MAX_DAMAGED: usize = 1_000;

/// Sorts captured frames into flows.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    flows: BTreeMap<FlowKey, Flow>,
    /// The number of flows by destination.
    destinations: BTreeMap<Destination, usize>,
    /// The datagrams of further flows to these destinations.
    together: BTreeMap<Destination, u64>,
    control: Vec<ControlPacket>,
    /// The number of control messages, and of the groups in them.
    control_parts: usize,
    fragmented: BTreeMap<(InterfaceIndex, bool, IpAddr, IpAddr, u32), FragmentedDatagram>,
    damaged_control: BTreeMap<DamagedControl, u64>,
    ptp: BTreeMap<(InterfaceIndex, Option<MacAddress>), PtpFrames>,
    span: Option<(SystemTime, SystemTime)>,
    /// Frames that exceed a limit.
    unrecorded: u64,
    /// Data before this moment does not count, because the group had not been joined yet.
    pub(crate) data_from: Option<SystemTime>,
    /// Data after this moment does not count, because the socket does not count it either.
    data_until: Option<SystemTime>,
}

/// Where and when a frame was captured.
#[derive(Clone, Copy)]
struct FrameContext {
    interface: InterfaceIndex,
    outgoing: bool,
    time: SystemTime,
    resegmented: bool,
    is_reassembled: bool,
}

impl Recorder {
    /// Ignores data captured before `time`, also what was recorded.
    pub(crate) fn count_data_from(&mut self, time: SystemTime) {
        self.flows.clear();
        self.destinations.clear();
        self.together.clear();
        self.fragmented.clear();
        self.data_from = Some(time);
    }

    /// Ignores data captured after `time`. Frames that are still to be recorded may have arrived later.
    pub(crate) fn count_data_until(&mut self, time: SystemTime) {
        self.data_until = Some(time);
    }

    pub(crate) fn record(&mut self, frame: &Frame<'_>) {
        let context = FrameContext {
            interface: frame.interface,
            outgoing: frame.direction.is_outgoing(),
            time: frame.time,
            resegmented: frame.resegmented,
            is_reassembled: false,
        };
        self.record_packet(context, &frame.packet());
    }

    /// Records a frame of PTP without UDP (IEEE 1588-2019 Annex E).
    pub(crate) fn record_ptp(&mut self, frame: &Frame<'_>) {
        let packet = frame.packet();
        let Some(Network::Other { ether_type: ether_type::PTP, payload }) = packet.network else { return };
        let (Some(ethernet), Some(message)) = (packet.ethernet, Ptp::parse(payload)) else { return };
        let mut key = (frame.interface, Some(ethernet.source));
        if self.ptp.len() >= MAX_DAMAGED && !self.ptp.contains_key(&key) {
            key.1 = None;
        }
        let sender = self.ptp.entry(key).or_default();
        *sender = PtpFrames { frames: sender.frames + 1, domain: message.domain };
    }

    /// Records a packet of a file, taken apart: of a fragmented datagram, its fragments and the whole datagram.
    pub(crate) fn record_unwrapped(&mut self, unwrapped: &UnwrappedPacket<'_>) {
        let context = FrameContext {
            interface: unwrapped.interface,
            outgoing: unwrapped.direction.is_outgoing(),
            time: unwrapped.time,
            resegmented: false,
            is_reassembled: matches!(unwrapped.part, Part::Reassembled { .. }),
        };
        let port = unwrapped.packet.udp().map(|udp| udp.destination_port);
        match (unwrapped.part, unwrapped.packet.ip_layer()) {
            (Part::Fragment, Some(ip)) if ip.destination.is_multicast() => {
                self.record_fragment(context, ip, port);
            }
            (Part::Whole | Part::Reassembled { .. }, _) => self.record_packet(context, unwrapped.packet),
            _ => {}
        }
    }

    fn record_packet(&mut self, context: FrameContext, packet: &Packet<'_>) {
        let (from, until) = self.span.unwrap_or((context.time, context.time));
        self.span = Some((from.min(context.time), until.max(context.time)));
        let Some(ip) = packet.ip_layer() else { return };
        match &packet.transport {
            Some(Transport::Igmp(control)) => {
                self.record_damage(context, ip, &control.checksum);
                self.record_control(context, packet, ip, ControlMessage::of(&control.message));
            }
            Some(Transport::Mld(control)) => {
                self.record_damage(context, ip, &control.checksum);
                self.record_control(context, packet, ip, ControlMessage::of(&control.message));
            }
            Some(Transport::Pim(_)) => self.record_control(context, packet, ip, Some(ControlMessage::Pim)),
            // Only data is limited to a time. Queries are rare: those before it count, too.
            _ if !ip.destination.is_multicast() => {}
            _ if self.data_from.is_some_and(|from| context.time < from) => {}
            _ if self.data_until.is_some_and(|until| context.time > until) => {}
            Some(Transport::Udp(udp)) => self.record_datagram(context, packet, ip, udp),
            Some(Transport::Fragment(_)) => self.record_fragment(context, ip, None),
            _ => {}
        }
    }

    /// Returns everything recorded, with the taps that captured it.
    pub(crate) fn finish(self, taps: Vec<Tap>, until: Option<SystemTime>) -> Wire {
        let from = self.data_from.or_else(|| self.span.map(|(from, _)| from));
        let until = until.or_else(|| self.span.map(|(_, until)| until));
        Wire {
            taps,
            flows: self.flows.into_values().collect(),
            together: self
                .together
                .into_iter()
                .map(|(to, unrecorded)| (to, CountedTogether { unrecorded, ..CountedTogether::default() }))
                .collect(),
            control: self.control,
            fragmented: self.fragmented.into_values().collect(),
            span: from.zip(until),
            accepted: BTreeMap::new(),
            refused: BTreeMap::new(),
            other_protocols: BTreeMap::new(),
            unrecorded: self.unrecorded,
            undecodable: 0,
            unexamined: UnexaminedFrames::default(),
            ports: PortTraffic::default(),
            unfiltered: BTreeMap::new(),
            unicast: Vec::new(),
            damaged_control: self.damaged_control,
            ptp: self.ptp,
        }
    }

    /// Returns the number of datagrams recorded so far to a group, and to a port if one is given.
    pub(crate) fn count(&self, group: IpAddr, port: Option<u16>) -> u64 {
        let matches = |key: &FlowKey| key.group == group && port.is_none_or(|port| key.port == port);
        self.flows.values().filter(|flow| matches(&flow.key)).map(|flow| flow.datagrams).sum()
    }

    /// Returns the source of a flow to this address that arrived.
    pub(crate) fn source_of(&self, group: IpAddr, port: u16) -> Option<IpAddr> {
        let is_to = |key: &&FlowKey| !key.outgoing && key.group == group && key.port == port;
        self.flows.keys().find(is_to).map(|key| key.source.ip())
    }

    /// Returns whether a flow to this address arrived and has stopped.
    pub(crate) fn has_stopped(&self, group: IpAddr, port: u16, until: SystemTime) -> bool {
        let mut flows = self.flows.values().filter(|flow| !flow.key.outgoing);
        flows.any(|flow| flow.key.group == group && flow.key.port == port && flow.has_stopped(until))
    }

    fn record_control(
        &mut self,
        context: FrameContext,
        packet: &Packet<'_>,
        ip: &Ip<'_>,
        message: Option<ControlMessage>,
    ) {
        let FrameContext { interface, outgoing, time, .. } = context;
        let Some(message) = message else { return };
        let parts = self.control_parts.saturating_add(1 + message.groups());
        if parts > MAX_CONTROL {
            self.unrecorded += 1;
            return;
        }
        self.control_parts = parts;
        let (source, vlan) = (ip.source, Tagging::of(packet.vlans()));
        self.control.push(ControlPacket { time, interface, outgoing, source, message, vlan });
    }

    /// Counts a message of IGMP or MLD that arrived and that routers, switches and hosts ignore.
    fn record_damage(&mut self, context: FrameContext, ip: &Ip<'_>, checksum: &ChecksumStatus) {
        let defect = match ip.hop_limit {
            _ if checksum.is_invalid() => ControlDefect::Checksum,
            1 => return,
            hop_limit => ControlDefect::HopLimit(hop_limit),
        };
        let damaged = DamagedControl { interface: context.interface, source: ip.source, defect };
        let has_room =
            self.damaged_control.len() < MAX_DAMAGED || self.damaged_control.contains_key(&damaged);
        if !context.outgoing && has_room {
            *self.damaged_control.entry(damaged).or_default() += 1;
        }
    }

    fn record_datagram(&mut self, context: FrameContext, packet: &Packet<'_>, ip: &Ip<'_>, udp: &Udp<'_>) {
        if ip.fragment.is_some() {
            self.record_fragment(context, ip, Some(udp.destination_port));
        }
        let key = FlowKey {
            interface: context.interface,
            outgoing: context.outgoing,
            source: SocketAddr::new(ip.source, udp.source_port),
            group: ip.destination,
            port: udp.destination_port,
            vlan: Tagging::of(packet.vlans()),
        };
        let defect = defect(ip, udp);
        let hardware = packet.hardware_addresses();
        let summary = DatagramSummary {
            time: context.time,
            mac: hardware.map(|(_, source)| source),
            ethernet_destination: hardware.map(|(destination, _)| destination),
            hop_limit: ip.hop_limit,
            identification: identification(ip),
            hash: hash(udp.payload),
            length: ip.length(),
            bad_checksum: udp.checksum.is_invalid() && defect.is_none(),
            defect,
            fragmented: ip.fragment.is_some() || context.is_reassembled,
            resegmented: context.resegmented,
            without_checksum: ip.source.is_ipv6() && udp.checksum == ChecksumStatus::Absent,
            like_esp: is_like_esp(udp.payload),
            network: network(packet),
            domain: domain(udp),
        };
        match self.flow(key, &summary) {
            Some(flow) => {
                flow.add(summary);
                Role::of(key.port, udp.payload).into_iter().for_each(|role| flow.add_role(role));
                flow.numbering.observe(&key, udp.payload, context.time);
            }
            // Of a destination with recorded flows, more are only counted.
            None => match self.destinations.get(&Destination::of(&key)) {
                Some(_) => *self.together.entry(Destination::of(&key)).or_default() += 1,
                None => self.unrecorded += 1,
            },
        }
    }

    /// Returns a flow, which may be new; `None` if there are too many.
    fn flow(&mut self, key: FlowKey, first: &DatagramSummary) -> Option<&mut Flow> {
        let count = self.flows.len();
        match self.flows.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => {
                let destination = Destination::of(&key);
                let sources = self.destinations.get(&destination).copied().unwrap_or_default();
                if count >= MAX_FLOWS || sources >= MAX_SOURCES {
                    return None;
                }
                self.destinations.insert(destination, sources + 1);
                Some(new.insert(Flow::new(key, first)))
            }
        }
    }

    fn record_fragment(&mut self, context: FrameContext, ip: &Ip<'_>, port: Option<u16>) {
        let Some(fragment) = ip.fragment else { return };
        let FrameContext { interface, outgoing, time, .. } = context;
        let key = (interface, outgoing, ip.source, ip.destination, fragment.identification);
        if self.fragmented.len() >= MAX_FRAGMENTED && !self.fragmented.contains_key(&key) {
            self.unrecorded += 1;
            return;
        }
        let addresses = (ip.source, ip.destination);
        let new = || FragmentedDatagram::new(interface, outgoing, addresses, fragment.identification, time);
        let datagram = self.fragmented.entry(key).or_insert_with(new);
        datagram.add(fragment, ip.payload.len(), time);
        datagram.port = datagram.port.or(port);
    }
}

/// Returns what is wrong with a datagram. The checksum of a header may be left to the device of a sender that captures
/// what it sends; it is zero then.
fn defect(ip: &Ip<'_>, udp: &Udp<'_>) -> Option<Defect> {
    let is_whole = ip.fragment.is_none() && !ip.truncated;
    match ip.header_checksum {
        ChecksumStatus::Invalid { found, .. } if found != 0 => Some(Defect::HeaderChecksum),
        _ if is_whole && usize::from(udp.length) > ip.payload.len() => Some(Defect::Length),
        _ => None,
    }
}

/// Returns the IPv4 identification. Linux sends 0 with "don't fragment"; IPv6 has none outside fragments.
fn identification(ip: &Ip<'_>) -> u16 {
    match (ip.source, ip.header.get(4..6)) {
        (IpAddr::V4(_), Some(&[high, low])) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// Returns the network of the VXLAN frame that a packet carries.
fn network(packet: &Packet<'_>) -> Option<u32> {
    match packet.carried()? {
        Carried::Packet(inner) if inner.encapsulation.protocol == EncapsulationProtocol::Vxlan => {
            inner.encapsulation.id
        }
        _ => None,
    }
}

/// Returns the domain of a message of PTP over UDP.
fn domain(udp: &Udp<'_>) -> Option<u8> {
    let is_ptp = [Ptp::EVENT_PORT, Ptp::GENERAL_PORT].contains(&udp.destination_port);
    Ptp::parse(udp.payload).filter(|_| is_ptp).map(|message| message.domain)
}

/// Returns whether the kernel takes a payload for ESP (RFC 3948 section 2): it is longer than the header of ESP, and does not
/// begin with the four zero bytes of a message of IKE.
fn is_like_esp(payload: &[u8]) -> bool {
    const ESP_HEADER: usize = 8;
    payload.len() > ESP_HEADER && !payload.starts_with(&[0; 4])
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}

/// The number of separate stretches of a datagram that are remembered. More arrive only if somebody makes them up.
const MAX_PARTS: usize = 64;

/// The captured fragments of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FragmentedDatagram {
    pub(crate) interface: InterfaceIndex,
    pub(crate) outgoing: bool,
    pub(crate) source: IpAddr,
    pub(crate) group: IpAddr,
    pub(crate) identification: u32,
    pub(crate) last: SystemTime,
    /// The destination port, which only the first fragment carries.
    pub(crate) port: Option<u16>,
    /// The stretches that arrived. They neither overlap nor touch each other.
    parts: Vec<Range<usize>>,
    length: Option<usize>,
}

impl FragmentedDatagram {
    pub(crate) fn new(
        interface: InterfaceIndex,
        outgoing: bool,
        addresses: (IpAddr, IpAddr),
        identification: u32,
        time: SystemTime,
    ) -> Self {
        let (source, group) = addresses;
        let (port, parts, length) = (None, Vec::new(), None);
        Self { interface, outgoing, source, group, identification, last: time, port, parts, length }
    }

    pub(crate) fn add(&mut self, fragment: Fragment, length: usize, time: SystemTime) {
        let end = fragment.offset + length;
        let mut new = fragment.offset..end;
        self.parts.retain(|part| {
            let is_apart = part.end < new.start || new.end < part.start;
            if !is_apart {
                new = new.start.min(part.start)..new.end.max(part.end);
            }
            is_apart
        });
        if self.parts.len() < MAX_PARTS {
            self.parts.push(new);
        }
        self.last = self.last.max(time);
        if !fragment.more {
            self.length = Some(end);
        }
    }

    /// Returns whether all fragments were captured.
    pub(crate) fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| self.parts == std::slice::from_ref(&(0..length)))
    }
}

/// The maximum number of flows, which bounds the memory.
const MAX_UNICAST_FLOWS: usize = 256;

/// Datagrams from one address to another, of which neither is a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnicastFlow {
    pub(crate) interface: InterfaceIndex,
    /// Whether this machine sent it.
    pub(crate) outgoing: bool,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) datagrams: u64,
}

/// Sorts captured frames into flows.
#[derive(Debug, Default)]
pub(crate) struct UnicastRecorder(BTreeMap<(InterfaceIndex, bool, SocketAddr, SocketAddr), u64>);

impl UnicastRecorder {
    pub(crate) fn record(&mut self, frame: &Frame<'_>) {
        let packet = frame.packet();
        let (Some(ip), Some(Transport::Udp(udp))) = (packet.ip_layer(), &packet.transport) else { return };
        if ip.destination.is_multicast() {
            return;
        }
        let source = SocketAddr::new(ip.source, udp.source_port);
        let destination = SocketAddr::new(ip.destination, udp.destination_port);
        let key = (frame.interface, frame.direction.is_outgoing(), source, destination);
        if self.0.len() < MAX_UNICAST_FLOWS || self.0.contains_key(&key) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    pub(crate) fn finish(self) -> Vec<UnicastFlow> {
        let flow = |((interface, outgoing, source, destination), datagrams)| UnicastFlow {
            interface,
            outgoing,
            source,
            destination,
            datagrams,
        };
        self.0.into_iter().map(flow).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use mcast_capture::Direction;
    use mcast_packet::{Checksums, LinkType, MacAddress, UdpFrame};

    use super::*;
    use crate::causes::fixtures::{ETH0, begin, machine};

    /// Records a datagram from 10.0.0.0 plus this number to 239.1.2.3.
    fn record(recorder: &mut Recorder, number: u32, port: u16, time: SystemTime) {
        let frame = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: Ipv4Addr::from(0x0a00_0000 + number).into(),
            source_port: 6000,
            group: mcast::Group::new([239, 1, 2, 3].into()).unwrap(),
            destination_port: port,
            hop_limit: 4,
            payload: &[1, 2, 3],
        };
        let mut buffer = [0; 128];
        let length = frame.emit(&mut buffer).unwrap();
        recorder.record(&Frame {
            bytes: &buffer[..length],
            original_length: length,
            link_type: LinkType::Ethernet,
            interface: ETH0,
            interface_name: None,
            direction: Direction::Multicast,
            time,
            checksums: Checksums::Computed,
            resegmented: false,
        });
    }

    #[test]
    fn ptp_of_further_senders_is_counted_together() {
        let mut recorder = Recorder::default();
        for number in 0..1_500_u16 {
            let [high, low] = number.to_be_bytes();
            let mut frame = vec![0x01, 0x1b, 0x19, 0, 0, 0, 2, 0, 0, 0, high, low, 0x88, 0xf7];
            frame.extend([[0, 2, 0, 44].as_slice(), &[0; 40]].concat());
            recorder.record_ptp(&Frame {
                bytes: &frame,
                original_length: frame.len(),
                link_type: LinkType::Ethernet,
                interface: ETH0,
                interface_name: None,
                direction: Direction::Multicast,
                time: begin(),
                checksums: Checksums::Computed,
                resegmented: false,
            });
        }
        assert_eq!(recorder.ptp.len(), 1_001);
        assert_eq!(recorder.ptp[&(ETH0, None)].frames, 500);
    }

    #[test]
    fn only_data_between_the_join_and_the_end_counts() {
        let at = |seconds| begin() + Duration::from_secs(seconds);
        let mut recorder = Recorder::default();
        recorder.count_data_from(at(1));
        (0..3).for_each(|second| record(&mut recorder, 1, 5000, at(second)));
        recorder.count_data_until(at(3));
        (3..9).for_each(|second| record(&mut recorder, 1, 5000, at(second)));
        let wire = recorder.finish(Vec::new(), Some(at(3)));
        assert_eq!(wire.flows.iter().map(|flow| flow.datagrams).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn only_long_payloads_without_leading_zeros_look_like_esp() {
        assert!(is_like_esp(&[1; 9]) && is_like_esp(&[0, 0, 0, 1, 0, 0, 0, 0, 0]));
        assert!(!is_like_esp(&[1; 8]) && !is_like_esp(&[0, 0, 0, 0, 1, 1, 1, 1, 1]) && !is_like_esp(&[0xff]));
    }

    #[test]
    fn capture_of_more_flows_than_are_recorded_is_not_complete() {
        let recorded = |flows: usize, groups: usize| {
            let mut recorder = Recorder::default();
            for number in 0..flows {
                record(&mut recorder, number as u32, 5000 + (number % groups) as u16, begin());
            }
            recorder.finish(machine().links.iter().map(Tap::on).collect(), None)
        };
        assert!(recorded(MAX_FLOWS, 10).is_complete(ETH0));
        let groups = recorded(MAX_FLOWS + 7, MAX_FLOWS + 7);
        assert_eq!((groups.flows.len(), groups.unrecorded, groups.is_complete(ETH0)), (MAX_FLOWS, 7, false));
    }

    #[test]
    fn datagrams_of_more_sources_than_are_recorded_are_counted_together() {
        let mut recorder = Recorder::default();
        (0..MAX_SOURCES + 7).for_each(|number| record(&mut recorder, number as u32, 5000, begin()));
        let wire = recorder.finish(machine().links.iter().map(Tap::on).collect(), None);
        let together: Vec<_> = wire.together.values().map(|rest| rest.unrecorded).collect();
        assert_eq!((wire.flows.len(), together), (MAX_SOURCES, vec![7]));
        assert!(wire.is_complete(ETH0), "silence of other destinations is conclusive");
    }

    fn fragmented(parts: &[(usize, usize, bool)]) -> FragmentedDatagram {
        let addresses = ("10.0.0.1".parse().unwrap(), "239.1.2.3".parse().unwrap());
        let mut datagram = FragmentedDatagram::new(
            InterfaceIndex::new(2).unwrap(),
            false,
            addresses,
            7,
            SystemTime::UNIX_EPOCH,
        );
        for (offset, length, more) in parts {
            let fragment = Fragment { identification: 7, offset: *offset, more: *more };
            datagram.add(fragment, *length, SystemTime::UNIX_EPOCH);
        }
        datagram
    }

    #[test]
    fn datagram_is_complete_with_all_fragments_in_any_order() {
        assert!(fragmented(&[(1480, 520, false), (0, 1480, true)]).is_complete());
        assert!(!fragmented(&[(0, 1480, true)]).is_complete());
        assert!(!fragmented(&[(1480, 520, false)]).is_complete());
        assert!(!fragmented(&[(0, 1480, true), (2960, 100, false)]).is_complete());
        assert!(fragmented(&[(0, 8, true), (16, 8, false), (0, 8, true), (4, 14, true)]).is_complete());
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_fragments() {
        let same = vec![(0, 1480, true); 10_000];
        assert_eq!(fragmented(&same).parts, std::slice::from_ref(&(0..1480)));
        let scattered: Vec<_> = (0..8_000).map(|number| (number * 8, 7, true)).collect();
        assert_eq!(fragmented(&scattered).parts.len(), MAX_PARTS);
    }
}
