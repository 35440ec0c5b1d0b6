//! What is listed, and for how long.

use super::*;

#[test]
fn service_is_listed_with_what_its_records_state() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7"]);
    let printer = listener.only();
    assert_eq!(field(printer, "ty"), Some("Model 7".into()));
    assert_eq!(field(printer, "about"), Some("printer (IPP)".into()));
    assert_eq!((field(printer, "hop-limit"), field(printer, "conflict")), (None, None));
    assert_eq!(printer.key.id.to_string(), "office._ipp._tcp.local");
    assert_eq!(printer.expires, Some(START.after(Duration::from_secs(4_500))));
    assert_eq!(listener.list(DiscoveredKind::Host), ["printer.local printer.local 10.0.0.7 fe80::7"]);
}

#[test]
fn both_families_are_one_entry_and_each_network_has_its_own() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("fe80::7", &PRINTER);
    assert_eq!((listener.services().len(), listener.only().announcements), (1, 2));
    let vlan = DiscoveryPlace { vlan: Some(7), ..place(2) };
    for other in [vlan, place(3)] {
        let payload = message(DnsWriter::RESPONSE, &PRINTER);
        listener.receive_at(other, "10.0.0.7:5353".parse().unwrap(), "224.0.0.251:5353", None, &payload);
    }
    assert_eq!(listener.services().len(), 3);
}

#[test]
fn instance_is_listed_before_its_location_is_known() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER[..1]);
    assert_eq!(listener.services(), ["Office _ipp._tcp"]);
    listener.hear("10.0.0.7", &PRINTER[1..2]);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631"]);
    listener.hear("10.0.0.7", &["printer.local;!A;120;10.0.0.7"]);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7"]);
    assert_eq!(listener.only().announcements, 2, "the address is not an announcement of the service");
}

#[test]
fn location_without_a_pointer_is_listed_until_a_pointer_has_ended() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER[1..]);
    assert_eq!(listener.services().len(), 1);
    listener.hear("10.0.0.7", &PRINTER[..1]);
    listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"]);
    listener.wait(1_000);
    assert_eq!(listener.services().len(), 0, "browsers list what is pointed to");
}

#[test]
fn goodbye_takes_effect_after_a_second() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(5_000);
    listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"]);
    listener.wait(999);
    assert_eq!(listener.services().len(), 1);
    listener.wait(1);
    assert_eq!(listener.services().len(), 0);
    assert_eq!(listener.departures(), [("Office".into(), DepartureReason::Goodbye)]);
}

#[test]
fn announcement_within_the_second_revokes_a_goodbye() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"]);
    listener.wait(500);
    listener.hear("10.0.0.7", &PRINTER[..1]);
    listener.wait(60_000);
    assert_eq!((listener.services().len(), listener.departures()), (1, vec![]));
}

#[test]
fn goodbye_of_another_host_is_ignored() {
    let goodbye = ["_ipp._tcp.local;PTR;0;Office._ipp._tcp.local"];
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("10.0.0.66", &goodbye);
    listener.hear("10.0.0.66", &["printer.local;!A;0;10.0.0.7"]);
    listener.wait(2_000);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7"]);
    assert_eq!(listener.table.counts().foreign_goodbyes, 2);
    // The host says goodbye by its other family.
    listener.hear("fe80::7", &goodbye);
    listener.wait(1_000);
    assert_eq!(listener.services().len(), 0);
}

/// A host that loses its IPv6 addresses withdraws all that it announced by IPv6, and is silent by IPv4.
#[test]
fn goodbye_of_one_family_leaves_what_the_other_announces_for_its_time_to_live() {
    let goodbye = PRINTER.map(|line| line.replace(";4500;", ";0;").replace(";120;", ";0;"));
    let goodbye = goodbye.each_ref().map(String::as_str);
    let printer = "Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7";
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(60_000);
    listener.hear("fe80::7", &PRINTER);
    listener.hear("fe80::7", &goodbye);
    listener.wait(59_999);
    assert_eq!(listener.services(), [printer]);
    listener.wait(1);
    assert_eq!(listener.services(), ["Office _ipp._tcp"], "two minutes after the announcement by IPv4");
    listener.hear("fe80::7", &PRINTER);
    assert_eq!(listener.services(), [printer]);
    for source in ["fe80::7", "10.0.0.7"] {
        listener.hear(source, &goodbye);
    }
    listener.wait(1_000);
    assert_eq!((listener.services().len(), listener.list(DiscoveredKind::Host).len()), (0, 0));
}

#[test]
fn records_lapse_one_by_one() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(119_999);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7"]);
    listener.wait(1);
    assert_eq!(listener.services(), ["Office _ipp._tcp"], "the pointer has 75 minutes");
    assert_eq!(listener.list(DiscoveredKind::Host), Vec::<String>::new());
    listener.wait(4_380_000);
    assert_eq!(listener.services().len(), 0);
    let expired = |name: &str| (name.to_owned(), DepartureReason::Expired);
    assert_eq!(listener.departures(), [expired("printer.local"), expired("Office")]);
}

