//! Copies with the source of their sender.

use std::time::Duration;

use mcast_relay::{LegId, PathPort, RefusalReason, RelayConfig, RelayEvent, Subnet};

use crate::subject::{Subject, address, own};

const RULE: &str = "239.1.2.3:5000 between s0 and s1 always keep-source";

/// Returns a relay that knows the networks of its legs, 10.0.N.0/24.
fn subject(rules: &str) -> Subject {
    let mut subject = Subject::new(rules);
    for leg in 0..2 {
        subject.relay.set_subnets(LegId(leg), &[Subnet { address: own(leg), prefix: 24 }]);
    }
    subject
}

#[test]
fn a_copy_has_the_address_and_port_of_its_sender() {
    let mut subject = subject(RULE);
    let copies = subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1");
    assert_eq!(copies.len(), 1);
    assert_eq!(subject.port(copies[0].path), PathPort::Sender(address("10.0.0.1:4000")));
}

#[test]
fn the_relay_recognizes_its_own_copies_and_names_no_router() {
    let mut subject = subject(RULE);
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1").len(), 1);
    assert_eq!(subject.receive(1, "10.0.0.1:4000", "239.1.2.3:5000", b"1"), []);
    assert_eq!(subject.refused(RefusalReason::OwnCopy), 1);
    assert!(!subject.events.iter().any(|event| matches!(event, RelayEvent::RouterFound { .. })));
}

#[test]
fn a_sender_of_another_network_is_replaced_and_reported_once() {
    let mut subject = subject(RULE);
    for number in 0..3 {
        let copies = subject.receive(0, "10.9.0.1:4000", "239.1.2.3:5000", &[number]);
        assert!(matches!(subject.port(copies[0].path), PathPort::Own(_)));
    }
    let replaced = subject.events.iter().filter(|event| matches!(event, RelayEvent::SourceReplaced { .. }));
    assert_eq!(replaced.count(), 1);
}

#[test]
fn a_relay_on_the_next_segment_does_not_forward_the_copies_of_another_one() {
    // The other one is on s0 of this relay, and sends copies with the sources of a network that this one is not on.
    let rules = mcast_relay::parse_rules("239.1.2.3:5000 from s1 to s0 always keep-source").unwrap();
    let mut other = Subject::with(RelayConfig::new(rules, 2));
    for leg in [0, 1] {
        other.relay.handle_leg_up(other.now, LegId(leg), &[[10, 0, leg, 99].into()]);
    }
    other.outputs(&[]);
    other.announcements.clear();
    other.wait(Duration::from_secs(1));
    let mut here = subject("239.1.2.3:5000 from s0 to s1 always");
    let s0 = other.relay.legs().find(|(_, leg)| leg.to_string() == "s0").map(|(id, _)| id).unwrap();
    for (leg, bytes) in std::mem::take(&mut other.announcements) {
        if leg == s0 {
            here.relay.handle_announcement(here.now, LegId(0), &bytes).unwrap();
            here.outputs(&[]);
        }
    }
    assert_eq!(here.receive(0, "10.7.0.1:4000", "239.1.2.3:5000", b"copy"), []);
    assert_eq!(here.refused(RefusalReason::CopyOfPeer), 1);
    assert_eq!(here.receive(0, "10.0.0.5:4000", "239.1.2.3:5000", b"of a host there").len(), 1);
}

#[test]
fn a_group_of_one_link_has_hop_limit_1_and_needs_no_member() {
    let mut subject = Subject::new("224.0.0.7:8001 from s0 to s1\n[ff02::77]:8001 from s0 to s1 always");
    for (source, destination) in
        [("10.0.0.1:4000", "224.0.0.7:8001"), ("[2001:db8::1]:4000", "[ff02::77]:8001")]
    {
        let copies = subject.receive_with(1, 0, source, destination, b"television here");
        assert_eq!(copies.iter().map(|copy| copy.hop_limit).collect::<Vec<_>>(), [Some(1)]);
    }
}
