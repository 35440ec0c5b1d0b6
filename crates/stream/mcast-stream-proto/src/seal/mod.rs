//! Sealing: encryption and authentication with a secret that the members of the group share.
//!
//! The core uses ciphers through two small traits. The feature `seal` provides an implementation.

#[cfg(feature = "seal")]
mod aead;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "seal")]
pub use aead::KeyFileError;
#[cfg(all(feature = "seal", feature = "signatures"))]
pub(crate) use aead::hexadecimal;
#[cfg(feature = "seal")]
pub use aead::{Algorithm, GroupSecret};

use crate::wire::{
    DatagramView, Flags, Header, Incarnation, IncarnationSalt, KeyEpoch, StreamId, SubscriberId, TAG_LENGTH,
};

/// Seals and opens with one key. The nonce is derived from the count, which is never used twice.
pub trait Cipher: Send + Sync {
    /// Encrypts the text in place, and returns the tag that authenticates it and the head. `None` when the key must not
    /// be used any more.
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]>;

    /// Decrypts the text before the tag in place. Returns `false` when the tag does not match text and head; then the
    /// bytes are undefined.
    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool;
}

/// A secret of the group, from which the keys are derived.
pub trait Secret: Send + Sync {
    /// Returns the cipher for one purpose.
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher>;
}

/// The party that seals, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sealed {
    /// The publisher's data, in the incarnation with this salt.
    Data(IncarnationSalt),
    /// The publisher's control datagrams, in the incarnation with this salt.
    Control(IncarnationSalt),
    /// The datagrams of this subscriber.
    Subscriber(SubscriberId),
    /// Both directions of the snapshot connection with this number.
    Snapshot(u64),
    /// A segment of the stream's log, whose writer has drawn this number.
    Log(u64),
}

/// The purpose of a key. Each purpose has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose {
    /// The stream.
    pub stream: StreamId,
    /// The incarnation of its publisher.
    pub incarnation: Incarnation,
    /// The epoch of the secret.
    pub epoch: KeyEpoch,
    /// The party that seals, and what.
    pub sealed: Sealed,
    /// The block of [`Purpose::BLOCK`] counts: each block has a key of its own.
    pub block: u64,
}

impl Purpose {
    /// The number of datagrams that one key seals, far below the limits of the ciphers.
    pub const BLOCK: u64 = 1 << 22;

    /// Returns the purpose of the datagram with this header.
    #[must_use]
    pub const fn of(header: &Header, sealed: Sealed) -> Self {
        let Header { stream, incarnation, epoch, sequence, .. } = *header;
        Self { stream, incarnation, epoch, sealed, block: sequence / Self::BLOCK }
    }

    /// Returns the bytes of the purpose for key derivation.
    #[must_use]
    pub fn bytes(&self) -> [u8; 47] {
        let (kind, salt) = match self.sealed {
            Sealed::Data(salt) => (0, salt.0),
            Sealed::Control(salt) => (1, salt.0),
            Sealed::Subscriber(subscriber) => (2, subscriber.0),
            Sealed::Snapshot(connection) => (3, connection),
            // 4 to 7 were tunnels, which have keys of their own now.
            Sealed::Log(salt) => (8, salt),
        };
        let mut bytes = [0; 47];
        bytes[..16].copy_from_slice(b"mcast stream 1.0");
        bytes[16..24].copy_from_slice(&self.stream.0.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes[28..30].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[30] = kind;
        bytes[31..39].copy_from_slice(&salt.to_be_bytes());
        bytes[39..].copy_from_slice(&self.block.to_be_bytes());
        bytes
    }
}

/// The secrets of a group: the one with the greatest epoch seals, all open.
#[derive(Clone, Default)]
pub struct Keys {
    secrets: Vec<(KeyEpoch, Arc<dyn Secret>)>,
}

impl Keys {
    /// The largest number of secrets: the current one, the previous one, the next one, and a spare.
    const MOST: usize = 4;

    /// Returns no secrets: nothing is sealed.
    #[must_use]
    pub const fn none() -> Self {
        Self { secrets: Vec::new() }
    }

    /// Returns this secret alone.
    #[must_use]
    pub fn one(epoch: KeyEpoch, secret: Arc<dyn Secret>) -> Self {
        let mut keys = Self::none();
        keys.add(epoch, secret);
        keys
    }

    /// Adds a secret. If there are four already, the one with the lowest epoch is removed. Epoch 0 stands for clear
    /// datagrams and is ignored.
    pub fn add(&mut self, epoch: KeyEpoch, secret: Arc<dyn Secret>) {
        if epoch == KeyEpoch::CLEAR {
            return;
        }
        self.secrets.retain(|(known, _)| *known != epoch);
        self.secrets.push((epoch, secret));
        self.secrets.sort_by_key(|(known, _)| *known);
        if self.secrets.len() > Self::MOST {
            self.secrets.remove(0);
        }
    }

    /// Removes a secret: datagrams sealed with it are no longer opened.
    pub fn remove(&mut self, epoch: KeyEpoch) {
        self.secrets.retain(|(known, _)| *known != epoch);
    }

    /// Returns whether there are no secrets, so that nothing is sealed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Returns whether the secret of this epoch is known.
    #[must_use]
    pub fn has(&self, epoch: KeyEpoch) -> bool {
        self.secrets.iter().any(|(known, _)| *known == epoch)
    }

    /// Returns the greatest epoch, which seals.
    #[must_use]
    pub const fn latest(&self) -> KeyEpoch {
        match self.secrets.as_slice() {
            [.., (epoch, _)] => *epoch,
            [] => KeyEpoch::CLEAR,
        }
    }

