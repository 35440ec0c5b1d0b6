//! Tunnels as legs of rules.

use std::num::NonZeroUsize;
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_relay::{LegArrival, LegId, RefusalReason, RelayPath, TunnelWant};
use proptest::prelude::*;

use crate::subject::{SentCopy, Subject, address};

const RULE: &str = "239.1.2.0/30:5000 between eth0 and tunnel:a and tunnel:b repair 200ms";
const GROUP: &str = "239.1.2.3:5000";
const HOST: &str = "10.0.0.1:40000";

fn want(destination: &str) -> TunnelWant {
    TunnelWant { destination: address(destination), sources: SourceFilter::ANY }
}

/// Returns a relay on whose tunnels the other ends want the group.
fn relay(rule: &str) -> Subject {
    let mut subject = Subject::new(rule);
    for leg in [1, 2] {
        subject.relay.set_site_wants(subject.now, LegId(leg), vec![want(GROUP)]);
    }
    subject.outputs(&[]);
    subject
}

fn from_tunnel(subject: &mut Subject, leg: u8, trail: RelayPath, destination: &str) -> Vec<SentCopy> {
    let (leg, source, payload) = (LegId(leg), address(HOST), b"x");
    let destination = address(destination);
    let arrival = LegArrival { leg, source, destination, hop_limit: 8, mac: None, trail, payload };
    subject.relay.handle_datagram(subject.now, &arrival);
    subject.outputs(payload)
}

#[test]
fn a_site_gets_what_it_wants_and_nothing_else() {
    let mut subject = relay(RULE);
    assert_eq!(subject.receive(0, HOST, GROUP, b"x").len(), 2);
    assert!(subject.receive(0, HOST, "239.1.2.2:5000", b"x").is_empty());
    let sources = SourceFilter::Include(["10.0.0.7".parse().unwrap()].into());
    subject.relay.set_site_wants(
        subject.now,
        LegId(1),
        vec![TunnelWant { destination: address(GROUP), sources }],
    );
    subject.relay.set_site_wants(subject.now, LegId(2), vec![]);
    assert!(subject.receive(0, HOST, GROUP, b"x").is_empty());
    assert_eq!(subject.receive(0, "10.0.0.7:1", GROUP, b"x").len(), 1);
    assert_eq!(subject.refused(RefusalReason::NotWanted), 2);
}

#[test]
fn a_site_gets_what_it_wants_only_also_if_the_rule_joins_always() {
    let mut subject = Subject::new("239.1.2.3:5000 from eth0 to tunnel:a always");
    assert!(subject.receive(0, HOST, GROUP, b"x").is_empty());
}

#[test]
fn what_one_site_wants_is_wanted_of_the_others() {
    let mut subject = relay(RULE);
    let group: Group = "239.1.2.3".parse().unwrap();
    for leg in 0..3 {
        assert!(
            subject.joins.iter().any(|(joined, known, _)| (*joined, *known) == (LegId(leg), group)),
            "{leg}"
        );
        assert_eq!(subject.relay.wants(LegId(leg)), [want(GROUP)]);
    }
    subject.relay.set_site_wants(subject.now, LegId(1), vec![]);
    subject.relay.set_site_wants(subject.now, LegId(2), vec![]);
    assert!(subject.relay.wants(LegId(1)).is_empty());
}

#[test]
fn broadcasts_and_sources_are_wanted_as_the_rules_name_them() {
    let mut subject = Subject::new(
        "broadcast:6000 from tunnel:a to eth0\n10.0.0.7@232.1.2.3:5000-5001 from tunnel:a to eth0 always",
    );
    let wants = subject.relay.wants(LegId(0));
    let destinations: Vec<_> = wants.iter().map(|want| want.destination.to_string()).collect();
    assert_eq!(destinations, ["232.1.2.3:5000", "232.1.2.3:5001", "255.255.255.255:6000"]);
    assert_eq!(wants[0].sources, SourceFilter::Include(["10.0.0.7".parse().unwrap()].into()));
    subject.relay.handle_leg_down(subject.now, LegId(0));
    assert!(subject.relay.wants(LegId(0)).is_empty());
}

#[test]
fn copies_into_all_tunnels_have_one_trail_and_equal_datagrams_have_others() {
    let mut subject = relay(RULE);
    let first = subject.receive(0, HOST, GROUP, b"x");
    let second = subject.receive(0, HOST, GROUP, b"x");
    assert_eq!(first[0].trail, first[1].trail);
    assert_eq!(first[0].trail.relays(), [subject.relay.id().0]);
    assert_ne!(first[0].trail, second[0].trail);
}

