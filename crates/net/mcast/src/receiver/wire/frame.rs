//! Parsing a frame that the program of an interface has taken: untagged, one whole UDP datagram in it, without options or
//! extension headers. It is checked as the kernel checks it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mcast_group::{GroupAddr, InterfaceIndex};
use mcast_packet::InternetChecksum;

const ETHERNET: usize = 14;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;

/// A datagram in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireDatagram<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: GroupAddr,
    pub(super) hop_limit: u8,
    pub(super) traffic_class: u8,
    pub(super) payload: &'a [u8],
}

/// The fields of an IP header that matter here, whichever version.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    traffic_class: u8,
    /// The UDP datagram, with what follows it in the packet.
    payload: &'a [u8],
}

impl<'a> WireDatagram<'a> {
    /// Parses a frame; `None` if the kernel would discard it. If the device `leaves_checksums`, the sum of the
    /// pseudo-header may be in place of the checksum, as the sender's kernel left it.
    #[inline]
    pub(super) fn parse(frame: &'a [u8], on: InterfaceIndex, leaves_checksums: bool) -> Option<Self> {
        let packet = frame.get(ETHERNET..)?;
        let ip = match packet.first()? >> 4 {
            4 => ipv4(packet)?,
            6 => ipv6(packet)?,
            _ => return None,
        };
        let header = ip.payload.first_chunk::<UDP_HEADER>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let length = match usize::from(word(4)) {
            // As in the kernel, which delivers it: the length of a jumbogram is that of the packet (RFC 2675, section 4).
            0 if ip.source.is_ipv6() => ip.payload.len(),
            length => length,
        };
        let datagram = ip.payload.get(..length).filter(|datagram| datagram.len() >= UDP_HEADER)?;
        if !is_intact(&ip, datagram, word(6), leaves_checksums) {
            return None;
        }
        let source = match ip.source {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(v6, word(0), 0, on.number()).into()
            }
            // An IPv4 address in a packet of IPv6 is reported as by a socket.
            source => SocketAddr::new(source.to_canonical(), word(0)),
        };
        Some(Self {
            source,
            destination: SocketAddr::new(ip.destination, word(2)).try_into().ok()?,
            hop_limit: ip.hop_limit,
            traffic_class: ip.traffic_class,
            payload: &datagram[UDP_HEADER..],
        })
    }
}

fn ipv4(packet: &[u8]) -> Option<Ip<'_>> {
    let header = packet.first_chunk::<V4_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_plain = header[0] == 0x45 && header[9] == UDP;
    if !is_plain || InternetChecksum::new().bytes(header).finish() != 0 {
        return None;
    }
    let [source, destination] =
        [12, 16].map(|at| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    // The kernel discards these as impossible sources, other than 0.0.0.0 within the link.
    let is_source = !source.is_multicast()
        && !source.is_broadcast()
        && !source.is_loopback()
        && (!source.is_unspecified() || destination.octets()[..3] == [224, 0, 0]);
    is_source.then_some(Ip {
        source: source.into(),
        destination: destination.into(),
        hop_limit: header[8],
        traffic_class: header[1],
        payload: packet.get(V4_HEADER..length)?,
    })
}

fn ipv6(packet: &[u8]) -> Option<Ip<'_>> {
    let header = packet.first_chunk::<V6_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at: usize| header[at..].first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
    let (source, destination) = (address(8)?, address(24)?);
    let is_source = header[6] == UDP && !source.is_multicast() && !source.is_loopback();
    is_source.then_some(Ip {
        source: source.into(),
        destination: destination.into(),
        hop_limit: header[7],
        traffic_class: header[0] << 4 | header[1] >> 4,
        payload: packet.get(V6_HEADER..V6_HEADER + length)?,
    })
}

/// Returns whether the UDP checksum is right, or absent where it may be.
#[inline]
fn is_intact(ip: &Ip<'_>, datagram: &[u8], checksum: u16, leaves_checksums: bool) -> bool {
    if checksum == 0 {
        // Over IPv6 only tunnels may omit it.
        return ip.source.is_ipv4();
    }
    let Some(pseudo) = u32::try_from(datagram.len())
        .ok()
        .and_then(|length| InternetChecksum::pseudo_header(ip.source, ip.destination, UDP, length))
    else {
        return false;
    };
    let is_left = leaves_checksums && checksum == !pseudo.finish();
    is_left || pseudo.bytes(datagram).finish() == 0
}

#[cfg(test)]
mod tests {
    use mcast_packet::{MacAddress, UdpFrame};

    use super::*;

    fn interface() -> InterfaceIndex {
        InterfaceIndex::new(3).unwrap()
    }

    /// Returns a frame with a right checksum.
    fn frame(source: &str, group: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 2000];
        let frame = UdpFrame {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            source: source.parse().unwrap(),
            source_port: 5000,
            group: group.parse().unwrap(),
            destination_port: 7000,
            hop_limit: 9,
            payload,
        };
        let length = frame.emit(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn parse(frame: &[u8]) -> Option<WireDatagram<'_>> {
        WireDatagram::parse(frame, interface(), false)
    }

