//! Any datagrams, at any times, for both state machines: they neither panic nor keep more than they may.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use mcast_stream_proto::publisher::{Fec, PublisherConfig};
use mcast_stream_proto::subscriber::{OnLoss, Policy, Start, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{Incarnation, StreamId};
use mcast_stream_proto::{ClockTime, Nanos, PublisherMachine, SubscriberMachine};

const WINDOW: usize = 32;
const LONGEST: usize = 4096;

/// Bytes become a datagram of the stream: what is fuzzed is what follows the first checks.
fn addressed(bytes: &[u8]) -> Vec<u8> {
    let mut datagram = b"MC\x10".to_vec();
    datagram.extend_from_slice(bytes);
    if datagram.len() >= 24 {
        datagram[6..8].fill(0);
        datagram[8..16].copy_from_slice(&7_u64.to_be_bytes());
        datagram[16..19].fill(0);
        datagram[19] %= 3;
        // Numbers that a window reaches are worth more than others.
        if datagram.len() >= 32 && !datagram[24].is_multiple_of(4) {
            datagram[24..30].fill(0);
        }
    }
    datagram
}

fuzz_target!(|input: (u8, Vec<(u16, &[u8])>)| {
    let (choice, datagrams) = input;
    let policy = match choice % 4 {
        0 => Policy::Reliable(OnLoss::Snapshot),
        1 => Policy::Deadline(Nanos::from_millis(1)),
        2 => Policy::Latest,
        _ => Policy::Reliable(OnLoss::Continue),
    };
    let start = if choice & 0x80 == 0 { Start::Oldest } else { Start::Snapshot };
    let config = SubscriberConfig {
        policy,
        start,
        window: WINDOW,
        longest_message: LONGEST,
        paths: 2,
        ..SubscriberConfig::new(StreamId(7))
    };
    let mut subscriber = SubscriberMachine::new(config, ClockTime(1));
    let fec = match choice / 3 % 3 {
        0 => Fec::Off,
        1 => Fec::Auto,
        _ => Fec::Fixed { data: 4, parity: 2 },
    };
    let config =
        PublisherConfig { history: 32 * 1232, fec, ..PublisherConfig::new(StreamId(7), Incarnation(1)) };
    let Ok(mut publisher) = PublisherMachine::new(config, ClockTime(1)) else { return };
    let address = SocketAddr::from(([10, 0, 0, 1], 9));
    let mut now = ClockTime(1);
    for (number, (pause, bytes)) in datagrams.into_iter().enumerate() {
        now = now + Nanos::from_micros(u64::from(pause));
        let datagram = addressed(bytes);
        subscriber.handle(now, choice % 3, address, &datagram);
        let mut items = 0;
        while let Some(item) = subscriber.next(now, &datagram) {
            if let mcast_stream_proto::subscriber::Item::Event(SubscriberEvent::SnapshotWanted { message }) =
                item
            {
                subscriber.resume(message);
            }
            items += 1;
            assert!(items < 100_000, "it returns items without end");
        }
        while let Some(control) = subscriber.poll(now) {
            subscriber.reuse(control);
        }
        assert!(subscriber.kept() <= WINDOW);
        if number % 3 == 0 {
            let _ = publisher.publish(now, &bytes[..bytes.len().min(64)]);
            publisher.flush(now);
        }
        publisher.handle(now, address, &datagram);
        let mut sent = 0;
        while publisher.poll(now).is_some() {
            sent += 1;
            assert!(sent < 100_000, "it sends without end");
        }
        while publisher.poll_event().is_some() {}
        let _ = (publisher.next_deadline(), subscriber.next_deadline());
    }
});
