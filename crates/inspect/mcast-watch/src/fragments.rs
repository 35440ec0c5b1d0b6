//! Remembers the ports of fragmented datagrams, which only the first fragment contains.

use std::net::IpAddr;

use mcast_group::InterfaceIndex;
use mcast_packet::{Packet, protocol};

use crate::lru::Lru;

/// The destination ports of fragmented datagrams. Their number is bounded: the oldest is forgotten first.
///
/// ```
/// use mcast_packet::Packet;
/// use mcast_watch::FragmentPorts;
///
/// /// Returns the destination ports of captured frames, as far as they are known.
/// fn ports(frames: &[&[u8]], interface: mcast_group::InterfaceIndex) -> Vec<Option<u16>> {
///     let mut ports = FragmentPorts::new();
///     frames.iter().map(|frame| ports.port_of(interface, &Packet::ethernet(frame))).collect()
/// }
/// ```
#[derive(Debug)]
pub struct FragmentPorts(Lru<DatagramKey, u16>);

/// The identity of a fragmented datagram (RFC 791, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct DatagramKey {
    interface: InterfaceIndex,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
}

impl FragmentPorts {
    const MAX_DATAGRAMS: usize = 1_024;

    /// Creates a memory without datagrams.
    #[must_use]
    pub fn new() -> Self {
        Self(Lru::new(Self::MAX_DATAGRAMS))
    }

    /// Returns the destination UDP port of a packet. For a later fragment it is known if the first one was
    /// passed before.
    pub fn port_of(&mut self, interface: InterfaceIndex, packet: &Packet<'_>) -> Option<u16> {
        let ip = packet.ip_layer()?;
        let port = packet.udp().map(|udp| udp.destination_port);
        let Some(fragment) = ip.fragment.filter(|_| ip.protocol == protocol::UDP) else { return port };
        let key = DatagramKey {
            interface,
            source: ip.source,
            destination: ip.destination,
            identification: fragment.identification,
        };
        match port {
            Some(port) if fragment.offset == 0 => {
                *self.0.touch(key, || port).0 = port;
                Some(port)
            }
            _ => self.0.get(&key).copied(),
        }
    }
}

impl Default for FragmentPorts {
    fn default() -> Self {
        Self::new()
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

    fn port(ports: &mut FragmentPorts, bytes: &[u8]) -> Option<u16> {
        ports.port_of(InterfaceIndex::new(1).unwrap(), &Packet::ip(bytes))
    }

    #[test]
    fn later_fragment_has_the_port_of_the_first() {
        let mut ports = FragmentPorts::new();
        assert_eq!(port(&mut ports, &packet(7, 16)), None);
        assert_eq!(port(&mut ports, &packet(7, 0)), Some(5000));
        assert_eq!(port(&mut ports, &packet(7, 16)), Some(5000));
        assert_eq!(port(&mut ports, &packet(8, 16)), None);
    }

    #[test]
    fn number_of_remembered_datagrams_is_bounded() {
        let mut ports = FragmentPorts::new();
        for number in 0..5_000 {
            port(&mut ports, &packet(number, 0));
        }
        assert_eq!(ports.0.len(), FragmentPorts::MAX_DATAGRAMS);
        assert_eq!(port(&mut ports, &packet(4_999, 16)), Some(5000));
        assert_eq!(port(&mut ports, &packet(0, 16)), None);
    }
}
