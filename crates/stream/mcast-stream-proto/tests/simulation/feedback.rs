//! The publisher's reaction to single feedback datagrams: where it sends repairs.

use core::time::Duration;
use std::net::SocketAddr;

use mcast_sim::Dice;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{
    Acknowledgers, AutoRate, Fec, PublisherConfig, PublisherRate, Quorum, Refusal, Transmit,
};
use mcast_stream_proto::wire::{
    Acknowledgement, AddressToken, DatagramView, DatagramWriter, Header, Incarnation, Kind, MessageNumber,
    NakWriter, Probe, Sequence, Status, StreamId, SubscriberId, SubscriberName, WriteError,
};
use mcast_stream_proto::{ClockTime, Target};

use crate::plan::SECOND;

/// The stream of these datagrams, whose incarnation is 1.
pub(crate) const STREAM: StreamId = StreamId(7);
const SUBSCRIBER: SubscriberId = SubscriberId(0xaabb);

fn publisher(config: PublisherConfig) -> PublisherMachine {
    PublisherMachine::new(config, ClockTime(SECOND)).unwrap()
}

fn settings() -> PublisherConfig {
    PublisherConfig::new(STREAM, Incarnation(1)).with(|config| config.retransmission_buffer = 1 << 20)
}

fn subscriber_datagram(
    kind: Kind,
    count: u64,
    write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
) -> Vec<u8> {
    datagram_of(SUBSCRIBER, kind, count, write)
}

pub(crate) fn datagram_of(
    subscriber: SubscriberId,
    kind: Kind,
    count: u64,
    write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
) -> Vec<u8> {
    let mut bytes = vec![0; 1_500];
    let mut writer =
        DatagramWriter::new(&mut bytes, &Header::new(kind, STREAM, Incarnation(1), count)).unwrap();
    writer.subscriber(subscriber).unwrap();
    write(&mut writer).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn nak(count: u64, token: AddressToken, missing: u64) -> Vec<u8> {
    nak_of(SUBSCRIBER, count, token, missing)
}

fn nak_of(subscriber: SubscriberId, count: u64, token: AddressToken, missing: u64) -> Vec<u8> {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(missing), 1));
    datagram_of(subscriber, Kind::Nak, count, |writer| list.write_nak(token, writer))
}

/// Returns where the publisher sends repairs to after this datagram from this address.
fn repaired_to(
    publisher: &mut PublisherMachine,
    now: u64,
    from: SocketAddr,
    datagram: &[u8],
) -> Option<Target> {
    publisher.handle_datagram(ClockTime(now), from, datagram);
    let mut to = None;
    while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
        if let Transmit::Repair { to: target, .. } = transmit {
            to = Some(target);
        }
    }
    to
}

/// A status of the subscriber with this name and acknowledgement.
fn status(count: u64, token: AddressToken, name: &str, [since, received, processed]: [u64; 3]) -> Vec<u8> {
    let [since, received, processed] = [since, received, processed].map(MessageNumber);
    subscriber_datagram(Kind::Status, count, |writer| {
        name.parse::<SubscriberName>().unwrap().write(writer)?;
        Acknowledgement::new(since, received, processed).write(writer)?;
        let (next, highest) = (Sequence(1), Sequence(1));
        Status::default()
            .with(|status| {
                status.next = next;
                status.highest = highest;
                status.window = 64;
                status.token = token;
            })
            .write(writer)
    })
}

/// Makes a subscriber prove its address, with its first datagram; returns the token.
pub(crate) fn token_for(
    publisher: &mut PublisherMachine,
    now: u64,
    from: SocketAddr,
    subscriber: SubscriberId,
) -> AddressToken {
    let probe = Probe::new(1, AddressToken::NONE, subscriber);
    let probe = datagram_of(subscriber, Kind::Probe, 1, |writer| probe.write(writer));
    publisher.handle_datagram(ClockTime(now), from, &probe);
    let mut token = AddressToken::NONE;
    while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
        let Transmit::Control(control) = transmit else { continue };
        let view = DatagramView::parse(control.bytes()).unwrap();
        if view.header.kind == Kind::Echo {
            token = Probe::read(view.body).unwrap().token;
        }
    }
    token
}

