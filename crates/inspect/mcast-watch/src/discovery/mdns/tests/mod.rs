//! Networks of responders, written as records, and what is listed of them.

mod asking;
mod bounds;
mod listing;
mod model;
mod reports;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::InterfaceIndex;
use mcast_packet::payload::{DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsWriter};

use super::name::OwnedName;
use crate::clock::Time;
use crate::discovery::{
    DepartureReason, Discovered, DiscoveredKind, DiscoveryDatagram, DiscoveryEvent, DiscoveryPlace,
    DiscoveryProtocol, DiscoveryTable,
};

const START: Time = Time::from_nanos(1_700_000_000_123_456_789);

/// Writes a message from lines, each with semicolons: `NAME;TYPE;SECONDS;DATA`, with `!` before the type for cache flush, with
/// `+` before the name for an additional record, or `?` for one that a probe proposes; questions are `NAME;TYPE`.
pub(super) fn message(flags: u16, lines: &[&str]) -> Vec<u8> {
    let mut buffer = vec![0; 9_000];
    let mut writer = DnsWriter::new(&mut buffer, 0, flags).unwrap();
    for line in lines {
        let words: Vec<&str> = line.split(';').collect();
        let (section, name) = match words[0].as_bytes()[0] {
            b'+' => (DnsSection::Additional, &words[0][1..]),
            b'?' => (DnsSection::Authority, &words[0][1..]),
            _ => (DnsSection::Answer, words[0]),
        };
        let owner = OwnedName::from_text(name).unwrap();
        let name = owner.name().unwrap();
        let (cache_flush, kind) = words[1].strip_prefix('!').map_or((false, words[1]), |kind| (true, kind));
        let mut data = Vec::new();
        let mut target = None;
        let kind = match kind {
            "A" => DnsKind::A,
            "PTR" => DnsKind::PTR,
            "TXT" => DnsKind::TXT,
            "AAAA" => DnsKind::AAAA,
            "SRV" => DnsKind::SRV,
            "NSEC" => DnsKind::NSEC,
            _ => DnsKind(kind.parse().unwrap()),
        };
        if words.len() == 2 {
            assert!(writer.question(&DnsQuestion { name, kind: kind.0, class: 1, unicast_response: false }));
            continue;
        }
        match kind {
            DnsKind::A | DnsKind::AAAA => match words[3].parse().unwrap() {
                IpAddr::V4(address) => data.extend(address.octets()),
                IpAddr::V6(address) => data.extend(address.octets()),
            },
            DnsKind::PTR => target = OwnedName::from_text(words[3]),
            DnsKind::SRV => {
                let (host, port) = words[3].rsplit_once(':').unwrap();
                data.extend([0; 4]);
                data.extend(port.parse::<u16>().unwrap().to_be_bytes());
                target = OwnedName::from_text(host);
            }
            // The types as a bitmap: A, TXT, AAAA and SRV.
            DnsKind::NSEC => {
                data.extend([0, 0, 5, 0, 0, 0, 0, 0]);
                for kind in words[3].split(' ').map(|kind| kind.parse::<usize>().unwrap()) {
                    data[3 + kind / 8] |= 0x80 >> (kind % 8);
                }
            }
            _ => {
                for text in words[3].split(',') {
                    data.push(text.len() as u8);
                    data.extend(text.bytes());
                }
            }
        }
        let target = target.as_ref().and_then(OwnedName::name);
        let time_to_live = words[2].parse().unwrap();
        let record =
            DnsRecord { name, kind: kind.0, class: 1, cache_flush, time_to_live, data: &data, target };
        assert!(writer.record(section, &record), "{line}");
    }
    writer.as_bytes().to_vec()
}

/// A table, and the time.
pub(super) struct Listener {
    pub(super) table: DiscoveryTable,
    pub(super) now: Time,
}

pub(super) const fn place(interface: u32) -> DiscoveryPlace {
    DiscoveryPlace { interface: InterfaceIndex::new(interface).unwrap(), vlan: None }
}

impl Listener {
    pub(super) fn new() -> Self {
        Self { table: DiscoveryTable::new(), now: START }
    }

