//! Situations that users of programs reported, as what was on the wire: each must be listed as its reporter expected.

use super::*;

/// What happens, and what is listed at the end.
struct Report {
    /// Where it was reported, and what was wrong there.
    title: &'static str,
    steps: &'static [Step],
    services: &'static [&'static str],
    /// A field of the only service, with its value.
    field: Option<(&'static str, &'static str)>,
}

enum Step {
    /// A response of this host.
    Hear(&'static str, &'static [&'static str]),
    /// Milliseconds.
    Wait(u64),
}

use Step::{Hear, Wait};

const HOST: &str = "10.0.0.7";
const DEVICE: [&str; 4] = [
    "_http._tcp.local;PTR;4500;Cam._http._tcp.local",
    "Cam._http._tcp.local;!SRV;120;cam.local:80",
    "Cam._http._tcp.local;!TXT;4500;path=/",
    "cam.local;!A;120;10.0.0.7",
];
const LOCATION: &[&str] = &[DEVICE[0], DEVICE[1]];
const ADDRESS: &[&str] = &[DEVICE[3]];
const LISTED: &str = "Cam _http._tcp cam.local:80 10.0.0.7";
const GOODBYE: &[&str] = &["_http._tcp.local;PTR;0;Cam._http._tcp.local"];

const REPORTS: [Report; 26] = [
    Report {
        title: "novotnyllc/Zeroconf 72, keepsimple1/mdns-sd 54: a goodbye was not noticed",
        steps: &[Hear(HOST, &DEVICE), Hear(HOST, GOODBYE), Wait(1_000)],
        services: &[],
        field: None,
    },
    Report {
        title: "python-zeroconf 475: a goodbye took effect at once, so that another responder could not rescue the record",
        steps: &[Hear(HOST, &DEVICE), Hear(HOST, GOODBYE), Wait(900), Hear(HOST, &DEVICE), Wait(5_000)],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "avahi 342: a host whose IPv6 address changes withdraws by IPv6 what it still has by IPv4",
        steps: &[Hear(HOST, &DEVICE), Hear("fe80::7", &DEVICE), Hear("fe80::7", GOODBYE), Wait(5_000)],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "avahi 677: a service that was published by each family was listed after both had withdrawn it",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear("fe80::7", &DEVICE),
            Hear(HOST, GOODBYE),
            Wait(5_000),
            Hear("fe80::7", GOODBYE),
            Wait(1_000),
        ],
        services: &[],
        field: None,
    },
    Report {
        title: "onlxltd/bonjour-service 25: an unplugged device was listed forever",
        steps: &[Hear(HOST, &DEVICE), Wait(4_500_000)],
        services: &[],
        field: None,
    },
    Report {
        title: "mrhornsby/spark-core-mdns 2: a device that states 2 minutes for its pointer is gone after 2 minutes",
        steps: &[Hear(HOST, &["_http._tcp.local;PTR;120;Cam._http._tcp.local"]), Wait(120_000)],
        services: &[],
        field: None,
    },
    Report {
        title: "hrzlgnm/mdns-browser 1827: a type vanished because one device withdrew it",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear("10.0.0.8", &["_services._dns-sd._udp.local;PTR;0;_http._tcp.local"]),
            Wait(5_000),
        ],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "keepsimple1/mdns-sd 140: only the pointer was withdrawn, and the service did not resolve when it was announced again",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear(HOST, GOODBYE),
            Wait(2_000),
            Hear(HOST, &["_http._tcp.local;PTR;4500;Cam._http._tcp.local"]),
        ],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "python-zeroconf 206, mdns-sd 201: after a new address, the old one stayed",
        steps: &[
            Hear(HOST, &DEVICE),
            Wait(5_000),
            Hear("10.0.0.9", &["cam.local;!A;120;10.0.0.9"]),
            Wait(1_000),
        ],
        services: &["Cam _http._tcp cam.local:80 10.0.0.9"],
        field: None,
    },
    Report {
        title: "python-zeroconf 1012: within the second after that, the old address came first",
        steps: &[Hear(HOST, &DEVICE), Wait(5_000), Hear("10.0.0.9", &["cam.local;!A;120;10.0.0.9"])],
        services: &["Cam _http._tcp cam.local:80 10.0.0.9"],
        field: None,
    },
    Report {
        title: "mdns-sd 203: an answer with cache flush and the same data refreshes the record",
        steps: &[Hear(HOST, &DEVICE), Wait(100_000), Hear(HOST, &DEVICE), Wait(119_000)],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "python-zeroconf 203: a changed text was not noticed",
        steps: &[Hear(HOST, &DEVICE), Wait(5_000), Hear(HOST, &["Cam._http._tcp.local;!TXT;4500;path=/new"])],
        services: &[LISTED],
        field: Some(("path", "/new")),
    },
    Report {
        title: "mjansson/mdns 63, jmdns 32: a text without a value made all others vanish",
        steps: &[
            Hear(HOST, LOCATION),
            Hear(HOST, &["Cam._http._tcp.local;!TXT;4500;register,path=/"]),
            Hear(HOST, ADDRESS),
        ],
        services: &[LISTED],
        field: Some(("register", "")),
    },
    Report {
        title: "tmds/Tmds.MDns 19: an empty text ended the list",
        steps: &[
            Hear(HOST, LOCATION),
            Hear(HOST, &["Cam._http._tcp.local;!TXT;4500;,path=/x"]),
            Hear(HOST, ADDRESS),
        ],
        services: &[LISTED],
        field: Some(("path", "/x")),
    },
    Report {
        title: "flutter 141218: a binary value with a line break was read as two texts",
        steps: &[
            Hear(HOST, LOCATION),
            Hear(HOST, &["Cam._http._tcp.local;!TXT;4500;xp=\u{1}\n\u{2}"]),
            Hear(HOST, ADDRESS),
        ],
        services: &[LISTED],
        field: Some(("xp", "\\x01\\n\\x02")),
    },
    Report {
        title: "jmdns 180, mdns-sd 418, hick 118: an instance with a dot in its label was cut or not listed",
        steps: &[Hear(
            HOST,
            &[
                "_http._tcp.local;PTR;4500;J\\.Smith's Cam._http._tcp.local",
                "J\\.Smith's Cam._http._tcp.local;!SRV;120;cam.local:80",
            ],
        )],
        services: &["J.Smith's Cam _http._tcp cam.local:80"],
        field: None,
    },
    Report {
        title: "avahi 408, watson/bonjour 19: a device writes its instance as two labels",
        steps: &[Hear(HOST, &["_mqtt._tcp.local;PTR;4500;0000000D.controller._mqtt._tcp.local"])],
        services: &["0000000D.controller _mqtt._tcp"],
        field: None,
    },
    Report {
        title: "mdns-sd 51: Dante devices send no SRV with the pointer, and were not listed",
        steps: &[Hear(HOST, &["_netaudio-arc._udp.local;PTR;4500;AVIO-52b8b6._netaudio-arc._udp.local"])],
        services: &["AVIO-52b8b6 _netaudio-arc._udp"],
        field: Some(("about", "Dante control")),
    },
    Report {
        title: "troglobit/mdnsd 80: the type points to a host, not to an instance; its SRV names the service all the same",
        steps: &[Hear(
            HOST,
            &["_ftp._tcp.local;PTR;120;ftp.cam.local", "Server._ftp._tcp.local;!SRV;120;cam.local:21"],
        )],
        services: &["Server _ftp._tcp cam.local:21"],
        field: None,
    },
    Report {
        title: "ship-go 93, esp-idf 1169, zephyr 80815: names in another case were other names",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear(HOST, &["_HTTP._tcp.local;PTR;4500;CAM._http._TCP.local", "CAM.local;!A;120;10.0.0.7"]),
        ],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "python-zeroconf 1321: an address was listed twice",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear("fe80::7", &["cam.local;AAAA;120;fe80::7", "cam.local;!AAAA;120;fe80::7"]),
        ],
        services: &["Cam _http._tcp cam.local:80 10.0.0.7 fe80::7"],
        field: None,
    },
    Report {
        title: "avahi 14: a service was listed once for each family",
        steps: &[Hear(HOST, &DEVICE), Hear("fe80::7", &DEVICE)],
        services: &[LISTED],
        field: None,
    },
    Report {
        title: "avahi 677: withdrawn by IPv4 and by IPv6, it stayed for one of them",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear("fe80::7", &DEVICE),
            Hear(HOST, GOODBYE),
            Hear("fe80::7", GOODBYE),
            Wait(1_000),
        ],
        services: &[],
        field: None,
    },
    Report {
        title: "avahi 396: a subtype without an underscore",
        steps: &[
            Hear(HOST, &DEVICE),
            Hear(HOST, &["baz._sub._http._tcp.local;PTR;4500;Cam._http._tcp.local"]),
        ],
        services: &[LISTED],
        field: Some(("subtype", "baz")),
    },
    Report {
        title: "avahi 117, home-assistant 1163: two hosts with one name take turns",
        steps: &[
            Hear(HOST, &DEVICE),
            Wait(100),
            Hear("10.0.0.8", &["Cam._http._tcp.local;!SRV;120;zed.local:80"]),
        ],
        services: &[LISTED],
        field: Some(("conflict", "zed.local:80 by 10.0.0.8")),
    },
    Report {
        title: "systemd 33806: a DNAME for `local` made every name unusable",
        steps: &[Hear(HOST, &DEVICE), Hear("10.0.0.66", &["local;39;120;\u{5}local\u{5}local"])],
        services: &[LISTED],
        field: None,
    },
];

