//! Tests of two incarnations with the same number, as after a clock was set back or a very fast restart.

use std::net::SocketAddr;
use std::vec::Vec;

use super::{Algorithm, GroupSecret, Keys};
use crate::publisher::{PublisherConfig, Transmit};
use crate::subscriber::{Item, SubscriberConfig, SubscriberMachine};
use crate::wire::{DatagramView, Incarnation, KeyEpoch, StreamId, TAG_LENGTH};
use crate::{ClockTime, Nanos, PublisherMachine, Target};

const SECOND: u64 = Nanos::SECOND.0;

fn keys() -> Keys {
    Keys::one(KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm))
}

/// Returns the datagrams of an incarnation that publishes one message: a heartbeat, the data, a heartbeat.
fn incarnation(seed: u64, message: &[u8]) -> Vec<Vec<u8>> {
    let config = PublisherConfig { keys: keys(), seed, ..PublisherConfig::new(StreamId(1), Incarnation(1)) };
    let mut publisher = PublisherMachine::new(config, ClockTime(SECOND)).unwrap();
    let mut datagrams = Vec::new();
    let mut take = |publisher: &mut PublisherMachine, now| {
        while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
            match transmit {
                Transmit::Data { first, .. } => datagrams.push(publisher.datagram(first).to_vec()),
                Transmit::Control(control) if control.to == Target::Group => {
                    datagrams.push(control.bytes().to_vec());
                }
                other => unreachable!("{other:?}"),
            }
        }
    };
    take(&mut publisher, SECOND);
    publisher.publish(ClockTime(SECOND), message).unwrap();
    publisher.flush(ClockTime(SECOND));
    take(&mut publisher, SECOND);
    take(&mut publisher, SECOND + SECOND / 100);
    assert_eq!(datagrams.len(), 3);
    datagrams
}

fn receive(subscriber: &mut SubscriberMachine, datagram: &[u8]) -> Vec<Vec<u8>> {
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    subscriber.handle_datagram(ClockTime(SECOND), 0, from, datagram);
    let mut messages = Vec::new();
    while let Some(item) = subscriber.poll_item(ClockTime(SECOND), datagram) {
        if let Item::Message(message) = item {
            messages.push(message.bytes.to_vec());
        }
    }
    messages
}

#[test]
fn two_incarnations_with_the_same_number_share_no_key() {
    let (one, other) = (incarnation(1, b"the same"), incarnation(2, b"the same"));
    for (one, other) in one.iter().zip(&other) {
        let (one, other) = (DatagramView::parse(one).unwrap(), DatagramView::parse(other).unwrap());
        assert_eq!(one.header, other.header);
        assert_ne!(one.salt(), other.salt());
        let encrypted = |view: &DatagramView<'_>| view.body[..view.body.len() - TAG_LENGTH].to_vec();
        assert_ne!(encrypted(&one), encrypted(&other));
    }
    assert_eq!(incarnation(1, b"the same"), one, "the same seed gives the same datagrams");
}

#[test]
fn a_subscriber_of_one_incarnation_accepts_nothing_of_the_other() {
    let (one, other) = (incarnation(1, b"one"), incarnation(2, b"other"));
    let mut subscriber = SubscriberMachine::new(
        SubscriberConfig { keys: keys(), ..SubscriberConfig::new(StreamId(1)) },
        ClockTime(SECOND),
    );
    assert!(receive(&mut subscriber, &one[0]).is_empty());
    for datagram in &other {
        assert!(receive(&mut subscriber, datagram).is_empty());
    }
    assert_eq!(subscriber.statistics().refused + subscriber.statistics().copies, 3);
    assert_eq!(receive(&mut subscriber, &one[1]), [b"one"]);
}
