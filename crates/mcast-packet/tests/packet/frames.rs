//! Frames: the seeds' captured packet, tags, fragments, truncation, padding, and any bytes at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mcast_packet::{
    ChecksumStatus, Checksums, Cooked, CookedKind, LinkType, MacAddress, Network, Packet, Transport,
    UdpFrame, ether_type, fill_udp_checksum, hexdump, summary,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// One datagram of a published demonstration, as its capture printed it.
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
fn the_demonstrations_packet_decodes_to_the_last_byte() {
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
fn the_demonstrations_packet_prints_as_it_was_published() {
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
fn a_checksum_is_valid_wrong_absent_pending_or_beyond_knowing() {
    let status = |bytes: &[u8]| Packet::ethernet(bytes).udp().unwrap().checksum;
    let good = v4_datagram(b"payload");
    assert_eq!(status(&good), ChecksumStatus::Valid);
    assert_eq!(status(&v6_datagram(b"payload")), ChecksumStatus::Valid);

    let mut damaged = good.clone();
    damaged[42] ^= 1;
    assert!(status(&damaged).is_invalid());
    assert!(summary(&damaged).to_string().contains("(bad checksum 0x"));

    let mut without = good.clone();
    without[40..42].fill(0);
    assert_eq!(status(&without), ChecksumStatus::Absent);

    let pending = Packet::decode(&damaged, LinkType::Ethernet, Checksums::LeftToDevice);
    assert_eq!(pending.udp().unwrap().checksum, ChecksumStatus::NotComputed);
    assert!(!pending.to_string().contains("bad"));

    let cut = &good[..good.len() - 1];
    assert_eq!(status(cut), ChecksumStatus::NotComputable);
    assert!(Packet::ethernet(cut).ip_layer().unwrap().truncated);
}

#[test]
fn a_damaged_ip_header_is_told() {
    let mut frame = v4_datagram(b"x");
    frame[22] += 1;
    assert!(Packet::ethernet(&frame).ip_layer().unwrap().header_checksum.is_invalid());
    assert!(summary(&frame).to_string().starts_with("Ether / IP (bad checksum 0x"));
}

#[test]
fn tags_are_passed_through_and_shown() {
    let mut frame = v4_datagram(b"x");
    frame.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
    assert_eq!(
        summary(&frame).to_string(),
        "Ether / 802.1Q 42 / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw"
    );
}

#[test]
fn raw_ip_needs_no_link_layer() {
    let frame = v6_datagram(b"x");
    assert_eq!(Packet::ip(&frame[14..]).to_string(), "IPv6 / UDP [fd00::1]:4000 > [ff15::1]:5000 / Raw");
}

#[test]
fn only_the_first_fragment_has_ports() {
    let whole = v4_datagram(&[7; 64]);
    let mut first = whole.clone();
    first[20] = 0x20;
    let packet = Packet::ethernet(&first);
    let fragment = packet.ip_layer().unwrap().fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more), (0, true));
    assert_eq!(packet.udp().unwrap().destination_port, 5000);
    assert_eq!(packet.udp().unwrap().checksum, ChecksumStatus::NotComputable);

    let mut later = whole;
    later[20..22].copy_from_slice(&[0x00, 185]);
    let packet = Packet::ethernet(&later);
    let fragment = packet.ip_layer().unwrap().fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more), (1480, false));
    assert!(matches!(packet.transport, Some(Transport::Fragment(piece)) if piece.len() == 72));
    assert!(packet.to_string().contains("UDP 10.0.0.1 > 239.1.2.3 (fragment, bytes 1480 to 1552) / Raw"));
}

#[test]
fn what_is_broken_is_named_and_the_rest_kept() {
    assert_eq!(summary(&[1, 2, 3]).to_string(), "malformed: Ethernet is shorter than its header");
    let mut frame = v4_datagram(b"x");
    frame[38..40].copy_from_slice(&[0, 7]);
    let packet = Packet::ethernet(&frame);
    assert!(matches!(packet.network, Some(Network::Ip(_))));
    assert_eq!(packet.transport, None);
    assert_eq!(packet.to_string(), "Ether / IP / malformed: UDP says that it is shorter than its own header");
    let mut frame = v4_datagram(b"x");
    frame[14] = 0x35;
    assert_eq!(summary(&frame).to_string(), "Ether / malformed: IP is of version neither 4 nor 6");
}

/// etherparse 0.21 reads out of bounds when asked to go through these headers.
#[test]
fn a_chain_of_extension_headers_that_is_cut_off_is_told() {
    let mut bytes = vec![0; 48];
    bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8, 0, 1]);
    let packet = Packet::ip(&bytes);
    assert_eq!(packet.to_string(), "IPv6 / malformed: IP has a malformed extension header");
    assert_eq!(packet.ip_layer().unwrap().header.len(), 48);
}

#[test]
fn other_protocols_are_named() {
    let mut arp = vec![0xff; 12];
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    assert_eq!(summary(&arp).to_string(), "Ether / ARP 10.0.0.1 asks for 10.0.0.2");
    let mut tcp = v4_datagram(b"x");
    tcp[23] = 6;
    tcp[24..26].copy_from_slice(&[0, 0]);
    assert!(summary(&tcp).to_string().ends_with("TCP 10.0.0.1 > 239.1.2.3"));
    let mut lldp = vec![0; 12];
    lldp.extend([0x88, 0xcc, 1, 2, 3]);
    assert_eq!(summary(&lldp).to_string(), "Ether / LLDP");
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    assert_eq!(summary(&v4_datagram(b"")).to_string(), "Ether / IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000");
}