/// Before its first status, a subscriber that returns is one that owes what it owed when it departed.
#[test]
fn a_request_of_a_subscriber_that_returns_acknowledges_nothing() {
    let own = SocketAddr::from(([10, 0, 0, 2], 7000));
    let (now, other) = (2 * SECOND, SubscriberId(0xccdd));
    let quorum = Some(Quorum::new(Acknowledgers::All));
    let mut publisher = publisher(settings().with(|config| config.quorum = quorum));
    let token = token_for(&mut publisher, now, own, SUBSCRIBER);
    let report = |id, count, flags, received| {
        datagram_of(id, Kind::Status, count, |writer| {
            let (since, received) = (MessageNumber(0), MessageNumber(received));
            Acknowledgement::new(since, received, received).write(writer)?;
            let (next, highest) = (Sequence(1), Sequence(1));
            Status::default()
                .with(|status| {
                    status.next = next;
                    status.highest = highest;
                    status.window = 64;
                    status.token = token;
                    status.flags = flags;
                })
                .write(writer)
        })
    };
    let settled_after = |publisher: &mut PublisherMachine, datagram: &[u8]| {
        publisher.handle_datagram(ClockTime(now), own, datagram);
        while publisher.poll_transmit(ClockTime(now)).is_some() {}
        publisher.ack_progress().unwrap().settled.0
    };
    settled_after(&mut publisher, &report(SUBSCRIBER, 2, 0, 0));
    settled_after(&mut publisher, &report(other, 1, 0, 0));
    (0..10).for_each(|_| _ = publisher.publish(ClockTime(now), b"a").unwrap());
    publisher.flush(ClockTime(now));
    assert_eq!(settled_after(&mut publisher, &report(SUBSCRIBER, 3, Status::LEAVING, 4)), 0);
    assert_eq!(settled_after(&mut publisher, &report(other, 2, 0, 10)), 4);
    assert_eq!(settled_after(&mut publisher, &nak(4, token, 1)), 4, "it was asked for datagram 1");
    assert_eq!(settled_after(&mut publisher, &report(other, 3, 0, 10)), 4);
    assert!(publisher.watermarks().any(|watermarks| watermarks.subscriber == SUBSCRIBER));
    assert_eq!(settled_after(&mut publisher, &report(SUBSCRIBER, 5, 0, 10)), 10);
}

/// A status may be forged, repeated or overtaken: what is settled stays so, and nothing that was never published is.
#[test]
fn acknowledgements_only_move_forward_and_omitted_messages_follow_settled_ones() {
    let own = SocketAddr::from(([10, 0, 0, 2], 7000));
    let (now, names) = (2 * SECOND, vec!["db".parse().unwrap()]);
    let quorum = Some(Quorum::new(Acknowledgers::Named(names)));
    let mut publisher = publisher(settings().with(|config| config.quorum = quorum));
    assert_eq!(publisher.publish(ClockTime(now), b"a"), Err(Refusal::NoQuorum));
    let token = token_for(&mut publisher, now, own, SUBSCRIBER);
    let mut count = 1;
    let mut settled = |publisher: &mut PublisherMachine, name, numbers| {
        count += 1;
        publisher.handle_datagram(ClockTime(now), own, &status(count, token, name, numbers));
        publisher.ack_progress().unwrap().settled.0
    };
    assert_eq!(settled(&mut publisher, "db", [0, 5, 5]), 0, "nothing was published");
    assert_eq!(settled(&mut publisher, "db", [0, 0, 0]), 0);
    (0..10).for_each(|_| _ = publisher.publish(ClockTime(now), b"a").unwrap());
    assert_eq!(publisher.skip_to(ClockTime(now), MessageNumber(20)), Err(Refusal::NoQuorum));
    assert_eq!(settled(&mut publisher, "db", [0, 4, 2]), 4);
    assert_eq!(settled(&mut publisher, "db", [0, 3, 3]), 4, "an overtaken status");
    assert_eq!(settled(&mut publisher, "db", [6, 10, 10]), 4, "messages 4 and 5 are lost");
    assert_eq!(settled(&mut publisher, "db", [0, 10, 10]), 4, "an overtaken or forged status");
    assert!(publisher.ack_progress().unwrap().is_lost);
    assert_eq!(publisher.publish(ClockTime(now), b"a"), Err(Refusal::NoQuorum));

    let quorum = Some(Quorum::new(Acknowledgers::Count(1)));
    let mut publisher = self::publisher(settings().with(|config| {
        config.quorum = quorum;
        config.seed = 0;
    }));
    assert_eq!(settled(&mut publisher, "db", [0, 0, 0]), 0);
    (0..10).for_each(|_| _ = publisher.publish(ClockTime(now), b"a").unwrap());
    assert_eq!(settled(&mut publisher, "db", [0, 10, 0]), 10);
    publisher.skip_to(ClockTime(now), MessageNumber(20)).unwrap();
    let progress = publisher.ack_progress().unwrap();
    assert_eq!((progress.settled.0, progress.acknowledged, progress.is_complete()), (20, 10, true));
}

