//! Sealing: what only the group's members can read, write or change.
//!
//! The core knows ciphers by two small traits. Their makers are elsewhere.

#[cfg(feature = "seal")]
mod aead;
#[cfg(feature = "seal")]
mod file;
#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod lives;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "seal")]
pub use aead::{Algorithm, GroupSecret};
#[cfg(feature = "seal")]
pub use file::KeyFileError;

use crate::wire::{Flags, Header, Incarnation, KeyEpoch, Kind, Packet, ReceiverId, StreamId, TAG_LENGTH};

/// Seals and opens with one key. A nonce is made of the count, which is never used twice.
pub trait Cipher: Send + Sync {
    /// Hides the text in place, and gives the tag that vouches for it and the head. `None` when the key
    /// is used up.
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]>;

    /// Uncovers what stands before the tag, in place. `false` when text, tag and head do not
    /// belong together; then the bytes mean nothing.
    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool;
}

/// A secret of the group, of which the keys are derived.
pub trait Secret: Send + Sync {
    /// The cipher for one purpose.
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher>;
}

/// Who seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sealed {
    /// The sender, its data, in the life that has this salt.
    Data(u64),
    /// The sender, all else, in the life that has this salt.
    Control(u64),
    /// This receiver.
    Receiver(ReceiverId),
    /// Both ends of the connection of this number, by which a snapshot is fetched.
    Snapshot(u64),
}

/// What a key is for. Each has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose {
    /// The stream.
    pub stream: StreamId,
    /// The life of its sender.
    pub incarnation: Incarnation,
    /// Which secret.
    pub epoch: KeyEpoch,
    /// Who seals.
    pub sealed: Sealed,
    /// Which block of [`Purpose::BLOCK`] counts: no key seals more than that.
    pub block: u64,
}

impl Purpose {
    /// So many datagrams one key seals, far below what the ciphers allow.
    pub const BLOCK: u64 = 1 << 22;

    /// What the datagram with this header was sealed for.
    #[must_use]
    pub const fn of(header: &Header, sealed: Sealed) -> Self {
        let Header { stream, incarnation, epoch, sequence, .. } = *header;
        Self { stream, incarnation, epoch, sealed, block: sequence / Self::BLOCK }
    }

    /// The bytes that name it, as keys are derived with them.
    #[must_use]
    pub fn bytes(&self) -> [u8; 47] {
        let (kind, salt) = match self.sealed {
            Sealed::Data(salt) => (0, salt),
            Sealed::Control(salt) => (1, salt),
            Sealed::Receiver(receiver) => (2, receiver.0),
            Sealed::Snapshot(connection) => (3, connection),
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

/// The secrets of a group: the one that seals, and those that still open.
#[derive(Clone, Default)]
pub struct Keys {
    secrets: Vec<(KeyEpoch, Arc<dyn Secret>)>,
}

impl Keys {
    /// More are not kept: the one in use, the one before, the one to come, and one to spare.
    const MOST: usize = 4;

    /// No secrets: nothing is sealed.
    #[must_use]
    pub const fn none() -> Self {
        Self { secrets: Vec::new() }
    }

    /// This secret alone.
    #[must_use]
    pub fn one(epoch: KeyEpoch, secret: Arc<dyn Secret>) -> Self {
        let mut keys = Self::none();
        keys.add(epoch, secret);
        keys
    }

    /// Adds a secret, to open with; of four that are there, the one of the lowest epoch goes.
    /// Epoch 0 stands for what is clear, and is not taken.
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

    /// Takes a secret away: what it sealed is no longer opened.
    pub fn remove(&mut self, epoch: KeyEpoch) {
        self.secrets.retain(|(known, _)| *known != epoch);
    }

    /// Whether nothing is sealed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Whether the secret of this epoch is here.
    #[must_use]
    pub fn has(&self, epoch: KeyEpoch) -> bool {
        self.secrets.iter().any(|(known, _)| *known == epoch)
    }

    /// The greatest epoch.
    #[must_use]
    pub const fn latest(&self) -> KeyEpoch {
        match self.secrets.as_slice() {
            [.., (epoch, _)] => *epoch,
            [] => KeyEpoch::CLEAR,
        }
    }

    /// Uncovers a sealed datagram in place, whoever of the stream sealed it: afterwards its body is clear, and ends where
    /// is told. `None` for what is not sealed, whose secret is not here, or that is not what was sealed; then the bytes
    /// mean nothing. For who looks on: whether it is a replay is not asked.
    #[must_use]
    pub fn open(&self, bytes: &mut [u8]) -> Option<usize> {
        let packet = Packet::parse(bytes).ok()?;
        let header = packet.header;
        let sealed = match header.kind {
            Kind::Data => Sealed::Data(packet.salt()),
            kind if kind.is_from_receivers() => Sealed::Receiver(packet.receiver()?),
            _ => Sealed::Control(packet.salt()),
        };
        open(&*self.cipher(&Purpose::of(&header, sealed))?, &header, bytes)
    }

    pub(crate) fn cipher(&self, purpose: &Purpose) -> Option<Box<dyn Cipher>> {
        let known = self.secrets.iter().find(|(epoch, _)| *epoch == purpose.epoch);
        known.map(|(_, secret)| secret.cipher(purpose))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|(epoch, _)| epoch)).finish()
    }
}

/// Ciphers that were derived, a few, so that none is derived for each datagram.
#[derive(Default)]
pub(crate) struct Ciphers {
    derived: Vec<(Purpose, Box<dyn Cipher>)>,
}

impl Ciphers {
    const MOST: usize = 8;

    /// The cipher for this purpose, if the secret is known.
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

    /// Forgets all: keys have changed.
    pub(crate) fn clear(&mut self) {
        self.derived.clear();
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.derived.iter().map(|(purpose, _)| purpose)).finish()
    }
}

/// Seals a whole datagram that is not data; its head is not hidden.
pub(crate) fn seal_vector(cipher: &dyn Cipher, count: u64, bytes: &mut Vec<u8>) -> bool {
    let Some(end) = head_end(bytes) else { return false };
    let (head, text) = bytes.split_at_mut(end);
    let Some(tag) = cipher.seal(count, head, text) else { return false };
    bytes.extend_from_slice(&tag);
    true
}

/// Uncovers a datagram in place: afterwards the body is the text, and its end is told.
pub(crate) fn open(cipher: &dyn Cipher, header: &Header, bytes: &mut [u8]) -> Option<usize> {
    let end = head_end(bytes)?;
    let (head, sealed) = bytes.split_at_mut_checked(end)?;
    let text = sealed.len().checked_sub(TAG_LENGTH)?;
    let flags = head[Header::FLAGS_AT];
    head[Header::FLAGS_AT] = Flags(flags).without(Flags::MUTABLE).0;
    let is_whole = cipher.open(header.sequence, head, sealed);
    head[Header::FLAGS_AT] = flags;
    is_whole.then_some(end + text)
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(*bytes.get(Header::LENGTH_AT)?) * 4).filter(|end| *end <= bytes.len())
}
