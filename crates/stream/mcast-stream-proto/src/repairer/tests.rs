use std::vec;

use super::*;
use crate::wire::{DatagramWriter, Header, Incarnation, NakWriter, StreamId, WriteError};

const KEYS: Keys = Keys::none();
const ROUND_TRIP: Duration = Duration::from_millis(2);
const LENGTH: usize = 1_000;

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7000))
}

fn datagram(
    id: u64,
    kind: Kind,
    count: u64,
    write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
) -> Vec<u8> {
    let mut bytes = vec![0; 1_500];
    let header = Header::new(kind, StreamId(1), Incarnation(1), count);
    let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
    writer.subscriber(SubscriberId(id)).unwrap();
    write(&mut writer).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn nak(id: u64, count: u64, token: AddressToken, first: u64, datagrams: u32) -> Vec<u8> {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(first), datagrams));
    datagram(id, Kind::Nak, count, |writer| list.write_nak(token, writer))
}

/// Handles a datagram of a subscriber with this identifier, from this host.
fn handle(repairer: &mut Repairer, now: u64, id: u64, host: u8, datagram: &[u8]) -> Answer {
    let view = &DatagramView::parse(datagram).unwrap();
    let request = Request {
        now: ClockTime(0) + Duration::from_millis(now),
        subscriber: SubscriberId(id),
        from: address(host),
        view,
        datagram,
    };
    repairer.handle(&request, &KEYS, ROUND_TRIP, |_| false)
}

/// Returns the destinations and the lengths of the repairs that are due.
fn sent(repairer: &mut Repairer, now: u64) -> Vec<(SocketAddr, usize)> {
    let now = ClockTime(0) + Duration::from_millis(now);
    let next = || repairer.next(now).map(|(to, bytes)| (to, bytes.len()));
    core::iter::from_fn(next).collect()
}

/// Returns a repairer that has received this many datagrams, from 1 on.
fn repairer(datagrams: u64) -> Repairer {
    let mut repairer = Repairer::new(1 << 24, 7, ClockTime(0));
    for sequence in Sequence::each(Sequence(1)..Sequence(1 + datagrams)) {
        repairer.retain(sequence, &[0; LENGTH]);
    }
    repairer
}

