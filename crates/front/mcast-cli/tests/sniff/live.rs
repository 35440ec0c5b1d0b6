//! Live captures.

use crate::schemas::assert_valid;
use crate::support::{Lan, send, start};
use crate::{GROUP, sniff};

#[test]
fn a_line_shows_time_interface_direction_layers_ttl_and_length() {
    let lan = Lan::new();
    // No host has joined; a switch without known members floods.
    let sniffer = sniff(&lan.c, &[GROUP, "-c", "1"]);
    send(&lan.a, &[GROUP, "Hello, World!", "-t", "3", "--source-port", "4000"]);
    let ended = sniffer.end().succeeded();
    let [line] = ended.lines()[..] else { panic!("{ended:?}") };
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(rest, "eth0 in  Ether / IP / UDP 10.0.0.1:4000 > 239.255.1.2:5000 / Raw  ttl 3  len 55");
    assert_eq!((time.len(), &time[2..3], &time[8..9]), (15, ":", "."));
    assert!(ended.stderr.contains("saw 1 packet, 55 bytes in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("dropped by this machine: 0"), "{}", ended.stderr);
    assert!(ended.stderr.contains("239.255.1.2:5000  eth0"), "{}", ended.stderr);
}

#[test]
fn hexadecimal_is_below_its_line_with_the_text_beside_it() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "1", "--hexdump"]);
    send(&lan.a, &[GROUP, "Hello, World!"]);
    let ended = sniffer.end().succeeded();
    let lines = ended.lines();
    assert!(lines[0].contains("/ UDP 10.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("0000  01 00 5E 7F 01 02 "), "{lines:?}");
    assert!(lines[4].ends_with(" Hello,") || lines[3].contains("Hello"), "{lines:?}");
    assert_eq!(lines.len(), 1 + 55_usize.div_ceil(16));
}

#[test]
fn json_is_complete_and_follows_the_schema() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "[ff15::1]:5000", "-c", "2", "--json"]);
    send(&lan.a, &[GROUP, "four", "-t", "3"]);
    send(&lan.a, &["[ff15::1]:5000", "six", "-i", "eth0"]);
    let objects = sniffer.end().succeeded().json();
    for (object, (group, source, text)) in
        objects.iter().zip([("239.255.1.2", "10.0.0.1", "four"), ("ff15::1", "fd00::1", "six")])
    {
        assert_valid("packet", object);
        assert_eq!((&object["group"], &object["source"]), (&group.into(), &source.into()));
        assert_eq!((&object["text"], &object["port"]), (&text.into(), &5000.into()));
        assert_eq!((&object["interface"], &object["direction"]), (&"eth0".into(), &"multicast".into()));
        assert_eq!((&object["protocol"], &object["control"]), (&"udp".into(), &serde_json::Value::Null));
        assert!(["valid", "not-computed"].contains(&object["checksum"].as_str().unwrap()), "{object}");
    }
    assert_eq!(objects[0]["ttl"], 3);
}

#[test]
fn only_named_groups_are_shown() {
    let lan = Lan::new();
    let sniffer =
        |arguments: &[&str]| sniff(&lan.b, &[arguments, &["-W", "20", "-c", "1", "--json"]].concat());
    let by_port = sniffer(&["--port", "5001-5002"]);
    let by_source = sniffer(&["-s", "10.0.0.3"]);
    let by_group = sniffer(&["239.255.1.0/31"]);
    let by_family = sniffer(&["-6", "--protocol", "udp"]);
    send(&lan.a, &[GROUP, "refused by all"]);
    send(&lan.a, &["239.255.1.2:5002", "port"]);
    send(&lan.c, &[GROUP, "source"]);
    send(&lan.a, &["239.255.1.1:5000", "group"]);
    send(&lan.a, &["[ff15::1]:5000", "family", "-i", "eth0"]);
    for (running, text) in
        [(by_port, "port"), (by_source, "source"), (by_group, "group"), (by_family, "family")]
    {
        let objects = running.end().succeeded().json();
        assert_eq!(objects[0]["text"], text, "{objects:?}");
    }
}

#[test]
fn outgoing_packets_are_marked() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.a, &[GROUP, "-c", "1", "--json"]);
    send(&lan.a, &[GROUP, "x"]);
    assert_eq!(sniffer.end().succeeded().json()[0]["direction"], "outgoing");
}

