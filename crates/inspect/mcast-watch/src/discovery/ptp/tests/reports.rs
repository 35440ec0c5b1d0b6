//! Situations that users of PTP have reported in public, and what must be listed in each.

use mcast_packet::ether_type;
use mcast_packet::payload::{Ptp, PtpKind};

use super::message;
use crate::discovery::testing::Bench;
use crate::discovery::{Discovered, DiscoveryProtocol};

const GENERAL: &str = "224.0.1.129:320";
const GROUP: [u8; 6] = [0x01, 0x1b, 0x19, 0, 0, 0];
const A: u64 = 0x0011_22ff_fe00_000a;
const B: u64 = 0x0011_22ff_fe00_000b;

/// A situation: how it is made, and what must be seen of it.
struct Case {
    situation: &'static str,
    make: fn(&mut Bench),
    seen: &'static [&'static str],
}

/// An announcement, by its fields.
#[derive(Clone, Copy)]
struct Announce {
    clock: u64,
    grandmaster: u64,
    domain: u8,
    flags: u16,
    profile: u8,
    minor: u8,
    interval: i8,
    utc: i16,
    priorities: (u8, u8),
    class: u8,
    accuracy: u8,
    steps: u16,
    source: u8,
}

/// The defaults of linuxptp.
const fn announce(clock: u64) -> Announce {
    Announce {
        clock,
        grandmaster: clock,
        domain: 0,
        flags: 0x0008,
        profile: 0,
        minor: 0,
        interval: 1,
        utc: 37,
        priorities: (128, 128),
        class: 248,
        accuracy: 0xfe,
        steps: 0,
        source: 0xa0,
    }
}

impl Announce {
    fn bytes(self) -> Vec<u8> {
        let mut body = vec![0; 30];
        body[10..12].copy_from_slice(&self.utc.to_be_bytes());
        body[13..16].copy_from_slice(&[self.priorities.0, self.class, self.accuracy]);
        body[16..19].copy_from_slice(&[0xff, 0xff, self.priorities.1]);
        body[19..27].copy_from_slice(&self.grandmaster.to_be_bytes());
        body[27..29].copy_from_slice(&self.steps.to_be_bytes());
        body[29] = self.source;
        let mut bytes = message(PtpKind::Announce, self.clock, self.domain, &body);
        bytes[0] |= self.profile << 4;
        bytes[1] |= self.minor << 4;
        bytes[6..8].copy_from_slice(&self.flags.to_be_bytes());
        bytes[33] = self.interval.to_be_bytes()[0];
        bytes
    }
}

fn from_a(bench: &mut Bench, announce: Announce) {
    bench.datagram("10.0.0.1:320", GENERAL, &announce.bytes());
}

fn from_b(bench: &mut Bench, announce: Announce) {
    bench.datagram("10.0.0.2:320", GENERAL, &announce.bytes());
}

/// A sync message of version 1 from a preferred master.
fn version_1() -> Vec<u8> {
    let mut bytes = vec![0; 124];
    bytes[..9].copy_from_slice(b"\0\x01\0\x01_DFLT");
    bytes[20] = 1;
    bytes[22..28].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
    bytes[54..60].copy_from_slice(&[0, 0x1d, 0xc1, 1, 2, 3]);
    bytes[67..72].copy_from_slice(b"\x04DFLT");
    bytes[77] = 1;
    bytes
}

/// Returns what a person would read.
fn line(clock: &Discovered) -> String {
    let mut parts = vec![format!("{} in {}", clock.name, clock.service), clock.value("state")];
    if clock.value("grandmaster") != clock.name.to_string() && !clock.value("grandmaster").is_empty() {
        parts.push(format!("of {}, {} away", clock.value("grandmaster"), clock.value("steps removed")));
    }
    for name in ["class", "accuracy", "priority 1", "priority 2"] {
        if !clock.value(name).is_empty() {
            parts.push(format!("{name} {}", clock.value(name)));
        }
    }
    match (clock.value("timescale").as_str(), clock.value("UTC offset valid").as_str()) {
        ("", _) => {}
        (timescale, "yes") => parts.push(format!("{timescale} time, UTC {}", clock.value("UTC offset"))),
        (timescale, _) => parts.push(format!("{timescale} time, UTC perhaps {}", clock.value("UTC offset"))),
    }
    parts.extend((clock.value("transport") == "Ethernet").then(|| "Ethernet".to_owned()));
    parts.extend((clock.value("never master") == "yes").then(|| "never master".to_owned()));
    parts.extend((clock.value("preferred") == "yes").then(|| "preferred".to_owned()));
    parts.extend(clock.values("remark"));
    parts.join(", ")
}

