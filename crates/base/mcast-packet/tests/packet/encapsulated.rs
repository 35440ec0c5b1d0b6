//! Packets inside packets, and protocols that only have to be named.

use std::net::IpAddr;

use mcast_packet::{
    Carried, Checksums, EncapsulationProtocol, Enclosing, LinkType, Packet, Tunnel, UdpPacket,
    UnexaminedReason,
};
use proptest::prelude::*;

/// Returns a datagram to 239.1.2.3:5000 as an IP packet.
fn datagram() -> Vec<u8> {
    udp("10.1.0.1", "239.1.2.3", 5000, b"hello")
}

fn udp(source: &str, destination: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let packet = UdpPacket {
        source: (source.parse::<IpAddr>().unwrap(), 4000).into(),
        destination: (destination.parse::<IpAddr>().unwrap(), port).into(),
        hop_limit: 8,
        traffic_class: 0,
        payload,
    };
    let mut bytes = vec![0; 100 + payload.len()];
    let length = packet.emit(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [1, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1];
    [&addresses[..], &ether_type.to_be_bytes(), payload].concat()
}

/// Returns an Ethernet frame with an IPv4 packet of this protocol between two hosts.
fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 9, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    ethernet(0x0800, &[&header[..], payload].concat())
}

/// Returns an Ethernet frame with an IPv6 packet of this protocol.
fn ip6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    (header[6], header[7], header[8], header[24]) = (protocol, 9, 0xfd, 0xfd);
    ethernet(0x86dd, &[&header[..], payload].concat())
}

fn behind(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [head, rest].concat()
}

/// Follows a frame to the innermost packet, and returns the tunnels and the summary.
fn follow(bytes: &[u8], link_type: LinkType) -> (Vec<String>, String) {
    fn descend(packet: &Packet<'_>, outer: Option<&Enclosing<'_>>, tunnels: &mut Vec<String>) -> String {
        assert!(tunnels.len() < 100, "{packet}");
        let Some(Carried::Packet(inner)) = packet.carried() else {
            return packet.summary_within(outer, None).to_string();
        };
        tunnels.push(Tunnel::of(packet, inner.encapsulation, None).to_string());
        let enclosing = Enclosing { packet, encapsulation: inner.encapsulation, outer };
        let inner = Packet::decode(inner.bytes, inner.link_type, Checksums::Computed);
        descend(&inner, Some(&enclosing), tunnels)
    }
    let mut tunnels = Vec::new();
    let summary = descend(&Packet::decode(bytes, link_type, Checksums::Computed), None, &mut tunnels);
    (tunnels, summary)
}

