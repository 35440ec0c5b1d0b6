//! Two lives of one stream that took the same number: by clocks that were set back, or a restart in no time.

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

/// The datagrams of a life that publishes this at once: a heartbeat, the data, a heartbeat.
fn life(seed: u64, message: &[u8]) -> Vec<Vec<u8>> {
    let config = SenderConfig { keys: keys(), seed, ..SenderConfig::new(StreamId(1), Incarnation(1)) };
    let mut sender = Sender::new(config, SECOND).unwrap();
    let mut said = Vec::new();
    let mut take = |sender: &mut Sender, now| {
        while let Some(transmit) = sender.poll(now) {
            match transmit {
                Transmit::Data { first, .. } => said.push(sender.datagram(first).to_vec()),
                Transmit::Control(control) if control.to == Target::Group => {
                    said.push(control.bytes().to_vec());
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
    assert_eq!(said.len(), 3);
    said
}

fn hear(receiver: &mut Receiver, datagram: &[u8]) -> Vec<Vec<u8>> {
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    receiver.handle(SECOND, 0, from, datagram);
    let mut heard = Vec::new();
    while let Some(item) = receiver.next(SECOND, datagram) {
        if let Item::Message(message) = item {
            heard.push(message.bytes.to_vec());
        }
    }
    heard
}

#[test]
fn two_lives_of_one_number_share_no_key() {
    let (one, other) = (life(1, b"the same"), life(2, b"the same"));
    for (one, other) in one.iter().zip(&other) {
        let (one, other) = (Packet::parse(one).unwrap(), Packet::parse(other).unwrap());
        assert_eq!(one.header, other.header);
        assert_ne!(one.salt(), other.salt());
        let hidden = |packet: &Packet<'_>| packet.body[..packet.body.len() - TAG_LENGTH].to_vec();
        assert_ne!(hidden(&one), hidden(&other));
    }
    assert_eq!(life(1, b"the same"), one, "what is the same for the same seed is no accident");
}

#[test]
fn who_follows_one_life_takes_nothing_of_the_other() {
    let (one, other) = (life(1, b"one"), life(2, b"other"));
    let mut receiver =
        Receiver::new(ReceiverConfig { keys: keys(), ..ReceiverConfig::new(StreamId(1)) }, SECOND);
    assert!(hear(&mut receiver, &one[0]).is_empty());
    for datagram in &other {
        assert!(hear(&mut receiver, datagram).is_empty());
    }
    assert_eq!(receiver.statistics().refused + receiver.statistics().copies, 3);
    assert_eq!(hear(&mut receiver, &one[1]), [b"one"]);
}
