//! Hostile networks: floods, forged goodbyes, and messages that would be costly to read.

use std::time::{Duration, Instant};

use mcast_watch::discovery::DiscoveryProtocol;

use crate::messages::{Node, coap, endpoint, envelope, knx, sacn, sacn_list, sap};
use crate::{Network, values};

/// A message of each protocol by a host with this number, with the address that it is sent to.
fn messages(host: u16) -> Vec<(&'static str, Vec<u8>)> {
    let [high, low] = host.to_be_bytes();
    let id = format!("{host:04x}");
    let ssdp = format!(
        "NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: urn:x:device:X:1\r\nUSN: uuid:{id}::urn:x:device:X:1\r\n\r\n"
    );
    let wsd = format!("<d:Hello>{}</d:Hello>", endpoint(&id, "d:X", "", "http://10.0.0.7/"));
    let sdp = format!(
        "v=0\no=- {host} 1 IN IP4 10.0.0.7\ns=S\nt=0 0\nm=audio 5004 RTP/AVP 0\nc=IN IP4 239.1.2.3/1\n"
    );
    let serial = [1, 0, 0, 0, high, low];
    let node = Node { address: [10, 0, high, low], mac: 0, ..Node::PLAIN };
    vec![
        ("239.255.255.250:1900", ssdp.into_bytes()),
        ("239.255.255.250:3702", envelope(&wsd).into_bytes()),
        ("239.255.255.255:9875", sap(0, host, "", &sdp)),
        ("0.0.0.0:5683", coap(&[(12, &[40])], "</a>")),
        ("0.0.0.0:3671", knx(([10, 0, high, low], 3671), serial, b"K", &[(4, 1)])),
        ("239.255.250.214:5568", sacn_list(1, "D", &[host + 1])),
        ("255.255.255.255:6454", node.reply()),
    ]
}

fn source(host: u16) -> String {
    let [high, low] = host.to_be_bytes();
    format!("10.0.{high}.{low}:5683")
}

#[test]
fn a_flood_of_10_000_devices_is_bounded_and_lasting_entries_stay() {
    let mut network = Network::new();
    for _ in 0..2 {
        for (to, message) in messages(0) {
            network.receive(&source(0), to, message);
        }
        network.pass(Duration::from_secs(2));
    }
    let lasting = network.entries();
    assert_eq!(lasting.len(), 7);
    let start = Instant::now();
    for host in 1..10_000 {
        for (to, message) in messages(host) {
            network.receive(&source(host), to, message);
        }
    }
    network.pass(Duration::from_secs(1));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let entries = network.entries();
    for protocol in DiscoveryProtocol::ALL {
        assert!(entries.iter().filter(|entry| entry.key.protocol == protocol).count() <= 2_000, "{protocol}");
    }
    for entry in lasting {
        assert!(network.table.get(&entry.key).is_some(), "{entry:?}");
    }
    assert!(network.table.counts().evicted >= 7 * 7_900, "{:?}", network.table.counts());
}

