//! Clocks of sealed streams that are wrong at first and then corrected, at either end.

use std::net::SocketAddr;

use mcast_stream::receiver::{Event, Item, ReceiverConfig};
use mcast_stream::seal::Keys;
use mcast_stream::sender::{SenderConfig, Transmit};
use mcast_stream::wire::{Incarnation, KeyEpoch, StreamId};
use mcast_stream::{Receiver, Sender};

use crate::cipher::Notary;
use crate::plan::SECOND;

const STREAM: StreamId = StreamId(7);
const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 7000);
/// The offset to the time of day.
const RIGHT: u64 = 1_700_000_000 * SECOND;
const AN_HOUR_BEHIND: u64 = RIGHT - 3_600 * SECOND;

/// Both ends, with these offsets of their clocks.
struct Ends {
    sender: Sender,
    receiver: Receiver,
    now: u64,
}

impl Ends {
    fn new(sender: u64, receiver: u64) -> Self {
        let keys = Keys::one(KeyEpoch(1), Notary::default().secret(5));
        let config = SenderConfig {
            keys: keys.clone(),
            unix_offset: Some(sender),
            ..SenderConfig::new(STREAM, Incarnation(1))
        };
        let sender = Sender::new(config, SECOND).unwrap();
        let config = ReceiverConfig { keys, unix_offset: Some(receiver), ..ReceiverConfig::new(STREAM) };
        Self { sender, receiver: Receiver::new(config, SECOND), now: SECOND }
    }

    /// Runs for ten seconds, in which the sender sends heartbeats; returns the receiver's events.
    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let end = self.now + 10 * SECOND;
        while self.now < end {
            while let Some(transmit) = self.sender.poll(self.now) {
                if let Transmit::Control(control) = transmit {
                    self.receiver.handle(self.now, 0, FROM, control.bytes());
                }
            }
            while let Some(control) = self.receiver.poll(self.now) {
                self.sender.handle(self.now, ([10, 0, 0, 2], 7000).into(), control.bytes());
            }
            while let Some(item) = self.receiver.next(self.now, &[]) {
                if let Item::Event(event) = item {
                    events.push(event);
                }
            }
            self.now += SECOND / 100;
        }
        events
    }
}

fn is_joined(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Joined { .. }))
}

#[test]
fn a_publisher_is_followed_once_its_clock_is_corrected() {
    let mut ends = Ends::new(AN_HOUR_BEHIND, RIGHT);
    let before = ends.events();
    assert_eq!(before, [Event::Stale], "it is reported once, and not followed");
    ends.sender.set_unix_offset(Some(RIGHT));
    assert!(is_joined(&ends.events()));
}

#[test]
fn a_subscriber_whose_clock_is_corrected_follows() {
    let mut ends = Ends::new(RIGHT, AN_HOUR_BEHIND);
    assert_eq!(ends.events(), [Event::Stale]);
    // An insufficient correction is reported again; an unchanged clock is not.
    ends.receiver.set_unix_offset(Some(AN_HOUR_BEHIND + 60 * SECOND));
    assert_eq!(ends.events(), [Event::Stale]);
    ends.receiver.set_unix_offset(Some(AN_HOUR_BEHIND + 60 * SECOND));
    assert_eq!(ends.events(), []);
    ends.receiver.set_unix_offset(Some(RIGHT));
    assert!(is_joined(&ends.events()));
}

#[test]
fn a_stream_that_is_followed_stays_followed_when_a_clock_is_stepped() {
    let mut ends = Ends::new(RIGHT, RIGHT);
    assert!(is_joined(&ends.events()));
    ends.sender.set_unix_offset(Some(AN_HOUR_BEHIND));
    assert_eq!(ends.events(), []);
    ends.receiver.set_unix_offset(Some(AN_HOUR_BEHIND));
    assert_eq!(ends.events(), []);
}
