//! The publisher's reaction to single feedback datagrams: where it sends repairs.

use std::net::SocketAddr;

use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::wire::{
    AddressToken, DatagramView, DatagramWriter, Header, Incarnation, Kind, NakWriter, Probe, Sequence,
    StreamId, SubscriberId, WriteError,
};
use mcast_stream_proto::{ClockTime, PublisherMachine, Target};

use crate::plan::SECOND;

const STREAM: StreamId = StreamId(7);
const SUBSCRIBER: SubscriberId = SubscriberId(0xaabb);

fn publisher(config: PublisherConfig) -> PublisherMachine {
    PublisherMachine::new(config, ClockTime(SECOND)).unwrap()
}

fn settings() -> PublisherConfig {
    PublisherConfig { history: 1 << 20, ..PublisherConfig::new(STREAM, Incarnation(1)) }
}

/// Returns a datagram of the subscriber, with this count.
fn subscriber_datagram(
    kind: Kind,
    count: u64,
    write: impl FnOnce(&mut DatagramWriter<'_>) -> Result<(), WriteError>,
) -> Vec<u8> {
    let mut bytes = vec![0; 1_500];
    let mut writer =
        DatagramWriter::new(&mut bytes, &Header::new(kind, STREAM, Incarnation(1), count)).unwrap();
    writer.subscriber(SUBSCRIBER).unwrap();
    write(&mut writer).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

fn nak(count: u64, token: AddressToken, missing: u64) -> Vec<u8> {
    let mut list = NakWriter::new();
    assert!(list.add(Sequence(missing), 1));
    subscriber_datagram(Kind::Nak, count, |writer| list.write_nak(token, writer))
}

/// Returns where the publisher sends repairs to after this datagram from this address.
fn repaired_to(
    publisher: &mut PublisherMachine,
    now: u64,
    from: SocketAddr,
    datagram: &[u8],
) -> Option<Target> {
    publisher.handle(ClockTime(now), from, datagram);
    let mut to = None;
    while let Some(transmit) = publisher.poll(ClockTime(now)) {
        if let Transmit::Repair { to: target, .. } = transmit {
            to = Some(target);
        }
    }
    to
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
    while publisher.poll(ClockTime(now)).is_some() {}
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(1, AddressToken::NONE, 3)), None);
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(2, AddressToken(12_345), 4)), None);

    let probe = subscriber_datagram(Kind::Probe, 3, |writer| {
        Probe { clock: 1, token: AddressToken::NONE, subscriber: SUBSCRIBER }.write(writer)
    });
    publisher.handle(ClockTime(now), own, &probe);
    let Some(Transmit::Control(echo)) = publisher.poll(ClockTime(now)) else { panic!("no echo") };
    assert_eq!(echo.to, Target::Address(own));
    assert!(echo.bytes().len() <= probe.len(), "an echo is longer than its probe");
    let head = DatagramView::parse(echo.bytes()).unwrap().head.len();
    let token = Probe::read(&echo.bytes()[head..]).unwrap().token;

    assert_eq!(repaired_to(&mut publisher, now, another, &nak(4, token, 5)), None);
    assert_eq!(repaired_to(&mut publisher, now, own, &nak(5, token, 6)), Some(Target::Address(own)));
    assert_eq!(repaired_to(&mut publisher, now, another, &nak(6, AddressToken::NONE, 7)), None);
    let later = now + 200 * SECOND;
    assert_eq!(repaired_to(&mut publisher, later, own, &nak(7, token, 8)), None);
}