#[test]
fn datagram_is_found_in_every_tunnel() {
    let plain = datagram();
    let frame = ethernet(0x0800, &plain);
    let length = (plain.len() as u16 + 2).to_be_bytes();
    let session = [0x11, 0, 0, 9, length[0], length[1], 0, 0x21];
    let snap = ethernet(plain.len() as u16 + 8, &behind(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &plain));
    let in_udp = |port: u16, head: &[u8], rest: &[u8]| {
        ethernet(0x0800, &udp("192.0.2.1", "192.0.2.2", port, &behind(head, rest)))
    };
    let vxlan = [8, 0, 0, 0, 0, 0, 77, 0];
    let ends = "192.0.2.1 > 192.0.2.2";
    let cases = [
        (ip(47, &behind(&[0, 0, 8, 0], &plain)), format!("GRE {ends}")),
        (
            ip(47, &behind(&[0xb0, 0, 8, 0, 1, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], &plain)),
            format!("GRE 7 {ends}"),
        ),
        (ip(47, &behind(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &frame)), format!("GRE 256 {ends}")),
        (ip(47, &behind(&[0, 0, 0x88, 0xbe], &frame)), format!("ERSPAN I {ends}")),
        (
            ip(47, &behind(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 5, 0, 0, 0, 0], &frame)),
            format!("ERSPAN II 5 {ends}"),
        ),
        (
            ip(
                47,
                &behind(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0], &frame),
            ),
            format!("ERSPAN III 6 {ends}"),
        ),
        (
            ip(
                47,
                &behind(
                    &[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8]]
                        .concat(),
                    &frame,
                ),
            ),
            format!("ERSPAN III 6 {ends}"),
        ),
        (in_udp(4789, &vxlan, &frame), format!("VXLAN 77 {ends}")),
        (in_udp(8472, &vxlan, &frame), format!("VXLAN 77 {ends}")),
        (in_udp(4790, &[0x0c, 0, 0, 1, 0, 0, 77, 0], &plain), format!("VXLAN 77 {ends}")),
        (in_udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 78, 0, 1, 2, 3, 0], &frame), format!("GENEVE 78 {ends}")),
        (in_udp(37008, &[1, 0, 0, 1, 0, 10, 1, 5, 1], &frame), format!("TZSP {ends}")),
        (in_udp(2268, &[6, 0], &plain), format!("AMT {ends}")),
        (ip(4, &plain), format!("IP in IP {ends}")),
        (ip6(4, &plain), "IP in IP fd00:: > fd00::".into()),
        (ip(97, &behind(&[0x30, 0], &frame)), format!("EtherIP {ends}")),
        (ethernet(0x8847, &behind(&[0, 1, 0, 9, 0, 2, 1, 9], &plain)), "MPLS 32".into()),
        (ethernet(0x8848, &behind(&[0, 2, 1, 9, 0, 0, 0, 0], &frame)), "MPLS 32".into()),
        (ethernet(0x8847, &behind(&[0, 2, 1, 9], &frame)), "MPLS 32".into()),
        (ethernet(0x8864, &behind(&session, &plain)), "PPPoE 9".into()),
        (snap, "SNAP".into()),
        (
            ethernet(0x88a8, &behind(&[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 0x81, 0, 0, 4, 8, 0], &plain)),
            "802.1Q 4".into(),
        ),
    ];
    for (bytes, tunnel) in cases {
        let (tunnels, summary) = follow(&bytes, LinkType::Ethernet);
        assert_eq!(tunnels, [tunnel.as_str()], "{summary}");
        assert!(summary.contains("UDP 10.1.0.1:4000 > 239.1.2.3:5000 / Raw"), "{tunnel}: {summary}");
    }
}

#[test]
fn families_are_carried_in_each_other_and_tunnels_in_tunnels() {
    let v6 = udp("fd00::1", "ff15::9", 5000, b"hello");
    for bytes in [ip(41, &v6), ip6(41, &v6)] {
        assert!(follow(&bytes, LinkType::Ethernet).1.contains("UDP [fd00::1]:4000 > [ff15::9]:5000"));
    }
    let gre = ip(47, &behind(&[0, 0, 8, 0], &ip(4, &datagram())[14..]));
    let (tunnels, summary) = follow(&gre, LinkType::Ethernet);
    assert_eq!(tunnels.len(), 2, "{summary}");
    assert_eq!(
        summary,
        "Ether / IP 192.0.2.1 > 192.0.2.2 / GRE / IP 192.0.2.1 > 192.0.2.2 / IP in IP / IP / UDP 10.1.0.1:4000 > \
         239.1.2.3:5000 / Raw"
    );
}

#[test]
fn what_is_not_decoded_has_a_reason_and_what_only_uses_the_port_has_none() {
    let carried = |bytes: &[u8]| match Packet::ethernet(bytes).carried() {
        Some(Carried::Unexamined(encapsulation, reason)) => Some((encapsulation.protocol, reason)),
        _ => None,
    };
    let esp = Some((EncapsulationProtocol::Esp, UnexaminedReason::Encrypted));
    assert_eq!(carried(&ip(50, &[1; 40])), esp);
    assert_eq!(carried(&ethernet(0x0800, &udp("192.0.2.1", "192.0.2.2", 4500, &[1; 40]))), esp);
    assert_eq!(
        carried(&ethernet(0x88e5, &[1; 40])),
        Some((EncapsulationProtocol::Macsec, UnexaminedReason::Encrypted))
    );
    let gre = EncapsulationProtocol::Gre;
    assert_eq!(carried(&ip(47, &[0, 0])), Some((gre, UnexaminedReason::Malformed)));
    assert_eq!(carried(&ip(47, &[0x40, 0, 8, 0, 0, 0])), Some((gre, UnexaminedReason::Unsupported)));
    assert_eq!(carried(&ip(47, &[0, 0, 0x12, 0x34, 0, 0])), Some((gre, UnexaminedReason::Unsupported)));
    // A message that keeps a tunnel alive, a stream on the port of VXLAN, and one on that of WireGuard.
    assert_eq!(Packet::ethernet(&ip(47, &[0, 0, 0, 0])).carried(), None);
    for (port, payload) in [(4789, &b"hello, world"[..]), (51820, &[4, 0, 0, 0]), (4500, &[1; 40])] {
        let frame = ethernet(0x0800, &udp("192.0.2.1", "239.1.2.3", port, payload));
        assert_eq!(Packet::ethernet(&frame).carried(), None, "{port}");
    }
}

