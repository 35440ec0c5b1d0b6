//! Anything on all legs at any time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_packet::gmp::IgmpMessage;
use mcast_relay::{LegArrival, LegId, PathId, RelayConfig, RelayPath};
use proptest::prelude::*;

use crate::subject::Subject;

const RULES: &str = "mdns between s0 and s1 deny ipp\nssdp between s0 and s1\n\
    239.1.2.0/24:5000 from s0 to s1,udp://10.9.0.5:5000\n239.7.0.1:5000 from s1 to s2 as [ff15::1]:5001 always\n";

#[derive(Clone, Debug)]
enum Step {
    Datagram { leg: u8, source: SocketAddr, destination: SocketAddr, hop_limit: u8, payload: Vec<u8> },
    Reply(u32, SocketAddr),
    Announcement(u8, Vec<u8>),
    Report(u8, Vec<u8>),
    Leg(u8, bool),
    TargetFailed,
}

fn steps() -> impl Strategy<Value = Vec<(u16, Step)>> {
    let source = (0_u8..3, 1_u8..4, prop_oneof![Just(5353_u16), Just(4000), Just(61_450)])
        .prop_map(|(leg, host, port)| SocketAddr::from(([10, 0, leg, host], port)));
    let destinations = ["224.0.0.251:5353", "239.255.255.250:1900", "239.1.2.3:5000", "239.7.0.1:5000"];
    let destination = prop::sample::select(destinations.to_vec()).prop_map(|text| text.parse().unwrap());
    // Few contents, so that they repeat.
    let payload = prop_oneof![
        4 => (0_u8..3).prop_map(|number| vec![number]),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    let announcement = (any::<u8>(), prop::collection::vec(any::<u8>(), 38)).prop_map(|(pairs, mut rest)| {
        let mut bytes = b"MCRL\x01".to_vec();
        rest[26..31].copy_from_slice(&[0, 1, 0, 0, pairs % 2]);
        bytes.append(&mut rest);
        bytes
    });
    let step = prop_oneof![
        12 => (0_u8..4, source.clone(), destination, 0_u8..9, payload).prop_map(
            |(leg, source, destination, hop_limit, payload)| Step::Datagram { leg, source, destination, hop_limit, payload }
        ),
        3 => (0_u32..20, source).prop_map(|(path, source)| Step::Reply(path, source)),
        1 => (0_u8..4, announcement).prop_map(|(leg, bytes)| Step::Announcement(leg, bytes)),
        1 => (0_u8..4, 0_u8..2).prop_map(|(leg, kind)| Step::Report(leg, vec![0x16 + kind, 0, 0, 0, 239, 1, 2, 3])),
        1 => (0_u8..4, any::<bool>()).prop_map(|(leg, up)| Step::Leg(leg, up)),
        1 => Just(Step::TargetFailed),
    ];
    prop::collection::vec((prop_oneof![4 => 0_u16..50, 1 => 0_u16..20_000], step), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(200) })]

    /// The subject checks that paths are opened before they are used, and closed once.
    #[test]
    fn it_keeps_its_bounds_and_its_promises(steps in steps()) {
        let rules = mcast_relay::parse_rules(RULES).unwrap();
        let mut subject = Subject::with(RelayConfig { max_paths: 8, ..RelayConfig::new(rules, 1) });
        for (pause, step) in steps {
            subject.wait(Duration::from_millis(pause.into()));
            let now = subject.now;
            match step {
                Step::Datagram { leg, source, destination, hop_limit, payload } => {
                    let leg = LegId(leg);
                    let arrival = LegArrival { leg, source, destination, hop_limit, mac: None, trail: RelayPath::default(), payload: &payload };
                    let length = std::num::NonZeroUsize::new(payload.len());
                    if length.is_none_or(|length| subject.relay.handle_coalesced(now, &arrival, length) == 0) {
                        subject.relay.handle_datagram(now, &arrival);
                    }
                    let copies = subject.outputs(&payload);
                    // What was held back may be sent with it: at most a copy for each target of each repeat.
                    prop_assert!(copies.len() <= 2 * 300, "{}", copies.len());
                }
                Step::Reply(path, source) => subject.relay.handle_reply(now, PathId(path), source),
                Step::Announcement(leg, bytes) => {
                    let _ = subject.relay.handle_announcement(now, LegId(leg), &bytes);
                }
                Step::Report(leg, bytes) => {
                    let message = IgmpMessage::parse(&bytes).unwrap();
                    subject.relay.handle_membership(now, LegId(leg), [10, 0, leg, 7].into(), &message);
                }
                Step::Leg(leg, true) => subject.relay.handle_leg_up(now, LegId(leg), &[IpAddr::from([10, 0, leg, 200])]),
                Step::Leg(leg, false) => subject.relay.handle_leg_down(now, LegId(leg)),
                Step::TargetFailed => subject.relay.handle_target_failure(now, "10.9.0.5:5000".parse().unwrap()),
            }
            subject.outputs(&[]);
            prop_assert!(subject.paths.len() <= 8);
            subject.relay.handle_timeout(now);
            subject.outputs(&[]);
            prop_assert!(subject.relay.poll_timeout().is_none_or(|deadline| deadline > now), "all that is due has been done");
        }
    }
}
