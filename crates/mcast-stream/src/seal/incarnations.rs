//! Tests of two incarnations with the same number, as after a clock was set back or a very fast restart.

use std::net::SocketAddr;
use std::vec::Vec;

use super::{Algorithm, GroupSecret, Keys};
use crate::receiver::{Item, Receiver, ReceiverConfig};
use crate::sender::{SenderConfig, Transmit};
use crate::wire::{Incarnation, KeyEpoch, Packet, StreamId, TAG_LENGTH};
use crate::{Sender, Target};

const SECOND: u64 = 1_000_000_000;

fn keys() -> Keys {
    Keys::one(KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm))
}

/// Returns the datagrams of an incarnation that publishes one message: a heartbeat, the data, a heartbeat.
fn incarnation(seed: u64, message: &[u8]) -> Vec<Vec<u8>> {
    let config = SenderConfig { keys: keys(), seed, ..SenderConfig::new(StreamId(1), Incarnation(1)) };
    let mut sender = Sender::new(config, SECOND).unwrap();
    let mut datagrams = Vec::new();
    let mut take = |sender: &mut Sender, now| {
        while let Some(transmit) = sender.poll(now) {
            match transmit {
                Transmit::Data { first, .. } => datagrams.push(sender.datagram(first).to_vec()),
                Transmit::Control(control) if control.to == Target::Group => {
                    datagrams.push(control.bytes().to_vec());
                }
                other => unreachable!("{other:?}"),
            }
        }
    };
    take(&mut sender, SECOND);
    sender.publish(SECOND, message).unwrap();
    sender.flush(SECOND);
    take(&mut sender, SECOND);
    take(&mut sender, SECOND + SECOND / 100);
    assert_eq!(datagrams.len(), 3);
    datagrams
}

fn receive(receiver: &mut Receiver, datagram: &[u8]) -> Vec<Vec<u8>> {
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    receiver.handle(SECOND, 0, from, datagram);
    let mut messages = Vec::new();
    while let Some(item) = receiver.next(SECOND, datagram) {
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
        let (one, other) = (Packet::parse(one).unwrap(), Packet::parse(other).unwrap());
        assert_eq!(one.header, other.header);
        assert_ne!(one.salt(), other.salt());
        let encrypted = |packet: &Packet<'_>| packet.body[..packet.body.len() - TAG_LENGTH].to_vec();
        assert_ne!(encrypted(&one), encrypted(&other));
    }
    assert_eq!(incarnation(1, b"the same"), one, "the same seed gives the same datagrams");
}

#[test]
fn a_receiver_of_one_incarnation_accepts_nothing_of_the_other() {
    let (one, other) = (incarnation(1, b"one"), incarnation(2, b"other"));
    let mut receiver =
        Receiver::new(ReceiverConfig { keys: keys(), ..ReceiverConfig::new(StreamId(1)) }, SECOND);
    assert!(receive(&mut receiver, &one[0]).is_empty());
    for datagram in &other {
        assert!(receive(&mut receiver, datagram).is_empty());
    }
    assert_eq!(receiver.statistics().refused + receiver.statistics().copies, 3);
    assert_eq!(receive(&mut receiver, &one[1]), [b"one"]);
}
