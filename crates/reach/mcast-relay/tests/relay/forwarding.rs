//! Copies: where they go, and what is not copied.

use std::time::Duration;

use mcast_relay::{LegId, PathPort, PathSide, RefusalReason, RelayConfig, RelayEvent, Subnet};

use crate::subject::{Subject, address, own};

#[test]
fn a_copy_has_one_hop_less_and_comes_from_a_port_of_the_relay() {
    let mut subject = Subject::new("239.1.2.0/24:5000 from s0 to s1,s2 always");
    let copies = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data");
    assert_eq!(copies.len(), 2);
    for (copy, leg) in copies.iter().zip([1, 2]) {
        assert_eq!((copy.side, copy.destination), (PathSide::Leg(LegId(leg)), address("239.1.2.3:5000")));
        assert_eq!((copy.hop_limit, copy.payload.as_slice()), (Some(7), b"data".as_slice()));
        assert!(matches!(subject.port(copy.path), PathPort::Own(61_440..62_464)));
    }
    // Nothing else is forwarded: another port, another group, another direction.
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5001", b"data"), []);
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.3.3:5000", b"data"), []);
    assert_eq!(subject.receive(1, "10.0.1.1:4000", "239.1.2.3:5000", b"data"), []);
}

#[test]
fn a_rule_with_sources_forwards_only_theirs() {
    let mut subject = Subject::new("10.0.0.7@232.1.2.3:5000 from s0 to s1 always");
    assert_eq!(subject.receive(0, "10.0.0.7:4000", "232.1.2.3:5000", b"data").len(), 1);
    assert_eq!(subject.receive(0, "10.0.0.8:4000", "232.1.2.3:5000", b"data"), []);
    let (leg, _, sources) = subject.joins.last().unwrap();
    assert!(*leg == LegId(0) && sources.admits([10, 0, 0, 7].into()) && sources.sources().len() == 1);
}

#[test]
fn groups_ports_and_families_are_rewritten() {
    let mut subject = Subject::new("239.1.2.0/24:5000 from s0 to s1 as [ff15::100]+256:6000 always");
    let copies = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data");
    assert_eq!(copies[0].destination, address("[ff15::103]:6000"));
    let mut subject = Subject::new("broadcast:6000 from s0 to s1 as 239.1.2.3:6001 always");
    let copies = subject.receive(0, "10.0.0.1:4000", "10.0.0.255:6000", b"data");
    assert_eq!(copies[0].destination, address("239.1.2.3:6001"));
    let mut subject = Subject::new("broadcast:6000 from s0 to s1");
    let copies = subject.receive(0, "10.0.0.1:4000", "10.0.0.255:6000", b"data");
    assert_eq!(copies[0].destination, address("255.255.255.255:6000"));
}

#[test]
fn a_hop_limit_that_is_used_up_is_reported_once_per_minute() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    for number in 0..17_u8 {
        assert_eq!(subject.receive_with(1, 0, "10.0.0.1:4000", "239.1.2.3:5000", &[number]), []);
    }
    assert_eq!(subject.refused(RefusalReason::HopLimit), 17);
    let reports = |subject: &Subject| {
        let count = |event: &RelayEvent| match event {
            RelayEvent::NotForwarded { reason: RefusalReason::HopLimit, count, .. } => Some(*count),
            _ => None,
        };
        subject.events.iter().filter_map(count).collect::<Vec<_>>()
    };
    assert_eq!(reports(&subject), [1]);
    subject.wait(Duration::from_secs(60));
    subject.receive_with(1, 0, "10.0.0.1:4000", "239.1.2.3:5000", b"again");
    assert_eq!(reports(&subject), [1, 17]);

    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 ttl 4 always");
    let copies = subject.receive_with(1, 0, "10.0.0.1:4000", "239.1.2.3:5000", b"data");
    assert_eq!(copies[0].hop_limit, Some(4));
}

