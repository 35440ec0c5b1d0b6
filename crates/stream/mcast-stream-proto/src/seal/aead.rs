//! The ciphers AES-128-GCM and ChaCha20-Poly1305, with keys derived by HKDF with SHA-256.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use ring::aead::{AES_128_GCM, Aad, Algorithm as Aead, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use super::{Cipher, Purpose, Secret};
use crate::wire::TAG_LENGTH;

/// The cipher of a group secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// AES-128-GCM: the faster one on processors with AES instructions.
    #[default]
    Aes128Gcm,
    /// ChaCha20-Poly1305: the faster one on all others.
    ChaCha20Poly1305,
}

impl Algorithm {
    fn aead(self) -> &'static Aead {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// A secret of 32 bytes that a group shares.
pub struct GroupSecret {
    root: Prk,
    algorithm: Algorithm,
}

impl GroupSecret {
    /// Creates a secret from these bytes, which must be random.
    #[must_use]
    pub fn new(secret: &[u8; 32], algorithm: Algorithm) -> Arc<Self> {
        Arc::new(Self { root: Salt::new(HKDF_SHA256, b"mcast stream").extract(secret), algorithm })
    }

    /// Returns a number by which people can compare secrets. It does not reveal the secret.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.expand(&[b"mcast fingerprint"]).map_or(0, u64::from_be_bytes)
    }

    /// Returns the cipher.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn derive<const N: usize>(&self, purpose: &Purpose, what: &[u8]) -> Option<[u8; N]> {
        self.expand(&[&purpose.bytes(), what])
    }

    fn expand<const N: usize>(&self, info: &[&[u8]]) -> Option<[u8; N]> {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut bytes = [0; N];
        self.root.expand(info, Length(N)).ok()?.fill(&mut bytes).ok()?;
        Some(bytes)
    }

    fn key(&self, purpose: &Purpose) -> Option<AeadCipher> {
        let aead = self.algorithm.aead();
        let bytes: [u8; 32] = self.derive(purpose, b"key")?;
        let key = UnboundKey::new(aead, bytes.get(..aead.key_len())?).ok()?;
        Some(AeadCipher { key: LessSafeKey::new(key), mask: self.derive(purpose, b"nonce")? })
    }
}

impl Secret for GroupSecret {
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher> {
        match self.key(purpose) {
            Some(cipher) => Box::new(cipher),
            None => Box::new(NoCipher),
        }
    }
}

impl fmt::Debug for GroupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSecret").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

struct AeadCipher {
    key: LessSafeKey,
    mask: [u8; 12],
}

impl AeadCipher {
    /// Returns the nonce: the mask with the count XORed onto its last eight bytes.
    fn nonce(&self, count: u64) -> Nonce {
        let mut nonce = self.mask;
        nonce[4..].iter_mut().zip(count.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Cipher for AeadCipher {
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(count), Aad::from(head), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(count), Aad::from(head), text_and_tag).is_ok()
    }
}

/// The cipher in place of a key that could not be derived: it seals and opens nothing.
struct NoCipher;

impl Cipher for NoCipher {
    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        None
    }

    fn open(&self, _: u64, _: &[u8], _: &mut [u8]) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Sealed;
    use crate::wire::{Incarnation, IncarnationSalt, KeyEpoch, StreamId, SubscriberId};

    const PURPOSE: Purpose = Purpose {
        stream: StreamId(1),
        incarnation: Incarnation(2),
        epoch: KeyEpoch(3),
        sealed: Sealed::Data(IncarnationSalt::NONE),
        block: 0,
    };

    fn opens(by: &Purpose, algorithm: Algorithm, count: u64, head: &[u8], change: usize) -> bool {
        let secret = GroupSecret::new(&[7; 32], algorithm);
        let mut sealed = *b"a message in clear, and the tag.";
        let (text, room) = sealed.split_at_mut(16);
        let tag = secret.cipher(&PURPOSE).seal(5, b"head", text).unwrap();
        assert_ne!(text, b"a message in clea");
        room.copy_from_slice(&tag);
        if let Some(byte) = sealed.get_mut(change) {
            *byte ^= 1;
        }
        let opened = secret.cipher(by).open(count, head, &mut sealed);
        assert!(!opened || sealed.starts_with(b"a message in cle"));
        opened
    }

    #[test]
    fn a_sealed_datagram_opens_only_unchanged_and_for_its_purpose() {
        for algorithm in [Algorithm::Aes128Gcm, Algorithm::ChaCha20Poly1305] {
            assert!(opens(&PURPOSE, algorithm, 5, b"head", usize::MAX));
            assert!(!opens(&PURPOSE, algorithm, 6, b"head", usize::MAX), "another count");
            assert!(!opens(&PURPOSE, algorithm, 5, b"heat", usize::MAX), "another head");
            for change in 0..32 {
                assert!(!opens(&PURPOSE, algorithm, 5, b"head", change), "byte {change} changed");
            }
            let others = [
                Purpose { stream: StreamId(2), ..PURPOSE },
                Purpose { incarnation: Incarnation(3), ..PURPOSE },
                Purpose { epoch: KeyEpoch(4), ..PURPOSE },
                Purpose { sealed: Sealed::Control(IncarnationSalt::NONE), ..PURPOSE },
                Purpose { sealed: Sealed::Data(IncarnationSalt(1)), ..PURPOSE },
                Purpose { sealed: Sealed::Subscriber(SubscriberId(0)), ..PURPOSE },
                Purpose { block: 1, ..PURPOSE },
            ];
            for other in others {
                assert!(!opens(&other, algorithm, 5, b"head", usize::MAX), "{other:?}");
            }
        }
    }

    /// Computed with another implementation of HKDF and AES-GCM: see docs/protocol.md.
    #[test]
    fn the_sealed_golden_vector() {
        let secret = GroupSecret::new(&core::array::from_fn(|at| at as u8), Algorithm::Aes128Gcm);
        let mut text = *b"hello";
        let tag = secret.cipher(&PURPOSE).seal(5, b"head", &mut text).unwrap();
        let hex: std::string::String =
            text.iter().chain(&tag).map(|byte| std::format!("{byte:02x}")).collect();
        let page = include_str!("../../../../../docs/protocol.md");
        assert!(page.contains(&hex), "docs/protocol.md does not show {hex}");
    }
}
