//! What is remembered of flows, with bounds: the ports of fragmented datagrams, and which flows are RTP.

use std::net::{IpAddr, SocketAddr};

use mcast_group::InterfaceIndex;
use mcast_packet::payload::Rtp;
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

/// Recognizes RTP on ports that it does not use by convention, where one packet is not conclusive. Four packets of a flow are,
/// if they look like RTP, have one SSRC, and their numbers increase by small steps: random payloads do so with a probability
/// of less than 2^-128. The number of flows is bounded: the oldest is forgotten first.
///
/// ```
/// use mcast_packet::Packet;
/// use mcast_watch::RtpFlows;
///
/// /// Returns the RTP sequence numbers in captured frames; `None` where it is not certain that a frame contains RTP.
/// fn numbers(frames: &[&[u8]]) -> Vec<Option<u16>> {
///     let mut flows = RtpFlows::default();
///     let number = |frame: &&[u8]| Some(flows.recognize(&Packet::ethernet(frame))?.sequence);
///     frames.iter().map(number).collect()
/// }
/// ```
#[derive(Debug)]
pub struct RtpFlows(Lru<FlowKey, Series>);

/// Source and destination.
type FlowKey = (SocketAddr, SocketAddr);

/// Packets of a flow that look like RTP.
#[derive(Clone, Copy, Debug)]
struct Series {
    ssrc: u32,
    latest: u16,
    /// How many consecutive packets continued the numbers, up to [`RtpFlows::CERTAIN_AFTER`].
    length: u8,
}

impl RtpFlows {
    /// How many packets are conclusive.
    const CERTAIN_AFTER: u8 = 4;
    /// How far a number may be ahead of the one before, as some are lost.
    const FARTHEST: u16 = 4;
    const MAX_FLOWS: usize = 4_096;

    /// Records a packet, and returns its RTP packet if its flow certainly is RTP. A packet that does not look like RTP ends
    /// the series of its flow.
    pub fn recognize<'a>(&mut self, packet: &Packet<'a>) -> Option<Rtp<'a>> {
        let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
        if ip.fragment.is_some() || ip.truncated {
            return None;
        }
        let source = SocketAddr::new(ip.source, udp.source_port);
        let key = (source, SocketAddr::new(ip.destination, udp.destination_port));
        let series = self.0.get(&key).copied();
        let is_certain =
            |series: &Series, rtp: &Rtp<'_>| series.length >= Self::CERTAIN_AFTER && series.ssrc == rtp.ssrc;
        let known =
            |rtp: &Rtp<'_>| rtp.is_plausible() || series.is_some_and(|series| is_certain(&series, rtp));
        let Some(rtp) = Rtp::parse(udp.payload).filter(known) else {
            self.0.remove(&key);
            return None;
        };
        let series = Series::with(series, &rtp);
        *self.0.touch(key, || series).0 = series;
        if series.length == Self::CERTAIN_AFTER {
            self.0.prove(&key);
        }
        is_certain(&series, &rtp).then_some(rtp)
    }
}

impl Default for RtpFlows {
    fn default() -> Self {
        Self(Lru::new(Self::MAX_FLOWS))
    }
}

impl Series {
    /// Returns the series with a further packet; a new one if the packet does not continue it.
    fn with(earlier: Option<Self>, rtp: &Rtp<'_>) -> Self {
        let first = Self { ssrc: rtp.ssrc, latest: rtp.sequence, length: 1 };
        let Some(earlier) = earlier.filter(|earlier| earlier.ssrc == rtp.ssrc) else { return first };
        let ahead = rtp.sequence.wrapping_sub(earlier.latest);
        match ahead {
            1..=RtpFlows::FARTHEST => {
                let length = (earlier.length + 1).min(RtpFlows::CERTAIN_AFTER);
                Self { length, ..first }
            }
            // Once certain, a repeated, late or lost packet changes nothing.
            _ if earlier.length >= RtpFlows::CERTAIN_AFTER => Self { length: earlier.length, ..first },
            0 => earlier,
            _ => first,
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