#[test]
fn an_unreachable_target_does_not_stop_the_others() {
    let mut subject =
        Subject::new("239.1.2.3:5000 from s0 to udp://10.9.0.1:5000,udp://10.9.0.2:5000 always");
    let sent = |subject: &mut Subject, number: u8| {
        let copies = subject.receive_with(1, 0, "10.0.0.1:4000", "239.1.2.3:5000", &[number]);
        copies.iter().map(|copy| copy.destination.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(sent(&mut subject, 0), ["10.9.0.1:5000", "10.9.0.2:5000"]);
    subject.relay.handle_target_failure(subject.now, address("10.9.0.1:5000"));
    assert_eq!(sent(&mut subject, 1), ["10.9.0.2:5000"]);
    assert_eq!(subject.refused(RefusalReason::Unreachable), 1);
    subject.wait(Duration::from_secs(1));
    assert_eq!(sent(&mut subject, 2), ["10.9.0.1:5000", "10.9.0.2:5000"]);
}

#[test]
fn a_rule_over_its_rate_drops_the_rest() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 rate 100pps always");
    let mut copies = 0;
    for number in 0..10_000_u32 {
        subject.wait(Duration::from_millis(1));
        copies += subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", &number.to_be_bytes()).len();
    }
    assert!((1_000..=1_040).contains(&copies), "{copies} in 10 s");
    assert_eq!(subject.refused(RefusalReason::RateLimit), 10_000 - copies as u64);
}

#[test]
fn a_source_of_discovery_is_limited_without_harm_to_the_others() {
    let mut subject = Subject::new("wsd from s0 to s1");
    let mut copies = 0;
    for number in 0..5_000_u32 {
        subject.wait(Duration::from_millis(1));
        copies += subject.receive(0, "10.0.0.1:4000", "239.255.255.250:3702", &number.to_be_bytes()).len();
    }
    assert!((500..=710).contains(&copies), "{copies} in 5 s");
    assert_eq!(subject.receive(0, "10.0.0.2:4000", "239.255.255.250:3702", b"other").len(), 1);
}

#[test]
fn rules_that_overlap_send_one_copy_to_each_place() {
    let mut subject =
        Subject::new("239.1.2.0/24:5000 from s0 to s1 always\n239.1.2.3:5000 from s0 to s1,s2 always\n");
    for number in 0..100_u8 {
        let copies = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", &[number]);
        let sides: Vec<_> = copies.iter().map(|copy| copy.side).collect();
        assert_eq!(sides, [PathSide::Leg(LegId(1)), PathSide::Leg(LegId(2))]);
    }
}

#[test]
fn its_own_copies_are_not_forwarded() {
    let mut subject = Subject::new("239.1.2.3:5000 between s0 and s1 always");
    let copies = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"data");
    let PathPort::Own(port) = subject.port(copies[0].path) else { panic!("not a port of its own") };
    let source = format!("{}:{port}", own(1));
    assert_eq!(subject.receive(1, &source, "239.1.2.3:5000", b"data"), []);
    // The same address from another port is a program on the same machine.
    assert_eq!(subject.receive(1, &format!("{}:4000", own(1)), "239.1.2.3:5000", b"other").len(), 1);
    assert_eq!(subject.refused(RefusalReason::OwnCopy), 1);
}

#[test]
fn a_port_in_use_is_replaced_and_another_failure_is_a_pause() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    let first = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1")[0].path;
    let PathPort::Own(port) = subject.port(first) else { panic!("not a port of its own") };
    subject.relay.handle_path_failure(subject.now, first, true);
    let second = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"2")[0].path;
    assert_eq!(subject.port(second), PathPort::Own(port + 1));
    subject.relay.handle_path_failure(subject.now, second, false);
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"3"), []);
    subject.wait(Duration::from_secs(1));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"4").len(), 1);
}

#[test]
fn paths_are_closed_when_idle_and_their_number_is_bounded() {
    let rules = mcast_relay::parse_rules("239.1.2.3:5000 from s0 to s1 always").unwrap();
    let mut subject = Subject::with(RelayConfig { max_paths: 10, ..RelayConfig::new(rules, 1) });
    let send = |subject: &mut Subject, sender: u8| {
        subject.receive(0, &format!("10.0.0.{sender}:4000"), "239.1.2.3:5000", &[sender]).len()
    };
    assert_eq!((1..=20).map(|sender| send(&mut subject, sender)).sum::<usize>(), 10);
    assert_eq!((subject.paths.len(), subject.refused(RefusalReason::TooManyPaths)), (10, 10));
    // One that has been idle for ten seconds makes way for a new sender.
    subject.wait(Duration::from_secs(10));
    assert_eq!(send(&mut subject, 21), 1);
    assert_eq!(subject.paths.len(), 10);
    subject.wait(Duration::from_secs(120));
    assert_eq!(subject.paths, []);
}

