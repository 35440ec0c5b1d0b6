//! Relays and gateways of AMT as sides of rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast_group::{Group, SourceFilter};
use mcast_relay::{LegId, RefusalReason, RelayConfig};

use crate::subject::{Subject, address};

const LISTENER: &str = "192.0.2.1:2268";

fn group(text: &str) -> Group {
    text.parse().unwrap()
}

fn only(sources: &[&str]) -> SourceFilter {
    SourceFilter::Include(sources.iter().map(|text| text.parse().unwrap()).collect())
}

fn members(subject: &mut Subject, groups: &[(&str, SourceFilter)]) {
    let groups: BTreeMap<_, _> =
        groups.iter().map(|(text, sources)| (group(text), sources.clone())).collect();
    subject.relay.set_amt_members(subject.now, address(LISTENER), groups);
    subject.outputs(&[]);
}

/// Sends a datagram of a source to a group on leg 0, and returns how many are encapsulated.
fn send(subject: &mut Subject, source: &str, to: &str, hop_limit: u8, number: u8) -> usize {
    let before = subject.encapsulated.len();
    assert!(subject.receive_with(hop_limit, 0, source, to, &[number]).is_empty());
    subject.encapsulated.len() - before
}

#[test]
fn the_sources_that_gateways_request_are_joined_and_no_others() {
    let mut subject = Subject::new("232.1.0.0/16:5000 from s0 to amt-listen:192.0.2.1");
    assert!(subject.joins.is_empty());
    members(&mut subject, &[("232.1.2.3", only(&["10.0.0.1"])), ("232.9.9.9", only(&["10.0.0.1"]))]);
    assert_eq!(subject.joins, [(LegId(0), group("232.1.2.3"), only(&["10.0.0.1"]))]);
    assert_eq!(send(&mut subject, "10.0.0.1:4000", "232.1.2.3:5000", 8, 1), 1);
    assert_eq!(send(&mut subject, "10.0.0.2:4000", "232.1.2.3:5000", 8, 2), 0);
    assert_eq!(subject.refused(RefusalReason::NotWanted), 1);
    let sent: (SocketAddr, SocketAddr, SocketAddr, u8) =
        (address(LISTENER), address("10.0.0.1:4000"), address("232.1.2.3:5000"), 7);
    assert_eq!(subject.encapsulated, [sent], "with its source and one hop less");
    members(&mut subject, &[]);
    assert_eq!(subject.joins.last().unwrap(), &(LegId(0), group("232.1.2.3"), SourceFilter::NONE));
}

#[test]
fn a_rule_with_sources_forwards_only_these() {
    let mut subject = Subject::new("10.0.0.1@239.1.2.3:5000 from s0 to amt-listen:192.0.2.1");
    members(&mut subject, &[("239.1.2.3", only(&["10.0.0.2"]))]);
    assert!(subject.joins.is_empty());
    members(&mut subject, &[("239.1.2.3", SourceFilter::ANY)]);
    assert_eq!(subject.joins, [(LegId(0), group("239.1.2.3"), only(&["10.0.0.1"]))]);
}

#[test]
fn a_group_may_be_rewritten_for_gateways() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to amt-listen:192.0.2.1 as 239.9.9.9:6000 ttl 9");
    members(&mut subject, &[("239.9.9.9", SourceFilter::ANY)]);
    assert_eq!(subject.joins, [(LegId(0), group("239.1.2.3"), SourceFilter::ANY)]);
    assert_eq!(send(&mut subject, "10.0.0.1:4000", "239.1.2.3:5000", 1, 1), 1);
    assert_eq!((subject.encapsulated[0].2, subject.encapsulated[0].3), (address("239.9.9.9:6000"), 9));
}

#[test]
fn a_datagram_without_hops_left_is_not_encapsulated() {
    let mut subject = Subject::new("239.1.2.3:5000 from s0 to amt-listen:192.0.2.1");
    members(&mut subject, &[("239.1.2.3", SourceFilter::ANY)]);
    assert_eq!(send(&mut subject, "10.0.0.1:4000", "239.1.2.3:5000", 1, 1), 0);
    assert_eq!(subject.refused(RefusalReason::HopLimit), 1);
}

#[test]
fn of_two_relays_that_fetch_the_same_from_amt_one_forwards() {
    let config = |seed| {
        let rules = mcast_relay::parse_rules("239.1.2.3:5000 from amt:192.0.2.1 to s1 always").unwrap();
        RelayConfig::new(rules, seed)
    };
    let mut relays = [1, 2].map(|seed| Subject::with(config(seed)));
    for round in 0..4_u64 {
        for (one, other) in [(0, 1), (1, 0)] {
            let announcements: Vec<_> = relays[one].announcements.drain(..).collect();
            // They hear each other on the segment alone.
            for (_, bytes) in announcements.iter().filter(|(leg, _)| *leg == LegId(1)) {
                let now = relays[other].now;
                relays[other].relay.handle_announcement(now, LegId(1), bytes).unwrap();
                relays[other].outputs(&[]);
            }
        }
        relays.iter_mut().for_each(|relay| drop(relay.wait(std::time::Duration::from_millis(400 + round))));
    }
    let sent = relays.map(|mut relay| relay.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"x").len());
    assert_eq!(sent.iter().sum::<usize>(), 1, "{sent:?}");
}