    #[test]
    fn a_datagram_is_read_from_its_frame_without_padding() {
        for (source, group) in [("10.0.0.1", "239.1.2.3"), ("fd00::1", "ff15::1")] {
            let mut bytes = frame(source, group, b"odd");
            bytes.extend([0xaa; 20]);
            let datagram = parse(&bytes).unwrap();
            assert_eq!(datagram.source, SocketAddr::new(source.parse().unwrap(), 5000));
            assert_eq!(datagram.destination, GroupAddr::new(group.parse().unwrap(), 7000));
            assert_eq!((datagram.hop_limit, datagram.payload), (9, &b"odd"[..]));
        }
    }

    #[test]
    fn a_link_local_source_has_the_interface() {
        let bytes = frame("fe80::1", "ff15::1", b"x");
        let SocketAddr::V6(source) = parse(&bytes).unwrap().source else { panic!("of another family") };
        assert_eq!(source.scope_id(), 3);
    }

    #[test]
    fn a_datagram_of_ipv6_without_a_length_is_as_long_as_its_packet() {
        let mut bytes = frame("fd00::1", "ff15::1", b"jumbo");
        bytes[58..60].fill(0);
        // The pseudo-header contains the length of the packet in both, and the field is summed as well.
        let sum = InternetChecksum::pseudo_header(
            "fd00::1".parse().unwrap(),
            "ff15::1".parse().unwrap(),
            UDP,
            u32::try_from(bytes.len() - 54).unwrap(),
        );
        bytes[60..62].fill(0);
        let checksum = sum.unwrap().bytes(&bytes[54..]).finish();
        bytes[60..62].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(parse(&bytes).unwrap().payload, b"jumbo");
        let mut v4 = frame("10.0.0.1", "239.1.2.3", b"x");
        v4[38..40].fill(0);
        v4[40..42].fill(0);
        assert_eq!(parse(&v4), None);
    }

    #[test]
    fn a_source_of_ipv4_in_a_packet_of_ipv6_is_one_of_ipv4() {
        let bytes = frame("::ffff:10.7.0.1", "ff15::1", b"x");
        assert_eq!(parse(&bytes).unwrap().source, SocketAddr::new("10.7.0.1".parse().unwrap(), 5000));
    }

    #[test]
    fn any_changed_bit_of_the_packet_is_noticed() {
        for (source, group) in [("10.0.0.1", "239.1.2.3"), ("fd00::1", "ff15::1")] {
            let intact = frame(source, group, b"payload");
            // IPv6 does not protect traffic class, flow label and hop limit.
            let unprotected = if source.contains(':') { vec![14, 15, 16, 17, 21] } else { vec![] };
            for at in (ETHERNET..intact.len()).filter(|at| !unprotected.contains(at)) {
                let mut damaged = intact.clone();
                damaged[at] ^= 0x10;
                assert_eq!(parse(&damaged), None, "byte {at} of {group}");
            }
        }
    }

    #[test]
    fn a_checksum_left_to_a_device_is_accepted_only_from_devices_that_leave_it() {
        let mut bytes = frame("10.0.0.1", "239.1.2.3", b"payload");
        let (source, group) = ("10.0.0.1".parse().unwrap(), "239.1.2.3".parse().unwrap());
        let pseudo = InternetChecksum::pseudo_header(source, group, UDP, 15).unwrap();
        bytes[40..42].copy_from_slice(&(!pseudo.finish()).to_be_bytes());
        assert_eq!(parse(&bytes), None);
        assert!(WireDatagram::parse(&bytes, interface(), true).is_some());
    }

    #[test]
    fn an_absent_checksum_is_accepted_over_ipv4_only() {
        let (mut v4, mut v6) = (frame("10.0.0.1", "239.1.2.3", b"x"), frame("fd00::1", "ff15::1", b"x"));
        v4[40..42].fill(0);
        v6[60..62].fill(0);
        assert!(parse(&v4).is_some());
        assert_eq!(parse(&v6), None);
    }

    #[test]
    fn impossible_sources_are_discarded() {
        for source in ["239.1.1.1", "127.0.0.1", "255.255.255.255", "0.0.0.0"] {
            assert_eq!(parse(&frame(source, "239.1.2.3", b"x")), None, "{source}");
        }
        assert!(parse(&frame("0.0.0.0", "224.0.0.1", b"x")).is_some(), "within the link");
        for source in ["ff15::2", "::1"] {
            assert_eq!(parse(&frame(source, "ff15::1", b"x")), None, "{source}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes: Vec<u8>, cut in 0..80_usize) {
            let _ = parse(&bytes);
            let whole = frame("10.0.0.1", "239.1.2.3", b"payload");
            proptest::prop_assert!(cut >= whole.len() || parse(&whole[..cut]).is_none());
        }
    }
}