#[test]
fn a_sender_fills_only_its_own_share_of_the_paths() {
    let rules = mcast_relay::parse_rules("239.1.2.3:5000 from s0 to s1 always").unwrap();
    let mut subject = Subject::with(RelayConfig { max_paths: 100, ..RelayConfig::new(rules, 1) });
    let send = |subject: &mut Subject, sender: String| {
        subject.receive(0, &sender, "239.1.2.3:5000", sender.as_bytes()).len()
    };
    let of_attacker = (1..=200).map(|port| send(&mut subject, format!("10.0.0.66:{}", 4_000 + port)));
    assert_eq!(of_attacker.sum::<usize>(), 25);
    let culprits = subject.events.iter().filter_map(|event| match event {
        RelayEvent::NotForwarded { reason: RefusalReason::TooManyPaths, culprit, .. } => Some(*culprit),
        _ => None,
    });
    assert_eq!(culprits.collect::<Vec<_>>(), [Some([10, 0, 0, 66].into())]);
    assert_eq!((1..=75).map(|host| send(&mut subject, format!("10.0.0.{host}:1"))).sum::<usize>(), 74);
    // Its own paths that are idle make way.
    subject.wait(Duration::from_secs(10));
    assert_eq!(send(&mut subject, "10.0.0.66:9000".into()), 1);
    assert_eq!(subject.paths.len(), 99);
}

#[test]
fn replaced_rules_take_effect_and_the_rest_continues() {
    let kept = "239.1.2.3:5000 from s0 to s1 always";
    let mut subject = Subject::new(&format!("{kept}\n239.1.2.4:5000 from s0 to s1 always\n"));
    let first = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1");
    subject.receive(0, "10.0.0.1:4000", "239.1.2.4:5000", b"1");
    subject.replace_rules(&["239.1.2.5:5000 from s0 to s1 always", kept]);
    assert_eq!(subject.paths.len(), 1, "the path of the removed rule is closed");
    let second = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"2");
    assert_eq!(first[0].path, second[0].path);
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.4:5000", b"2"), []);
    // A new rule listens first.
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.5:5000", b"2"), []);
    subject.wait(Duration::from_secs(2));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.5:5000", b"3").len(), 1);
    let counts: Vec<u64> = subject.relay.rules().map(|(_, counts)| counts.copies).collect();
    assert_eq!(counts, [1, 2]);
    let left = subject.joins.iter().rev().find(|(_, group, _)| group.to_string() == "239.1.2.4");
    assert!(left.unwrap().2.is_none());
}

#[test]
fn a_leg_that_is_down_gets_nothing_and_comes_back() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1,s2 always");
    subject.relay.handle_leg_down(subject.now, LegId(1));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1").len(), 1);
    subject.relay.handle_leg_up(subject.now, LegId(1), &[own(1)]);
    subject.wait(Duration::from_secs(2));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"2").len(), 2);
    subject.relay.handle_leg_down(subject.now, LegId(0));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"3"), []);
    assert_eq!(subject.refused(RefusalReason::NoLeg), 1);
}

#[test]
fn a_rate_counts_a_datagram_once_however_many_ways_it_is_sent() {
    const RATE: &str = "239.1.2.3:5000 from s0 to s1,http://127.0.0.1:4022 rate 100pps always";
    let mut subject = Subject::new(RATE);
    let (mut copies, mut served) = (0, 0);
    for number in 0..200_u32 {
        // The burst is 32 datagrams.
        copies += subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", &number.to_be_bytes()).len();
        served += u64::from(subject.relay.serve(subject.now, 0, [10, 0, 0, 1].into(), 1));
    }
    assert_eq!((copies, served), (32, 32));
    assert_eq!(subject.refused(RefusalReason::RateLimit), 168);
    // A datagram for HTTP clients alone counts as well.
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to http://127.0.0.1:4022 rate 100pps");
    let served = (0..200).filter(|_| {
        assert!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"x").is_empty());
        subject.relay.serve(subject.now, 0, [10, 0, 0, 1].into(), 1)
    });
    assert_eq!(served.count(), 32);
}

/// The kernel's multicast routing keeps the source, so that its copies look like datagrams of a host on the other leg.
#[test]
fn copies_that_a_router_makes_are_not_forwarded_and_reported_once() {
    let mut subject = Subject::new("239.1.2.3:5000 between s0 and s1 always");
    for leg in 0..2 {
        subject.relay.set_subnets(LegId(leg), &[Subnet { address: own(leg), prefix: 24 }]);
    }
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"original").len(), 1);
    for _ in 0..3 {
        assert_eq!(subject.receive(1, "10.0.0.1:4000", "239.1.2.3:5000", b"original"), []);
    }
    let found =
        |event: &&RelayEvent| matches!(event, RelayEvent::RouterFound { leg: LegId(1), home: LegId(0), .. });
    assert_eq!(subject.events.iter().filter(found).count(), 1);
    assert_eq!(subject.refused(RefusalReason::Routed), 3);
    // A source that is on the link of no leg comes from farther away.
    assert_eq!(subject.receive(1, "10.7.0.1:4000", "239.1.2.3:5000", b"far").len(), 1);
}

