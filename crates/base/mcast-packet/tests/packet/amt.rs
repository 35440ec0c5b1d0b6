//! AMT: layouts of the RFC, round trips, and arbitrary bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast_packet::gmp::{GmpMessage, IgmpMessage, Query, Record, RecordKind, SourceQuery};
use mcast_packet::payload::{AmtMac, AmtMessage, Payload, recognize};
use mcast_packet::{ControlPacket, Packet, UdpPacket};
use proptest::collection::vec;
use proptest::prelude::*;

const MAC: AmtMac = AmtMac([0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6]);
const NONCE: u32 = 0x0102_0304;
const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 0x1234);
const V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)), 0x1234);

fn bytes(message: &AmtMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let length = message.emit(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// An IPv4 packet with an IGMPv3 general query.
fn query() -> Vec<u8> {
    let source_query = SourceQuery {
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(60),
        sources: (&[]).into(),
    };
    let message = GmpMessage::Query(Query {
        group: None,
        max_response_time: Duration::from_secs(10),
        source_query: Some(source_query),
    });
    let mut buffer = [0; 64];
    let length = ControlPacket { source: Ipv4Addr::UNSPECIFIED, message }.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// An IPv4 packet with a report.
fn report() -> Vec<u8> {
    let sources = [Ipv4Addr::new(10, 0, 0, 7)];
    let group = Ipv4Addr::new(232, 1, 2, 3);
    let records = [Record { kind: RecordKind::ModeIsInclude, group, sources: (&sources).into() }];
    let message = IgmpMessage::V3Report((&records).into());
    let mut buffer = [0; 64];
    let length = ControlPacket { source: Ipv4Addr::UNSPECIFIED, message }.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn data() -> Vec<u8> {
    let mut buffer = [0; 64];
    let packet = UdpPacket {
        source: "10.0.0.7:4000".parse().unwrap(),
        destination: "232.1.2.3:5000".parse().unwrap(),
        hop_limit: 7,
        traffic_class: 0,
        payload: b"hello",
    };
    let length = packet.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn messages_have_the_layout_of_the_rfc() {
    let long = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let cases: [(AmtMessage<'_>, Vec<u8>); 10] = [
        (AmtMessage::RelayDiscovery { nonce: NONCE }, vec![1, 0, 0, 0, 1, 2, 3, 4]),
        (
            AmtMessage::RelayAdvertisement { nonce: NONCE, relay: V4.ip() },
            vec![2, 0, 0, 0, 1, 2, 3, 4, 192, 0, 2, 9],
        ),
        (
            AmtMessage::RelayAdvertisement { nonce: NONCE, relay: V6.ip() },
            long(&[2, 0, 0, 0, 1, 2, 3, 4], &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ),
        (AmtMessage::Request { nonce: NONCE, wants_mld: false }, vec![3, 0, 0, 0, 1, 2, 3, 4]),
        (AmtMessage::Request { nonce: NONCE, wants_mld: true }, vec![3, 1, 0, 0, 1, 2, 3, 4]),
        (
            AmtMessage::MembershipQuery {
                is_full: true,
                mac: MAC,
                nonce: NONCE,
                packet: &[0x45],
                gateway: None,
            },
            long(&[4, 2, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 1, 2, 3, 4], &[0x45]),
        ),
        (
            AmtMessage::MembershipQuery {
                is_full: false,
                mac: MAC,
                nonce: NONCE,
                packet: &[0x45],
                gateway: Some(V4),
            },
            // The address is IPv4-compatible, not IPv4-mapped.
            long(
                &[4, 1, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 1, 2, 3, 4, 0x45],
                &[0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9],
            ),
        ),
        (
            AmtMessage::MembershipUpdate { mac: MAC, nonce: NONCE, packet: &[0x46] },
            long(&[5, 0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 1, 2, 3, 4], &[0x46]),
        ),
        (AmtMessage::MulticastData { packet: &[0x45, 0] }, vec![6, 0, 0x45, 0]),
        (
            AmtMessage::Teardown { mac: MAC, nonce: NONCE, gateway: V6 },
            long(
                &[7, 0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 1, 2, 3, 4, 0x12, 0x34],
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            ),
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(bytes(&message), expected, "{message}");
        assert_eq!(AmtMessage::parse(&expected), Some(message));
    }
}

#[test]
fn other_versions_types_and_lengths_are_refused() {
    let discovery = bytes(&AmtMessage::RelayDiscovery { nonce: 1 });
    for first in [0x11, 0x00, 0x08, 0xf1] {
        let mut changed = discovery.clone();
        changed[0] = first;
        assert_eq!(AmtMessage::parse(&changed), None, "{first:#x}");
    }
    assert_eq!(AmtMessage::parse(&discovery[..7]), None);
    assert_eq!(AmtMessage::parse(&[&discovery[..], &[0]].concat()), None);
    let short_query = [&[4, 1][..], &[0; 27]].concat();
    assert_eq!(AmtMessage::parse(&short_query), None, "it states a gateway for which it is too short");
}

#[test]
fn summaries_show_the_packets_inside() {
    let packet = report();
    let update = bytes(&AmtMessage::MembershipUpdate { mac: MAC, nonce: NONCE, packet: &packet });
    let text = |bytes: &[u8]| recognize(AmtMessage::PORT, V4.ip(), bytes).unwrap().to_string();
    assert_eq!(
        text(&update),
        "AMT membership update, nonce 01020304 / IP / IGMPv3 report 0.0.0.0: member of 232.1.2.3 (include 10.0.0.7)"
    );
    let packet = data();
    let message = bytes(&AmtMessage::MulticastData { packet: &packet });
    let inner = "AMT multicast data / IP / UDP 10.0.0.7:4000 > 232.1.2.3:5000 / Raw";
    assert_eq!(text(&message), inner);
    // From the port of a relay to any port of a gateway.
    let mut buffer = [0; 128];
    let outer = UdpPacket {
        source: "192.0.2.1:2268".parse().unwrap(),
        destination: V4,
        hop_limit: 64,
        traffic_class: 0,
        payload: &message,
    };
    let length = outer.emit(&mut buffer).unwrap();
    let shown = Packet::ip(&buffer[..length]).to_string();
    assert_eq!(shown, format!("IP / UDP 192.0.2.1:2268 > 192.0.2.9:4660 / {inner}"));
}

#[test]
fn a_stream_on_the_port_of_amt_is_not_taken_for_amt() {
    let group = IpAddr::from(Ipv4Addr::new(239, 1, 2, 3));
    assert_eq!(recognize(AmtMessage::PORT, group, &[6, 0, 0x45]), None);
}

#[test]
fn data_in_data_in_data_does_not_exhaust_the_stack() {
    let mut packet = data();
    while packet.len() < 60_000 {
        let message = bytes(&AmtMessage::MulticastData { packet: &packet });
        let outer = UdpPacket {
            source: "192.0.2.1:2268".parse().unwrap(),
            destination: "192.0.2.9:2268".parse().unwrap(),
            hop_limit: 64,
            traffic_class: 0,
            payload: &message,
        };
        let mut buffer = vec![0; message.len() + 28];
        outer.emit(&mut buffer).unwrap();
        packet = buffer;
    }
    assert!(Packet::ip(&packet).to_string().len() < 400);
}

fn messages() -> [Vec<u8>; 5] {
    let (query, report, data) = (query(), report(), data());
    [
        bytes(&AmtMessage::RelayAdvertisement { nonce: NONCE, relay: V6.ip() }),
        bytes(&AmtMessage::MembershipQuery {
            is_full: false,
            mac: MAC,
            nonce: NONCE,
            packet: &query,
            gateway: Some(V4),
        }),
        bytes(&AmtMessage::MembershipUpdate { mac: MAC, nonce: NONCE, packet: &report }),
        bytes(&AmtMessage::MulticastData { packet: &data }),
        bytes(&AmtMessage::Teardown { mac: MAC, nonce: NONCE, gateway: V6 }),
    ]
}

/// Reads everything in a message; what is written again parses to the same.
fn exhaust(received: &[u8]) {
    let Some(Payload::Amt(message)) = recognize(AmtMessage::PORT, V4.ip(), received) else { return };
    let shown = message.to_string();
    assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
    let written = bytes(&message);
    assert_eq!(written.len(), received.len());
    assert_eq!(AmtMessage::parse(&written), Some(message));
    for length in 0..written.len().min(40) {
        assert!(message.emit(&mut vec![0; length]).is_err());
    }
}

proptest! {
    #[test]
    fn damaged_messages_do_not_panic(
        seed in 0usize..5,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        cut: prop::sample::Index,
    ) {
        let mut message = messages().into_iter().nth(seed).unwrap();
        for (position, value) in damage {
            let position = position.index(message.len());
            message[position] = value;
        }
        message.truncate(cut.index(message.len() + 1));
        exhaust(&message);
    }

    #[test]
    fn any_bytes_do_not_panic(kind in 1u8..8, rest in vec(any::<u8>(), 0..100)) {
        exhaust(&[&[kind], &rest[..]].concat());
    }
}
