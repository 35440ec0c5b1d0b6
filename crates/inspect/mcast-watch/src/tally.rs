//! Counts of packets for a summary, and volumes by flow, bounded because sources can be forged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::{ChecksumStatus, Packet, Transport};

use crate::clock::Time;

/// The packets of a capture: volumes by flow, control messages, and faults.
///
/// ```
/// use mcast_packet::Packet;
/// use mcast_watch::{PacketTally, Time};
///
/// let interface = mcast_group::InterfaceIndex::new(2).ok_or("no index")?;
/// let mut tally = PacketTally::default();
/// tally.add(Time::from_secs(100), interface, 60, &Packet::ethernet(&[0; 60]), None);
/// assert_eq!(tally.flows().total().bytes, 60);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PacketTally {
    flows: FlowVolumes<PacketFlow>,
    counts: PacketCounts,
    /// Other frames to groups of Ethernet, by the name of their protocol.
    link_protocols: BTreeMap<&'static str, u64>,
    /// The times of the earliest and the latest packet.
    span: Option<(Time, Time)>,
}

/// What the packets of a flow have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketFlow {
    /// The destination, in general a group.
    pub destination: IpAddr,
    /// The destination UDP port, if there is one.
    pub port: Option<u16>,
    /// The number of the IP protocol.
    pub protocol: u8,
    /// The interface.
    pub interface: InterfaceIndex,
    /// The source address.
    pub source: IpAddr,
}

/// Counts of packets of special kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PacketCounts {
    /// IGMP messages.
    pub igmp: u64,
    /// MLD messages.
    pub mld: u64,
    /// PIM messages.
    pub pim: u64,
    /// Packets with a wrong transport checksum.
    pub bad_checksums: u64,
    /// Packets that could not be decoded completely.
    pub malformed: u64,
    /// Datagrams whose fragments all came.
    pub reassembled: u64,
    /// Datagrams of which fragments are missing.
    pub incomplete: u64,
    /// Other frames to all hosts, such as ARP and DHCP.
    pub broadcast: u64,
    /// Other frames to an Ethernet group, such as spanning tree and LLDP.
    pub link_multicast: u64,
}

impl PacketTally {
    /// Counts a packet. `length` is that of its frame; `port` is its destination UDP port, if it is known
    /// ([`FragmentPorts`](crate::FragmentPorts)).
    pub fn add(
        &mut self,
        time: Time,
        interface: InterfaceIndex,
        length: usize,
        packet: &Packet<'_>,
        port: Option<u16>,
    ) {
        let (earliest, latest) = self.span.unwrap_or((time, time));
        self.span = Some((earliest.min(time), latest.max(time)));
        match &packet.transport {
            Some(Transport::Igmp(_)) => self.counts.igmp += 1,
            Some(Transport::Mld(_)) => self.counts.mld += 1,
            Some(Transport::Pim(_)) => self.counts.pim += 1,
            _ => {}
        }
        let has_bad_checksum = packet.checksum().is_some_and(ChecksumStatus::is_invalid);
        self.counts.bad_checksums += u64::from(has_bad_checksum);
        self.counts.malformed += u64::from(packet.malformed.is_some());
        let Some(ip) = packet.ip_layer() else { return self.flows.add_without_flow(length) };
        let (destination, source, protocol) = (ip.destination, ip.source, ip.protocol);
        self.flows.add(PacketFlow { destination, port, protocol, interface, source }, length);
    }

    /// Counts a frame of no interest, if it is to several hosts and not IP multicast.
    pub fn add_other(&mut self, packet: &Packet<'_>) {
        let is_multicast = packet.ip_layer().is_some_and(|ip| ip.destination.is_multicast());
        if packet.is_broadcast() {
            self.counts.broadcast += 1;
        } else if packet.is_group_addressed() && !is_multicast {
            self.counts.link_multicast += 1;
            let name = packet.link_protocol().unwrap_or("other");
            *self.link_protocols.entry(name).or_default() += 1;
        }
    }

