//! A whole incarnation of a publisher that a subscriber never heard, between two that it followed.

use std::net::SocketAddr;

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Start, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{Incarnation, MessageNumber, Sequence, StreamId};

use crate::plan::{MILLISECOND, SECOND};

const STREAM: StreamId = StreamId(7);
const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 7000);
const MESSAGES: u64 = 3;

/// A subscriber that stays when a stream ends, and its events.
struct Subscriber {
    subscriber: SubscriberMachine,
    now: u64,
    messages: u64,
    events: Vec<SubscriberEvent>,
}

impl Subscriber {
    fn new() -> Self {
        let config = SubscriberConfig::new(STREAM).with(|config| config.start = Start::Oldest);
        Self {
            subscriber: SubscriberMachine::new(config, ClockTime(SECOND)),
            now: SECOND,
            messages: 0,
            events: Vec::new(),
        }
    }

    /// Hears an incarnation publish its messages, and end its stream or not, for two seconds.
    fn hear(&mut self, incarnation: u32, is_ended: bool) {
        let config = PublisherConfig::new(STREAM, Incarnation(incarnation));
        let mut publisher = PublisherMachine::new(config, ClockTime(self.now)).unwrap();
        let until = self.now + 2 * SECOND;
        for _ in 0..MESSAGES {
            publisher.publish(ClockTime(self.now), b"message").unwrap();
        }
        publisher.flush(ClockTime(self.now));
        if is_ended {
            publisher.close(ClockTime(self.now));
        }
        while self.now < until {
            while let Some(transmit) = publisher.poll_transmit(ClockTime(self.now)) {
                match transmit {
                    Transmit::Data { first, count } => {
                        Sequence::each(first..first + count)
                            .for_each(|sequence| self.take(publisher.datagram(sequence)));
                    }
                    Transmit::Repair { sequence, .. } => self.take(publisher.datagram(sequence)),
                    Transmit::Control(control) => self.take(control.bytes()),
                }
            }
            while let Some(control) = self.subscriber.poll_transmit(ClockTime(self.now)) {
                publisher.handle_datagram(ClockTime(self.now), ([10, 0, 0, 2], 7000).into(), control.bytes());
            }
            self.now += MILLISECOND;
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        self.subscriber.handle_datagram(ClockTime(self.now), 0, FROM, datagram);
        while let Some(item) = self.subscriber.poll_item(ClockTime(self.now), datagram) {
            match item {
                Item::Message(_) => self.messages += 1,
                Item::Event(event) => self.events.push(event),
            }
        }
    }

    fn unknown_losses(&self) -> Vec<&SubscriberEvent> {
        self.events.iter().filter(|event| matches!(event, SubscriberEvent::LostUnknown { .. })).collect()
    }
}

/// The end of the first may have been followed by anything: more of its messages, or another incarnation.
#[test]
fn an_incarnation_that_nobody_heard_is_covered_by_an_unknown_loss_if_the_former_did_not_end() {
    let mut subscriber = Subscriber::new();
    subscriber.hear(1, false);
    // Incarnation 2 begins and ends while the subscriber is cut off.
    subscriber.hear(3, true);
    assert_eq!(subscriber.messages, 2 * MESSAGES);
    assert_eq!(
        subscriber.unknown_losses(),
        [&SubscriberEvent::LostUnknown { first: MessageNumber(MESSAGES) }]
    );
}

/// A stream may end and start again without a loss, and nothing says how often it did so meanwhile. The documents name
/// this limit.
#[test]
fn an_incarnation_that_nobody_heard_behind_one_that_ended_cannot_be_known() {
    let mut subscriber = Subscriber::new();
    subscriber.hear(1, true);
    subscriber.hear(3, true);
    assert_eq!(subscriber.messages, 2 * MESSAGES);
    assert_eq!(subscriber.unknown_losses(), Vec::<&SubscriberEvent>::new());
    let restarted = SubscriberEvent::Restarted { from: Incarnation(1), to: Incarnation(3) };
    assert!(subscriber.events.contains(&restarted), "{:?}", subscriber.events);
}