#[test]
fn a_goodbye_by_another_host_is_counted_and_removes_nothing() {
    let mut network = Network::new();
    for (to, message) in messages(1) {
        network.receive(&source(1), to, message);
    }
    network.receive(&source(1), "239.255.0.1:5568", sacn(1, "D", 1, 100, 0, 0));
    network.pass(Duration::from_millis(500));
    let before = network.entries().len();
    let goodbyes = [
        (
            "239.255.255.250:1900",
            b"NOTIFY * HTTP/1.1\r\nNTS: ssdp:byebye\r\nNT: upnp:rootdevice\r\nUSN: uuid:0001\r\n\r\n"
                .to_vec(),
        ),
        (
            "239.255.255.250:3702",
            envelope(&format!("<d:Bye>{}</d:Bye>", endpoint("0001", "", "", ""))).into_bytes(),
        ),
        ("239.255.255.255:9875", sap(4, 1, "", "o=- 1 1 IN IP4 10.0.0.7\n")),
        ("239.255.255.255:9875", sap(4, 1, "", "")),
        ("239.255.0.1:5568", sacn(1, "D", 1, 100, 0x40, 0)),
    ];
    for (to, message) in &goodbyes {
        network.receive("10.66.6.6:666", to, message);
    }
    assert_eq!(network.entries().len(), before);
    assert_eq!(network.table.counts().foreign_goodbyes, 5);
    // A device that is not listed yet cannot be suppressed by others, either.
    network.receive(
        &source(2),
        "239.255.255.250:1900",
        "NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: x\r\nUSN: uuid:q\r\n\r\n",
    );
    network.receive(
        "10.66.6.6:666",
        "239.255.255.250:1900",
        "NOTIFY * HTTP/1.1\r\nNTS: ssdp:byebye\r\nNT: x\r\nUSN: uuid:q\r\n\r\n",
    );
    network.pass(Duration::from_millis(500));
    assert_eq!(network.entries().len(), before + 1);
    // Those of the host itself are heeded.
    for (to, message) in goodbyes {
        network.receive(&source(1), to, message);
    }
    // CoAP, KNX and Art-Net have no goodbyes; what lists the universe is its data.
    assert_eq!(network.entries().len(), before + 1 - 4);
}

#[test]
fn messages_that_are_costly_to_read_are_read_in_linear_time_and_kept_in_bounded_memory() {
    let huge = "A".repeat(60_000);
    let bomb = format!(
        "<!DOCTYPE e [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>{}",
        "x".repeat(1_000),
        envelope(&format!("<d:Hello>{}</d:Hello>", endpoint("&b;", "&b;", "", "")))
    );
    let headers: String = (0..8_000).map(|number| format!("H{number}: x\r\n")).collect();
    let sources: String = (0..900).map(|number| format!(" 1.1.{}.{}", number / 250, number % 250)).collect();
    let many = "m=audio 5000 udp 0\nc=IN IP4 239.1.2.3/1/8\n".repeat(2);
    let deep = "<a>".repeat(20_000);
    let urls = "http://10.0.0.1/ ".repeat(3_000);
    let links = "</a>;rt=\"b\",".repeat(5_000);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        (
            "239.255.255.250:1900",
            format!("NOTIFY * HTTP/1.1\r\nNT: {huge}\r\nUSN: uuid:{huge}\r\nLOCATION: {huge}\r\n\r\n").into(),
        ),
        (
            "239.255.255.250:1900",
            format!("NOTIFY * HTTP/1.1\r\n{headers}NT: x\r\nUSN: uuid:h\r\n\r\n").into(),
        ),
        ("239.255.255.250:3702", bomb.into()),
        ("239.255.255.250:3702", envelope(&format!("<d:Hello>{deep}")).into()),
        (
            "239.255.255.250:3702",
            envelope(&format!("<d:Hello>{}</d:Hello>", endpoint("u", "d:X", &urls, ""))).into(),
        ),
        (
            "239.255.255.250:3702",
            envelope(&format!("<d:Hello>{}</d:Hello>", endpoint("v", &huge, "", &urls))).into(),
        ),
        ("239.255.255.250:3702", envelope(&"<d:Hello><".repeat(6_000)).into()),
        (
            "239.255.255.255:9875",
            sap(0, 1, "", &format!("v=0\ns=a\na=source-filter: incl IN IP4 *{sources}\n{many}")),
        ),
        (
            "239.255.255.255:9875",
            sap(0, 2, "", "v=0\ns=b\nm=audio 1/65535 udp 0\nc=IN IP4 239.0.0.0/1/65535\n"),
        ),
        ("239.255.255.255:9875", sap(0, 3, "", &format!("v=0\ns=c\n{}", "a=rtpmap:1 x\n".repeat(4_000)))),
        ("0.0.0.0:5683", coap(&[(12, &[40])], &links)),
    ];
    let mut network = Network::new();
    for (to, message) in rows {
        let start = Instant::now();
        for _ in 0..20 {
            network.receive(&source(1), to, &message);
        }
        let spent = start.elapsed() / 20;
        // Without optimization and on a busy machine; what is not linear takes seconds.
        assert!(spent < Duration::from_millis(250), "{to}: {} bytes took {spent:?}", message.len());
    }
    network.pass(Duration::from_secs(1));
    for entry in network.entries() {
        let text: usize =
            entry.fields.iter().map(|field| field.name.as_bytes().len() + field.value.as_bytes().len()).sum();
        assert!(text <= 4_096 && entry.fields.len() <= 64 && entry.addresses.len() <= 16, "{entry:?}");
        assert!(!values(&entry, "stream").iter().any(|stream| stream.len() > 1_100));
    }
    let counts = network.table.counts();
    assert!(counts.truncated > 0 && counts.malformed > 0, "{counts:?}");
    // A document type is not read, so the bomb is not listed.
    assert!(!network.entries().iter().any(|entry| entry.key.id.as_bytes().starts_with(b"urn:uuid:&b")));
}