#[test]
fn protocols_of_routers_and_clocks_have_their_names() {
    let named = |frame: &[u8], text: &str| {
        let packet = Packet::ethernet(frame);
        let summary = packet.to_string();
        assert!(packet.malformed.is_none() && summary.contains(text), "{text}: {summary}");
    };
    let to = |group: &str, port, payload: &[u8]| {
        let source = if group.contains(':') { "fe80::1" } else { "10.0.0.1" };
        ethernet(if group.contains(':') { 0x86dd } else { 0x0800 }, &udp(source, group, port, payload))
    };
    let mut ptp = [0; 124];
    (ptp[1], ptp[3], ptp[20], ptp[31]) = (1, 1, 1, 5);
    ptp[4..8].copy_from_slice(b"_DFL");
    named(&to("224.0.1.129", 319, &ptp), "PTPv1 sync, domain _DFL, number 5");
    named(&to("224.0.0.2", 1985, &[0, 3, 0, 1, 0, 10, 2, 0, 0, 1, 0, 1, 0, 0, 0, 0]), "HSRP advertise");
    named(&to("ff02::1:6", 6696, &[42, 2, 0, 8, 4, 6, 0, 0, 0, 1, 0, 100]), "Babel hello");
    named(
        &to("224.0.0.2", 646, &[0, 1, 0, 16, 10, 0, 0, 1, 0, 0, 1, 0, 0, 8, 0, 0, 0, 1, 0, 0]),
        "LDP hello",
    );
    named(&to("ff02::11", 8231, &[0, 3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]), "HNCP node endpoint");
    named(
        &to("239.255.255.253", 427, &[2, 1, 0, 0, 16, 0, 0, 0, 0, 0, 0, 7, 0, 2, b'e', b'n']),
        "SLPv2 service request",
    );
    named(
        &ip6(58, &[155, 1, 0, 0, 30, 240, 1, 0, 0, 0, 0, 0]),
        "RPL DODAG information, instance 30, rank 256",
    );
    named(
        &ip(113, &[0, 7, 0, 8, 4, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 9, 0, 0, 0, 42]),
        "PGM ODATA, ports 7 > 8, number 42",
    );
    named(&ip(2, &[0x13, 1, 0, 0, 0, 0, 0, 0]), "DVMRP probe");
    named(&ip(2, &[0x14, 0, 0, 0, 0x10, 0, 0, 0]), "PIMv1 query");
    named(
        &ip(2, &[[0x1f, 32, 0, 0], [239, 1, 2, 3], [10, 0, 0, 1], [10, 0, 0, 9], [0; 4], [0; 4]].concat()),
        "mtrace query",
    );
    named(&ethernet(0x22f0, &[0; 46]), "AVTP");
    named(&ethernet(38, &[0x42, 0x42, 3, 0, 0]), "STP");
    let mut sync = [0; 44];
    (sync[1], sync[3], sync[31]) = (2, 44, 9);
    named(&ethernet(0x88f7, &sync), "PTPv2 sync, domain 0, number 9");
}

proptest! {
    #[test]
    fn any_bytes_can_be_followed(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_usize..12) {
        let heads: [&[u8]; 12] = [
            &[0x88, 0x47], &[0x88, 0x64], &[0x88, 0xa8], &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0], &[0x88, 0xe5], &[8, 0], &[0x86, 0xdd],
            &[0x88, 0x48, 0, 2, 1, 9], &[0x88, 0x64, 0x11, 0, 0, 9], &[0x22, 0xf0], &[8, 6], &[0x81, 0],
        ];
        let frame = [&[2; 12][..], heads[kind], &bytes].concat();
        follow(&frame, LinkType::Ethernet);
        for protocol in [4, 41, 47, 97, 137, 143] {
            follow(&ip(protocol, &bytes), LinkType::Ethernet);
        }
        for port in [4789, 4790, 8472, 6081, 4754, 6635, 37008, 2268] {
            follow(&ethernet(0x0800, &udp("192.0.2.1", "192.0.2.2", port, &bytes)), LinkType::Ethernet);
        }
    }
}