    /// Receives a datagram to the group of its source's family.
    pub(super) fn receive(&mut self, source: &str, payload: &[u8]) {
        let source: IpAddr = source.parse().unwrap();
        let group = if source.is_ipv4() { "224.0.0.251:5353" } else { "[ff02::fb]:5353" };
        self.receive_at(place(2), SocketAddr::new(source, 5353), group, Some(255), payload);
    }

    pub(super) fn receive_at(
        &mut self,
        place: DiscoveryPlace,
        source: SocketAddr,
        destination: &str,
        hop_limit: Option<u8>,
        payload: &[u8],
    ) {
        let destination = destination.parse().unwrap();
        let datagram = DiscoveryDatagram { place, source, destination, hop_limit, outgoing: false, payload };
        self.table.handle_datagram(self.now, &datagram);
    }

    /// Receives a response with these records.
    pub(super) fn hear(&mut self, source: &str, lines: &[&str]) {
        self.receive(source, &message(DnsWriter::RESPONSE, lines));
    }

    /// Lets time pass, with all that is due.
    pub(super) fn wait(&mut self, milliseconds: u64) {
        let end = self.now.after(Duration::from_millis(milliseconds));
        while let Some(due) = self.table.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.table.handle_timeout(self.now);
            while self.table.poll_transmit(self.now).is_some() {}
        }
        self.now = end;
        self.table.handle_timeout(end);
    }

    /// Returns the entries of mDNS and LLMNR; others observe the same datagrams.
    pub(super) fn entries(&self) -> Vec<&Discovered> {
        let protocols = [DiscoveryProtocol::Mdns, DiscoveryProtocol::Llmnr];
        let entries = self.table.entries().into_iter();
        entries.filter(|entry| protocols.contains(&entry.key.protocol)).collect()
    }

    pub(super) fn services(&self) -> Vec<String> {
        self.list(DiscoveredKind::Service)
    }

    pub(super) fn list(&self, kind: DiscoveredKind) -> Vec<String> {
        let entries = self.entries().into_iter().filter(|entry| entry.kind == kind);
        let mut lines: Vec<_> = entries.map(line).collect();
        lines.sort();
        lines
    }

    pub(super) fn only(&self) -> &Discovered {
        let mut services = self.entries().into_iter().filter(|entry| entry.kind == DiscoveredKind::Service);
        let only = services.next().expect("no service");
        assert_eq!(services.next(), None);
        only
    }

    pub(super) fn departures(&mut self) -> Vec<(String, DepartureReason)> {
        let events = std::iter::from_fn(|| self.table.poll_event());
        let departed = events.filter_map(|event| match event {
            DiscoveryEvent::Departed { entry, reason } if entry.key.protocol == DiscoveryProtocol::Mdns => {
                Some((entry.name.to_string(), reason))
            }
            _ => None,
        });
        departed.collect()
    }
}

/// Returns an entry as `NAME SERVICE HOST:PORT ADDRESSES`.
fn line(entry: &Discovered) -> String {
    let addresses: Vec<_> = entry.addresses.iter().map(ToString::to_string).collect();
    let port = entry.port.map(|port| format!(":{port}")).unwrap_or_default();
    let text = format!("{} {} {}{port} {}", entry.name, entry.service, entry.host, addresses.join(" "));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn field(entry: &Discovered, name: &str) -> Option<String> {
    let fields = entry.fields.iter().filter(|field| field.name.as_bytes() == name.as_bytes());
    let values: Vec<_> = fields.map(|field| field.value.to_string()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The announcement of a printer, as responders send it.
pub(super) const PRINTER: [&str; 5] = [
    "_ipp._tcp.local;PTR;4500;Office._ipp._tcp.local",
    "Office._ipp._tcp.local;!SRV;120;printer.local:631",
    "Office._ipp._tcp.local;!TXT;4500;rp=ipp/print,ty=Model 7",
    "+printer.local;!A;120;10.0.0.7",
    "+printer.local;!AAAA;120;fe80::7",
];
