//! Seals what the publisher sends, and opens what subscribers send.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::members::Member;
use crate::random;
use crate::seal;
use crate::seal::{Cipher, Ciphers, Keys, Purpose, Sealed};
use crate::wire::{Header, IncarnationSalt, KeyEpoch, SubscriberId, TAG_LENGTH};

/// The bytes of the salt in a datagram.
pub(super) const SALT_EXTENSION: usize = 12;

/// The ciphers in use, and what makes each nonce unique.
pub(super) struct Sealer {
    /// Random per incarnation, so that no two incarnations share a key.
    salt: IncarnationSalt,
    data: Option<(Purpose, Box<dyn Cipher>)>,
    others: Ciphers,
    /// The number of control datagrams so far.
    controls: u64,
}

impl Sealer {
    pub(super) fn new(seed: u64) -> Self {
        Self { salt: random::salt(seed), data: None, others: Ciphers::default(), controls: 0 }
    }

    /// Forgets all ciphers, because the keys have changed.
    pub(super) fn clear(&mut self) {
        self.data = None;
        self.others.clear();
    }

    /// Returns the count of the next control datagram.
    pub(super) const fn next_control(&mut self) -> u64 {
        self.controls += 1;
        self.controls
    }

    /// Returns the salt for a datagram with this header: none if it will not be sealed.
    pub(super) fn salt(&self, header: &Header) -> IncarnationSalt {
        if header.epoch == KeyEpoch::CLEAR { IncarnationSalt::NONE } else { self.salt }
    }

    pub(super) const fn incarnation_salt(&self) -> IncarnationSalt {
        self.salt
    }

    /// Seals a datagram of data, whose body begins at `body` and whose last bytes are room for the tag. Returns `false`
    /// if it cannot be sealed.
    #[inline]
    pub(super) fn seal_data(&mut self, keys: &Keys, header: &Header, body: usize, bytes: &mut [u8]) -> bool {
        let purpose = Purpose::of(header, Sealed::Data(self.salt));
        if self.data.as_ref().is_none_or(|(known, _)| *known != purpose) {
            self.data = keys.cipher(&purpose).map(|cipher| (purpose, cipher));
        }
        let Some((_, cipher)) = &self.data else { return false };
        let (head, rest) = bytes.split_at_mut(body);
        let (text, room) = rest.split_at_mut(rest.len() - TAG_LENGTH);
        let Some(tag) = cipher.seal(header.sequence, head, text) else { return false };
        room.copy_from_slice(&tag);
        true
    }

    /// Seals a control datagram; returns `false` if that is not possible.
    pub(super) fn seal_control(&mut self, keys: &Keys, header: &Header, bytes: &mut Vec<u8>) -> bool {
        let purpose = Purpose::of(header, Sealed::Control(self.salt));
        match header.epoch {
            KeyEpoch::CLEAR => true,
            _ => self
                .others
                .find(keys, purpose)
                .is_some_and(|cipher| seal::seal_vector(cipher, header.sequence, bytes)),
        }
    }

    /// Decrypts a sealed datagram of a subscriber in place; returns where the body ends.
    pub(super) fn open(
        &mut self,
        keys: &Keys,
        id: SubscriberId,
        member: Option<&mut Member>,
        header: &Header,
        bytes: &mut [u8],
    ) -> Option<usize> {
        if header.epoch == KeyEpoch::CLEAR {
            return Some(bytes.len());
        }
        let purpose = Purpose::of(header, Sealed::Subscriber(id));
        let Some(member) = member else {
            return seal::open(self.others.find(keys, purpose)?, header, bytes);
        };
        if member.cipher.as_ref().is_none_or(|(known, _)| *known != purpose) {
            // A forged epoch must not replace the cipher in use.
            let cipher = keys.cipher(&purpose)?;
            let end = seal::open(&*cipher, header, bytes)?;
            member.cipher = Some((purpose, cipher));
            return Some(end);
        }
        seal::open(&*member.cipher.as_ref()?.1, header, bytes)
    }
}