const DEFAULT_A: &str = "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s";

const CASES: [Case; 22] = [
    Case {
        situation: "a boundary clock, whose identity is not that of the grandmaster",
        make: |bench| {
            from_a(
                bench,
                Announce {
                    grandmaster: 0x000b_72ff_fe05_8bae,
                    priorities: (11, 66),
                    steps: 1,
                    ..announce(0x001c_73ff_ffc5_9ec5)
                },
            );
        },
        seen: &[
            "001c73.ffff.c59ec5 in domain 0, master, of 000b72.fffe.058bae, 1 away, class 248, accuracy unknown, priority 1 11, priority 2 66, PTP time, UTC perhaps 37 s",
        ],
    },
    Case {
        situation: "version 2.1 with a class of GNSS and an offset that is not valid: displays are 37 s ahead",
        make: |bench| from_a(bench, Announce { minor: 1, class: 6, ..announce(0x5449_4dff_fe45_0003) }),
        seen: &[
            "54494d.fffe.450003 in domain 0, master, class 6, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s",
        ],
    },
    Case {
        situation: "the offset becomes valid with GNSS",
        make: |bench| {
            from_a(bench, announce(A));
            from_a(bench, Announce { flags: 0x003c, class: 6, accuracy: 0x21, source: 0x20, ..announce(A) });
        },
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 6, accuracy 100 ns, priority 1 128, priority 2 128, PTP time, UTC 37 s",
        ],
    },
    Case {
        situation: "a grandmaster that never states an offset",
        make: |bench| from_a(bench, Announce { utc: 0, ..announce(A) }),
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 0 s",
        ],
    },
    Case {
        situation: "a master with the time of its system",
        make: |bench| from_a(bench, Announce { flags: 0, utc: 36, ..announce(A) }),
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, arbitrary time, UTC perhaps 36 s",
        ],
    },
    Case {
        situation: "announcements by unicast from another port",
        make: |bench| bench.datagram("10.0.0.1:60332", "10.0.0.9:320", &announce(A).bytes()),
        seen: &[DEFAULT_A],
    },
    Case {
        situation: "a clock of 802.1AS that announces and never becomes grandmaster",
        make: |bench| {
            let announce = Announce { profile: 1, priorities: (255, 248), accuracy: 0x22, ..announce(A) };
            bench.frame([0x01, 0x80, 0xc2, 0, 0, 0x0e], ether_type::PTP, &announce.bytes());
        },
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy 250 ns, priority 1 255, priority 2 248, PTP time, UTC perhaps 37 s, Ethernet",
        ],
    },
    Case {
        situation: "a network of 802.1AS beside one of the default profile: no rivals",
        make: |bench| {
            bench.frame(GROUP, ether_type::PTP, &Announce { profile: 1, ..announce(A) }.bytes());
            bench.frame(GROUP, ether_type::PTP, &announce(B).bytes());
        },
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s, Ethernet",
            "001122.fffe.00000b in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s, Ethernet",
        ],
    },
    Case {
        situation: "an announcement with further fields after it",
        make: |bench| {
            let mut bytes = announce(A).bytes();
            bytes.extend([0, 8, 0, 8, 0, 0x11, 0x22, 0xff, 0xfe, 0, 0, 0x0a]);
            bytes[3] = bytes.len() as u8;
            bench.datagram("10.0.0.1:320", GENERAL, &bytes);
        },
        seen: &[DEFAULT_A],
    },
    Case {
        situation: "a bridge announces itself instead of the grandmaster: two masters",
        make: |bench| {
            for _ in 0..2 {
                from_a(bench, Announce { priorities: (100, 128), ..announce(A) });
                from_b(bench, Announce { priorities: (200, 128), ..announce(B) });
            }
        },
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 100, priority 2 128, PTP time, UTC perhaps 37 s, more than one master in domain 0: also 001122.fffe.00000b",
            "001122.fffe.00000b in domain 0, master, class 248, accuracy unknown, priority 1 200, priority 2 128, PTP time, UTC perhaps 37 s, more than one master in domain 0: also 001122.fffe.00000a",
        ],
    },
    Case {
        situation: "one clock talks over Ethernet and one over UDP: both become masters",
        make: |bench| {
            for _ in 0..2 {
                from_a(bench, announce(A));
                bench.frame(GROUP, ether_type::PTP, &announce(B).bytes());
            }
        },
        seen: &[
            "001122.fffe.00000a in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s, more than one master in domain 0: also 001122.fffe.00000b",
            "001122.fffe.00000b in domain 0, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s, Ethernet, more than one master in domain 0: also 001122.fffe.00000a",
        ],
    },
    Case {
        situation: "clocks in different domains: no rivals",
        make: |bench| {
            from_a(bench, announce(A));
            from_b(bench, Announce { domain: 127, ..announce(B) });
        },
        seen: &[
            DEFAULT_A,
            "001122.fffe.00000b in domain 127, master, class 248, accuracy unknown, priority 1 128, priority 2 128, PTP time, UTC perhaps 37 s",
        ],
    },
    Case {
        situation: "a master fails and another one takes over: the remark is gone with it",
        make: |bench| {
            from_b(bench, announce(B));
            bench.wait(2.0);
            for _ in 0..4 {
                from_a(bench, announce(A));
                bench.wait(2.0);
            }
            from_a(bench, announce(A));
        },
        seen: &[DEFAULT_A],
    },
    Case {
        situation: "a receiver stays locked to a clock that was switched off: it is not listed",
        make: |bench| {
            from_a(bench, announce(A));
            bench.wait(6.1);
        },
        seen: &[],
    },
    Case {
        situation: "eight announcements per second: gone after three of them",
        make: |bench| {
            from_a(bench, Announce { interval: -3, ..announce(A) });
            bench.wait(0.4);
        },
        seen: &[],
    },
    Case {
        situation: "an interval that is not a number",
        make: |bench| {
            from_a(bench, Announce { interval: 127, ..announce(A) });
            bench.wait(100.0);
        },
        seen: &[DEFAULT_A],
    },
    Case {
        situation: "a clock that answers with the class of those that only follow",
        make: |bench| {
            let mut body = vec![0xff; 10];
            body.extend([0, 0, 2, 0, 0, 1, 0, 22, 0x20, 0]);
            body.extend([2, 0, 0, 1, 255, 255, 0xfe, 0xff, 0xff, 128]);
            body.extend(A.to_be_bytes());
            body.extend([0, 0]);
            bench.datagram("10.0.0.1:320", GENERAL, &message(PtpKind::Management, A, 0, &body));
        },
        seen: &[
            "001122.fffe.00000a in domain 0, follower, class 255, accuracy unknown, priority 1 255, priority 2 128, never master",
        ],
    },
    Case {
        situation: "a follower that asks for the delay only",
        make: |bench| {
            bench.datagram(
                "10.0.0.1:319",
                "224.0.1.129:319",
                &message(PtpKind::DelayRequest, A, 0, &[0; 10]),
            );
        },
        seen: &["001122.fffe.00000a in domain 0, follower"],
    },
    Case {
        situation: "a master that asks its neighbor for the delay stays a master",
        make: |bench| {
            from_a(bench, announce(A));
            bench.datagram(
                "10.0.0.1:319",
                "224.0.0.107:319",
                &message(PtpKind::PeerDelayRequest, A, 0, &[0; 20]),
            );
        },
        seen: &[DEFAULT_A],
    },
    Case {
        situation: "devices of version 1 beside those of version 2",
        make: |bench| {
            from_a(bench, announce(A));
            bench.datagram("10.0.0.3:319", "224.0.1.129:319", &version_1());
        },
        seen: &[DEFAULT_A, "001dc1010203 in domain _DFLT, master, preferred"],
    },
    Case {
        situation: "a length that is longer than the message, and one that is shorter than the header",
        make: |bench| {
            for length in [200, 12] {
                let mut bytes = announce(A).bytes();
                bytes[3] = length;
                bench.datagram("10.0.0.1:320", GENERAL, &bytes);
            }
            assert_eq!(bench.table.counts().malformed, 2);
        },
        seen: &[],
    },
    Case {
        situation: "something else at the port",
        make: |bench| {
            bench.datagram("10.0.0.1:5000", "239.1.2.3:320", b"not PTP");
            bench.datagram("10.0.0.1:5000", "239.1.2.3:320", &[0; Ptp::HEADER_LENGTH]);
        },
        seen: &[],
    },
];

#[test]
fn what_public_reports_describe_is_listed_so() {
    for case in CASES {
        let mut bench = Bench::new();
        (case.make)(&mut bench);
        let both = [DiscoveryProtocol::Ptp, DiscoveryProtocol::PtpV1];
        let seen: Vec<String> = both.iter().flat_map(|protocol| bench.of(*protocol)).map(line).collect();
        assert_eq!(seen, case.seen, "{}", case.situation);
    }
}
