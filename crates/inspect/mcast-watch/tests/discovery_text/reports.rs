//! Situations of public reports about WS-Discovery, SAP, CoAP, KNX, sACN and Art-Net, rebuilt, each with what is right.

use std::time::Duration;

use mcast_watch::discovery::DiscoveryQuestion;

use crate::messages::{Node, coap, endpoint, envelope, knx, sacn, sacn_list, sap};
use crate::{Network, lifetime, reach, values};

const WSD: &str = "239.255.255.250:3702";

fn probe_match(network: &mut Network, source: &str, content: &str) {
    let body = format!("<d:ProbeMatches><d:ProbeMatch>{content}</d:ProbeMatch></d:ProbeMatches>");
    network.receive(source, "0.0.0.0:3702", envelope(&body));
}

#[test]
fn ws_discovery_yields_the_name_and_the_url_that_is_on_this_network() {
    let camera = "dn:NetworkVideoTransmitter tds:Device";
    let rows = [
        (
            "an encoder whose address without DHCP is first",
            "192.168.1.125:3702",
            (camera, "", "http://169.254.119.177/onvif/services http://192.168.1.125/onvif/services"),
            (
                "NetworkVideoTransmitter",
                "http://192.168.1.125/onvif/services",
                "192.168.1.125 169.254.119.177 port 80",
            ),
        ),
        (
            "a computer in another network, whose answer a relay has sent",
            "10.1.0.254:3702",
            ("wsdp:Device pub:Computer", "", "http://10.2.0.3:5357/id"),
            ("Computer", "http://10.2.0.3:5357/id", "10.2.0.3 port 5357"),
        ),
        (
            "an encoder with HTTP and HTTPS",
            "192.168.1.124:3702",
            (camera, "", "http://192.168.1.124:80/onvif https://192.168.1.124:443/onvif"),
            ("NetworkVideoTransmitter", "http://192.168.1.124:80/onvif", "192.168.1.124 port 80"),
        ),
        (
            "a camera with addresses of both families, separated by line ends",
            "10.10.1.60:3702",
            (camera, "", "http://10.10.1.60/onvif\n  http://[fe80::4619:b6ff:fe3e:baa1]/onvif"),
            (
                "NetworkVideoTransmitter",
                "http://10.10.1.60/onvif",
                "10.10.1.60 fe80::4619:b6ff:fe3e:baa1 port 80",
            ),
        ),
        (
            "a camera with a name, in an escaped form",
            "10.0.0.5:3702",
            (
                camera,
                "onvif://www.onvif.org/type/ptz onvif://www.onvif.org/name/Gate%20%26%20Yard \
                 onvif://www.onvif.org/hardware/Q1615",
                "http://10.0.0.5/a?b=1&amp;c=2",
            ),
            ("Gate & Yard", "http://10.0.0.5/a?b=1&c=2", "10.0.0.5 port 80"),
        ),
        (
            "a camera with a model and no name",
            "10.0.0.5:3702",
            (camera, "onvif://www.onvif.org/hardware/Q1615", "http://10.0.0.5/"),
            ("Q1615", "http://10.0.0.5/", "10.0.0.5 port 80"),
        ),
        (
            "a computer that states no URL",
            "10.0.0.5:3702",
            ("wsdp:Device pub:Computer", "", ""),
            ("Computer", "", "10.0.0.5 port -"),
        ),
        ("a device that states no type", "10.0.0.5:3702", ("", "", ""), ("id", "", "10.0.0.5 port -")),
    ];
    for (report, source, (types, scopes, urls), (name, url, expected)) in rows {
        let mut network = Network::new();
        probe_match(&mut network, source, &endpoint("id", types, scopes, urls));
        let entry = network.entry();
        assert_eq!(
            (entry.name.to_string().as_str(), entry.url.to_string().as_str()),
            (name, url),
            "{report}"
        );
        assert_eq!(reach(&entry), expected, "{report}");
    }
}

#[test]
fn scopes_and_urls_of_ws_discovery_are_listed_without_the_escapes_of_xml() {
    let mut network = Network::new();
    let (scopes, urls) = ("onvif://www.onvif.org/name/a&amp;b", "http://10.0.0.5/?a=1&amp;b=2");
    probe_match(&mut network, "10.0.0.5:3702", &endpoint("id", "d:X", scopes, urls));
    assert_eq!(values(&network.entry(), "scope"), ["onvif://www.onvif.org/name/a&b"]);
    assert_eq!(values(&network.entry(), "url"), ["http://10.0.0.5/?a=1&b=2"]);
}

