//! Situations that users of DDS have reported in public, and what must be listed in each.

use crate::discovery::testing::{Bench, DdsSample};
use crate::discovery::{Discovered, DiscoveredKind, DiscoveryProtocol};

const GROUP: &str = "239.255.0.1:7400";
const PC: &str = "192.168.1.5:40000";
const ROBOT: &str = "192.168.1.9:40000";

/// A situation: how it is made, and what must be seen of it.
struct Case {
    situation: &'static str,
    make: fn(&mut Bench),
    seen: &'static [&'static str],
}

fn node(number: u8) -> DdsSample {
    DdsSample::participant(number).lease(10).unicast("192.168.1.9:7411")
}

/// Sends discovery data of the robot.
fn robot(bench: &mut Bench, sample: &DdsSample) {
    bench.datagram(ROBOT, GROUP, &sample.bytes());
}

/// Returns what a person would read: what it is, and the fields that matter in these situations.
fn line(entry: &Discovered) -> String {
    let mut parts = Vec::new();
    match entry.kind {
        DiscoveredKind::Endpoint => {
            parts.push(format!("{} {}", entry.value("role"), entry.name));
            parts.push(entry.value("reliability"));
            parts.push(entry.value("durability"));
            parts.extend(entry.values("partition").iter().map(|name| format!("in {name}")));
        }
        _ => {
            parts.push(format!("domain {}", entry.value("domain")));
            parts.push(entry.value("vendor"));
            let locators = ["unicast", "discovery unicast"].iter().flat_map(|name| entry.values(name));
            parts.extend(locators);
            parts.extend(entry.values("domain tag").iter().map(|tag| format!("tag {tag}")));
        }
    }
    parts.join(", ")
}