const GROUP: &str = "239.1.2.3:5000";
const SENDER: &str = "10.0.0.1:4000";

#[test]
fn a_coalesced_buffer_is_forwarded_whole_and_counted_datagram_by_datagram() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1,s2 always");

    let (count, copies) = subject.receive_coalesced(0, SENDER, GROUP, b"aaaabbbbcc", 4);

    assert_eq!((count, copies.len()), (3, 2));
    assert!(copies.iter().all(|copy| copy.payload == b"aaaabbbbcc" && copy.hop_limit == Some(7)));
    let (_, counts) = subject.relay.rules().next().unwrap();
    assert_eq!((counts.arrived, counts.copies, counts.bytes), (3, 6, 20));
}

#[test]
fn a_coalesced_buffer_is_forwarded_up_to_the_first_repeat() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1 always");
    assert_eq!(subject.receive(0, SENDER, GROUP, b"known").len(), 1);
    assert_eq!(subject.receive_coalesced(0, SENDER, GROUP, b"first1first2knownlast", 6).0, 4, "other limits");

    // Arrived alone, together with others, and in the same buffer.
    assert_eq!(subject.receive_coalesced(0, SENDER, GROUP, b"thirdknown", 5).0, 1);
    assert_eq!(subject.receive_coalesced(0, SENDER, GROUP, b"forth1first2forth3", 6).0, 1);
    assert_eq!(subject.receive_coalesced(0, SENDER, GROUP, b"fifth1fifth1", 6).0, 1);
    // To another group, it is another content.
    let mut other = Subject::new("239.1.2.0/24:5000 from s0 to s1 always");
    assert_eq!(other.receive_coalesced(0, SENDER, GROUP, b"first1first2", 6).0, 2);
    assert_eq!(other.receive_coalesced(0, SENDER, "239.1.2.4:5000", b"first1first2", 6).0, 2);
}

#[test]
fn datagrams_that_come_back_in_other_buffers_are_recognized() {
    let mut subject = Subject::new("239.1.2.3:5000 between s0 and s1 always");
    let numbers: Vec<u8> = (0..100).flat_map(|number| [number, 7]).collect();
    assert_eq!(subject.receive_coalesced(0, SENDER, GROUP, &numbers, 2).0, 100);

    // A box on the other side returns each of them on its own, for as long as it gets any.
    let (mut returned, mut copies) = (0, 0);
    for _ in 0..50 {
        for number in 0..100 {
            subject.now = subject.now + Duration::from_micros(100);
            let (together, sent) = subject.receive_coalesced(1, "10.0.1.9:4000", GROUP, &[number, 7], 2);
            assert_eq!((together, sent), (0, Vec::new()), "it is a repeat");
            copies += subject.receive(1, "10.0.1.9:4000", GROUP, &[number, 7]).len();
            returned += 1;
        }
    }
    assert!(copies < 50, "{copies} of {returned}");
}

#[test]
fn what_differs_between_datagrams_is_decided_one_by_one() {
    for rules in [
        "239.1.2.3:5000 from s0 to s1 rate 10/s always",
        "239.1.2.3:5000 from s0 to s1,amt-listen:192.0.2.1",
        "mdns between s0 and s1",
    ] {
        let mut subject = Subject::new(rules);
        let group = if rules.starts_with("mdns") { "224.0.0.251:5353" } else { GROUP };
        assert_eq!(subject.receive_coalesced(0, SENDER, group, b"onetwo", 3), (0, Vec::new()), "{rules}");
        let counts = subject.relay.rules().next().unwrap().1;
        assert_eq!(counts.arrived, 0, "nothing is counted twice");
    }
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to s1");
    assert_eq!(subject.receive_coalesced(0, "10.0.0.200:61440", GROUP, b"onetwo", 3).0, 0, "its own copies");
    let (count, copies) = subject.receive_coalesced(0, SENDER, GROUP, b"onetwo", 3);
    assert_eq!((count, copies), (2, Vec::new()));
    assert_eq!(subject.refused(RefusalReason::NotWanted), 2, "each is counted");
}