fn prove(repairer: &mut Repairer, now: u64, id: u64, host: u8) -> AddressToken {
    let probe = Probe { clock: 9, token: AddressToken::NONE, subscriber: SubscriberId(id) };
    let probe = datagram(id, Kind::Probe, 1, |writer| probe.write(writer));
    match handle(repairer, now, id, host, &probe) {
        Answer::Echo(9, token) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_is_not_proven_gets_echoes_only() {
    let mut repairer = repairer(10);
    let token = prove(&mut repairer, 0, 1, 1);
    for (host, token) in [(1, AddressToken::NONE), (1, AddressToken(99)), (2, token)] {
        let answer = handle(&mut repairer, 1, 1, host, &nak(1, 2, token, 3, 1));
        assert!(matches!(answer, Answer::Echo(0, _)), "{answer:?}");
    }
    assert_eq!(sent(&mut repairer, 1), []);
    assert_eq!(handle(&mut repairer, 1, 1, 1, &nak(1, 2, token, 3, 2)), Answer::Repairs(2, 0));
    assert_eq!(sent(&mut repairer, 1), [(address(1), LENGTH), (address(1), LENGTH)]);
    let later = 200_000;
    assert!(matches!(handle(&mut repairer, later, 1, 1, &nak(1, 3, token, 3, 1)), Answer::Echo(0, _)));
}

#[test]
fn a_replayed_request_is_not_answered() {
    let mut repairer = repairer(10);
    let token = prove(&mut repairer, 0, 1, 1);
    let request = nak(1, 2, token, 3, 1);
    assert_eq!(handle(&mut repairer, 1, 1, 1, &request), Answer::Repairs(1, 0));
    assert_eq!(handle(&mut repairer, 100, 1, 1, &request), Answer::Refused);
}

#[test]
fn a_datagram_is_not_sent_to_the_same_subscriber_again_within_a_round_trip() {
    let mut repairer = repairer(10);
    let tokens = [1, 2].map(|id| prove(&mut repairer, 0, id, id as u8));
    for (now, count, repaired) in [(10, 2, 1), (11, 3, 0), (12, 4, 1)] {
        for (id, token) in (1..).zip(tokens) {
            let answer = handle(&mut repairer, now, id, id as u8, &nak(id, count, token, 5, 1));
            assert_eq!(answer, Answer::Repairs(repaired, 0), "at {now} ms");
        }
    }
}

#[test]
fn naks_beyond_the_limit_are_refused() {
    let mut repairer = repairer(10);
    let token = prove(&mut repairer, 0, 1, 1);
    let requests = (2..102).map(|count| handle(&mut repairer, 1, 1, 1, &nak(1, count, token, 90, 1)));
    assert_eq!(requests.filter(|answer| *answer == Answer::Refused).count(), 36);
}

/// However much is requested, a repairer sends a burst and a quarter of what it has received, and one subscriber gets a part.
#[test]
fn repairs_are_a_part_of_what_was_received() {
    let mut repairer = repairer(100_000);
    let mut bytes_for = [0; 20];
    for id in 0..20_u64 {
        let token = prove(&mut repairer, 0, id, id as u8);
        for (round, count) in (0..50).zip(2..) {
            let now = 1 + round * 10;
            handle(&mut repairer, now, id, id as u8, &nak(id, count, token, 90_000 + round * 40, 40));
            bytes_for[id as usize] +=
                sent(&mut repairer, now).iter().map(|(_, length)| length).sum::<usize>();
        }
    }
    let all: usize = bytes_for.iter().sum();
    assert!((100_000..=BURST as usize).contains(&all), "{all} bytes");
    assert!(bytes_for.iter().all(|bytes| *bytes <= REQUESTER_BURST as usize), "{bytes_for:?}");
    let token = prove(&mut repairer, 1_000, 100, 100);
    for turn in 0..4_000 {
        repairer.retain(Sequence(200_000 + turn), &[0; LENGTH]);
        handle(&mut repairer, 1_000 + turn, 100, 100, &nak(100, 2 + turn, token, 90_000 + turn, 1));
        bytes_for[0] += sent(&mut repairer, 1_000 + turn).iter().map(|(_, length)| length).sum::<usize>();
    }
    let more = bytes_for.iter().sum::<usize>() - all;
    assert!((400_000..=500_000 + REQUESTER_BURST as usize).contains(&more), "{more} bytes");
}

#[test]
fn repairs_keep_to_the_rate_of_the_stream() {
    let mut repairer = repairer(1_000);
    repairer.set_rate(ClockTime(0), 100_000);
    let token = prove(&mut repairer, 0, 1, 1);
    handle(&mut repairer, 0, 1, 1, &nak(1, 2, token, 1, 30));
    let mut at_once = sent(&mut repairer, 0).len();
    assert!((10..=16).contains(&at_once), "{at_once}");
    handle(&mut repairer, 0, 1, 1, &nak(1, 3, token, 100, 10));
    for now in 1..200 {
        at_once += sent(&mut repairer, now).len();
    }
    // What waited for too long is not sent any more.
    assert!(at_once <= 27, "{at_once}");
    assert_eq!(repairer.next_time(), ClockTime::NEVER);
}

#[test]
fn a_repair_that_is_longer_than_a_burst_is_paced_like_others() {
    const LONG: usize = LEAST_BURST as usize + 1;
    let mut repairer = Repairer::new(1 << 20, 7, ClockTime(0));
    repairer.retain(Sequence(1), &[0; LONG]);
    repairer.retain(Sequence(2), &[0; LENGTH]);
    repairer.set_rate(ClockTime(0), 1_000_000);
    let token = prove(&mut repairer, 0, 1, 1);
    assert_eq!(handle(&mut repairer, 0, 1, 1, &nak(1, 2, token, 1, 2)), Answer::Repairs(2, 0));
    assert_eq!(sent(&mut repairer, 0), [(address(1), LONG)]);
    assert_eq!(repairer.next_time(), ClockTime(1_001_000));
    assert_eq!(sent(&mut repairer, 2), [(address(1), LENGTH)]);
}

#[test]
fn a_requester_is_replaced_only_after_its_token_has_expired() {
    let mut repairer = repairer(10);
    let mut request = |now, id: u64| {
        let token = prove(&mut repairer, now, id, id as u8);
        handle(&mut repairer, now, id, id as u8, &nak(id, 2, token, 3, 1))
    };
    for id in 0..MAX_REQUESTERS as u64 {
        assert_eq!(request(id, id), Answer::Repairs(1, 0));
    }
    assert_eq!(request(1_000, 200), Answer::Refused);
    assert_eq!(request(130_000, 200), Answer::Repairs(1, 0));
    assert_eq!(request(130_000, 201), Answer::Refused);
}

/// An identifier is not proven, so that one address must not be able to use up the requesters with many.
#[test]
fn an_address_has_few_identifiers() {
    let mut repairer = repairer(10);
    let token = prove(&mut repairer, 0, 1, 1);
    for id in 0..MAX_REQUESTERS as u64 {
        let expected = match id {
            0..8 => Answer::Repairs(1, 0),
            _ => Answer::Refused,
        };
        assert_eq!(handle(&mut repairer, 1, id, 1, &nak(id, 2, token, 3, 1)), expected, "identifier {id}");
    }
    let token = prove(&mut repairer, 1, 500, 2);
    assert_eq!(handle(&mut repairer, 1, 500, 2, &nak(500, 2, token, 3, 1)), Answer::Repairs(1, 0));
    // The place of one that is silent is free after its token has expired.
    let token = prove(&mut repairer, 130_001, 200, 1);
    assert_eq!(handle(&mut repairer, 130_001, 200, 1, &nak(200, 2, token, 3, 1)), Answer::Repairs(1, 0));
}

#[test]
fn another_address_cannot_use_up_the_counts_of_a_subscriber() {
    let mut repairer = repairer(10);
    let tokens = [1, 2].map(|host| prove(&mut repairer, 0, 1, host));
    let forged = handle(&mut repairer, 1, 1, 2, &nak(1, u64::MAX, tokens[1], 3, 1));
    assert_eq!(forged, Answer::Repairs(1, 0));
    assert_eq!(handle(&mut repairer, 2, 1, 1, &nak(1, 2, tokens[0], 3, 1)), Answer::Repairs(1, 0));
}

/// Datagrams longer than a burst are repaired, but no more of them than of others.
#[test]
fn datagrams_that_are_longer_than_a_burst_are_repaired() {
    const LONGEST: usize = 60_000;
    for rate in [0, 10_000] {
        let mut repairer = Repairer::new(1 << 24, 7, ClockTime(0));
        repairer.set_rate(ClockTime(0), rate);
        let token = prove(&mut repairer, 0, 1, 1);
        let (mut received, mut repaired) = (0, 0);
        for turn in 0..80 {
            repairer.retain(Sequence(1 + turn), &[0; LONGEST]);
            received += LONGEST as u64;
            let answer = handle(&mut repairer, turn * 20, 1, 1, &nak(1, 2 + turn, token, 1 + turn, 1));
            if let Answer::Repairs(count, _) = answer {
                repaired += count * LONGEST as u64;
            }
        }
        let most = LONGEST as u64 + received / REQUESTER_SHARE;
        assert!((most / 2..=most).contains(&repaired), "{repaired} bytes of {most}, rate {rate}");
    }
}

#[test]
fn what_is_not_retained_or_doubtful_is_not_answered() {
    let mut repairer = repairer(10);
    repairer.discard(Sequence(3));
    let token = prove(&mut repairer, 0, 1, 1);
    assert_eq!(handle(&mut repairer, 1, 1, 1, &nak(1, 2, token, 3, 1)), Answer::Repairs(0, 0));
    let bytes = nak(1, 3, token, 1, 20);
    let view = &DatagramView::parse(&bytes).unwrap();
    let request =
        Request { now: ClockTime(1), subscriber: SubscriberId(1), from: address(1), view, datagram: &bytes };
    let answer = repairer.handle(&request, &KEYS, ROUND_TRIP, |sequence| sequence > Sequence(5));
    assert_eq!(answer, Answer::Repairs(4, 0));
}

#[test]
fn echoes_are_limited() {
    let mut repairer = repairer(1);
    let mut flood = |now: u64| {
        let probe = |id| {
            let probe = Probe { clock: 9, token: AddressToken::NONE, subscriber: SubscriberId(id) };
            datagram(id, Kind::Probe, 1 + now, |writer| probe.write(writer))
        };
        let answers = (1..=1_000).map(|id| handle(&mut repairer, now, id, id as u8, &probe(id)));
        answers.filter(|answer| matches!(answer, Answer::Echo(..))).count() as u64
    };
    assert_eq!(flood(0), ECHOES);
    assert_eq!(flood(500), ECHOES / 2);
}
