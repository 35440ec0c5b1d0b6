//! What the tests of observers share: datagrams, packets and frames into a table, and messages of DDS.

use std::net::{IpAddr, SocketAddr};

use mcast_group::InterfaceIndex;
use mcast_packet::Packet;

use super::*;

/// A table with the time, and a place where all arrives.
pub(super) struct Bench {
    pub(super) table: DiscoveryTable,
    pub(super) now: Time,
    /// Whether this machine sends it.
    pub(super) outgoing: bool,
}

pub(super) fn place() -> DiscoveryPlace {
    DiscoveryPlace { interface: InterfaceIndex::new(2).unwrap(), vlan: None }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { table: DiscoveryTable::new(), now: Time::from_secs(1_000), outgoing: false }
    }

    pub(super) fn datagram(&mut self, from: &str, to: &str, payload: &[u8]) {
        let datagram = DiscoveryDatagram {
            place: place(),
            source: from.parse().unwrap(),
            destination: to.parse().unwrap(),
            hop_limit: Some(1),
            outgoing: self.outgoing,
            payload,
        };
        self.table.handle_datagram(self.now, &datagram);
    }

    /// Passes a frame to a group.
    pub(super) fn frame(&mut self, to: [u8; 6], ether_type: u16, payload: &[u8]) {
        let from = [2, 0, 0, 0, 0, 7];
        let bytes = [&to[..], &from, &ether_type.to_be_bytes(), payload].concat();
        let packet = Packet::ethernet(&bytes);
        let packet = DiscoveryPacket { place: place(), outgoing: self.outgoing, packet: &packet };
        self.table.handle_packet(self.now, &packet);
    }

    /// Passes an IPv4 packet of a protocol.
    pub(super) fn packet(&mut self, protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) {
        let length = (20 + payload.len()) as u16;
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0];
        header[2..4].copy_from_slice(&length.to_be_bytes());
        header.extend(from.iter().chain(&to));
        let sum = mcast_packet::InternetChecksum::new().bytes(&header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        self.frame([1, 0, 0x5e, to[1] & 0x7f, to[2], to[3]], 0x0800, &[&header, payload].concat());
    }

    pub(super) fn wait(&mut self, seconds: f64) {
        self.now = self.now.after(std::time::Duration::from_secs_f64(seconds));
        self.table.handle_timeout(self.now);
    }

    /// Returns the names of all entries of a protocol.
    pub(super) fn names(&self, protocol: DiscoveryProtocol) -> Vec<String> {
        self.of(protocol).map(|entry| entry.name.to_string()).collect()
    }

    pub(super) fn of(&self, protocol: DiscoveryProtocol) -> impl Iterator<Item = &Discovered> {
        self.table.entries().into_iter().filter(move |entry| entry.key.protocol == protocol)
    }

    pub(super) fn only(&self, protocol: DiscoveryProtocol) -> &Discovered {
        let entries: Vec<_> = self.of(protocol).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0]
    }

    /// Returns the kinds of the events of a protocol, one letter each: Appeared, Changed, Departed.
    pub(super) fn events(&mut self, protocol: DiscoveryProtocol) -> String {
        let events = std::iter::from_fn(|| self.table.poll_event());
        let letters = events.filter_map(|event| match event {
            DiscoveryEvent::Appeared(entry) => Some(('A', entry.key)),
            DiscoveryEvent::Changed { now, .. } => Some(('C', now.key)),
            DiscoveryEvent::Departed { entry, .. } => Some(('D', entry.key)),
            DiscoveryEvent::Omitted(_) => None,
        });
        letters.filter(|(_, key)| key.protocol == protocol).map(|(letter, _)| letter).collect()
    }
}

impl Discovered {
    /// Returns a field as text; empty if there is none.
    pub(super) fn value(&self, name: &str) -> String {
        self.field(name).map(UntrustedText::to_string).unwrap_or_default()
    }

    pub(super) fn values(&self, name: &str) -> Vec<String> {
        let fields = self.fields.iter().filter(|field| field.name.as_bytes() == name.as_bytes());
        fields.map(|field| field.value.to_string()).collect()
    }
}

/// The sample of discovery of a participant, a reader or a writer, in little-endian order.
#[derive(Clone, Debug)]
pub(super) struct DdsSample {
    pub(super) prefix: [u8; 12],
    pub(super) vendor: u16,
    writer: u32,
    pub(super) sequence: u8,
    parameters: Vec<u8>,
    is_gone: bool,
}