    /// Decrypts a sealed datagram of a publisher or subscriber in place, and returns where its body ends. `None` if it
    /// is not sealed, its secret is unknown, or it was modified; then the bytes are undefined. This is for passive
    /// observers: replays are not detected.
    #[must_use]
    pub fn open(&self, bytes: &mut [u8]) -> Option<usize> {
        let view = DatagramView::parse(bytes).ok()?;
        let header = view.header;
        let sealed = match header.kind {
            kind if kind.is_in_sequence() => Sealed::Data(view.salt()),
            kind if kind.is_from_subscribers() => Sealed::Subscriber(view.subscriber()?),
            // The echo of a subscriber that repairs for others.
            _ => view.subscriber().map_or_else(|| Sealed::Control(view.salt()), Sealed::Subscriber),
        };
        open(&*self.cipher(&Purpose::of(&header, sealed))?, &header, bytes)
    }

    /// Seals a control datagram that is not sent by the publisher's or subscriber's state machine, such as the
    /// announcement of a history server. It begins with this header, which names the epoch, and has an extension with this
    /// salt, which its sender has drawn. Returns `false` if that is not possible.
    #[must_use]
    pub fn seal(&self, header: &Header, salt: IncarnationSalt, bytes: &mut Vec<u8>) -> bool {
        let cipher = self.cipher(&Purpose::of(header, Sealed::Control(salt)));
        cipher.is_some_and(|cipher| seal_vector(&*cipher, header.sequence, bytes))
    }

    /// Returns the cipher for this purpose, if the secret of its epoch is known.
    #[must_use]
    pub fn cipher(&self, purpose: &Purpose) -> Option<Box<dyn Cipher>> {
        let known = self.secrets.iter().find(|(epoch, _)| *epoch == purpose.epoch);
        known.map(|(_, secret)| secret.cipher(purpose))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|(epoch, _)| epoch)).finish()
    }
}

/// A cache of derived ciphers.
#[derive(Default)]
pub(crate) struct Ciphers {
    derived: Vec<(Purpose, Box<dyn Cipher>)>,
}

impl Ciphers {
    const MOST: usize = 8;

    /// Returns the cipher for this purpose, if the secret is known.
    pub(crate) fn find(&mut self, keys: &Keys, purpose: Purpose) -> Option<&dyn Cipher> {
        let known = self.derived.iter().position(|(derived, _)| *derived == purpose);
        let index = match known {
            Some(index) => index,
            None => {
                let cipher = keys.cipher(&purpose)?;
                if self.derived.len() == Self::MOST {
                    self.derived.remove(0);
                }
                self.derived.push((purpose, cipher));
                self.derived.len() - 1
            }
        };
        self.derived.get(index).map(|(_, cipher)| &**cipher)
    }

    /// Removes all ciphers, because the keys have changed.
    pub(crate) fn clear(&mut self) {
        self.derived.clear();
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.derived.iter().map(|(purpose, _)| purpose)).finish()
    }
}

/// Seals a control datagram. The head, without the flags that may differ between copies, is authenticated and not
/// encrypted.
pub(crate) fn seal_vector(cipher: &dyn Cipher, count: u64, bytes: &mut Vec<u8>) -> bool {
    let Some(end) = head_end(bytes) else { return false };
    let (head, text) = bytes.split_at_mut(end);
    let Some(tag) = authenticate(head, |head| cipher.seal(count, head, text)) else { return false };
    bytes.extend_from_slice(&tag);
    true
}

/// Decrypts a datagram in place; returns where its body ends.
pub(crate) fn open(cipher: &dyn Cipher, header: &Header, bytes: &mut [u8]) -> Option<usize> {
    let end = head_end(bytes)?;
    let (head, sealed) = bytes.split_at_mut_checked(end)?;
    let text = sealed.len().checked_sub(TAG_LENGTH)?;
    let is_whole = authenticate(head, |head| cipher.open(header.sequence, head, sealed));
    is_whole.then_some(end + text)
}

/// Runs `work` with the head as it is authenticated: without the flags that may differ between two copies.
fn authenticate<T>(head: &mut [u8], work: impl FnOnce(&[u8]) -> T) -> T {
    let flags = head[Header::FLAGS_AT];
    head[Header::FLAGS_AT] = Flags(flags).without(Flags::MUTABLE).0;
    let result = work(head);
    head[Header::FLAGS_AT] = flags;
    result
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(*bytes.get(Header::LENGTH_AT)?) * 4).filter(|end| *end <= bytes.len())
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::SocketAddr;
    use std::vec::Vec;

    use super::{Algorithm, GroupSecret, Keys};
    use crate::publisher::PublisherMachine;
    use crate::publisher::{PublisherConfig, Transmit};
    use crate::subscriber::{Item, SubscriberConfig, SubscriberMachine};
    use crate::wire::{DatagramView, Incarnation, KeyEpoch, StreamId, TAG_LENGTH};
    use crate::{ClockTime, Target};

    const SECOND: u64 = 1_000_000_000;

    fn keys() -> Keys {
        Keys::one(KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm))
    }

    /// Returns the datagrams of an incarnation that publishes one message: a heartbeat, the data, a heartbeat.
    fn incarnation(seed: u64, message: &[u8]) -> Vec<Vec<u8>> {
        let config =
            PublisherConfig { keys: keys(), seed, ..PublisherConfig::new(StreamId(1), Incarnation(1)) };
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
}