#[test]
fn a_checksum_that_was_left_to_the_device_can_be_filled_in() {
    for mut frame in [v4_datagram(b"payload"), v6_datagram(b"odd")] {
        let whole = frame.clone();
        let field = whole.len() - Packet::ethernet(&whole).udp().unwrap().payload.len() - 2;
        frame[field..field + 2].copy_from_slice(&[0x12, 0x34]);
        assert!(fill_udp_checksum(&mut frame, LinkType::Ethernet));
        assert_eq!(frame, whole);
        let mut cut_off = whole[..whole.len() - 1].to_vec();
        assert!(!fill_udp_checksum(&mut cut_off, LinkType::Ethernet));
        assert_eq!(cut_off, whole[..whole.len() - 1]);
    }
    assert!(!fill_udp_checksum(&mut [0; 60], LinkType::Ethernet));
}

#[test]
fn cooked_and_loopback_captures_decode_like_any_other() {
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
        assert_eq!(packet.link_length(cooked.link_type()), length);
        bytes.truncate(15);
        let short = Packet::decode(&bytes, cooked.link_type(), Checksums::Computed);
        assert_eq!(short.to_string(), "malformed: cooked capture is shorter than its header");
    }
    let loopback = [&[2, 0, 0, 0][..], ip].concat();
    let packet = Packet::decode(&loopback, LinkType::Loopback, Checksums::Computed);
    assert_eq!(packet.to_string(), "IP / UDP 10.0.0.1:4000 > 239.1.2.3:5000 / Raw");
}

const LINK_TYPES: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::Ip, LinkType::LinuxCooked, LinkType::LinuxCooked2, LinkType::Loopback];

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..300)) {
        for link_type in LINK_TYPES {
            let _ = Packet::decode(&bytes, link_type, Checksums::Computed).to_string();
        }
        let _ = hexdump(&bytes).to_string();
    }

    #[test]
    fn no_damage_makes_the_decoder_panic(
        payload in vec(any::<u8>(), 0..64),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        v6: bool,
        cut: prop::sample::Index,
    ) {
        let mut frame = if v6 { v6_datagram(&payload) } else { v4_datagram(&payload) };
        for (place, value) in damage {
            let place = place.index(frame.len());
            frame[place] = value;
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
    fn what_is_built_decodes_to_itself(payload in vec(any::<u8>(), 0..1500), source: u32, group in 0xe000_0000u32..0xf000_0000) {
        let (source, group) = (Ipv4Addr::from(source), Ipv4Addr::from(group));
        let frame = datagram(source.into(), group.into(), &payload);
        let packet = Packet::ethernet(&frame);
        let (ip, udp) = (packet.ip_layer().unwrap(), packet.udp().unwrap());
        prop_assert_eq!((ip.source, ip.destination), (IpAddr::from(source), IpAddr::from(group)));
        prop_assert_eq!((udp.checksum, ip.header_checksum), (ChecksumStatus::Valid, ChecksumStatus::Valid));
        prop_assert_eq!(udp.payload, &payload[..]);
    }

    #[test]
    fn a_dump_shows_every_byte_and_commands_no_terminal(bytes in vec(any::<u8>(), 0..100)) {
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
fn whom_a_frame_was_meant_for_is_told_by_its_link_layer_address() {
    let with_destination = |mac: [u8; 6]| {
        let mut frame = v4_datagram(b"x");
        frame[..6].copy_from_slice(&mac);
        frame
    };
    let told = |frame: &[u8]| {
        let packet = Packet::ethernet(frame);
        (packet.is_group_addressed(), packet.is_broadcast())
    };
    assert_eq!(told(&v4_datagram(b"x")), (true, false));
    assert_eq!(told(&with_destination([0xff; 6])), (true, true));
    assert_eq!(told(&with_destination([2, 0, 0, 0, 0, 1])), (false, false));

    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let mut cooked = vec![0; 16];
    Cooked::new(CookedKind::Broadcast, mac, ether_type::ARP, None).emit(&mut cooked).unwrap();
    let packet = Packet::decode(&cooked, LinkType::LinuxCooked, Checksums::Computed);
    assert!(packet.is_group_addressed() && packet.is_broadcast());
}

#[test]
fn what_is_no_ip_is_called_by_its_name() {
    let told = |number: u16| {
        let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1];
        frame.extend(number.to_be_bytes());
        summary(&frame).to_string()
    };
    assert_eq!(
        [told(0x88cc), told(0x0026), told(0x88b5)],
        ["Ether / LLDP", "Ether / 802.3", "Ether / type 0x88b5"]
    );
}

#[test]
fn who_knows_more_of_the_payload_may_say_it() {
    let frame = v4_datagram(b"x");
    let text = Packet::ethernet(&frame).summary_with(&"ours").to_string();
    assert_eq!(text, summary(&frame).to_string().replace("Raw", "ours"));
}
