//! Clocks of sealed streams that are wrong at first and then corrected, at either end.

use std::net::SocketAddr;

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{Incarnation, KeyEpoch, StreamId};

use crate::cipher::Notary;
use crate::plan::SECOND;

const STREAM: StreamId = StreamId(7);
const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 7000);
/// The offset to the time of day.
const RIGHT: u64 = 1_700_000_000 * SECOND;
const AN_HOUR_BEHIND: u64 = RIGHT - 3_600 * SECOND;

/// Both ends, with these offsets of their clocks.
struct Ends {
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    now: u64,
}

impl Ends {
    fn new(publisher: u64, subscriber: u64) -> Self {
        let keys = Keys::one(KeyEpoch(1), Notary::default().secret(5));
        let config = PublisherConfig::new(STREAM, Incarnation(1)).with(|config| {
            config.keys = keys.clone();
            config.unix_offset = Some(publisher);
        });
        let publisher = PublisherMachine::new(config, ClockTime(SECOND)).unwrap();
        let config = SubscriberConfig::new(STREAM).with(|config| {
            config.keys = keys;
            config.unix_offset = Some(subscriber);
        });
        Self { publisher, subscriber: SubscriberMachine::new(config, ClockTime(SECOND)), now: SECOND }
    }

    /// Runs for ten seconds, in which the publisher sends heartbeats; returns the subscriber's events.
    fn events(&mut self) -> Vec<SubscriberEvent> {
        let mut events = Vec::new();
        let end = self.now + 10 * SECOND;
        while self.now < end {
            while let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) {
                if let Transmit::Control(control) = transmit {
                    self.subscriber.handle_datagram(ClockTime(self.now), 0, FROM, control.bytes());
                }
            }
            while let Some(control) = self.subscriber.poll_transmit(ClockTime(self.now)) {
                self.publisher.handle_datagram(
                    ClockTime(self.now),
                    ([10, 0, 0, 2], 7000).into(),
                    control.bytes(),
                );
            }
            while let Some(item) = self.subscriber.poll_item(ClockTime(self.now), &[]) {
                if let Item::Event(event) = item {
                    events.push(event);
                }
            }
            self.now += SECOND / 100;
        }
        events
    }
}

fn is_joined(events: &[SubscriberEvent]) -> bool {
    events.iter().any(|event| matches!(event, SubscriberEvent::Joined { .. }))
}

#[test]
fn a_publisher_is_followed_once_its_clock_is_corrected() {
    let mut ends = Ends::new(AN_HOUR_BEHIND, RIGHT);
    let before = ends.events();
    assert_eq!(before, [SubscriberEvent::Stale], "it is reported once, and not followed");
    ends.publisher.set_unix_offset(Some(RIGHT));
    assert!(is_joined(&ends.events()));
}

#[test]
fn a_subscriber_whose_clock_is_corrected_follows() {
    let mut ends = Ends::new(RIGHT, AN_HOUR_BEHIND);
    assert_eq!(ends.events(), [SubscriberEvent::Stale]);
    // An insufficient correction is reported again; an unchanged clock is not.
    ends.subscriber.set_unix_offset(Some(AN_HOUR_BEHIND + 60 * SECOND));
    assert_eq!(ends.events(), [SubscriberEvent::Stale]);
    ends.subscriber.set_unix_offset(Some(AN_HOUR_BEHIND + 60 * SECOND));
    assert_eq!(ends.events(), []);
    ends.subscriber.set_unix_offset(Some(RIGHT));
    assert!(is_joined(&ends.events()));
}

#[test]
fn a_stream_that_is_followed_stays_followed_when_a_clock_is_stepped() {
    let mut ends = Ends::new(RIGHT, RIGHT);
    assert!(is_joined(&ends.events()));
    ends.publisher.set_unix_offset(Some(AN_HOUR_BEHIND));
    assert_eq!(ends.events(), []);
    ends.subscriber.set_unix_offset(Some(AN_HOUR_BEHIND));
    assert_eq!(ends.events(), []);
}