    /// Counts a datagram in fragments, which are counted as packets.
    pub fn add_fragmented(&mut self, is_complete: bool) {
        let count = if is_complete { &mut self.counts.reassembled } else { &mut self.counts.incomplete };
        *count += 1;
    }

    /// Returns the frames to groups of Ethernet by the name of their protocol, the most frequent first.
    #[must_use]
    pub fn link_protocols(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.link_protocols.iter().map(|(name, frames)| (*name, *frames)).collect();
        all.sort_by_key(|(_, frames)| Reverse(*frames));
        all
    }

    /// Returns the volumes by flow.
    #[must_use]
    pub const fn flows(&self) -> &FlowVolumes<PacketFlow> {
        &self.flows
    }

    /// Returns the counts of special packets.
    #[must_use]
    pub const fn counts(&self) -> PacketCounts {
        self.counts
    }

    /// Returns the time from the earliest to the latest packet.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(earliest, latest)| latest.since(earliest))
    }
}

/// A number of packets or datagrams, and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrafficVolume {
    /// Packets or datagrams.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl TrafficVolume {
    fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length as u64;
    }
}

/// Volumes by flow `F`, and in total. At most [`Self::MAX_FLOWS`] flows are distinguished.
///
/// ```
/// use mcast_watch::FlowVolumes;
///
/// let mut flows = FlowVolumes::default();
/// for (source, length) in [("10.0.0.1", 100), ("10.0.0.2", 40), ("10.0.0.2", 40)] {
///     flows.add(source, length);
/// }
/// assert_eq!(flows.busiest_first()[0].0, "10.0.0.2");
/// assert_eq!(flows.total().bytes, 180);
/// ```
#[derive(Clone, Debug)]
pub struct FlowVolumes<F> {
    total: TrafficVolume,
    flows: Vec<(F, TrafficVolume)>,
    positions: HashMap<F, usize>,
    /// The position of the latest flow: packets come in bursts of one, and hashing takes longer than comparing.
    latest: usize,
    others: TrafficVolume,
}

impl<F> Default for FlowVolumes<F> {
    fn default() -> Self {
        let none = TrafficVolume::default();
        Self { total: none, flows: Vec::new(), positions: HashMap::new(), latest: 0, others: none }
    }
}

impl<F: Copy + Eq + Hash + Ord> FlowVolumes<F> {
    /// Maximum number of flows; further ones are counted as one.
    pub const MAX_FLOWS: usize = 10_000;

    /// Counts a packet that belongs to no flow.
    pub fn add_without_flow(&mut self, length: usize) {
        self.total.add(length);
    }

    /// Counts a packet of this flow.
    pub fn add(&mut self, flow: F, length: usize) {
        self.total.add(length);
        if self.flows.get(self.latest).is_none_or(|(latest, _)| *latest != flow) {
            self.latest = match self.positions.get(&flow) {
                Some(position) => *position,
                None if self.flows.len() < Self::MAX_FLOWS => self.add_flow(flow),
                None => return self.others.add(length),
            };
        }
        if let Some((_, volume)) = self.flows.get_mut(self.latest) {
            volume.add(length);
        }
    }

    /// Adds a flow, and returns its position.
    fn add_flow(&mut self, flow: F) -> usize {
        let position = self.flows.len();
        self.positions.insert(flow, position);
        self.flows.push((flow, TrafficVolume::default()));
        position
    }

    /// Returns the volume of all packets.
    #[must_use]
    pub const fn total(&self) -> TrafficVolume {
        self.total
    }

    /// Returns the volume of flows beyond the maximum.
    #[must_use]
    pub const fn others(&self) -> TrafficVolume {
        self.others
    }