#[test]
fn a_hello_without_a_url_is_completed_by_the_answer_to_a_search_and_a_bye_ends_it() {
    let mut network = Network::new();
    let hello = endpoint("id", "wsdp:Device pub:Computer", "", "");
    network.receive("10.0.0.5:41000", WSD, envelope(&format!("<d:Hello>{hello}</d:Hello>")));
    probe_match(
        &mut network,
        "10.0.0.5:3702",
        &endpoint("id", "pub:Computer", "", "http://10.0.0.5:5357/id"),
    );
    let resolved = endpoint("id", "", "", "http://10.0.0.5:5357/id");
    let body = format!("<d:ResolveMatches><d:ResolveMatch>{resolved}</d:ResolveMatch></d:ResolveMatches>");
    network.receive("10.0.0.5:3702", "0.0.0.0:3702", envelope(&body));
    assert_eq!(network.entry().url.to_string(), "http://10.0.0.5:5357/id");
    assert_eq!(values(&network.entry(), "type"), ["Computer"]);
    let bye = envelope(&format!("<d:Bye>{}</d:Bye>", endpoint("id", "", "", "")));
    network.receive("10.0.0.5:41001", WSD, bye);
    assert_eq!(network.events(), ["+Computer", "~Computer", "-Computer Goodbye"]);
}

