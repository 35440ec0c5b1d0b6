//! The drawings of the guide. `MCAST_BLESS=1 cargo test -p mcast-lab --test drawings` writes them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};

use mcast_lab::Topology;
use mcast_lab::drawing::{Anchor, Drawing, Ink};
use mcast_lab::topology::SHIPPED;

use Anchor::{End, Middle, Start};
use Ink::{Bad, Good, Muted, Plain};

const WIDTH: f64 = 760.0;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs")
}

/// Checks that a picture of the guide is this one.
fn assert_current(name: &str, svg: &str) {
    let path = docs().join(format!("pictures/{name}.svg"));
    if std::env::var_os("MCAST_BLESS").is_some() {
        write(&path, svg).unwrap();
    }
    let current = read_to_string(&path).unwrap_or_default();
    assert!(
        current == svg,
        "{name}: MCAST_BLESS=1 cargo test -p mcast-lab --test drawings writes the drawings"
    );
}

#[test]
fn the_networks_of_the_lab_are_drawn_from_their_files() {
    for (name, text) in SHIPPED {
        let topology = Topology::parse(text).unwrap();
        let svg = topology.to_svg();
        for host in topology.hosts() {
            assert!(svg.contains(&format!(">{host}</text>")), "{name}: {host}");
        }
        assert_current(&format!("lab-{name}"), &svg);
    }
}

#[test]
fn what_impairs_a_link_and_what_joins_switches_is_drawn() {
    let topology = Topology::parse(
        "description = 'x'\ntrunks = [['one', 'two']]\n[switches.one]\nsnooping = true\n[switches.two]\n\
         [hosts.a]\ninterfaces.eth0 = { switch = 'one', addresses = ['10.0.0.1/24'], impairment = { loss = 0.015 } }\n\
         [hosts.b]\ninterfaces.eth0 = { switch = 'two', addresses = ['10.0.0.2/24'] }\nrun = ['mcast recv 239.1.2.3:5000']\n",
    );
    let svg = topology.unwrap().to_svg();
    for expected in ["loses 1.5 %", ">snooping<", "stroke-dasharray", ">mcast recv<", ">eth0 10.0.0.2/24<"] {
        assert!(svg.contains(expected), "{expected}: {svg}");
    }
}

#[test]
fn a_host_of_two_switches_is_between_them_and_no_cable_crosses_a_switch() {
    // In the file, the wide area network is first.
    let svg = Topology::shipped("sites").unwrap().unwrap().to_svg();
    let x = |name: &str| -> f64 {
        let at = svg.find(&format!(">{name}</text>")).unwrap();
        let (_, x) = svg[..at].rsplit_once(" x=\"").or_else(|| svg[..at].rsplit_once("<text x=\"")).unwrap();
        x.split('"').next().unwrap().parse().unwrap()
    };
    assert!(x("paris-lan") < x("wan") && x("wan") < x("oslo-lan"), "{svg}");
    assert!(x("paris") < x("oslo"), "{svg}");
}

/// Where a datagram can be lost on its way to a program, in the order of the kernel, and some of the findings that name it.
const STAGES: [(&str, &str, &[&str]); 8] = [
    ("The network", "switches, routers, the sender", &["nothing-arrives", "no-querier", "ttl-too-small"]),
    ("The NIC", "its driver, XDP", &["xdp-drops"]),
    (
        "The frame, as captures see it",
        "traffic control, VLANs",
        &["tc-drops", "vlan-tagged", "frames-to-another-host"],
    ),
    (
        "IP",
        "memberships, the check of the source",
        &["joined-other-interface", "reverse-path-filter", "source-zero"],
    ),
    ("The firewall", "its input chain", &["firewall-drops-data"]),
    (
        "UDP",
        "ports and addresses of sockets",
        &["wrong-port", "bound-to-unicast", "bound-to-other-interface"],
    ),
    (
        "The socket",
        "its filter, its receive buffer",
        &["socket-filter", "receive-buffer-overflow", "not-read"],
    ),
    ("The program", "", &[]),
];

#[test]
fn where_a_datagram_can_die() {
    let (width, height, pitch) = (270.0, 44.0, 62.0);
    let mut drawing = Drawing::default();
    drawing.heading((16.0, 28.0), Start, "Where a datagram can die, and what the doctor calls it");
    let mut y = 46.0;
    for (number, (name, what, findings)) in STAGES.iter().enumerate() {
        let is_last = number + 1 == STAGES.len();
        let lines = if what.is_empty() { vec![*name] } else { vec![*name, *what] };
        drawing.labelled_box((16.0, y), (width, height), if is_last { Good } else { Plain }, &lines);
        if !is_last {
            let (center, middle) = (16.0 + width / 2.0, y + height / 2.0);
            drawing.arrow((center, y + height), (center, y + pitch), Good);
            drawing.line((16.0 + width, middle), (width + 70.0, middle), Bad);
            drawing.cross((width + 76.0, middle));
            drawing.text((width + 92.0, middle + 4.5), Start, Bad, &findings.join(", "));
        }
        for finding in *findings {
            let page = docs().join(format!("../crates/inspect/mcast-doctor/pages/{finding}.md"));
            assert!(page.exists(), "{finding} is not a finding");
        }
        y += pitch;
    }
    assert_current("where-a-datagram-dies", &drawing.to_svg("Where a datagram can die", (WIDTH, y)));
}