#[test]
fn a_datagram_that_comes_by_two_tunnels_is_forwarded_once() {
    let mut subject = relay(RULE);
    let trail = |number| RelayPath::new(7, number, &[7]).unwrap();
    let copies = from_tunnel(&mut subject, 1, trail(1), GROUP);
    assert_eq!(copies.len(), 1, "to the other tunnel; nobody on the leg has joined: {copies:?}");
    assert_eq!(copies[0].trail, RelayPath::new(7, 1, &[7, subject.relay.id().0]).unwrap());
    assert!(from_tunnel(&mut subject, 2, trail(1), GROUP).is_empty());
    assert_eq!(subject.refused(RefusalReason::Duplicate), 1);
    assert_eq!(from_tunnel(&mut subject, 2, trail(2), GROUP).len(), 1);
}

#[test]
fn a_datagram_does_not_come_back_and_has_passed_at_most_eight_relays() {
    let mut subject = relay(RULE);
    let own = subject.relay.id().0;
    assert!(from_tunnel(&mut subject, 1, RelayPath::new(7, 1, &[7, own, 8]).unwrap(), GROUP).is_empty());
    assert_eq!(subject.refused(RefusalReason::Returned), 1);
    let full = RelayPath::new(7, 2, &[7; RelayPath::MAX]).unwrap();
    assert!(from_tunnel(&mut subject, 1, full, GROUP).is_empty());
    assert_eq!(subject.refused(RefusalReason::TooManyHops), 1);
}

#[test]
fn a_datagram_with_another_group_is_another_datagram() {
    let mut subject = Subject::new(
        "239.1.2.3:5000 from tunnel:a to tunnel:b as 239.9.9.9\n239.1.2.3:5000 from tunnel:a to tunnel:b",
    );
    let wants = vec![want("239.9.9.9:5000"), want(GROUP)];
    subject.relay.set_site_wants(subject.now, LegId(1), wants);
    let trail = RelayPath::new(7, 1, &[7]).unwrap();
    let copies = from_tunnel(&mut subject, 0, trail, GROUP);
    assert_eq!((copies[0].trail.origin, copies[1].trail.origin), (subject.relay.id().0, 7));
    assert_eq!(copies[0].trail.relays(), copies[1].trail.relays());
}

#[test]
fn another_site_may_have_the_addresses_of_this_one() {
    let mut subject = relay(RULE);
    subject.relay.handle_leg_up(subject.now, LegId(1), &[]);
    let (leg, destination, payload) = (LegId(1), address(GROUP), b"x");
    let source = (crate::subject::own(0), 61_450).into();
    let trail = RelayPath::new(7, 1, &[7]).unwrap();
    let arrival = LegArrival { leg, source, destination, hop_limit: 8, mac: None, trail, payload };
    subject.relay.handle_datagram(subject.now, &arrival);
    assert_eq!(subject.outputs(payload).len(), 1);
}

#[test]
fn replies_go_back_into_the_tunnel() {
    let mut subject = Subject::new("239.1.2.3:5000 between eth0 and tunnel:a always");
    let copies = from_tunnel(&mut subject, 1, RelayPath::new(7, 1, &[7]).unwrap(), GROUP);
    let replies = subject.reply(copies[0].path, "10.0.0.5:5000", b"I am");
    assert_eq!((replies[0].destination, replies[0].trail.relays().len()), (address(HOST), 0));
    let answers = subject.reply(replies[0].path, HOST, b"good");
    assert_eq!((answers[0].destination, answers[0].path), (address("10.0.0.5:5000"), copies[0].path));
    subject.wait(Duration::from_secs(1));
}

/// Datagrams of one length that arrive together: on the leg, or from a tunnel with the number of the first one.
#[derive(Clone, Debug)]
struct Buffer {
    leg: u8,
    trail: RelayPath,
    destination: &'static str,
    datagrams: Vec<[u8; 2]>,
}

