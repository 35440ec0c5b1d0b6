//! Pings and path tests, with replies that are missing, late, duplicate or forged.

use proptest::prelude::*;

use super::*;

const ID: SessionId = SessionId(7);
const TIMEOUT: Duration = Duration::from_secs(1);
const SIZES: [usize; 3] = [64, 1_472, 4_000];

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn seconds(seconds: f64) -> ClockTime {
    ClockTime(0) + Duration::from_secs_f64(seconds)
}

fn reply() -> ProbeReply {
    ProbeReply {
        responder: 1,
        interface: 2,
        length: 64,
        hop_limit: 3,
        arrival_hop_limit: Some(1),
        by_unicast: false,
        unicast_port: 9,
        joined: Duration::ZERO,
    }
}

/// Delivers a reply to the probe of this stream and number, which was sent a millisecond before.
fn deliver(session: &mut ProbeSession, from: IpAddr, stream: u16, number: u64, reply: &ProbeReply) -> bool {
    let header = session.header(stream, number, seconds(99.0));
    let message = reply.encode(header, 64);
    session.handle_datagram(seconds(99.001), &message, from).is_some()
}

/// Returns a session with one probe per second, starting at 10 s.
fn pings(count: u64) -> ProbeSession {
    let mut pings = ProbeSession::ping(ID, ProbeCase { size: 64, hop_limit: 3 }, TIMEOUT);
    (0..count).for_each(|number| pings.handle_sent(seconds(10.0 + number as f64), 0));
    pings
}

fn reply_to(pings: &mut ProbeSession, number: u64, by_unicast: bool, joined: f64) -> bool {
    deliver(
        pings,
        address(2),
        0,
        number,
        &ProbeReply { by_unicast, joined: Duration::from_secs_f64(joined), ..reply() },
    )
}

/// Returns a path test with three probes per case.
fn path(hop_limits: &[u8]) -> ProbeSession {
    let cases =
        hop_limits.iter().flat_map(|hop_limit| SIZES.map(|size| ProbeCase { size, hop_limit: *hop_limit }));
    let mut path = ProbeSession::path_test(ID, cases.collect());
    for case in 0..path.cases().len() {
        (0..3).for_each(|_| path.handle_sent(ClockTime(0), case));
    }
    path
}

fn arrive(path: &mut ProbeSession, case: u16, number: u64) -> bool {
    let length = path.cases().get(usize::from(case)).map_or(64, |case| case.size) as u32;
    let stream = case.saturating_add(1);
    deliver(
        path,
        address(2),
        stream,
        number,
        &ProbeReply { length, hop_limit: 9, arrival_hop_limit: Some(7), ..reply() },
    )
}

#[test]
fn a_reply_to_an_encoded_probe_has_a_round_trip() {
    let mut pings = pings(0);
    let probe = pings.probe(seconds(1.0), 0).unwrap();
    pings.handle_sent(seconds(1.0), 0);
    let (header, _) = SessionMessage::decode(&probe).unwrap();
    let message = reply().encode(header, probe.len());
    let accepted = pings.handle_datagram(seconds(1.25), &message, address(2)).unwrap();
    assert_eq!(
        (accepted.round_trip, accepted.is_new, accepted.number),
        (Duration::from_millis(250), true, 0)
    );
    assert_eq!(pings.handle_datagram(seconds(0.5), &message, address(2)), None, "before its probe");
    assert_eq!(pings.handle_datagram(seconds(2.0), b"hello", address(2)), None);
    assert_eq!((pings.foreign(), pings.refused()), (2, 0));
    assert!(pings.probe(seconds(1.0), 1).is_none() && pings.unicast_probe(seconds(1.0), 1).is_none());
}

#[test]
fn multicast_and_unicast_loss_are_separate() {
    let mut pings = pings(3);
    reply_to(&mut pings, 0, false, 100.0);
    (0..3).for_each(|number| drop(pings.unicast_probe(seconds(10.0 + f64::from(number)), 0)));
    reply_to(&mut pings, 2, false, 102.0);
    reply_to(&mut pings, 2, false, 102.0);
    reply_to(&mut pings, 0, true, 100.0);
    let responder = &pings.responders()[0];
    let now = seconds(13.0);
    assert_eq!((pings.sent_to_group(responder, now), responder.multicast(0).received()), (3, 2));
    assert_eq!((pings.sent_to(responder, now), responder.unicast().received()), (3, 1));
    assert_eq!(responder.multicast(0).duplicated(), 1);
    assert_eq!((responder.hops, responder.join_to_first), (Some((2, 2)), None));
    assert_eq!(responder.multicast(0).round_trips().count(), 2);
}

