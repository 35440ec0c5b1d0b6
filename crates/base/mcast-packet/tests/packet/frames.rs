//! Frames: a captured packet, VLAN tags, fragments, truncation, padding, and arbitrary bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::{
    ChecksumStatus, Checksums, Cooked, CookedKind, LinkType, MacAddress, Network, Packet, Transport,
    UdpFrame, ether_type, fill_udp_checksum, hexdump, summary,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A datagram from the published capture of a demonstration.
pub(crate) const HELLO: [u8; 60] = [
    0x01, 0x00, 0x5e, 0x01, 0x01, 0x05, 0x08, 0x00, 0x27, 0xa1, 0x33, 0xb4, 0x08, 0x00, 0x45, 0x00, 0x00,
    0x29, 0x0d, 0xc7, 0x40, 0x00, 0x01, 0x11, 0x91, 0xe7, 0xc0, 0xa8, 0x38, 0x67, 0xe0, 0x01, 0x01, 0x05,
    0xcd, 0x66, 0xc3, 0x51, 0x00, 0x15, 0x53, 0xc9, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, 0x20, 0x57, 0x6f,
    0x72, 0x6c, 0x64, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00,
];

fn datagram(source: IpAddr, group: IpAddr, payload: &[u8]) -> Vec<u8> {
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        source,
        source_port: 4000,
        group: group.try_into().unwrap(),
        destination_port: 5000,
        hop_limit: 3,
        payload,
    };
    let mut buffer = vec![0; 70_000];
    let length = frame.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn v4_datagram(payload: &[u8]) -> Vec<u8> {
    datagram(IpAddr::from([10, 0, 0, 1]), IpAddr::from([239, 1, 2, 3]), payload)
}

fn v6_datagram(payload: &[u8]) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    let group = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1);
    datagram(source.into(), group.into(), payload)
}

#[test]
fn demonstration_packet_is_decoded_completely() {
    let packet = Packet::ethernet(&HELLO);
    let ethernet = packet.ethernet.unwrap();
    assert_eq!(ethernet.destination.to_string(), "01:00:5e:01:01:05");
    assert_eq!(ethernet.source.to_string(), "08:00:27:a1:33:b4");

    let ip = packet.ip_layer().unwrap();
    assert_eq!(ip.source, IpAddr::from([192, 168, 56, 103]));
    assert_eq!(ip.destination, IpAddr::from([224, 1, 1, 5]));
    assert_eq!((ip.hop_limit, ip.dscp, ip.router_alert, ip.fragment), (1, 0, None, None));
    assert_eq!(ip.header_checksum, ChecksumStatus::Valid);

    let udp = packet.udp().unwrap();
    assert_eq!((udp.source_port, udp.destination_port, udp.length), (52582, 50001, 21));
    assert_eq!(udp.payload, b"Hello, World!");
    assert_eq!(packet.padding, [0; 5]);
    assert_eq!(packet.malformed, None);
}

#[test]
fn demonstration_packet_prints_as_published() {
    let text = Packet::decode(&HELLO, LinkType::Ethernet, Checksums::LeftToDevice).to_string();
    assert_eq!(text, "Ether / IP / UDP 192.168.56.103:52582 > 224.1.1.5:50001 / Raw / Padding");
    assert_eq!(
        hexdump(&HELLO).to_string(),
        "0000  01 00 5E 01 01 05 08 00  27 A1 33 B4 08 00 45 00  ..^.....'.3...E.\n\
         0010  00 29 0D C7 40 00 01 11  91 E7 C0 A8 38 67 E0 01  .)..@.......8g..\n\
         0020  01 05 CD 66 C3 51 00 15  53 C9 48 65 6C 6C 6F 2C  ...f.Q..S.Hello,\n\
         0030  20 57 6F 72 6C 64 21 00  00 00 00 00               World!....."
    );
}

#[test]
fn every_checksum_status_is_recognized() {
    let status = |bytes: &[u8]| Packet::ethernet(bytes).udp().unwrap().checksum;
    let good = v4_datagram(b"payload");
    assert_eq!(status(&good), ChecksumStatus::Valid);
    assert_eq!(status(&v6_datagram(b"payload")), ChecksumStatus::Valid);

    let mut damaged = good.clone();
    damaged[42] ^= 1;
    assert!(status(&damaged).is_invalid());
    assert!(summary(&damaged).to_string().contains("(bad checksum 0x"));

    let mut without_checksum = good.clone();
    without_checksum[40..42].fill(0);
    assert_eq!(status(&without_checksum), ChecksumStatus::Absent);

    let offloaded = Packet::decode(&damaged, LinkType::Ethernet, Checksums::LeftToDevice);
    assert_eq!(offloaded.udp().unwrap().checksum, ChecksumStatus::NotComputed);
    assert!(!offloaded.to_string().contains("bad"));

    let truncated = &good[..good.len() - 1];
    assert_eq!(status(truncated), ChecksumStatus::NotComputable);
    assert!(Packet::ethernet(truncated).ip_layer().unwrap().truncated);
}