#[test]
fn time_to_live_is_limited() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &["_ipp._tcp.local;PTR;4294967295;Office._ipp._tcp.local"]);
    listener.wait(7_199_999);
    assert_eq!(listener.services().len(), 1);
    listener.wait(1);
    assert_eq!(listener.services().len(), 0);
}

#[test]
fn unique_record_replaces_older_ones_after_a_second() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(60_000);
    listener.hear(
        "10.0.0.7",
        &["Office._ipp._tcp.local;!SRV;120;printer.local:8631", "printer.local;!A;120;10.0.0.8"],
    );
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:8631 10.0.0.8 fe80::7"]);
    listener.wait(1_000);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:8631 10.0.0.8 fe80::7"]);
    assert_eq!(field(listener.only(), "conflict"), None);
}

#[test]
fn addresses_of_one_announcement_do_not_replace_each_other() {
    let mut listener = Listener::new();
    let more = ["printer.local;!A;120;10.0.0.7", "printer.local;!A;120;192.168.0.7"];
    listener.hear("10.0.0.7", &[&PRINTER[..2], &more[..]].concat());
    listener.wait(500);
    listener.hear("10.0.0.7", &["printer.local;!A;120;172.16.0.7"]);
    listener.wait(5_000);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 172.16.0.7 192.168.0.7"]);
    listener.hear("10.0.0.7", &more);
    listener.wait(1_000);
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 192.168.0.7"]);
}

#[test]
fn questions_known_answers_and_probes_announce_nothing() {
    let mut listener = Listener::new();
    let lines = ["_ipp._tcp.local;PTR", PRINTER[0]];
    listener.receive("10.0.0.9", &message(0, &lines));
    let probe = ["Office._ipp._tcp.local;255", "?Office._ipp._tcp.local;SRV;120;printer.local:631"];
    listener.receive("10.0.0.9", &message(0, &probe));
    assert_eq!(listener.entries().len(), 0);
    assert_eq!(listener.table.counts().malformed, 0);
    listener.hear("10.0.0.7", &PRINTER);
    assert_eq!(listener.services().len(), 1);
}

#[test]
fn only_responses_of_the_port_and_of_this_network_are_read() {
    let payload = message(DnsWriter::RESPONSE, &PRINTER);
    let listed = |source: &str, destination: &str, hop_limit| {
        let mut listener = Listener::new();
        listener.receive_at(place(2), source.parse().unwrap(), destination, hop_limit, &payload);
        listener.services().len()
    };
    assert_eq!(listed("10.0.0.7:5353", "224.0.0.251:5353", None), 1);
    assert_eq!(listed("10.0.0.7:40000", "224.0.0.251:5353", Some(255)), 0);
    assert_eq!(listed("10.0.0.7:5353", "10.0.0.1:5353", Some(255)), 1);
    assert_eq!(listed("203.0.113.7:5353", "10.0.0.1:5353", Some(248)), 0);
    assert_eq!(listed("10.0.0.7:5353", "10.0.0.1:5353", None), 0);
    // The answer to a question from another port has other times to live (RFC 6762 section 6.7).
    assert_eq!(listed("10.0.0.7:5353", "10.0.0.1:40000", Some(255)), 0);
}

#[test]
fn failed_and_other_operations_are_ignored() {
    for flags in [DnsWriter::RESPONSE | 3, DnsWriter::RESPONSE | 0x2800] {
        let mut listener = Listener::new();
        listener.receive("10.0.0.7", &message(flags, &PRINTER));
        assert_eq!(listener.entries().len(), 0, "{flags:#06x}");
    }
}

#[test]
fn hop_limit_other_than_255_is_a_remark() {
    let mut listener = Listener::new();
    let payload = message(DnsWriter::RESPONSE, &PRINTER);
    listener.receive_at(place(2), "10.0.0.7:5353".parse().unwrap(), "224.0.0.251:5353", Some(1), &payload);
    assert_eq!(field(listener.only(), "hop-limit"), Some("1".into()));
}

#[test]
fn two_hosts_with_one_name_are_a_conflict() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(100);
    let other = ["Office._ipp._tcp.local;!SRV;120;scanner.local:8080"];
    listener.hear("10.0.0.8", &other);
    assert_eq!(field(listener.only(), "conflict"), Some("scanner.local:8080 by 10.0.0.8".into()));
    assert_eq!(listener.services(), ["Office _ipp._tcp printer.local:631 10.0.0.7 fe80::7"]);
    // One gives way: its record is replaced.
    listener.wait(10_000);
    listener.hear("10.0.0.7", &PRINTER);
    listener.wait(1_000);
    assert_eq!(field(listener.only(), "conflict"), None);
}