#[test]
fn pending_probes_are_not_lost() {
    let mut pings = pings(3);
    reply_to(&mut pings, 0, false, 100.0);
    let sent = |pings: &ProbeSession, now| pings.sent_to_group(&pings.responders()[0], seconds(now));
    assert_eq!((sent(&pings, 11.9), sent(&pings, 12.0), sent(&pings, 13.0)), (1, 2, 3));
    assert!(!pings.all_answered());
    for number in [1, 2] {
        reply_to(&mut pings, number, false, 100.0);
    }
    assert!(pings.all_answered());
    assert_eq!(sent(&pings, 12.0), 3);
}

#[test]
fn probes_before_the_join_are_not_lost() {
    let mut pings = pings(10);
    // The responder joined 1.5 s before the probe at 16 s, so the one at 15 s was lost in transit.
    reply_to(&mut pings, 6, false, 1.5);
    let responder = &pings.responders()[0];
    assert_eq!(responder.join_to_first, Some(Duration::from_millis(1_500)));
    assert_eq!(pings.sent_to_group(responder, seconds(17.0)), 2);
}

#[test]
fn replies_to_nothing_are_refused() {
    let mut pings = pings(2);
    reply_to(&mut pings, 2, false, 0.0);
    reply_to(&mut pings, 1 << 62, false, 0.0);
    reply_to(&mut pings, 0, true, 0.0);
    assert!(pings.responders().is_empty());
    reply_to(&mut pings, 0, false, 0.0);
    reply_to(&mut pings, 0, true, 0.0);
    reply_to(&mut pings, 2, false, 0.0);
    assert_eq!((pings.responders().len(), pings.refused()), (1, 5));
    assert_eq!(pings.responders()[0].unicast().received(), 0);
}

#[test]
fn an_address_is_a_responder_of_a_ping() {
    let mut pings = pings(1);
    assert!(
        deliver(&mut pings, address(2), 0, 0, &reply()) && deliver(&mut pings, address(3), 0, 0, &reply())
    );
    assert_eq!(pings.responders().len(), 2);
}

#[test]
fn a_host_is_a_responder_of_a_path_test() {
    let mut path = path(&[1]);
    for (last, interface) in [(2, 2), (3, 3)] {
        assert!(deliver(&mut path, address(last), 1, 0, &ProbeReply { interface, ..reply() }));
    }
    let [responder] = path.responders() else { panic!("{:?}", path.responders()) };
    let results = responder.multicast(0);
    assert_eq!((results.received(), results.duplicated(), responder.interfaces.len()), (1, 1, 2));
}

#[test]
fn memory_is_bounded_under_forged_responders() {
    let mut pings = pings(1);
    for responder in 0..1_000 {
        deliver(&mut pings, address(1), 0, 0, &ProbeReply { responder, ..reply() });
    }
    assert_eq!(pings.responders().len(), MAX_RESPONDERS);
    (0..10_000).for_each(|number| pings.handle_sent(seconds(20.0 + f64::from(number)), 0));
    assert_eq!((pings.sent[0].times.len(), pings.sent(0)), (MAX_TIMES, 10_001));
}

#[test]
fn size_limit_is_found() {
    let mut path = path(&[1]);
    assert_eq!(path.responders().len(), 0);
    arrive(&mut path, 0, 0);
    arrive(&mut path, 1, 2);
    let limit = |path: &ProbeSession| path.size_limit(&path.responders()[0], 1);
    assert_eq!(limit(&path), SizeLimit::Between { passes: 1_472, lost: 4_000 });
    assert_eq!(path.size_limit(&path.responders()[0], 9), SizeLimit::Unclear);
    arrive(&mut path, 2, 0);
    assert_eq!(limit(&path), SizeLimit::None);
    assert_eq!((path.responders()[0].hops, path.responders()[0].multicast(0).received()), (Some((2, 2)), 1));
}

#[test]
fn inconsistent_sizes_are_unclear() {
    let mut path = path(&[1]);
    arrive(&mut path, 2, 0);
    assert_eq!(path.size_limit(&path.responders()[0], 1), SizeLimit::Unclear);
}

