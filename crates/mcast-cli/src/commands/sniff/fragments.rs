//! Remembers the ports of fragmented datagrams, which only the first fragment contains.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use mcast::InterfaceIndex;
use mcast_packet::{Fragment, Ip, Packet, protocol};

/// The maximum number of remembered datagrams; the oldest is forgotten first.
const MAX_DATAGRAMS: usize = 1_024;

/// The identity of a fragmented datagram (RFC 791, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    interface: InterfaceIndex,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
}

/// The ports of datagrams whose first fragment was seen.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    ports: HashMap<Key, u16>,
    order: VecDeque<Key>,
}

impl Fragments {
    /// Returns the destination UDP port of a packet. For a later fragment it is known if the first one was seen before.
    pub(super) fn port_of(&mut self, packet: &Packet<'_>, interface: InterfaceIndex) -> Option<u16> {
        let ip = packet.ip_layer()?;
        let port = packet.udp().map(|udp| udp.destination_port);
        let Some(fragment) = ip.fragment.filter(|_| ip.protocol == protocol::UDP) else { return port };
        let key = Key::new(ip, fragment, interface);
        match port {
            Some(port) if fragment.offset == 0 => {
                self.remember(key, port);
                Some(port)
            }
            _ => self.ports.get(&key).copied(),
        }
    }

    fn remember(&mut self, key: Key, port: u16) {
        if self.ports.insert(key, port).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_DATAGRAMS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ports.remove(&oldest);
        }
    }
}

impl Key {
    const fn new(ip: &Ip<'_>, fragment: Fragment, interface: InterfaceIndex) -> Self {
        Self {
            interface,
            source: ip.source,
            destination: ip.destination,
            identification: fragment.identification,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(identification: u16, offset: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 36];
        bytes.extend(identification.to_be_bytes());
        bytes.extend((0x2000 | (offset / 8)).to_be_bytes());
        bytes.extend([1, 17, 0, 0, 10, 0, 0, 1, 239, 1, 2, 3]);
        bytes.extend([0x0f, 0xa0, 0x13, 0x88, 5, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes
    }

    fn port(fragments: &mut Fragments, bytes: &[u8]) -> Option<u16> {
        fragments.port_of(&Packet::ip(bytes), InterfaceIndex::new(1).unwrap())
    }

    #[test]
    fn a_later_fragment_has_the_port_of_the_first() {
        let mut fragments = Fragments::default();
        assert_eq!(port(&mut fragments, &packet(7, 16)), None);
        assert_eq!(port(&mut fragments, &packet(7, 0)), Some(5000));
        assert_eq!(port(&mut fragments, &packet(7, 16)), Some(5000));
        assert_eq!(port(&mut fragments, &packet(8, 16)), None);
    }

    #[test]
    fn the_number_of_remembered_datagrams_is_bounded() {
        let mut fragments = Fragments::default();
        for number in 0..5_000 {
            port(&mut fragments, &packet(number, 0));
        }
        assert_eq!((fragments.ports.len(), fragments.order.len()), (MAX_DATAGRAMS, MAX_DATAGRAMS));
        assert_eq!(port(&mut fragments, &packet(4_999, 16)), Some(5000));
        assert_eq!(port(&mut fragments, &packet(0, 16)), None);
    }
}