/// Captured with tcpdump on a veth link: the sender's kernel offloaded the UDP checksum to the device, which
/// does not compute it. The receiver's kernel accepted both datagrams.
const OFFLOADED_V4: [u8; 46] = [
    0x01, 0x00, 0x5e, 0x01, 0x02, 0x03, 0xba, 0x03, 0xb7, 0x57, 0x7c, 0x20, 0x08, 0x00, 0x45, 0x00, 0x00,
    0x20, 0x06, 0xb8, 0x40, 0x00, 0x01, 0x11, 0x78, 0x10, 0x0a, 0x00, 0x00, 0x01, 0xef, 0x01, 0x02, 0x03,
    0x0f, 0xa0, 0x13, 0x88, 0x00, 0x0c, 0xfb, 0x22, 0x68, 0x61, 0x6c, 0x66,
];
const OFFLOADED_V6: [u8; 66] = [
    0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0xba, 0x03, 0xb7, 0x57, 0x7c, 0x20, 0x86, 0xdd, 0x60, 0x07, 0x49,
    0xe3, 0x00, 0x0c, 0x11, 0x01, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x01, 0xff, 0x15, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x0f, 0xa0, 0x13, 0x88, 0x00, 0x0c, 0xfc, 0x35, 0x68, 0x61, 0x6c, 0x66,
];

#[test]
fn sum_of_the_pseudo_header_is_an_offloaded_checksum() {
    for (frame, checksum) in [(&OFFLOADED_V4[..], 40..42), (&OFFLOADED_V6[..], 60..62)] {
        let packet = Packet::ethernet(frame);
        assert_eq!(packet.udp().unwrap().checksum, ChecksumStatus::NotComputed);
        assert!(!packet.to_string().contains("checksum"), "{packet}");

        let mut damaged = frame.to_vec();
        damaged[checksum.clone()].copy_from_slice(&[0x12, 0x34]);
        assert!(Packet::ethernet(&damaged).udp().unwrap().checksum.is_invalid());

        let mut finished = frame.to_vec();
        assert!(fill_udp_checksum(&mut finished, LinkType::Ethernet));
        assert_eq!(Packet::ethernet(&finished).udp().unwrap().checksum, ChecksumStatus::Valid);
        assert_ne!(finished[checksum.clone()], frame[checksum]);
    }
}

#[test]
fn damaged_ip_header_is_reported() {
    let mut frame = v4_datagram(b"x");
    frame[22] += 1;
    assert!(Packet::ethernet(&frame).ip_layer().unwrap().header_checksum.is_invalid());
    assert!(summary(&frame).to_string().starts_with("Ether / IP (bad checksum 0x"));
}

#[test]
fn vlan_tags_are_decoded_and_shown() {
    let mut frame = v4_datagram(b"x");
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
    assert_eq!(
        summary(&frame).to_string(),
        "Ether / 802.1Q 42 / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw"
    );
}

#[test]
fn ip_packet_decodes_without_link_layer() {
    let frame = v6_datagram(b"x");
    assert_eq!(Packet::ip(&frame[14..]).to_string(), "IPv6 / UDP [fd00::1]:4000 > [ff15::1]:5000 / Raw");
}

#[test]
fn only_the_first_fragment_has_ports() {
    let original = v4_datagram(&[7; 64]);
    let mut first = original.clone();
    first[20] = 0x20;
    let packet = Packet::ethernet(&first);
    let fragment = packet.ip_layer().unwrap().fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more), (0, true));
    assert_eq!(packet.udp().unwrap().destination_port, 5000);
    assert_eq!(packet.udp().unwrap().checksum, ChecksumStatus::NotComputable);

    let mut later = original;
    later[20..22].copy_from_slice(&[0x00, 185]);
    let packet = Packet::ethernet(&later);
    let fragment = packet.ip_layer().unwrap().fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more), (1480, false));
    assert!(matches!(packet.transport, Some(Transport::Fragment(payload)) if payload.len() == 72));
    assert!(packet.to_string().contains("UDP 10.0.0.1 > 239.1.2.3 (fragment, bytes 1480 to 1552) / Raw"));
}

