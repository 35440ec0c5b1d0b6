//! Other relays.

use std::time::Duration;

use mcast_packet::gmp::IgmpMessage;
use mcast_relay::{LegId, PathSide, RefusalReason, RelayConfig, RelayEvent};

use crate::subject::{Subject, own};

const RULE: &str = "239.1.2.3:5000 between s0 and s1 always";

fn config(seed: u64) -> RelayConfig {
    RelayConfig::new(mcast_relay::parse_rules(RULE).unwrap(), seed)
}

/// Returns a relay of another machine on the same two segments, which has announced itself for a second.
fn other_relay() -> Subject {
    let mut other = Subject::with(config(2));
    for leg in [0, 1] {
        other.relay.handle_leg_up(other.now, LegId(leg), &[[10, 0, leg, 99].into()]);
    }
    other.outputs(&[]);
    other.announcements.clear();
    other.wait(Duration::from_secs(1));
    other
}

/// Passes the announcements of one relay to another.
fn pass(from: &mut Subject, to: &mut Subject) {
    from.relay.handle_timeout(from.now);
    from.outputs(&[]);
    for (leg, bytes) in from.announcements.drain(..) {
        to.relay.handle_announcement(to.now, leg, &bytes).unwrap();
        to.outputs(&[]);
    }
}

#[test]
fn copies_of_another_relay_are_not_forwarded_even_after_it_has_stopped() {
    let mut other = other_relay();
    let mut subject = Subject::with(config(1));
    assert_eq!(subject.receive(0, "10.0.0.99:61440", "239.1.2.3:5000", b"1").len(), 1, "unknown so far");
    pass(&mut other, &mut subject);
    assert_eq!(subject.receive(0, "10.0.0.99:61441", "239.1.2.3:5000", b"2"), []);
    // A program on the machine of the other relay.
    assert_eq!(subject.receive(0, "10.0.0.99:4000", "239.1.2.3:5000", b"3").len(), 1);
    subject.wait(Duration::from_secs(20));
    assert!(subject.events.iter().any(|event| matches!(event, RelayEvent::PeerDisappeared { .. })));
    assert_eq!(subject.receive(0, "10.0.0.99:61441", "239.1.2.3:5000", b"4"), []);
    assert_eq!(subject.refused(RefusalReason::CopyOfPeer), 2);
}

#[test]
fn a_relay_that_did_not_run_for_a_while_forwards_nothing_that_its_sockets_kept() {
    let mut subject = Subject::with(config(1));
    subject.now = subject.now + Duration::from_secs(2);
    assert_eq!(
        subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1").len(),
        1,
        "nobody has taken over yet"
    );
    subject.wait(Duration::from_secs(1));
    subject.now = subject.now + Duration::from_secs(5);
    for number in 0..100_u8 {
        assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", &[2, number]), []);
    }
    assert_eq!(subject.refused(RefusalReason::Starting), 100);
    subject.wait(Duration::from_secs(2));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"3").len(), 1);
}

#[test]
fn legs_on_the_same_segment_are_not_connected() {
    let mut subject = Subject::with(config(1));
    subject.announcements.clear();
    subject.wait(Duration::from_secs(1));
    let (sent_on, bytes) = subject.announcements.last().unwrap().clone();
    assert_eq!(sent_on, LegId(1));
    subject.relay.handle_announcement(subject.now, LegId(0), &bytes).unwrap();
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1"), []);
    let same = RelayEvent::SameSegment { one: LegId(0), other: LegId(1) };
    assert!(subject.events.contains(&same));
    // Until its announcements no longer arrive there.
    subject.wait(Duration::from_secs(5));
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"2").len(), 1);
}