/// A subscriber may be unable to use parity, for instance because it holds forged datagrams of the block.
#[test]
fn requests_that_parity_does_not_end_are_answered_with_datagrams() {
    let own = SocketAddr::from(([10, 0, 0, 2], 7000));
    let (mut now, both) = (2 * SECOND, [SUBSCRIBER, SubscriberId(0xccdd)]);
    let mut publisher = publisher(settings().with(|config| config.fec = Fec::Fixed { data: 4, parity: 1 }));
    let token = token_for(&mut publisher, now, own, SUBSCRIBER);
    for (id, count) in both.into_iter().zip([2, 1]) {
        let (next, highest) = (Sequence(1), Sequence(1));
        let status = Status::default().with(|status| {
            status.next = next;
            status.highest = highest;
            status.window = 64;
            status.token = token;
        });
        let status = datagram_of(id, Kind::Status, count, |writer| status.write(writer));
        publisher.handle_datagram(ClockTime(now), own, &status);
    }
    while publisher.poll_transmit(ClockTime(now)).is_some() {}
    for _ in 0..4 {
        publisher.publish(ClockTime(now), &[7; 1000]).unwrap();
        publisher.flush(ClockTime(now));
    }
    while publisher.poll_transmit(ClockTime(now)).is_some() {}
    let mut repairs = 0;
    for count in 3..83 {
        now += SECOND / 20;
        for id in both {
            publisher.handle_datagram(ClockTime(now), own, &nak_of(id, count, token, 1));
        }
        while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
            repairs += u32::from(matches!(transmit, Transmit::Repair { .. }));
        }
    }
    let statistics = publisher.statistics();
    assert!((1..=16).contains(&statistics.parity_repairs), "{statistics:?}");
    assert!(repairs > 40, "{statistics:?}");
}

/// A member may report any numbers.
#[test]
fn statuses_with_impossible_numbers_are_no_danger() {
    const EXTREMES: [u64; 7] = [0, 1, 100, 1 << 31, 1 << 45, 1 << 63, u64::MAX];
    let own = SocketAddr::from(([10, 0, 0, 2], 7000));
    for seed in 0..200 {
        let (mut dice, mut now) = (Dice::new(seed), 2 * SECOND);
        let rate =
            if seed % 2 == 0 { PublisherRate::Auto(AutoRate::default()) } else { PublisherRate::Unlimited };
        let mut publisher = publisher(settings().with(|config| {
            config.rate = rate;
            config.seed = seed;
        }));
        let token = token_for(&mut publisher, now, own, SUBSCRIBER);
        for count in 2..60 {
            let mut number = || if dice.chance(0.3) { count } else { dice.pick(&EXTREMES) };
            let (highest, received, given_up, lost_messages) =
                (Sequence(number()), number(), number(), number());
            let (missed, repairs, held) = (number() as u32, number() as u32, number() as u32);
            let (next, clock) = (Sequence(count.min(10)), now - number().min(now));
            let counts = Status::default().with(|status| {
                status.missed = missed;
                status.repairs = repairs;
                status.held = held;
                status.received = received;
                status.given_up = given_up;
                status.lost_messages = lost_messages;
            });
            let status = counts.with(|status| {
                status.next = next;
                status.highest = highest;
                status.clock = clock;
                status.token = token;
                status.window = 64;
            });
            let status = subscriber_datagram(Kind::Status, count, |writer| status.write(writer));
            publisher.handle_datagram(ClockTime(now), own, &status);
            for _ in 0..20 {
                let _ = publisher.publish(ClockTime(now), &[7; 1000]);
            }
            publisher.flush(ClockTime(now));
            while publisher.poll_transmit(ClockTime(now)).is_some() {}
            now += SECOND / 50;
        }
    }
}

/// A forged source address gets no repairs.
#[test]
fn repairs_are_sent_only_to_proven_addresses() {
    let (own, another) = (SocketAddr::from(([10, 0, 0, 2], 7000)), SocketAddr::from(([10, 0, 0, 3], 7000)));
    let (mut publisher, now) = (publisher(settings()), 2 * SECOND);
    for _ in 0..20 {
        publisher.publish(ClockTime(now), &[7; 1000]).unwrap();
        publisher.flush(ClockTime(now));
    }
    while publisher.poll_transmit(ClockTime(now)).is_some() {}
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(1, AddressToken::NONE, 3)), None);
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(2, AddressToken(12_345), 4)), None);

    let probe = subscriber_datagram(Kind::Probe, 3, |writer| {
        Probe::new(1, AddressToken::NONE, SUBSCRIBER).write(writer)
    });
    publisher.handle_datagram(ClockTime(now), own, &probe);
    let Some(Transmit::Control(echo)) = publisher.poll_transmit(ClockTime(now)) else { panic!("no echo") };
    assert_eq!(echo.to, Target::Aside(own));
    assert!(echo.bytes().len() <= probe.len(), "an echo is longer than its probe");
    let head = DatagramView::parse(echo.bytes()).unwrap().head.len();
    let token = Probe::read(&echo.bytes()[head..]).unwrap().token;

    assert_eq!(repaired_to(&mut publisher, now, another, &nak(4, token, 5)), None);
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(5, token, 6)), Some(Target::Address(own)));
    assert_eq!(repaired_to(&mut publisher, now, another, &nak(6, AddressToken::NONE, 7)), None);
    let later = now + 200 * SECOND;
    assert_eq!(repaired_to(&mut publisher, later, own, &nak(7, token, 8)), None);
}