#[test]
fn two_hosts_with_one_name_of_a_host_are_a_conflict() {
    let mut listener = Listener::new();
    listener.hear("10.0.0.7", &["pi.local;!A;120;10.0.0.7"]);
    listener.hear("10.0.0.8", &["pi.local;!A;120;10.0.0.8"]);
    let hosts = listener.entries();
    assert_eq!(hosts.len(), 1);
    assert!(field(hosts[0], "conflict").unwrap().starts_with("10.0.0."));
    assert_eq!(listener.list(DiscoveredKind::Host), ["pi.local pi.local 10.0.0.7 10.0.0.8"]);
}

#[test]
fn texts_are_decoded() {
    let mut listener = Listener::new();
    let text = "rp=a=b,RP=again,flag,=nothing,,empty=,conflict=forged,esc=\u{1b}[31m";
    listener.hear("10.0.0.7", &[PRINTER[0], &format!("Office._ipp._tcp.local;!TXT;4500;{text}")]);
    let printer = listener.only();
    let fields: Vec<_> =
        printer.fields.iter().map(|field| format!("{}={}", field.name, field.value)).collect();
    assert_eq!(
        fields,
        ["about=printer (IPP)", "rp=a=b", "flag=", "empty=", "txt.conflict=forged", "esc=\\x1b[31m"]
    );
}

#[test]
fn names_keep_their_dots_spaces_and_letters_and_have_no_case() {
    let mut listener = Listener::new();
    let name = "Drucker 2\\.OG – Büro._ipp._tcp.local";
    listener.hear("10.0.0.7", &[&format!("_ipp._tcp.local;PTR;4500;{name}")]);
    let other = "drucker 2\\.og – Büro._IPP._tcp.Local";
    listener.hear("10.0.0.7", &[&format!("{other};!SRV;120;P.local:631"), "p.LOCAL;!A;120;10.0.0.7"]);
    let printer = listener.only();
    assert_eq!(printer.name.as_bytes(), "Drucker 2.OG – Büro".as_bytes());
    assert_eq!((printer.port, printer.addresses.len()), (Some(631), 1));
}

#[test]
fn subtypes_are_fields_and_point_to_the_instance() {
    let mut listener = Listener::new();
    let subtype =
        |seconds: u32| format!("_printer._sub._ipp._tcp.local;PTR;{seconds};Office._ipp._tcp.local");
    listener.hear("10.0.0.7", &[&subtype(4_500)]);
    assert_eq!(field(listener.only(), "subtype"), Some("_printer".into()));
    listener.hear("10.0.0.7", &PRINTER);
    listener.hear("10.0.0.7", &[&subtype(0)]);
    listener.wait(1_000);
    assert_eq!(field(listener.only(), "subtype"), None);
}

#[test]
fn pointers_to_what_is_no_instance_of_the_type_are_ignored() {
    let mut listener = Listener::new();
    listener.hear(
        "10.0.0.7",
        &[
            "_services._dns-sd._udp.local;PTR;4500;_ipp._tcp.local",
            "_ipp._tcp.local;PTR;4500;Office._http._tcp.local",
            "_ipp._tcp.local;PTR;4500;printer.local",
            "7.0.0.10.in-addr.arpa;!PTR;120;printer.local",
            "_ipp._tcp.example.com;PTR;4500;Office._ipp._tcp.example.com",
            "printer.local;!A;120;0.0.0.0",
        ],
    );
    assert_eq!(listener.entries().len(), 0);
    listener.hear("10.0.0.7", &PRINTER[..1]);
    assert_eq!(listener.services().len(), 1);
}

#[test]
fn llmnr_answers_name_hosts() {
    let answer = |flags: u16, lines: &[&str], port: u16| {
        let mut listener = Listener::new();
        let payload = message(flags, lines);
        let source = SocketAddr::new("10.0.0.7".parse().unwrap(), port);
        listener.receive_at(place(2), source, "10.0.0.9:50123", None, &payload);
        let fields: Vec<_> = listener.entries().iter().filter_map(|entry| field(entry, "conflict")).collect();
        let listed = listener.list(DiscoveredKind::Host);
        listener.wait(30_000);
        assert_eq!(listener.entries().len(), 0, "its time to live is 30 s");
        (listed, fields.len())
    };
    let lines = ["PC7;A", "pc7;A;30;10.0.0.7", "pc7;A;30;10.0.0.8"];
    let pc = vec!["PC7 PC7 10.0.0.7 10.0.0.8".to_owned()];
    assert_eq!(answer(0x8000, &lines, 5355), (pc.clone(), 0));
    assert_eq!(answer(0x8400, &lines, 5355), (pc, 1), "a conflict");
    assert_eq!(answer(0x8100, &lines, 5355), (vec![], 0), "tentative");
    assert_eq!(answer(0x8000, &lines, 4_000), (vec![], 0), "another port");
    assert_eq!(answer(0, &lines[..1], 5355), (vec![], 0), "a question");
    assert_eq!(answer(0x8000, &["PC7;A", "other;A;30;10.0.0.7"], 5355), (vec![], 0), "another name");
}