#[test]
fn an_old_announcement_of_its_own_does_not_separate_legs() {
    let mut subject = Subject::with(config(1));
    let (_, bytes) = subject.announcements.last().unwrap().clone();
    subject.wait(Duration::from_secs(10));
    subject.relay.handle_announcement(subject.now, LegId(0), &bytes).unwrap();
    assert_eq!(subject.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1").len(), 1);
}

#[cfg(feature = "seal")]
mod with_key {
    use std::sync::Arc;

    use mcast_relay::{AnnouncementKey, Authenticator};

    use super::*;

    fn keyed(seed: u64, priority: u8) -> Subject {
        Subject::with(RelayConfig { authenticators: keys(&["one"]), priority, ..config(seed) })
    }

    fn keys(names: &[&str]) -> Vec<Arc<dyn Authenticator>> {
        let key = |name: &&str| {
            let secret = format!("sixteen bytes at least: {name}");
            Arc::new(AnnouncementKey::new(secret.as_bytes()).unwrap()) as Arc<dyn Authenticator>
        };
        names.iter().map(key).collect()
    }

    /// Lets relays exchange announcements for two of their lifetimes. What has no valid tag is dropped.
    fn exchange(one: &mut Subject, other: &mut Subject) {
        for _ in 0..12 {
            send(one, other);
            send(other, one);
        }
    }

    fn send(from: &mut Subject, to: &mut Subject) {
        from.wait(Duration::from_millis(400));
        for (leg, bytes) in from.announcements.drain(..) {
            let _ = to.relay.handle_announcement(to.now, leg, &bytes);
            to.outputs(&[]);
        }
    }

    #[test]
    fn keys_are_replaced_one_relay_after_the_other_without_interruption() {
        let (mut standby, mut forwarder) = (keyed(1, 100), keyed(2, 200));
        exchange(&mut standby, &mut forwarder);
        let is_gone = |event: &RelayEvent| matches!(event, RelayEvent::PeerDisappeared { .. });
        for (of_standby, of_forwarder) in [
            (&["one"][..], &["one", "two"][..]),
            (&["one", "two"], &["one", "two"]),
            (&["one", "two"], &["two"]),
            (&["two"], &["two"]),
        ] {
            standby.relay.set_authenticators(standby.now, keys(of_standby));
            forwarder.relay.set_authenticators(forwarder.now, keys(of_forwarder));
            exchange(&mut standby, &mut forwarder);
            assert!(!standby.events.iter().any(is_gone) && !forwarder.events.iter().any(is_gone));
        }
        // Without a key that both have, they do not know each other.
        standby.relay.set_authenticators(standby.now, keys(&["three"]));
        exchange(&mut standby, &mut forwarder);
        assert!(standby.events.iter().any(is_gone) && forwarder.events.iter().any(is_gone));
    }

    #[test]
    fn a_relay_with_the_key_is_believed_once_it_answers() {
        let (mut subject, mut other) = (keyed(1, 100), keyed(2, 200));
        for _ in 0..4 {
            for relay in [&mut subject, &mut other] {
                relay.wait(Duration::from_millis(400));
            }
            pass(&mut other, &mut subject);
            pass(&mut subject, &mut other);
        }
        let appeared = |subject: &Subject| {
            subject.events.iter().any(|event| matches!(event, RelayEvent::PeerAppeared { .. }))
        };
        assert!(appeared(&subject) && appeared(&other));
        assert!(subject.events.iter().any(|event| matches!(event, RelayEvent::StandingBy { .. })));
    }

    #[test]
    fn recorded_announcements_do_not_make_a_relay_stand_by() {
        let mut recorded = Vec::new();
        let (mut subject, mut other) = (keyed(1, 100), keyed(2, 200));
        for _ in 0..4 {
            for relay in [&mut subject, &mut other] {
                relay.wait(Duration::from_millis(400));
            }
            recorded.extend(other.announcements.iter().cloned());
            pass(&mut other, &mut subject);
            pass(&mut subject, &mut other);
        }
        // Another life of the relay: its nonces are others.
        let mut later = keyed(3, 100);
        for (leg, bytes) in recorded {
            later.wait(Duration::from_millis(100));
            later.relay.handle_announcement(later.now, leg, &bytes).unwrap();
            later.outputs(&[]);
        }
        later.wait(Duration::from_secs(1));
        assert_eq!(later.receive(0, "10.0.0.1:4000", "239.1.2.3:5000", b"1").len(), 1);
        assert!(!later.events.iter().any(|event| matches!(event, RelayEvent::PeerAppeared { .. })));
    }

    #[test]
    fn an_announcement_without_the_key_is_refused() {
        let (mut subject, mut stranger) = (keyed(1, 100), Subject::with(config(2)));
        stranger.wait(Duration::from_secs(1));
        let (leg, bytes) = stranger.announcements.last().unwrap();
        assert!(subject.relay.handle_announcement(subject.now, *leg, bytes).is_err());
    }
}

#[test]
fn relays_do_not_keep_memberships_of_each_other_alive() {
    let mut other = other_relay();
    let mut subject = Subject::new("239.1.2.3:5000 between s0 and s1");
    pass(&mut other, &mut subject);
    let mut joins_after_report_from = |source| {
        let message = IgmpMessage::Report { group: [239, 1, 2, 3].into() };
        subject.relay.handle_membership(subject.now, LegId(1), source, &message);
        subject.outputs(&[]);
        subject.joins.len()
    };
    assert_eq!(joins_after_report_from([10, 0, 1, 99].into()), 0, "the other relay");
    assert_eq!(joins_after_report_from(own(0)), 0, "its own report, from another leg on the same segment");
    assert_eq!(joins_after_report_from([10, 0, 1, 7].into()), 1);
}

/// Relays in a chain: the copies of one are not forwarded by the next, and somebody has to know.
#[test]
fn copies_of_another_relay_that_do_not_reach_the_next_segment_are_reported_once() {
    let rules = mcast_relay::parse_rules("239.1.2.3:5000 between s0 and s7 always").unwrap();
    let mut other = Subject::with(RelayConfig::new(rules, 2));
    for leg in [0, 1] {
        other.relay.handle_leg_up(other.now, LegId(leg), &[[10, 0, leg, 99].into()]);
    }
    other.outputs(&[]);
    other.announcements.clear();
    other.wait(Duration::from_secs(1));
    let mut subject = Subject::with(config(1));
    // The other one is only on the first leg.
    other.announcements.retain(|(leg, _)| *leg == LegId(0));
    pass(&mut other, &mut subject);
    for _ in 0..3 {
        assert_eq!(subject.receive(0, "10.0.0.99:61441", "239.1.2.3:5000", b"x"), []);
    }
    let is_chain = |event: &&RelayEvent| {
        matches!(event, RelayEvent::ChainFound { leg: LegId(0), to: PathSide::Leg(LegId(1)), .. })
    };
    assert_eq!(subject.events.iter().filter(is_chain).count(), 1);
}

#[test]
fn a_relay_that_stands_by_does_not_report_a_chain() {
    let mut other = other_relay();
    let mut subject = Subject::with(config(1));
    pass(&mut other, &mut subject);
    assert_eq!(subject.receive(0, "10.0.0.99:61441", "239.1.2.3:5000", b"x"), []);
    assert!(!subject.events.iter().any(|event| matches!(event, RelayEvent::ChainFound { .. })));
}