fn probe(subscriber: SubscriberId, count: u64) -> Vec<u8> {
    let probe = Probe::new(1, AddressToken::NONE, subscriber);
    datagram_of(subscriber, Kind::Probe, count, |writer| probe.write(writer))
}

/// Returns where the publisher sends an echo to after this datagram from this address.
fn echoed_to(
    publisher: &mut PublisherMachine,
    now: u64,
    from: SocketAddr,
    datagram: &[u8],
) -> Option<Target> {
    publisher.handle_datagram(ClockTime(now), from, datagram);
    let mut to = None;
    while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
        if let Transmit::Control(control) = transmit {
            let kind = DatagramView::parse(control.bytes()).unwrap().header.kind;
            to = (kind == Kind::Echo).then_some(control.to).or(to);
        }
    }
    to
}

#[test]
fn echoes_to_unproven_addresses_are_limited_and_those_to_a_member_are_not() {
    const AT_ONCE: u64 = 16_384;
    const PER_SECOND: u64 = 4_096;
    let member = SocketAddr::from(([10, 0, 0, 1], 7000));
    let (mut publisher, now) = (publisher(settings()), SECOND);
    let token = token_for(&mut publisher, now, member, SUBSCRIBER);
    publisher.handle_datagram(ClockTime(now), member, &status(2, token, "a", [0, 0, 0]));

    let spoofed = |index: u64| SocketAddr::from(([10, 1, (index >> 8) as u8, index as u8], 7000));
    let flood = |publisher: &mut PublisherMachine, now| {
        (0..20_000)
            .filter(|index| {
                let from = spoofed(*index);
                let to = echoed_to(publisher, now, from, &probe(SubscriberId(1_000 + index), 1));
                assert!(to.is_none_or(|to| to == Target::Aside(from)), "{to:?}");
                to.is_some()
            })
            .count() as u64
    };
    // The member's own first echo was one of them.
    assert_eq!(flood(&mut publisher, now), AT_ONCE - 1);
    assert_eq!(publisher.statistics().echoes_refused, 20_000 - (AT_ONCE - 1));

    let own = |publisher: &mut PublisherMachine, now, count| {
        echoed_to(publisher, now, member, &probe(SUBSCRIBER, count))
    };
    assert_eq!(own(&mut publisher, now, 3), Some(Target::Address(member)), "the member is proven");
    let half = now + SECOND / 2;
    assert_eq!(flood(&mut publisher, half), PER_SECOND / 2);
    // Nothing of it has been heard for a while: its host may be gone.
    let later = now + 20 * SECOND;
    assert_eq!(own(&mut publisher, later, 4), Some(Target::Aside(member)));
}

/// A publisher does not wait for one that sends no status for long, but for half a second more at its end.
#[test]
fn a_subscriber_that_joined_in_vain_gets_another_chance_at_the_end() {
    let own = SocketAddr::from(([10, 0, 0, 2], 7000));
    let mut publisher = publisher(settings());
    publisher.publish(ClockTime(SECOND), b"a").unwrap();
    let probe = |publisher: &mut PublisherMachine, now, count| {
        let probe = Probe::new(now, AddressToken::NONE, SUBSCRIBER);
        let datagram = subscriber_datagram(Kind::Probe, count, |writer| probe.write(writer));
        publisher.handle_datagram(ClockTime(now), own, &datagram);
    };
    // Called often: a pause would not count.
    let is_complete = |publisher: &mut PublisherMachine, from, to| {
        for now in (from..=to).step_by(20_000_000) {
            while publisher.poll_transmit(ClockTime(now)).is_some() {}
            let _ = publisher.is_over(ClockTime(now));
        }
        publisher.is_complete()
    };
    let [begin, end] = [2 * SECOND, 3 * SECOND];
    probe(&mut publisher, begin, 1);
    publisher.flush(ClockTime(begin));
    assert!(!is_complete(&mut publisher, begin, begin + SECOND / 4), "it is expected");
    assert!(is_complete(&mut publisher, begin + SECOND / 4, end), "it was expected for half a second");
    probe(&mut publisher, end, 2);
    assert!(is_complete(&mut publisher, end, end), "what else it sends holds nothing up");
    publisher.finish(ClockTime(end), Duration::from_secs(10));
    probe(&mut publisher, end, 3);
    assert!(!is_complete(&mut publisher, end, end + SECOND / 4), "it is expected again");
    assert!(is_complete(&mut publisher, end + SECOND / 4, end + SECOND));
}