const CASES: [Case; 24] = [
    Case {
        situation: "neither side sets a domain",
        make: |bench| robot(bench, &node(1)),
        seen: &["domain 0, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "the robot is in another domain than the PC",
        make: |bench| {
            bench.datagram(PC, GROUP, &DdsSample::participant(2).domain(0).bytes());
            bench.datagram(ROBOT, "239.255.0.1:17900", &node(1).domain(42).bytes());
        },
        seen: &["domain 42, Cyclone DDS, 192.168.1.9:7411", "domain 0, Cyclone DDS"],
    },
    Case {
        situation: "a container announces the address of its bridge",
        make: |bench| {
            robot(bench, &DdsSample::participant(1).unicast("172.17.0.2:7411").unicast("192.168.1.9:7411"));
        },
        seen: &["domain 0, Cyclone DDS, 172.17.0.2:7411, 192.168.1.9:7411"],
    },
    Case {
        situation: "the wrong interface was chosen",
        make: |bench| robot(bench, &DdsSample::participant(1).unicast("172.30.1.24:7411")),
        seen: &["domain 0, Cyclone DDS, 172.30.1.24:7411"],
    },
    Case {
        situation: "a participant without a network announces loopback and shared memory",
        make: |bench| {
            let memory = [&16_i32.to_le_bytes()[..], &7411_u32.to_le_bytes(), &[0; 16]].concat();
            let mut sample = DdsSample::participant(1).parameter(0x31, &memory).unicast("127.0.0.1:7411");
            sample.vendor = 0x010f;
            robot(bench, &sample);
        },
        seen: &["domain 0, Fast DDS, shared memory, 127.0.0.1:7411"],
    },
    Case {
        situation: "only a link-local address of IPv6",
        make: |bench| robot(bench, &DdsSample::participant(1).unicast("[fe80::9]:7411")),
        seen: &["domain 0, Cyclone DDS, [fe80::9]:7411"],
    },
    Case {
        situation: "large data by TCP",
        make: |bench| {
            let tcp =
                [&4_i32.to_le_bytes()[..], &7411_u32.to_le_bytes(), &[0; 12], &[192, 168, 1, 9]].concat();
            robot(bench, &DdsSample::participant(1).parameter(0x31, &tcp));
        },
        seen: &["domain 0, Cyclone DDS, tcp 192.168.1.9:7411"],
    },
    Case {
        situation: "multicast is disabled, and peers are announced to by unicast",
        make: |bench| bench.datagram(ROBOT, "192.168.1.5:7662", &node(1).bytes()),
        seen: &["domain 1, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "the highest domain with a port",
        make: |bench| bench.datagram(ROBOT, "239.255.0.1:65400", &node(1).bytes()),
        seen: &["domain 232, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "a domain above, whose port is counted modulo 65536",
        make: |bench| bench.datagram(ROBOT, "239.255.0.1:4960", &node(1).domain(0xc16c).bytes()),
        seen: &["domain 49516, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "robots that are kept apart by a tag",
        make: |bench| robot(bench, &node(1).text(0x4014, "my_robot")),
        seen: &["domain 0, Cyclone DDS, 192.168.1.9:7411, tag my_robot"],
    },
    Case {
        situation: "parameters of another vendor, which have other meanings there",
        make: |bench| robot(bench, &node(1).parameter(0x8007, &[0xff; 4]).parameter(0x8010, &[])),
        seen: &["domain 0, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "type information that one implementation refuses",
        make: |bench| robot(bench, &DdsSample::writer(1, 0x103, "rt/a").parameter(0x75, &[0xff; 84])),
        seen: &["writer rt/a, reliable, volatile"],
    },
    Case {
        situation: "properties with more padding than they need",
        make: |bench| {
            let properties =
                [&1_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b"a\0", &[0; 2], &[0; 96]].concat();
            robot(bench, &DdsSample::participant(1).parameter(0x59, &properties).domain(3));
        },
        seen: &["domain 3, Cyclone DDS"],
    },
    Case {
        situation: "the short message by which Connext tries addresses",
        make: |bench| {
            bench.datagram(ROBOT, "192.168.1.5:7410", b"RTPS\x02\x01\x01\x01NDDSPING");
            assert_eq!(bench.table.counts().malformed, 0);
        },
        seen: &[],
    },
    Case {
        situation: "a node was killed: its lease ends",
        make: |bench| {
            robot(bench, &node(1));
            robot(bench, &DdsSample::writer(1, 0x103, "rt/a"));
            bench.wait(11.0);
        },
        seen: &[],
    },
    Case {
        situation: "announcements are rarer than the lease, and data renews it",
        make: |bench| {
            robot(bench, &node(1));
            for _ in 0..5 {
                bench.wait(6.0);
                bench.datagram(
                    ROBOT,
                    "192.168.1.5:7411",
                    &[&node(1).bytes()[..20], &[0x15, 1, 0, 0]].concat(),
                );
            }
        },
        seen: &["domain 0, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "a goodbye that repeats the whole description",
        make: |bench| {
            robot(bench, &node(1));
            robot(bench, &node(1).gone());
        },
        seen: &[],
    },
    Case {
        situation: "a goodbye with only the hash of its key",
        make: |bench| {
            robot(bench, &node(1));
            let mut bytes = node(1).bytes();
            bytes.truncate(20);
            let mut body = vec![0, 0, 16, 0, 0, 0, 0, 0, 0, 1, 0, 0xc2, 0, 0, 0, 0, 2, 0, 0, 0];
            body.extend([0x70, 0, 16, 0]);
            body.extend([1; 12]);
            body.extend([0, 0, 1, 0xc1, 0x71, 0, 4, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
            bytes.extend([0x15, 3, body.len() as u8, 0]);
            bytes.extend(body);
            bench.datagram(ROBOT, GROUP, &bytes);
        },
        seen: &[],
    },
    Case {
        situation: "a restarted node has a new identity beside that of the dead one, until its lease ends",
        make: |bench| {
            robot(bench, &node(1));
            bench.wait(5.0);
            robot(bench, &node(2));
            bench.wait(6.0);
        },
        seen: &["domain 0, Cyclone DDS, 192.168.1.9:7411"],
    },
    Case {
        situation: "a lease without end lasts an hour",
        make: |bench| {
            robot(bench, &DdsSample::participant(1).without_end());
            bench.wait(3_500.0);
        },
        seen: &["domain 0, Cyclone DDS"],
    },
    Case {
        situation: "a best-effort writer and a reliable reader, which never match",
        make: |bench| {
            robot(bench, &DdsSample::writer(1, 0x103, "rt/scan").reliability(false));
            bench.datagram(PC, GROUP, &DdsSample::reader(2, 0x104, "rt/scan").reliability(true).bytes());
        },
        seen: &["writer rt/scan, best effort, volatile", "reader rt/scan, reliable, volatile"],
    },
    Case {
        situation: "a volatile writer and a reader that wants the latest value",
        make: |bench| {
            robot(bench, &DdsSample::writer(1, 0x103, "rt/map"));
            bench.datagram(PC, GROUP, &DdsSample::reader(2, 0x104, "rt/map").durability(1).bytes());
        },
        seen: &["writer rt/map, reliable, volatile", "reader rt/map, best effort, transient local"],
    },
    Case {
        situation: "a writer and a reader in different partitions",
        make: |bench| {
            robot(bench, &DdsSample::writer(1, 0x103, "rt/a").partition("left"));
            bench.datagram(PC, GROUP, &DdsSample::reader(2, 0x104, "rt/a").partition("right").bytes());
        },
        seen: &["writer rt/a, reliable, volatile, in left", "reader rt/a, best effort, volatile, in right"],
    },
];

#[test]
fn what_public_reports_describe_is_listed_so() {
    for case in CASES {
        let mut bench = Bench::new();
        (case.make)(&mut bench);
        let mut seen: Vec<String> = bench.of(DiscoveryProtocol::Rtps).map(line).collect();
        let mut expected: Vec<String> = case.seen.iter().map(|line| (*line).to_owned()).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "{}", case.situation);
    }
}