#[test]
fn on_loopback_each_packet_is_shown_once() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.a, &[GROUP, "-i", "lo", "-c", "2", "--json"]);
    send(&lan.a, &[GROUP, "first", "second", "-i", "lo"]);
    let texts: Vec<_> = sniffer.end().succeeded().json().iter().map(|each| each["text"].clone()).collect();
    assert_eq!(texts, ["first", "second"]);
}

#[test]
fn segmented_sends_are_shown_as_datagrams() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.a, &[GROUP, "-c", "200", "--json"]);
    send(&lan.a, &[GROUP, "--random", "100", "-c", "200"]);
    let objects = sniffer.end().succeeded().json();
    assert!(objects.iter().all(|object| object["frame_length"] == 142), "{objects:?}");
}

#[test]
fn payloads_of_perf_and_ping_are_recognized() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "20", "--json"]);
    start(&lan.a, &["perf", "send", GROUP, "-i", "eth0", "-c", "30", "--rate", "1kpps"]).end();
    let objects = sniffer.end().succeeded().json();
    let data = objects.iter().find(|object| object["summary"].as_str().unwrap().contains("data")).unwrap();
    assert_eq!(data["payload_format"], "mcast perf");
    assert!(data["summary"].as_str().unwrap().contains("/ mcast perf data, session "), "{data}");
    assert!(data["sequence"].is_u64());
}

#[test]
fn broadcasts_are_counted_separately() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP, "-c", "1", "--discard", "--json"]);
    // A packet to an unused address causes an ARP request by broadcast.
    let mut ping = lan.a.command("python3").unwrap();
    ping.args(["-c", "import socket; socket.socket(2, 2).sendto(b'x', ('10.0.0.99', 9))"]);
    assert!(ping.status().unwrap().success());
    crate::support::eventually("the question for the address", || arp_was_sent(&lan));
    send(&lan.a, &[GROUP, "last"]);
    let ended = sniffer.end().succeeded();
    let [object] = &ended.json()[..] else { panic!("{ended:?}") };
    assert_valid("sniff-summary", object);
    assert_eq!(object["packets"], 1);
    assert!(object["broadcast"].as_u64().unwrap() >= 1, "{object}");
    assert!(ended.stderr.contains("; also "), "{}", ended.stderr);
}

/// Returns whether host a has asked by ARP for the address that no host has.
fn arp_was_sent(lan: &Lan) -> bool {
    let table = lan.a.run(|| std::fs::read_to_string("/proc/thread-self/net/arp").unwrap()).unwrap();
    table.contains("10.0.0.99")
}

#[test]
fn an_interrupt_ends_it_with_the_summary() {
    let lan = Lan::new();
    let sniffer = sniff(&lan.b, &[GROUP]);
    send(&lan.a, &[GROUP, "x"]);
    sniffer.stdout.wait_for("239.255.1.2:5000");
    let ended = sniffer.signalled(libc::SIGINT);
    assert_eq!(ended.status, Some(130));
    assert!(ended.stderr.contains("saw 1 packet"), "{}", ended.stderr);
}

#[test]
fn too_few_packets_fail() {
    let lan = Lan::new();
    let ended = sniff(&lan.b, &[GROUP, "-W", "200ms"]).end();
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("received 0, expected at least 1"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--join joins them"), "{}", ended.stderr);
    assert_eq!(sniff(&lan.b, &[GROUP, "-W", "200ms", "--expect", "0"]).end().status, Some(0));
}

#[test]
fn several_interfaces_are_captured_at_once() {
    let lan = Lan::new();
    let other = lan.lab.switch("other").unwrap();
    lan.b.connect("eth1", &other, &["10.1.0.2/24"]).unwrap();
    lan.a.connect("eth1", &other, &["10.1.0.1/24"]).unwrap();
    let sniffer = sniff(&lan.b, &[GROUP, "-i", "eth0", "-i", "10.1.0.2", "-c", "2", "--json"]);
    let only = sniff(&lan.b, &["239.255.1.2%eth1:5000", "-c", "1", "--json"]);
    send(&lan.a, &[GROUP, "zero", "-i", "eth0"]);
    send(&lan.a, &[GROUP, "one", "-i", "eth1"]);
    let seen: Vec<_> =
        sniffer.end().succeeded().json().iter().map(|each| each["interface"].clone()).collect();
    assert_eq!(seen, ["eth0", "eth1"]);
    assert_eq!(only.end().succeeded().json()[0]["text"], "one");
}