/// The addressees of the questions for URLs.
fn resolves(network: &Network) -> Vec<String> {
    let text = |question: &DiscoveryQuestion| String::from_utf8_lossy(&question.payload).into_owned();
    let asked = network.asked.iter().map(text).filter(|text| text.contains("/Resolve<"));
    asked
        .map(|text| {
            text.split(['<', '>'])
                .find(|part| part.starts_with("urn:uuid:") && !part.contains("-0000-4"))
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn the_url_of_a_device_that_omits_it_is_asked_for_and_a_flood_of_them_is_not() {
    let mut network = Network::new();
    let answer = |network: &mut Network, id: &str| {
        probe_match(network, "10.0.0.5:3702", &endpoint(id, "pub:Computer", "", ""));
    };
    answer(&mut network, "unasked");
    network.pass_seconds(2);
    network.table.ask(network.now);
    network.pass_seconds(2);
    assert_eq!(resolves(&network), [""; 0]);
    for id in ["a", "a", "b&amp;&lt;"] {
        answer(&mut network, id);
    }
    network.pass_seconds(3);
    assert_eq!(resolves(&network), ["urn:uuid:a"]);
    (0..1_000).for_each(|number| answer(&mut network, &format!("flood-{number}")));
    network.pass_seconds(3);
    assert_eq!(resolves(&network).len(), 1 + 16);
}

#[test]
fn one_answer_may_have_several_devices_and_questions_of_others_are_none() {
    let mut network = Network::new();
    let one = |id| format!("<d:ProbeMatch>{}</d:ProbeMatch>", endpoint(id, "d:X", "", ""));
    let body = format!("<d:ProbeMatches>{}{}</d:ProbeMatches>", one("a"), one("b"));
    network.receive("10.0.0.5:3702", "0.0.0.0:3702", envelope(&body));
    let probe = "<d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe>";
    network.receive("10.0.0.6:50000", WSD, envelope(probe));
    let ids: Vec<String> = network.entries().iter().map(|entry| entry.key.id.to_string()).collect();
    assert_eq!(ids, ["urn:uuid:a", "urn:uuid:b"]);
    assert_eq!(network.table.counts().malformed, 0);
}

const SAP: &str = "239.255.255.255:9875";

fn session(version: u32, name: &str, rest: &str) -> String {
    format!("v=0\r\no=- 7 {version} IN IP4 10.0.0.7\r\ns={name}\r\nt=0 0\r\n{rest}")
}

const AUDIO: &str = "m=audio 5004 RTP/AVP 98\r\nc=IN IP4 239.69.1.1/32\r\na=rtpmap:98 L24/48000/2\r\na=ptime:1\r\n\
    a=ts-refclk:ptp=IEEE1588-2008:00-0C-EC-FF-FE-0A-2B-A1:0\r\n";

#[test]
fn a_session_with_another_version_and_hash_is_the_same_session() {
    let mut network = Network::new();
    let say = |network: &mut Network, hash, text: &str| {
        network.receive("10.0.0.7:9875", SAP, sap(0, hash, "application/sdp", text));
        network.pass_seconds(30);
    };
    say(&mut network, 1, &session(1, "Stage left", AUDIO));
    say(&mut network, 1, &session(1, "Stage left", AUDIO));
    let entry = network.entry();
    assert_eq!((reach(&entry), entry.service.to_string()), ("239.69.1.1 port 5004".into(), "audio".into()));
    assert_eq!(values(&entry, "stream"), ["239.69.1.1:5004"]);
    assert_eq!(values(&entry, "format"), ["98 L24/48000/2"]);
    assert_eq!(values(&entry, "clock"), ["ptp=IEEE1588-2008:00-0C-EC-FF-FE-0A-2B-A1:0"]);
    // The device was renamed; the reference clock changed.
    say(&mut network, 2, &session(2, "Stage right", AUDIO));
    say(&mut network, 3, &session(3, "Stage right", &AUDIO.replace("0C-EC", "1D-C1")));
    assert_eq!(network.events(), ["+Stage left", "~Stage right", "~Stage right"]);
    // It was deleted with the whole text.
    network.receive("10.0.0.7:9875", SAP, sap(4, 3, "application/sdp", &session(3, "Stage right", AUDIO)));
    assert_eq!(network.events(), ["-Stage right Goodbye"]);
}

#[test]
fn a_deletion_may_have_the_origin_line_only_or_no_text_at_all() {
    for text in ["o=- 7 1 IN IP4 10.0.0.7\r\n", ""] {
        let mut network = Network::new();
        network.receive("10.0.0.7:9875", SAP, sap(0, 9, "", &session(1, "News", AUDIO)));
        network.receive("10.0.0.7:9875", SAP, sap(4, 9, "", text));
        assert_eq!(network.events(), ["+News", "-News Goodbye"], "{text:?}");
    }
}

#[test]
fn redundant_streams_and_their_source_filters_are_listed() {
    let mut network = Network::new();
    let leg = |group: &str, source: &str, mid: &str| {
        format!(
            "m=audio 5004 RTP/AVP 98\r\nc=IN IP4 {group}/5\r\n\
             a=source-filter: incl IN IP4 {group} {source}\r\na=rtpmap:98 L24/48000/2\r\na=mid:{mid}\r\n"
        )
    };
    let legs = leg("238.135.102.1", "10.41.135.102", "ra0") + &leg("239.135.102.1", "10.42.135.102", "ra1");
    let text = session(0, "Tuner 1", &format!("a=group:DUP ra0 ra1\r\n{legs}"));
    network.receive("10.41.135.102:9875", SAP, sap(0, 1, "application/sdp", &text));
    let entry = network.entry();
    assert_eq!(
        values(&entry, "stream"),
        ["10.41.135.102@238.135.102.1:5004", "10.42.135.102@239.135.102.1:5004"]
    );
    assert_eq!(reach(&entry), "238.135.102.1 239.135.102.1 port 5004");
}

#[test]
fn a_session_whose_text_cannot_be_read_is_listed_with_the_reason() {
    let rows = [
        (2, "", "the description is encrypted"),
        (1, "", "the description is compressed"),
        (0, "text/plain", "the description is of another type: text/plain"),
        (0, "application/sdp", "line 5: description"),
    ];
    for (flags, kind, reason) in rows {
        let mut network = Network::new();
        network.receive("10.0.0.7:9875", SAP, sap(flags, 1, kind, &session(1, "News", "")));
        let not_read = values(&network.entry(), "not read");
        let expected = if reason.starts_with("line 5") { "describes no stream" } else { reason };
        assert!(not_read.concat().contains(expected), "{not_read:?}");
    }
}

#[test]
fn sessions_whose_origin_lines_are_all_the_same_differ_by_host_and_hash() {
    let mut network = Network::new();
    let text = |name: &str| format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns={name}\r\nt=0 0\r\n{AUDIO}");
    network.receive("10.0.0.7:9875", SAP, sap(0, 1, "application/sdp", &text("One")));
    network.receive("10.0.0.7:9875", SAP, sap(0, 2, "application/sdp", &text("Two")));
    assert_eq!(network.names(), ["One", "Two"]);
    network.receive("10.0.0.7:9875", SAP, sap(4, 1, "application/sdp", &text("One")));
    assert_eq!(network.names(), ["Two"]);
}

#[test]
fn a_session_lapses_an_hour_after_its_last_announcement() {
    let mut network = Network::new();
    for _ in 0..3 {
        network.receive("10.0.0.7:9875", SAP, sap(0, 1, "", &session(1, "News", AUDIO)));
        network.pass_seconds(30);
    }
    network.pass_seconds(3_560);
    assert_eq!(network.names(), ["News"]);
    network.pass_seconds(20);
    assert_eq!(network.events(), ["+News", "-News Expired"]);
}

#[test]
fn each_server_of_coap_that_answers_is_an_entry_with_its_resources() {
    let mut network = Network::new();
    let format: &[(u8, &[u8])] = &[(12, &[40])];
    let list = "</.well-known/core>;ct=40,</sensors/t>;rt=\"temperature-c\";if=\"sensor\";title=\"a, b;c\"";
    network.receive("10.0.0.5:5683", "0.0.0.0:5683", coap(format, list));
    // Some servers omit the format; some state that the list continues.
    network.receive("10.0.0.6:5683", "0.0.0.0:5683", coap(&[], "</light>;rt=\"lamp\""));
    network.receive("[fe80::7]:5683", "[::]:5683", coap(&[(12, &[40]), (23, &[0x0e])], "</a>,</b>,"));
    // Other content is not a list.
    network.receive("10.0.0.8:5683", "10.0.0.1:40000", coap(&[(12, &[50])], "{\"a\":1}"));
    network.receive("10.0.0.8:5683", "10.0.0.1:40000", coap(&[], "22.3 C"));
    let entries = network.entries();
    let known: Vec<(String, String)> =
        entries.iter().map(|entry| (entry.url.to_string(), entry.service.to_string())).collect();
    let url = |host: &str| format!("coap://{host}:5683/.well-known/core");
    let expected = [("10.0.0.5", "temperature-c"), ("10.0.0.6", "lamp"), ("[fe80::7]", "")];
    assert_eq!(known, expected.map(|(host, service)| (url(host), service.to_owned())));
    assert_eq!(values(&entries[0], "/sensors/t"), ["rt=\"temperature-c\";if=\"sensor\";title=\"a, b;c\""]);
    assert_eq!(values(&entries[2], "incomplete").len(), 1);
    assert_eq!(network.table.counts().malformed, 0);
}

#[test]
fn a_directory_of_resources_names_its_nodes_and_a_short_age_is_not_taken_at_its_word() {
    let mut network = Network::new();
    let list = "</rd>;rt=\"core.rd\";ct=40,</x>;rt=\"x\";ep=\"node1\"";
    network.receive("10.0.0.5:5683", "0.0.0.0:5683", coap(&[(12, &[40]), (14, &[])], list));
    let entry = network.entry();
    assert_eq!((entry.name.to_string(), entry.service.to_string()), ("node1".into(), "x".into()));
    assert_eq!(lifetime(&network, &entry), Some(150));
}

#[test]
fn interfaces_of_knx_have_their_names_in_latin_1_and_their_endpoint() {
    let serial = [0, 1, 2, 3, 4, 5];
    let families = [(2, 1), (3, 1), (4, 1), (5, 1)];
    let rows = [
        (
            "a device",
            ([192, 168, 1, 22], 3671),
            serial,
            "epv3 KNXNet/IP",
            "epv3 KNXNet/IP",
            "192.168.1.22 port 3671",
        ),
        (
            "an umlaut",
            ([192, 168, 1, 22], 3671),
            serial,
            "Schaltschrank K\u{fc}che",
            "Schaltschrank Küche",
            "192.168.1.22 port 3671",
        ),
        ("behind a translation", ([0; 4], 0), serial, "Router", "Router", "192.168.1.21 port 40001"),
        ("no name", ([192, 168, 1, 22], 3671), serial, "", "192.168.1.22", "192.168.1.22 port 3671"),
        ("no serial number", ([192, 168, 1, 22], 3671), [0; 6], "USB", "USB", "192.168.1.22 port 3671"),
        (
            "a name of 30 bytes",
            ([192, 168, 1, 22], 3671),
            serial,
            "123456789012345678901234567890",
            "123456789012345678901234567890",
            "192.168.1.22 port 3671",
        ),
    ];
    for (report, endpoint, serial, name, shown, reached) in rows {
        let mut network = Network::new();
        let latin: Vec<u8> =
            name.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        let response = knx(endpoint, serial, &latin, &families);
        // A device with several networks answers on each, and twice to two questions.
        network.receive("192.168.1.21:40001", "0.0.0.0:3671", &response);
        network.receive("192.168.1.21:40001", "0.0.0.0:3671", &response);
        let entry = network.entry();
        // The name is shown with escapes.
        let name = String::from_utf8(entry.name.as_bytes().to_vec()).unwrap();
        assert_eq!((name.as_str(), reach(&entry).as_str()), (shown, reached), "{report}");
        assert_eq!(entry.service.to_string(), "tunneling routing", "{report}");
        assert_eq!(values(&entry, "individual address"), ["1.1.5"], "{report}");
        assert_eq!(network.events().len(), 1, "{report}");
    }
}

const UNIVERSE_1: &str = "239.255.0.1:5568";
const LISTS: &str = "239.255.250.214:5568";

#[test]
fn each_source_of_a_universe_is_an_entry_with_its_priority() {
    let mut network = Network::new();
    // A main and a backup console, and the second kind of data, priorities per address.
    network.receive("2.0.0.2:5568", UNIVERSE_1, sacn(1, "Main", 1, 200, 0, 0));
    network.receive("2.0.0.2:5568", UNIVERSE_1, sacn(1, "Main", 1, 200, 0, 0xdd));
    network.receive("2.0.0.3:5568", UNIVERSE_1, sacn(2, "Backup", 1, 100, 0, 0));
    let entries = network.entries();
    assert_eq!(network.names(), ["Backup", "Main"]);
    assert_eq!([values(&entries[0], "priority"), values(&entries[1], "priority")], [["100"], ["200"]]);
    assert_eq!(entries[0].service.to_string(), "universe 1");
    assert_eq!(network.events().len(), 2);
}

#[test]
fn a_universe_ends_when_its_source_says_so_or_sends_no_data_for_2_5_s_and_may_return() {
    let mut network = Network::new();
    let data = sacn(1, "Desk", 1, 100, 0, 0);
    network.receive("2.0.0.2:5568", UNIVERSE_1, &data);
    for _ in 0..3 {
        network.receive("2.0.0.2:5568", UNIVERSE_1, sacn(1, "Desk", 1, 100, 0x40, 0));
    }
    assert_eq!(network.events(), ["+Desk", "-Desk Goodbye"]);
    // 44 packets per second.
    for _ in 0..200 {
        network.receive("2.0.0.2:5568", UNIVERSE_1, &data);
        network.pass(Duration::from_micros(22_727));
    }
    assert_eq!(network.events(), ["+Desk"]);
    network.pass(Duration::from_millis(2_500));
    assert_eq!(network.events(), ["-Desk Expired"]);
    network.receive("2.0.0.2:5568", UNIVERSE_1, &data);
    assert_eq!(network.events(), ["+Desk"]);
}

#[test]
fn universes_are_known_from_lists_without_joining_each_and_from_data_without_lists() {
    let mut network = Network::new();
    network.receive("2.0.0.2:5568", LISTS, sacn_list(1, "Desk", &[1, 2, 63_999]));
    network.receive("2.0.0.3:5568", UNIVERSE_1, sacn(2, "Old desk", 1, 100, 0, 0));
    let services: Vec<String> = network.entries().iter().map(|entry| entry.service.to_string()).collect();
    assert_eq!(services, ["universe 1", "universe 2", "universe 63999", "universe 1"]);
    // Data state more than a list, which does not take it back.
    network.events();
    network.receive("2.0.0.2:5568", UNIVERSE_1, sacn(1, "Desk", 1, 120, 0, 0));
    network.receive("2.0.0.2:5568", LISTS, sacn_list(1, "Desk", &[1, 2, 63_999]));
    assert_eq!(network.events(), ["~Desk"]);
    // A list may be lost; the lack of two is the end.
    network.pass_seconds(20);
    assert_eq!(network.names(), ["Desk", "Desk", "Desk"]);
    network.pass_seconds(10);
    assert_eq!(network.names(), [""; 0]);
}

#[test]
fn nodes_of_art_net_have_the_universes_of_their_ports() {
    let plain = Node::PLAIN;
    let rows = [
        ("an output", Node { outputs: [3, 0, 0, 0], ..plain }, "outputs 3"),
        ("the first input and output, as 0", Node { kinds: [0xc0, 0, 0, 0], ..plain }, "outputs 0; inputs 0"),
        (
            "four ports that are all set, although none is in use",
            Node { kinds: [0xc0; 4], ..plain },
            "outputs 0; inputs 0",
        ),
        (
            "net and sub-net",
            Node { net: (1, 2), kinds: [0x80, 0x80, 0, 0], outputs: [4, 5, 0, 0], ..plain },
            "outputs 292, 293",
        ),
        (
            "the second port alone",
            Node { kinds: [0, 0x80, 0, 0], outputs: [0, 1, 0, 0], ..plain },
            "outputs 1",
        ),
        ("no port", Node { kinds: [0; 4], ..plain }, ""),
    ];
    for (report, node, service) in rows {
        let mut network = Network::new();
        network.receive("10.0.0.7:6454", "255.255.255.255:6454", node.reply());
        let entry = network.entry();
        assert_eq!(entry.service.to_string(), service, "{report}");
        assert_eq!(entry.name.to_string(), "A longer name of the node", "{report}");
        assert_eq!(reach(&entry), "10.0.0.7 port 6454", "{report}");
    }
}

#[test]
fn a_node_with_16_universes_is_an_entry_for_each_four_of_them() {
    let mut network = Network::new();
    for index in 0..4 {
        let first = index * 4;
        let node = Node {
            bind_index: index + 1,
            kinds: [0x80; 4],
            outputs: [first, first + 1, first + 2, first + 3],
            ..Node::PLAIN
        };
        network.receive("10.0.0.7:6454", "2.255.255.255:6454", node.reply());
    }
    let services: Vec<String> = network.entries().iter().map(|entry| entry.service.to_string()).collect();
    let expected =
        ["outputs 0, 1, 2, 3", "outputs 4, 5, 6, 7", "outputs 8, 9, 10, 11", "outputs 12, 13, 14, 15"];
    assert_eq!(services, expected);
}

#[test]
fn old_and_renamed_nodes_and_nodes_with_a_new_address_are_recognized() {
    let mut network = Network::new();
    // An old node ends before its MAC address.
    network.receive(
        "10.0.0.9:6454",
        "255.255.255.255:6454",
        &Node { address: [10, 0, 0, 9], ..Node::PLAIN }.reply()[..194],
    );
    assert_eq!(network.entry().key.id.to_string(), "10.0.0.9/1");
    let node = Node { names: ("Left", ""), ..Node::PLAIN };
    network.receive("10.0.0.7:6454", "255.255.255.255:6454", node.reply());
    network.receive("10.0.0.7:6454", "255.255.255.255:6454", Node { names: ("Right", ""), ..node }.reply());
    network.receive(
        "10.0.0.8:6454",
        "255.255.255.255:6454",
        Node { names: ("Right", ""), address: [10, 0, 0, 8], ..node }.reply(),
    );
    assert_eq!(network.events()[1..], ["+Left", "~Right", "~Right"]);
    assert_eq!(network.names().len(), 2);
}

#[test]
fn nodes_that_no_longer_answer_a_controller_lapse() {
    let mut network = Network::new();
    for _ in 0..3 {
        network.receive("10.0.0.1:6454", "255.255.255.255:6454", b"Art-Net\0\x00\x20\x00\x0e\x02\x00");
        network.receive("10.0.0.7:6454", "10.0.0.1:6454", Node::PLAIN.reply());
        network.pass_seconds(3);
    }
    assert_eq!(network.names().len(), 1);
    network.pass_seconds(10);
    assert_eq!(network.names().len(), 0);
}
