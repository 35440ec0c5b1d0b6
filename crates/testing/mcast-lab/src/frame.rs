//! Recognises UDP in Ethernet frames.

const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Returns whether an Ethernet frame carries UDP, or a fragment of it, over IPv4 or IPv6.
pub(crate) fn is_udp(frame: &[u8]) -> bool {
    let Some((header, packet)) = frame.split_at_checked(ETHERNET_HEADER) else { return false };
    match u16::from_be_bytes([header[12], header[13]]) {
        IPV4 => packet.get(9) == Some(&UDP),
        IPV6 => ipv6_carries_udp(packet).unwrap_or(false),
        _ => false,
    }
}

/// Follows the chain of extension headers (RFC 8200, section 4). Returns `None` if the packet is cut off.
fn ipv6_carries_udp(packet: &[u8]) -> Option<bool> {
    let mut next = *packet.get(6)?;
    let mut rest = packet.get(40..)?;
    loop {
        let length = match next {
            UDP => return Some(true),
            FRAGMENT => 8,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + 8 * usize::from(*rest.get(1)?),
            _ => return Some(false),
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(packet);
        frame
    }

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[9] = protocol;
        ethernet(IPV4, &packet)
    }

    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[6] = next;
        packet.extend_from_slice(rest);
        ethernet(IPV6, &packet)
    }

    #[test]
    fn udp_is_distinguished_from_other_protocols() {
        assert!(is_udp(&ipv4(UDP)));
        assert!(!is_udp(&ipv4(2)), "IGMP");
        assert!(is_udp(&ipv6(UDP, &[0; 8])));
        assert!(!is_udp(&ipv6(58, &[0; 8])), "ICMPv6");
        assert!(!is_udp(&ethernet(0x0806, &[UDP; 28])), "ARP");
    }

    #[test]
    fn extension_headers_are_passed_over() {
        let mut options = [0; 24];
        options[0] = UDP;
        options[1] = 1;
        assert!(is_udp(&ipv6(HOP_BY_HOP, &options)));
        assert!(is_udp(&ipv6(FRAGMENT, &[UDP, 0, 0, 8, 0, 0, 0, 1, 9])));
        // MLD: a hop-by-hop header with the router alert, then ICMPv6.
        assert!(!is_udp(&ipv6(HOP_BY_HOP, &[58, 0, 5, 2, 0, 0, 1, 0, 143])));
    }

    #[test]
    fn short_frames_are_not_udp() {
        for frame in [ipv4(UDP), ipv6(HOP_BY_HOP, &[UDP, 3])] {
            for length in 0..20 {
                assert!(!is_udp(&frame[..length]));
            }
        }
        assert!(!is_udp(&ipv6(HOP_BY_HOP, &[UDP, 3])));
    }
}