#[test]
fn what_is_no_message_of_its_port_is_counted_and_what_is_on_other_ports_is_not_read() {
    let mut network = Network::new();
    let ports = [1900, 3702, 9875, 5683, 3671, 5568, 6454];
    for port in ports {
        network.receive("10.0.0.7:40000", &format!("239.1.2.3:{port}"), b"\xff\xfe nonsense");
    }
    assert_eq!(network.table.counts().malformed, 7);
    for (_, message) in messages(1) {
        network.receive("10.0.0.7:40000", "239.1.2.3:40001", message);
    }
    network.pass(Duration::from_secs(1));
    assert_eq!(network.entries().len(), 0);
}

#[test]
fn questions_are_few_and_small_and_stop_nothing() {
    let mut network = Network::new();
    assert!(network.table.poll_transmit(network.now).is_none(), "a question without being asked");
    network.table.ask(network.now);
    network.pass(Duration::from_secs(600));
    let asked: Vec<_> = network.asked.iter().filter(|question| crate::is_tested(question.protocol)).collect();
    for question in &asked {
        assert!(question.payload.len() < 700, "{question:?}");
        let to = question.destination;
        assert!(to.ip().is_multicast() || to.to_string() == "255.255.255.255:6454", "{to}");
    }
    let count = |protocol| asked.iter().filter(|question| question.protocol == protocol).count();
    // At once, after 1 s and 4 s, and then each minute, to each group with each question.
    use DiscoveryProtocol::{ArtNet, Coap, Knx, Sacn, Sap, Ssdp, WsDiscovery};
    let counts = [Ssdp, WsDiscovery, Coap, Knx, ArtNet, Sap, Sacn].map(count);
    assert_eq!(counts, [3 * 2 * 12, 2 * 3 * 12, 3 * 12, 12, 12, 0, 0]);
}

#[test]
fn a_program_that_has_a_port_by_chance_is_not_malformed() {
    let mut network = Network::new();
    for port in [1900, 3702, 9875, 5683, 3671, 5568, 6454] {
        network.receive(&format!("10.0.0.7:{port}"), "239.1.2.3:40000", b"\xff\xfe nonsense");
    }
    assert_eq!(network.table.counts().malformed, 0);
}

#[test]
fn a_device_with_thousands_of_long_types_is_kept_in_bounded_memory() {
    let mut network = Network::new();
    for number in 0..5_000 {
        let kind = format!("urn:x:service:{number:05}{}:1", "a".repeat(900));
        let message =
            format!("NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\nNT: {kind}\r\nUSN: uuid:a::{kind}\r\n\r\n");
        network.receive("10.0.0.7:40000", "239.255.255.250:1900", message);
    }
    network.pass(Duration::from_secs(1));
    assert!((1..=4).contains(&values(&network.entry(), "service").len()));
    assert!(network.table.counts().truncated >= 4_990);
}