#[test]
fn unsent_probes_are_not_lost() {
    let mut path = ProbeSession::path_test(ID, SIZES.map(|size| ProbeCase { size, hop_limit: 1 }).to_vec());
    path.handle_sent(ClockTime(0), 0);
    path.handle_sent(ClockTime(0), 1);
    arrive(&mut path, 0, 0);
    arrive(&mut path, 1, 0);
    assert_eq!(path.size_limit(&path.responders()[0], 1), SizeLimit::None);
    assert!(path.all_answered());
}

#[test]
fn min_hop_limit_uses_the_smallest_size() {
    let mut path = path(&[1, 2, 8]);
    arrive(&mut path, 8, 0);
    assert_eq!(path.min_hop_limit(&path.responders()[0]), None);
    arrive(&mut path, 6, 0);
    assert_eq!(path.min_hop_limit(&path.responders()[0]), Some(8));
    arrive(&mut path, 3, 1);
    assert_eq!(path.min_hop_limit(&path.responders()[0]), Some(2));
}

#[test]
fn unmatched_and_truncated_probes_are_refused() {
    let mut path = path(&[1]);
    assert!(!arrive(&mut path, 0, 3) && !arrive(&mut path, 3, 0) && !arrive(&mut path, u16::MAX, 0));
    assert!(!deliver(&mut path, address(2), 1, 0, &ProbeReply { length: 60, ..reply() }));
    assert!(!deliver(&mut path, address(2), 0, 0, &reply()), "path tests number their cases from 1");
    assert_eq!((path.responders().len(), path.refused()), (0, 5));
    assert!(arrive(&mut path, 0, 0) && arrive(&mut path, 0, 0));
    let results = path.responders()[0].multicast(0);
    assert_eq!((results.received(), results.duplicated()), (1, 1));
}

proptest! {
    #[test]
    fn a_ping_receives_no_more_than_it_sends(
        answers in proptest::collection::vec(
            (0_u8..4, 0_u64..30, any::<bool>(), 0.0..40.0_f64, 0_u8..4), 0..200,
        ),
    ) {
        let mut pings = pings(0);
        let mut now = seconds(100.0);
        for (last, number, by_unicast, joined, ask) in answers {
            now = now + Duration::from_millis(300);
            if ask == 0 {
                pings.handle_sent(now, 0);
                (0..pings.responders().len()).for_each(|index| drop(pings.unicast_probe(now, index)));
            }
            let reply = ProbeReply { by_unicast, joined: Duration::from_secs_f64(joined), ..reply() };
            deliver(&mut pings, address(last), 0, number, &reply);
            for responder in pings.responders() {
                let sent = pings.sent_to_group(responder, now);
                prop_assert!(responder.multicast(0).received() <= sent && sent <= pings.sent(0));
                let sent = pings.sent_to(responder, now);
                prop_assert!(responder.unicast().received() <= sent && sent <= pings.sent(0));
            }
        }
    }

    #[test]
    fn a_path_test_receives_no_more_than_it_sends(
        answers in proptest::collection::vec((0_u16..12, 0_u64..5), 0..200),
    ) {
        let mut path = path(&[1, 4]);
        for (case, number) in answers {
            arrive(&mut path, case, number);
        }
        for responder in path.responders() {
            for case in 0..path.cases().len() {
                prop_assert!(responder.multicast(case).received() <= path.sent(case));
            }
        }
    }
}

#[test]
fn a_unicast_path_test_accepts_replies_by_unicast_only() {
    let case = ProbeCase { size: 64, hop_limit: 0 };
    let mut path = ProbeSession::unicast_path_test(ID, vec![case]);
    let probe = path.probe(seconds(1.0), 0).unwrap();
    path.handle_sent(seconds(1.0), 0);
    let Some((header, SessionMessage::Probe(probe))) = SessionMessage::decode(&probe) else { panic!() };
    assert!(probe.by_unicast && probe.short_reply);
    let reply = |by_unicast| ProbeReply { by_unicast, hop_limit: 0, ..reply() }.encode(header, 0);
    assert!(path.handle_datagram(seconds(1.5), &reply(false), address(2)).is_none());
    assert!(path.handle_datagram(seconds(1.5), &reply(true), address(2)).is_some());
    assert_eq!(path.responders()[0].multicast(0).received(), 1);
    assert!(path.all_answered());
}