#[test]
fn snooping_with_and_without_a_querier() {
    let (left, right) = (150.0, 720.0);
    // The times of IGMP by default: a query each 125 s, and a membership that expires 260 s after the last report (RFC 3376, section 8).
    let (interval, expiry, end) = (125.0, 260.0, 400.0);
    let x = |seconds: f64| (right - left) * seconds / end + left;
    let mut drawing = Drawing::default();
    drawing.heading(
        (16.0, 28.0),
        Start,
        "A snooping switch forgets memberships after 260 s, unless a querier asks for them",
    );
    let row = |drawing: &mut Drawing, y: f64, title: &str, has_querier: bool| {
        drawing.heading((16.0, y + 5.0), Start, title);
        let until = if has_querier { end } else { expiry };
        drawing.bar((x(0.0), y), (x(until), y), Good);
        drawing.text(
            (x(until / 2.0), y + 24.0),
            Middle,
            Good,
            "the switch forwards the group to the receiver",
        );
        drawing.text((x(0.0), y - 34.0), Middle, Muted, "join");
        drawing.arrow((x(0.0), y - 28.0), (x(0.0), y - 6.0), Plain);
        if has_querier {
            for number in 1..=3 {
                let at = x(interval * f64::from(number));
                drawing.text((at, y - 34.0), Middle, Muted, "query, report");
                drawing.arrow((at, y - 28.0), (at, y - 6.0), Plain);
            }
        } else {
            drawing.bar((x(expiry), y), (x(end), y), Bad);
            drawing.cross((x(expiry), y - 18.0));
            drawing.text((x(330.0), y + 24.0), Middle, Bad, "nothing arrives");
        }
    };
    row(&mut drawing, 96.0, "With a querier", true);
    row(&mut drawing, 190.0, "Without one", false);
    drawing.line((left, 238.0), (right, 238.0), Plain);
    for seconds in [0.0, interval, expiry, 375.0] {
        drawing.line((x(seconds), 234.0), (x(seconds), 242.0), Plain);
        drawing.text((x(seconds), 258.0), Middle, Muted, &format!("{seconds} s"));
    }
    let svg = drawing.to_svg("Snooping with and without a querier over 400 s", (WIDTH, 272.0));
    assert_current("snooping-and-querier", &svg);
}

#[test]
fn a_repair() {
    let (publisher, subscriber) = (190.0, 520.0);
    let mut drawing = Drawing::default();
    for (x, name, what) in
        [(publisher, "Publisher", "keeps what it sent"), (subscriber, "Subscriber", "delivers in order")]
    {
        drawing.labelled_box((x - 80.0, 14.0), (160.0, 42.0), Plain, &[name, what]);
        drawing.line((x, 56.0), (x, 318.0), Muted);
    }
    let send = |drawing: &mut Drawing, y: f64, text: &str, ink: Ink| {
        drawing.text((publisher - 14.0, y + 5.0), End, Plain, text);
        drawing.arrow((publisher, y), (subscriber, y + 24.0), ink);
    };
    let deliver = |drawing: &mut Drawing, y: f64, text: &str, ink: Ink| {
        drawing.text((subscriber + 14.0, y + 5.0), Start, ink, text);
    };
    send(&mut drawing, 80.0, "datagram 41", Good);
    deliver(&mut drawing, 104.0, "delivers 41", Good);
    drawing.text((publisher - 14.0, 117.0), End, Plain, "datagram 42");
    drawing.line((publisher, 112.0), (355.0, 124.0), Bad);
    drawing.cross((361.0, 124.5));
    drawing.text((374.0, 122.0), Start, Bad, "lost");
    send(&mut drawing, 144.0, "datagram 43", Good);
    deliver(&mut drawing, 168.0, "42 is missing: waits with 43", Bad);
    drawing.arrow((subscriber, 186.0), (publisher, 210.0), Plain);
    drawing.text((355.0, 190.0), Middle, Plain, "NAK: 42 is missing");
    send(&mut drawing, 236.0, "repair: 42 again", Good);
    deliver(&mut drawing, 260.0, "delivers 42, 43", Good);
    drawing.text((publisher - 14.0, 295.0), End, Muted, "datagram 44");
    drawing.arrow((publisher, 290.0), (subscriber, 314.0), Good);
    deliver(&mut drawing, 314.0, "delivers 44", Good);
    assert_current("repair", &drawing.to_svg("A datagram is lost, requested and repaired", (WIDTH, 330.0)));
}

#[test]
fn two_bridges() {
    let mut drawing = Drawing::default();
    drawing.labelled_box((16.0, 70.0), (130.0, 60.0), Plain, &["Publisher", "messages 1, 2, 3"]);
    drawing.text((178.0, 62.0), Middle, Plain, "the group");
    for (y, name) in [(20.0, "Bridge A"), (120.0, "Bridge B")] {
        drawing.arrow((146.0, 100.0), (240.0, y + 30.0), Good);
        drawing.labelled_box((242.0, y), (150.0, 60.0), Plain, &[name, "receives 1, 2, 3"]);
        drawing.arrow((392.0, y + 30.0), (500.0, 100.0), Good);
    }
    drawing.text((446.0, 58.0), Start, Plain, "appends 1, 2, 3");
    drawing.text((446.0, 150.0), Start, Plain, "appends 1, 2, 3");
    drawing.labelled_box((502.0, 65.0), (140.0, 70.0), Good, &["Engine", "1, 2, 3: each once,", "in order"]);
    drawing.arrow((642.0, 100.0), (684.0, 100.0), Plain);
    drawing.text((690.0, 104.0), Start, Plain, "readers");
    drawing.text((16.0, 206.0), Start, Muted, "The engine takes each message from the bridge that is first. If one bridge ends, the other continues.");
    let svg = drawing.to_svg("Two bridges keep a stream in an engine, each message once", (WIDTH, 220.0));
    assert_current("two-bridges", &svg);
}
