//! Unusual frames: VLAN tags, fragments, damaged packets.

use std::fmt::Write;

use mcast_lab::Host;
use mcast_packet::{MacAddress, UdpFrame};
use serde_json::Value;

use crate::support::{Lan, send};
use crate::{GROUP, sniff};

fn datagram(payload: &[u8]) -> Vec<u8> {
    let frame = UdpFrame {
        mac: MacAddress([2, 0, 0, 0, 0, 9]),
        source: [10, 0, 0, 9].into(),
        source_port: 4000,
        group: "239.255.1.2".parse().unwrap(),
        destination_port: 5000,
        hop_limit: 1,
        payload,
    };
    let mut bytes = vec![0; 2000];
    let length = frame.emit(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Injects frames on a host's link.
fn inject(host: &Host, frames: &[Vec<u8>]) {
    const PROGRAM: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for frame in sys.argv[1:]: s.send(bytes.fromhex(frame))";
    let hexadecimal = |frame: &Vec<u8>| {
        frame.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let mut python = host.command("python3").unwrap();
    python.args(["-c", PROGRAM]).args(frames.iter().map(hexadecimal));
    assert!(python.status().unwrap().success());
}

#[test]
fn vlan_tags_are_shown() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "1", "--json"]);
    let mut tagged = datagram(b"tagged");
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x2a]);
    inject(&lan.a, &[tagged]);
    let objects = sniffer.end().succeeded().json();
    assert_eq!(objects[0]["vlans"], serde_json::json!([42]));
    assert!(objects[0]["summary"].as_str().unwrap().contains("802.1Q 42"));
}

#[test]
fn every_fragment_belongs_to_the_port_of_its_datagram() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "3", "--json"]);
    send(&lan.a, &["239.255.1.2:6000", "--random", "4000", "-c", "1"]);
    send(&lan.a, &[GROUP, "--random", "4000", "-c", "1"]);
    let objects = sniffer.end().succeeded().json();
    let offsets: Vec<&Value> = objects.iter().map(|object| &object["fragment"]["offset"]).collect();
    assert_eq!(offsets, [&Value::from(0), &1480.into(), &2960.into()]);
    assert!(objects.iter().all(|object| object["fragment"]["id"] == objects[0]["fragment"]["id"]));
    assert!(objects[2]["summary"].as_str().unwrap().ends_with("(fragment, bytes 2960 to 4008) / Raw"));
}

#[test]
fn damaged_packets_are_counted_and_shown() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "239.255.1.2", "-c", "3", "--json"]);
    let mut bad = datagram(b"damaged");
    bad[44] ^= 0xff;
    let mut short = datagram(b"short");
    // The length in the UDP header exceeds the packet.
    short[38..40].copy_from_slice(&900_u16.to_be_bytes());
    let whole = datagram(b"whole");
    inject(&lan.a, &[bad, short, whole]);
    let ended = sniffer.end().succeeded();
    let objects = ended.json();
    assert_eq!(objects[0]["checksum"], "invalid");
    assert!(objects[0]["summary"].as_str().unwrap().contains("(bad checksum "), "{}", objects[0]);
    assert!(
        objects[1]["malformed"].is_string() || objects[1]["checksum"] == "not-computable",
        "{}",
        objects[1]
    );
    assert_eq!(objects[2]["checksum"], "valid");
    assert!(ended.stderr.contains("bad checksums: 1"), "{}", ended.stderr);
}

#[test]
fn the_content_of_a_packet_is_escaped() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "2", "-v", "--hexdump"]);
    send(&lan.a, &[GROUP, "\u{1b}[2J\u{7}", "NOTIFY * HTTP/1.1\r\nNT: \u{1b}[31m\r\n\r\n"]);
    let ended = sniffer.end().succeeded();
    assert!(!ended.text().contains(['\u{1b}', '\u{7}']), "{:?}", ended.text());
    assert!(ended.text().contains("\\x1b[2J\\x07"), "{:?}", ended.text());
}
