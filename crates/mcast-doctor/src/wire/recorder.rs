//! Sorts frames into flows.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use mcast_capture::Frame;
use mcast_packet::{Ip, Packet, Transport, Udp};

use super::flow::Look;
use super::{ControlSeen, Flow, FlowKey, Pieces, Said, Tap, Wire};

/// More than this is not kept: what is examined is among the first.
const MOST_FLOWS: usize = 10_000;
const MOST_CONTROL: usize = 20_000;
const MOST_PIECES: usize = 20_000;

/// Sorts frames into flows.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    flows: BTreeMap<FlowKey, Flow>,
    control: Vec<ControlSeen>,
    pieces: BTreeMap<(u32, bool, IpAddr, IpAddr, u32), Pieces>,
    span: Option<(SystemTime, SystemTime)>,
    /// Data before this moment does not count: nobody had joined yet.
    data_from: Option<SystemTime>,
}

/// Where and when a frame was seen.
#[derive(Clone, Copy)]
struct Place {
    interface: u32,
    outgoing: bool,
    time: SystemTime,
}

impl Recorder {
    /// From this moment on data counts.
    pub(crate) fn count_data_from(&mut self, time: SystemTime) {
        self.data_from = Some(time);
    }

    pub(crate) fn record(&mut self, frame: &Frame<'_>) {
        let place = Place {
            interface: frame.interface.number(),
            outgoing: frame.direction.is_outgoing(),
            time: frame.time,
        };
        let (from, until) = self.span.unwrap_or((place.time, place.time));
        self.span = Some((from.min(place.time), until.max(place.time)));
        let packet = frame.packet();
        let Some(ip) = packet.ip_layer() else { return };
        match &packet.transport {
            Some(Transport::Igmp(control)) => self.say(place, ip, Said::of(&control.message)),
            Some(Transport::Mld(control)) => self.say(place, ip, Said::of(&control.message)),
            Some(Transport::Pim(_)) => self.say(place, ip, Some(Said::Pim)),
            _ if !ip.destination.is_multicast() => {}
            _ if self.data_from.is_some_and(|from| place.time < from) => {}
            Some(Transport::Udp(udp)) => self.datagram(place, &packet, ip, udp),
            Some(Transport::Fragment(_)) => self.piece(place, ip, None),
            _ => {}
        }
    }

    /// What was seen until now, and by which taps.
    pub(crate) fn finish(self, taps: Vec<Tap>, until: Option<SystemTime>) -> Wire {
        let from = self.data_from.or_else(|| self.span.map(|(from, _)| from));
        let until = until.or_else(|| self.span.map(|(_, until)| until));
        Wire {
            taps,
            flows: self.flows.into_values().collect(),
            control: self.control,
            pieces: self.pieces.into_values().collect(),
            span: from.zip(until),
        }
    }

    /// Datagrams of a flow to this address that came in so far.
    pub(crate) fn count(&self, group: IpAddr, port: Option<u16>) -> u64 {
        let wanted = |key: &FlowKey| key.group == group && port.is_none_or(|port| key.port == port);
        self.flows.values().filter(|flow| wanted(&flow.key)).map(|flow| flow.datagrams).sum()
    }

    fn say(&mut self, place: Place, ip: &Ip<'_>, said: Option<Said>) {
        let Place { interface, outgoing, time } = place;
        if let Some(said) = said.filter(|_| self.control.len() < MOST_CONTROL) {
            self.control.push(ControlSeen { time, interface, outgoing, source: ip.source, said });
        }
    }

    fn datagram(&mut self, place: Place, packet: &Packet<'_>, ip: &Ip<'_>, udp: &Udp<'_>) {
        if ip.fragment.is_some() {
            self.piece(place, ip, Some(udp.destination_port));
        }
        let key = FlowKey {
            interface: place.interface,
            outgoing: place.outgoing,
            source: SocketAddr::new(ip.source, udp.source_port),
            group: ip.destination,
            port: udp.destination_port,
            vlan: packet.vlans().next().map(|vlan| vlan.id),
        };
        let look = Look {
            time: place.time,
            mac: packet.ethernet.map(|ethernet| ethernet.source),
            hop_limit: ip.hop_limit,
            number: identification(ip),
            hash: hash(udp.payload),
            length: ip.length(),
            bad_checksum: udp.checksum.is_invalid() || ip.header_checksum.is_invalid(),
            fragmented: ip.fragment.is_some(),
        };
        if self.flows.len() < MOST_FLOWS || self.flows.contains_key(&key) {
            self.flows.entry(key).or_insert_with(|| Flow::new(key, &look)).add(look);
        }
    }

    fn piece(&mut self, place: Place, ip: &Ip<'_>, port: Option<u16>) {
        let Some(fragment) = ip.fragment else { return };
        let Place { interface, outgoing, time } = place;
        let key = (interface, outgoing, ip.source, ip.destination, fragment.identification);
        if self.pieces.len() >= MOST_PIECES && !self.pieces.contains_key(&key) {
            return;
        }
        let addresses = (ip.source, ip.destination);
        let new = || Pieces::new(interface, outgoing, addresses, fragment.identification, time);
        let pieces = self.pieces.entry(key).or_insert_with(new);
        pieces.add(fragment, ip.payload.len(), time);
        pieces.port = pieces.port.or(port);
    }
}

/// The number that the sender of an IPv4 packet gave it; Linux gives none to what may not be fragmented.
fn identification(ip: &Ip<'_>) -> u16 {
    match (ip.source, ip.header.get(4..6)) {
        (IpAddr::V4(_), Some(&[high, low])) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}