#[test]
fn malformed_layer_is_reported_and_layers_before_it_are_kept() {
    assert_eq!(summary(&[1, 2, 3]).to_string(), "malformed: Ethernet is shorter than its header");
    let mut frame = v4_datagram(b"x");
    frame[38..40].copy_from_slice(&[0, 7]);
    let packet = Packet::ethernet(&frame);
    assert!(matches!(packet.network, Some(Network::Ip(_))));
    assert_eq!(packet.transport, None);
    assert_eq!(packet.to_string(), "Ether / IP / malformed: UDP states a length shorter than its header");
    let mut frame = v4_datagram(b"x");
    frame[14] = 0x35;
    assert_eq!(summary(&frame).to_string(), "Ether / malformed: IP has a version other than 4 and 6");
}

/// The extension header iterator of etherparse 0.21 reads out of bounds on these headers.
#[test]
fn truncated_chain_of_extension_headers_is_reported() {
    let mut bytes = vec![0; 48];
    bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8, 0, 1]);
    let packet = Packet::ip(&bytes);
    assert_eq!(packet.to_string(), "IPv6 / malformed: IP has a malformed extension header");
    assert_eq!(packet.ip_layer().unwrap().header.len(), 48);
}

#[test]
fn other_protocols_are_shown_by_name() {
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    assert_eq!(summary(&arp).to_string(), "Ether / ARP 10.0.0.1 requests 10.0.0.2");
    let mut tcp = v4_datagram(b"x");
    tcp[23] = 6;
    tcp[24..26].copy_from_slice(&[0, 0]);
    assert!(summary(&tcp).to_string().ends_with("TCP 10.0.0.1 > 239.1.2.3"));
    let mut lldp = vec![0; 12];
    lldp.extend([0x88, 0xcc, 1, 2, 3]);
    assert_eq!(summary(&lldp).to_string(), "Ether / LLDP");
}

#[test]
fn empty_datagram_is_shown() {
    assert_eq!(summary(&v4_datagram(b"")).to_string(), "Ether / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000");
}

#[test]
fn offloaded_checksum_can_be_filled_in() {
    for mut frame in [v4_datagram(b"payload"), v6_datagram(b"odd")] {
        let original = frame.clone();
        let field = original.len() - Packet::ethernet(&original).udp().unwrap().payload.len() - 2;
        frame[field..field + 2].copy_from_slice(&[0x12, 0x34]);
        assert!(fill_udp_checksum(&mut frame, LinkType::Ethernet));
        assert_eq!(frame, original);
        let mut truncated = original[..original.len() - 1].to_vec();
        assert!(!fill_udp_checksum(&mut truncated, LinkType::Ethernet));
        assert_eq!(truncated, original[..original.len() - 1]);
    }
    assert!(!fill_udp_checksum(&mut [0; 60], LinkType::Ethernet));
}

#[test]
fn cooked_and_loopback_captures_are_decoded() {
    let ip = &v4_datagram(b"x")[14..];
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    for interface in [None, Some(7)] {
        let cooked = Cooked::new(CookedKind::Multicast, mac, ether_type::IPV4, interface);
        let mut bytes = vec![0; 20];
        let length = cooked.emit(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes.extend_from_slice(ip);
        let packet = Packet::decode(&bytes, cooked.link_type(), Checksums::Computed);
        assert_eq!(packet.to_string(), "Cooked / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw");
        assert_eq!(packet.cooked, Some(cooked));
        assert_eq!(packet.link_length(), length);
        bytes.truncate(15);
        let short = Packet::decode(&bytes, cooked.link_type(), Checksums::Computed);
        assert_eq!(short.to_string(), "malformed: cooked capture is shorter than its header");
    }
    let loopback = [&[2, 0, 0, 0][..], ip].concat();
    let packet = Packet::decode(&loopback, LinkType::Loopback, Checksums::Computed);
    assert_eq!(packet.to_string(), "IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw");
}

proptest! {
    #[test]
    fn decoder_does_not_panic_on_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        for link_type in LinkType::ALL {
            let _ = Packet::decode(&bytes, link_type, Checksums::Computed).to_string();
        }
        let _ = hexdump(&bytes).to_string();
    }

    #[test]
    fn decoder_does_not_panic_on_damaged_frames(
        payload in vec(any::<u8>(), 0..64),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        v6: bool,
        cut: prop::sample::Index,
    ) {
        let mut frame = if v6 { v6_datagram(&payload) } else { v4_datagram(&payload) };
        for (position, value) in damage {
            let position = position.index(frame.len());
            frame[position] = value;
        }
        frame.truncate(cut.index(frame.len() + 1));
        let packet = Packet::ethernet(&frame);
        let _ = packet.to_string();
        if let Some(ip) = packet.ip_layer() {
            let offset = packet.ethernet.unwrap().length();
            prop_assert_eq!(offset + ip.length() + packet.padding.len(), frame.len());
        }
    }

    #[test]
    fn built_datagrams_round_trip(payload in vec(any::<u8>(), 0..1500), source: u32, group in 0xe000_0000u32..0xf000_0000) {
        let (source, group) = (Ipv4Addr::from(source), Ipv4Addr::from(group));
        let frame = datagram(source.into(), group.into(), &payload);
        let packet = Packet::ethernet(&frame);
        let (ip, udp) = (packet.ip_layer().unwrap(), packet.udp().unwrap());
        prop_assert_eq!((ip.source, ip.destination), (IpAddr::from(source), IpAddr::from(group)));
        prop_assert_eq!((udp.checksum, ip.header_checksum), (ChecksumStatus::Valid, ChecksumStatus::Valid));
        prop_assert_eq!(udp.payload, &payload[..]);
    }

    #[test]
    fn hexdump_shows_every_byte_and_no_control_characters(bytes in vec(any::<u8>(), 0..100)) {
        let text = hexdump(&bytes).to_string();
        prop_assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()));
        let shown: Vec<u8> = text
            .lines()
            .flat_map(|line| line[5..54].split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        prop_assert_eq!(shown, bytes);
    }
}