impl DdsSample {
    pub(super) fn participant(number: u8) -> Self {
        Self::new(number, 0x0001_00c2).guid(0x50, 0x0000_01c1)
    }

    pub(super) fn writer(number: u8, entity: u32, topic: &str) -> Self {
        Self::new(number, 0x0000_03c2).guid(0x5a, entity).text(0x05, topic).text(0x07, "demo::Type")
    }

    pub(super) fn reader(number: u8, entity: u32, topic: &str) -> Self {
        Self::new(number, 0x0000_04c2).guid(0x5a, entity).text(0x05, topic).text(0x07, "demo::Type")
    }

    fn new(number: u8, writer: u32) -> Self {
        Self {
            prefix: [number; 12],
            vendor: 0x0110,
            writer,
            sequence: 1,
            parameters: Vec::new(),
            is_gone: false,
        }
    }

    fn guid(self, id: u16, entity: u32) -> Self {
        let value = [&self.prefix[..], &entity.to_be_bytes()].concat();
        self.parameter(id, &value)
    }

    pub(super) fn gone(mut self) -> Self {
        self.is_gone = true;
        self
    }

    pub(super) fn parameter(mut self, id: u16, value: &[u8]) -> Self {
        let padded = value.len().next_multiple_of(4);
        self.parameters.extend(id.to_le_bytes());
        self.parameters.extend((padded as u16).to_le_bytes());
        self.parameters.extend_from_slice(value);
        self.parameters.extend(std::iter::repeat_n(0, padded - value.len()));
        self
    }

    pub(super) fn text(self, id: u16, text: &str) -> Self {
        let value = [&(text.len() as u32 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        self.parameter(id, &value)
    }

    pub(super) fn domain(self, domain: u32) -> Self {
        self.parameter(0x0f, &domain.to_le_bytes())
    }

    pub(super) fn lease(self, seconds: i32) -> Self {
        self.parameter(0x02, &[&seconds.to_le_bytes()[..], &[0; 4]].concat())
    }

    /// Adds a locator for samples.
    pub(super) fn unicast(self, address: &str) -> Self {
        self.locator(0x31, address)
    }

    pub(super) fn locator(self, id: u16, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let (kind, octets) = match address.ip() {
            IpAddr::V4(v4) => (1_i32, [&[0; 12][..], &v4.octets()].concat()),
            IpAddr::V6(v6) => (2, v6.octets().to_vec()),
        };
        let port = u32::from(address.port());
        self.parameter(id, &[&kind.to_le_bytes()[..], &port.to_le_bytes(), &octets].concat())
    }

    /// Sets the number of seconds and fractions of the lease to infinity.
    pub(super) fn without_end(self) -> Self {
        self.parameter(0x02, &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff])
    }

    pub(super) fn reliability(self, is_reliable: bool) -> Self {
        let kind = 1 + i32::from(is_reliable);
        self.parameter(0x1a, &[&kind.to_le_bytes()[..], &[0; 8]].concat())
    }

    pub(super) fn durability(self, kind: u32) -> Self {
        self.parameter(0x1d, &kind.to_le_bytes())
    }

    pub(super) fn partition(self, name: &str) -> Self {
        self.partitions(&[name])
    }

    pub(super) fn partitions(self, names: &[&str]) -> Self {
        let mut value = (names.len() as u32).to_le_bytes().to_vec();
        for name in names {
            value.extend((name.len() as u32 + 1).to_le_bytes());
            value.extend(name.as_bytes());
            value.resize((value.len() + 1).next_multiple_of(4), 0);
        }
        self.parameter(0x29, &value)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0, 0, 16, 0, 0, 0, 0, 0];
        body.extend(self.writer.to_be_bytes());
        body.extend([0, 0, 0, 0, self.sequence, 0, 0, 0]);
        let mut flags = 1 | 4;
        if self.is_gone {
            flags |= 2;
            body.extend([0x71, 0, 4, 0, 0, 0, 0, 3, 1, 0, 0, 0]);
        }
        body.extend([0, 3, 0, 0]);
        body.extend_from_slice(&self.parameters);
        body.extend([1, 0, 0, 0]);
        let mut message = b"RTPS\x02\x05".to_vec();
        message.extend(self.vendor.to_be_bytes());
        message.extend(self.prefix);
        message.extend([0x15, flags]);
        message.extend((body.len() as u16).to_le_bytes());
        message.extend(body);
        message
    }
}