    /// Returns whether no flow has been counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Returns the flows, the busiest first.
    #[must_use]
    pub fn busiest_first(&self) -> Vec<(F, TrafficVolume)> {
        let mut flows = self.flows.clone();
        flows.sort_by_key(|(flow, volume)| (Reverse(volume.count), *flow));
        flows
    }
}

#[cfg(test)]
mod tests {
    use mcast_packet::gmp::IgmpMessage;
    use mcast_packet::{ControlFrame, MacAddress, UdpFrame};

    use super::*;

    #[test]
    fn packets_are_counted_by_flow_and_kind() {
        let interface = InterfaceIndex::new(2).unwrap();
        let mut tally = PacketTally::default();
        let mut buffer = [0; 128];
        let datagram = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: "10.0.0.7".parse().unwrap(),
            source_port: 4000,
            group: "239.1.2.3".parse().unwrap(),
            destination_port: 5000,
            hop_limit: 4,
            payload: b"hello",
        };
        let length = datagram.emit(&mut buffer).unwrap();
        for second in [103, 100] {
            let packet = Packet::ethernet(&buffer[..length]);
            tally.add(Time::from_secs(second), interface, length, &packet, Some(5000));
        }
        // The last byte of the payload is changed, so that the checksum is wrong.
        buffer[length - 1] ^= 1;
        tally.add(Time::from_secs(101), interface, length, &Packet::ethernet(&buffer[..length]), Some(5000));
        let message = IgmpMessage::Report { group: [239, 1, 2, 3].into() };
        let report = ControlFrame { mac: datagram.mac, source: [10, 0, 0, 7].into(), message };
        let length = report.emit(&mut buffer).unwrap();
        tally.add(Time::from_secs(101), interface, length, &Packet::ethernet(&buffer[..length]), None);
        let flows: Vec<_> =
            tally.flows().busiest_first().iter().map(|(flow, volume)| (flow.port, volume.count)).collect();
        assert_eq!(flows, [(Some(5000), 3), (None, 1)]);
        let expected = PacketCounts { igmp: 1, bad_checksums: 1, ..PacketCounts::default() };
        assert_eq!((tally.counts(), tally.span()), (expected, Duration::from_secs(3)));
    }

    #[test]
    fn each_other_frame_is_counted_once() {
        let mut tally = PacketTally::default();
        let frame = |destination: [u8; 6], ether_type: u16| {
            let mut bytes = destination.to_vec();
            bytes.extend([2, 0, 0, 0, 0, 1]);
            bytes.extend(ether_type.to_be_bytes());
            bytes
        };
        tally.add_other(&Packet::ethernet(&frame([0xff; 6], 0x0806)));
        tally.add_other(&Packet::ethernet(&frame([0x01, 0x80, 0xc2, 0, 0, 0], 0x0026)));
        tally.add_other(&Packet::ethernet(&frame([2, 0, 0, 0, 0, 2], 0x0800)));
        let expected = PacketCounts { broadcast: 1, link_multicast: 1, ..PacketCounts::default() };
        assert_eq!(tally.counts(), expected);
    }

    #[test]
    fn flows_are_counted_separately_and_sorted_by_volume() {
        let mut flows = FlowVolumes::default();
        [1, 2, 2].into_iter().for_each(|flow| flows.add(flow, 10));
        let volumes: Vec<_> = flows.busiest_first().iter().map(|(_, volume)| *volume).collect();
        assert_eq!(volumes, [TrafficVolume { count: 2, bytes: 20 }, TrafficVolume { count: 1, bytes: 10 }]);
    }

    #[test]
    fn number_of_flows_is_bounded() {
        const MAX: usize = FlowVolumes::<usize>::MAX_FLOWS;
        let mut flows = FlowVolumes::default();
        (0..MAX + 5).for_each(|flow| flows.add(flow, 10));
        assert_eq!((flows.flows.len(), flows.others().count), (MAX, 5));
        assert_eq!(flows.total().count, MAX as u64 + 5);
    }
}