#[test]
fn group_and_broadcast_frames_are_recognized_by_link_layer_address() {
    let with_destination = |mac: [u8; 6]| {
        let mut frame = v4_datagram(b"x");
        frame[..6].copy_from_slice(&mac);
        frame
    };
    let status = |frame: &[u8]| {
        let packet = Packet::ethernet(frame);
        (packet.is_group_addressed(), packet.is_broadcast())
    };
    assert_eq!(status(&v4_datagram(b"x")), (true, false));
    assert_eq!(status(&with_destination([0xff; 6])), (true, true));
    assert_eq!(status(&with_destination([2, 0, 0, 0, 0, 1])), (false, false));

    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let mut cooked = vec![0; 16];
    Cooked::new(CookedKind::Broadcast, mac, ether_type::ARP, None).emit(&mut cooked).unwrap();
    let packet = Packet::decode(&cooked, LinkType::LinuxCooked, Checksums::Computed);
    assert!(packet.is_group_addressed() && packet.is_broadcast());
}

#[test]
fn frames_without_ip_are_shown_by_protocol_name() {
    let summary_of = |number: u16| {
        let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1];
        frame.extend(number.to_be_bytes());
        summary(&frame).to_string()
    };
    assert_eq!(
        [summary_of(0x88cc), summary_of(0x0026), summary_of(0x88b5)],
        ["Ether / LLDP", "Ether / 802.3", "Ether / type 0x88b5"]
    );
}

#[test]
fn caller_can_replace_the_payload_description() {
    let frame = v4_datagram(b"x");
    let text = Packet::ethernet(&frame).summary_with(&"ours").to_string();
    assert_eq!(text, summary(&frame).to_string().replace("Raw", "ours"));
}

/// A message that Linux has logged for a rule of nftables (`log prefix "no groups" group 5`), captured by `tcpdump -i nflog:5`.
const LOGGED: &str = "0200000508000100080003000e000a006e6f2067726f757073000000080005000000000308000b0000000000\
    08000e0000000000210009004500001d092c4000011175960a090001ef0102038a8013880009fb2878000000";

fn logged() -> Vec<u8> {
    LOGGED
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn what_the_firewall_has_logged_is_decoded_in_either_byte_order() {
    let little = logged();
    let mut big = little.clone();
    for attribute in [4, 12, 28, 36, 44, 52] {
        big[attribute..attribute + 2].reverse();
        big[attribute + 2..attribute + 4].reverse();
    }
    assert_ne!(little, big);
    for bytes in [little, big] {
        let packet = Packet::decode(&bytes, LinkType::Nflog, Checksums::LeftToDevice);
        assert_eq!(packet.to_string(), "IP / UDP 10.9.0.1:35456 > 239.1.2.3:5000 / Raw");
        assert_eq!((packet.udp().unwrap().payload, packet.link_length()), (&b"x"[..], 56));
    }
}

#[test]
fn a_logged_message_without_a_packet_is_unreadable_wherever_it_is_cut() {
    let whole = logged();
    for end in 0..whole.len() - 4 {
        let packet = Packet::decode(&whole[..end], LinkType::Nflog, Checksums::LeftToDevice);
        assert!(packet.is_unreadable() || packet.network.is_some(), "{end}");
        assert!(packet.udp().is_none(), "{end}");
    }
    let endless = [2, 0, 0, 5, 0, 0, 0, 0];
    assert!(Packet::decode(&endless, LinkType::Nflog, Checksums::Computed).is_unreadable());
}