fn buffers() -> impl Strategy<Value = Vec<Buffer>> {
    let trail = prop_oneof![
        4 => (1_u64..60, 7_u64..9).prop_map(|(number, origin)| RelayPath::new(origin, number, &[origin]).unwrap()),
        1 => Just(RelayPath::new(7, u64::MAX - 1, &[7]).unwrap()),
        1 => Just(RelayPath::new(7, 0, &[7]).unwrap()),
        1 => Just(RelayPath::new(7, 900, &[7; RelayPath::MAX]).unwrap()),
    ];
    let datagrams = prop::collection::vec(any::<[u8; 2]>(), 1..20);
    let destination = prop_oneof![4 => Just(GROUP), 1 => Just("239.1.2.2:5000")];
    let buffer = (0_u8..3, trail, destination, datagrams).prop_map(|(leg, trail, destination, datagrams)| {
        let trail = if leg == 0 { RelayPath::default() } else { trail };
        Buffer { leg, trail, destination, datagrams }
    });
    prop::collection::vec(buffer, 1..40)
}

/// Passes a buffer; returns its copies, each as a datagram of its own.
fn pass(subject: &mut Subject, buffer: &Buffer, is_together: bool) -> Vec<SentCopy> {
    let Buffer { leg, trail, destination, ref datagrams } = *buffer;
    let (leg, source, destination) = (LegId(leg), address(HOST), address(destination));
    let arrival =
        |trail, payload| LegArrival { leg, source, destination, hop_limit: 8, mac: None, trail, payload };
    let (whole, segment) = (datagrams.concat(), NonZeroUsize::new(2).unwrap());
    let (mut count, mut copies) = (0, Vec::new());
    if is_together {
        count = subject.relay.handle_coalesced(subject.now, &arrival(trail, &whole), segment);
        let together = subject.outputs(&whole[..2 * count]);
        for index in 0..count {
            copies.extend(together.iter().map(|copy| SentCopy {
                trail: if copy.trail == RelayPath::default() {
                    copy.trail
                } else {
                    copy.trail.of_later(index as u64)
                },
                payload: copy.payload[2 * index..2 * index + 2].to_vec(),
                ..copy.clone()
            }));
        }
    }
    for (index, payload) in datagrams.iter().enumerate().skip(count) {
        subject.relay.handle_datagram(subject.now, &arrival(trail.of_later(index as u64), payload));
        copies.extend(subject.outputs(payload));
    }
    copies
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_arrives_together_is_forwarded_as_if_it_came_one_by_one(buffers in buffers()) {
        let (mut together, mut single) = (relay(RULE), relay(RULE));
        let first = Buffer { leg: 1, trail: RelayPath::new(9, 1, &[9]).unwrap(), destination: GROUP, datagrams: vec![*b"ab", *b"cd"] };
        prop_assert_eq!(pass(&mut together, &first, true).len(), 2);
        prop_assert_eq!(pass(&mut single, &first, false).len(), 2);
        for buffer in &buffers {
            prop_assert_eq!(pass(&mut together, buffer, true), pass(&mut single, buffer, false), "{:?}", buffer);
        }
        let counts = |subject: &Subject| subject.relay.rules().map(|(_, counts)| counts.clone()).collect::<Vec<_>>();
        prop_assert_eq!(format!("{:?}", counts(&together)), format!("{:?}", counts(&single)));
    }
}

#[test]
fn a_buffer_that_goes_into_tunnels_is_forwarded_together_with_consecutive_numbers() {
    let mut subject = relay(RULE);
    let own = subject.relay.id().0;
    let (count, copies) = subject.receive_coalesced(0, HOST, GROUP, b"onetwothr", 3);
    assert_eq!((count, copies.len()), (3, 2));
    assert!(copies.iter().all(|copy| copy.trail == RelayPath::new(own, 1, &[own]).unwrap()), "{copies:?}");
    let next = subject.receive(0, HOST, GROUP, b"next");
    assert_eq!(next[0].trail.number, 4);
}

#[test]
fn of_a_buffer_from_a_tunnel_what_was_here_before_is_not_forwarded_twice() {
    let mut subject = relay(RULE);
    let trail = |number| RelayPath::new(7, number, &[7]).unwrap();
    assert_eq!(from_tunnel(&mut subject, 2, trail(3), GROUP).len(), 1);
    let buffer = Buffer {
        leg: 1,
        trail: trail(1),
        destination: GROUP,
        datagrams: vec![*b"a1", *b"a2", *b"a3", *b"a4"],
    };
    let copies = pass(&mut subject, &buffer, true);
    let numbers: Vec<u64> = copies.iter().map(|copy| copy.trail.number).collect();
    assert_eq!(numbers, [1, 2, 4]);
    assert_eq!(subject.refused(RefusalReason::Duplicate), 1);
}