#[test]
fn situations_of_reports_are_listed_as_expected() {
    for report in &REPORTS {
        let mut listener = Listener::new();
        for step in report.steps {
            match step {
                Hear(source, lines) => listener.hear(source, lines),
                Wait(milliseconds) => listener.wait(*milliseconds),
            }
        }
        assert_eq!(listener.services(), report.services, "{}", report.title);
        if let Some((name, value)) = report.field {
            assert_eq!(field(listener.only(), name).as_deref(), Some(value), "{}", report.title);
        }
    }
}

#[test]
fn responses_with_odd_headers_are_read_as_expected() {
    let listed = |source: &str, hop_limit, flags| {
        let mut listener = Listener::new();
        let payload = message(flags, &DEVICE);
        listener.receive_at(place(2), source.parse().unwrap(), "224.0.0.251:5353", hop_limit, &payload);
        listener.services().len()
    };
    // avahi 448, systemd 37754: responses from another port.
    assert_eq!(listed("10.0.0.7:49152", Some(255), DnsWriter::RESPONSE), 0);
    // mdns-sd 360: a hop limit of 1 is not a reason to ignore a device.
    assert_eq!(listed("10.0.0.7:5353", Some(1), DnsWriter::RESPONSE), 1);
    // connectedhomeip 29521: a response that states to be truncated.
    assert_eq!(listed("10.0.0.7:5353", Some(255), DnsWriter::RESPONSE | DnsWriter::TRUNCATED), 1);
    // A response without the flag for authority.
    assert_eq!(listed("10.0.0.7:5353", Some(255), 0x8000), 1);
}

#[test]
fn service_type_that_is_not_listed_by_its_device_is_asked_for() {
    // pcmarks/mdns_lite 31, hashicorp/mdns 26: devices that do not answer for their types.
    let mut listener = Listener::new();
    listener.table.ask(listener.now);
    let end = listener.now.after(Duration::from_millis(200));
    let mut asked = Vec::new();
    while let Some(due) = listener.table.poll_timeout().filter(|due| *due <= end) {
        listener.table.handle_timeout(due);
        asked.extend(std::iter::from_fn(|| listener.table.poll_transmit(due)));
    }
    let text = b"\x0b_googlecast";
    assert!(asked.iter().any(|question| question.payload.windows(text.len()).any(|part| part == text)));
}
