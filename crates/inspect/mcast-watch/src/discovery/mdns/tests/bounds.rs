//! What hostile networks cannot do: use more memory or time, or push out what lasts.

use super::*;
use crate::discovery::Observer;
use crate::discovery::mdns::Mdns;
use crate::discovery::registry::Registry;

fn printer(number: u32) -> Vec<String> {
    vec![
        format!("_ipp._tcp.local;PTR;4500;Printer {number}._ipp._tcp.local"),
        format!("Printer {number}._ipp._tcp.local;!SRV;120;printer-{number}.local:631"),
        format!(
            "Printer {number}._ipp._tcp.local;!TXT;4500;rp=ipp/print,ty=Model {number},note=Room {number}"
        ),
        format!("printer-{number}.local;!A;120;10.1.{}.{}", number >> 8 & 0xff, number & 0xff),
    ]
}

fn announcement(number: u32) -> Vec<u8> {
    let lines = printer(number);
    message(DnsWriter::RESPONSE, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn ten_thousand_services_are_kept_within_the_limits() {
    let mut listener = Listener::new();
    let mut lasting = Vec::new();
    for _ in 0..2 {
        (0..100).for_each(|number| listener.receive("10.0.0.7", &announcement(number)));
        listener.wait(1_100);
        lasting = listener.services();
    }
    assert_eq!(lasting.len(), 100);
    (100..12_000).for_each(|number| listener.receive("10.0.0.66", &announcement(number)));
    let listed = listener.services();
    assert!(lasting.iter().all(|service| listed.contains(service)), "what lasts stays");
    assert!((4_000..=10_000).contains(&listed.len()), "{}", listed.len());
    let counts = listener.table.counts();
    assert!(counts.evicted > 0, "{counts:?}");
}

#[test]
fn memory_of_the_cache_is_bounded_and_given_back() {
    let (mut mdns, mut registry) = (Mdns::new(), Registry::new());
    let mut now = START;
    let mut receive = |now: Time, payload: &[u8]| {
        let datagram = DiscoveryDatagram {
            place: place(2),
            source: "10.0.0.66:5353".parse().unwrap(),
            destination: "224.0.0.251:5353".parse().unwrap(),
            hop_limit: Some(255),
            outgoing: false,
            payload,
        };
        mdns.handle_datagram(now, &datagram, &mut registry);
        let (nodes, bytes) = mdns.cache.size();
        assert!(nodes <= 24_000 && bytes <= 13 << 20, "{nodes} nodes, {bytes} bytes");
        (nodes, bytes)
    };
    let text = format!("t={},", "x".repeat(250)).repeat(7);
    for number in 0..12_000 {
        let lines = [
            format!("_ipp._tcp.local;PTR;4500;P{number}._ipp._tcp.local"),
            format!("P{number}._ipp._tcp.local;TXT;4500;{text}"),
        ];
        receive(now, &message(DnsWriter::RESPONSE, &[&lines[0], &lines[1]]));
    }
    // One name with any number of records.
    for number in 0..1_000 {
        receive(
            now,
            &message(DnsWriter::RESPONSE, &[&format!("P._ipp._tcp.local;SRV;120;h.local:{number}")]),
        );
    }
    now = now.after(Duration::from_secs(10_000));
    let (nodes, bytes) = receive(now, &message(DnsWriter::RESPONSE, &PRINTER));
    assert!(nodes <= 2 && bytes < 2_000, "{nodes} nodes, {bytes} bytes");
    assert!(registry.counts.truncated > 0 && registry.counts.evicted > 0);
}

#[test]
fn flood_of_hosts_and_networks_is_bounded() {
    let mut listener = Listener::new();
    for number in 0..30_000_u32 {
        let vlan = DiscoveryPlace { vlan: Some((number % 4_096) as u16), ..place(2) };
        let payload = message(DnsWriter::RESPONSE, &[&format!("h{number}.local;A;120;10.0.0.7")]);
        listener.receive_at(vlan, "10.0.0.66:5353".parse().unwrap(), "224.0.0.251:5353", Some(255), &payload);
    }
    assert!(listener.entries().len() <= 10_000);
    listener.wait(121_000);
    assert_eq!(listener.entries().len(), 0);
}

#[test]
fn service_that_flaps_is_one_entry() {
    let mut listener = Listener::new();
    for _ in 0..5_000 {
        listener.hear("10.0.0.7", &PRINTER);
        listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"]);
        listener.wait(100);
    }
    assert_eq!((listener.services().len(), listener.departures()), (1, vec![]), "less than a second apart");
    for _ in 0..5_000 {
        listener.hear("10.0.0.7", &PRINTER);
        listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"]);
        listener.wait(1_000);
    }
    assert_eq!(listener.services().len(), 0);
    assert!(listener.table.counts().events_omitted > 0, "events that nobody polled");
}

#[test]
fn new_address_of_a_host_reaches_all_of_its_services_without_much_work_at_once() {
    let mut listener = Listener::new();
    for number in 0..3_000 {
        let name = format!("Queue {number}._ipp._tcp.local");
        listener.hear(
            "10.0.0.7",
            &[&format!("_ipp._tcp.local;PTR;4500;{name}"), &format!("{name};!SRV;4500;server.local:631")],
        );
    }
    listener.hear("10.0.0.7", &["server.local;!A;120;10.0.0.7"]);
    let with_address = |listener: &Listener| {
        listener.entries().iter().filter(|entry| entry.port.is_some() && !entry.addresses.is_empty()).count()
    };
    assert_eq!(with_address(&listener), 32, "at once");
    listener.wait(1_000);
    assert_eq!(with_address(&listener), 3_000);
    listener.wait(119_000);
    listener.wait(1_000);
    assert_eq!(with_address(&listener), 0);
}

#[test]
fn any_bytes_are_read_or_counted() {
    let mut listener = Listener::new();
    // A name that points to itself, and to what follows.
    for pointer in [12_u8, 14, 40] {
        let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, pointer];
        bytes.extend([0, 12, 0, 1, 0, 0, 0x11, 0x94, 0, 2, 0xc0, pointer]);
        listener.receive("10.0.0.66", &bytes);
    }
    assert_eq!(listener.table.counts().malformed, 3);
    let whole = message(DnsWriter::RESPONSE, &PRINTER);
    for length in 0..whole.len() {
        listener.receive("10.0.0.7", &whole[..length]);
    }
    for position in 0..whole.len() {
        for flipped in [1, 0x40, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[position] ^= flipped;
            listener.receive("10.0.0.66", &bytes);
        }
    }
    listener.wait(10_000_000);
    assert_eq!(listener.entries().len(), 0);
}

#[test]
fn flood_of_new_addresses_is_bounded() {
    let mut listener = Listener::new();
    for number in 0..200_u32 {
        let lines: Vec<_> = (0..60)
            .flat_map(|n| {
                let name = format!("{number}x{n}");
                [format!("{name}._a._udp.local;SRV;9;{name}.local:1"), format!("{name}.local;A;9;10.0.0.7")]
            })
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        listener.hear("10.0.0.66", &lines);
    }
    // 32 of 60 are revised with each message.
    assert!(listener.table.counts().truncated > 0);
    listener.wait(20_000);
    assert_eq!(listener.entries().len(), 0);
}
