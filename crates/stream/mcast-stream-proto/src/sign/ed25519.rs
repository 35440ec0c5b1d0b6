//! Ed25519 (RFC 8032) and SHA-256.

use alloc::sync::Arc;
use core::fmt;

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::file::SigningKeyError;
use super::{PinnedKeys, SIGNATURE_LENGTH, Signer, Verifier};
use crate::wire::{Digest, SignerId};

/// An Ed25519 key pair.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Creates a key from its seed (RFC 8032: the private key), which must be random.
    ///
    /// # Errors
    /// [`SigningKeyError::Key`] when there is no such key.
    pub fn new(seed: &[u8; 32]) -> Result<Arc<Self>, SigningKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningKeyError::Key)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| SigningKeyError::Key)?;
        Ok(Arc::new(Self { pair, public: PublicKey::new(bytes) }))
    }

    /// Returns a random seed.
    ///
    /// # Errors
    /// [`SigningKeyError::NoRandomness`] when the system has no random numbers.
    pub fn new_seed() -> Result<[u8; 32], SigningKeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| SigningKeyError::NoRandomness)?;
        Ok(seed)
    }

    /// Returns the public key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer for SigningKey {
    fn id(&self) -> SignerId {
        self.public.signer_id()
    }

    fn public(&self) -> [u8; 32] {
        self.public.bytes
    }

    fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        // Ed25519 signatures always have 64 bytes.
        self.pair.sign(text).as_ref().try_into().unwrap_or([0; SIGNATURE_LENGTH])
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        sha_256(parts)
    }
}

/// The public key of a [`SigningKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    bytes: [u8; 32],
    id: SignerId,
}

impl PublicKey {
    /// Returns the key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let Digest([first, second, ..]) = sha_256([&bytes, &[], &[]]);
        Self { bytes, id: SignerId(u16::from_be_bytes([first, second])) }
    }

    /// Returns its bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.bytes
    }

    /// Returns its id in datagrams.
    #[must_use]
    pub const fn signer_id(&self) -> SignerId {
        self.id
    }

    /// Returns this key as the only one that is trusted.
    #[must_use]
    pub fn pinned(self) -> PinnedKeys {
        PinnedKeys { keys: alloc::vec![Arc::new(self)] }
    }
}

impl Verifier for PublicKey {
    fn id(&self) -> SignerId {
        self.id
    }

    fn public(&self) -> [u8; 32] {
        self.bytes
    }

    fn verify(&self, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.bytes).verify(text, signature).is_ok()
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        sha_256(parts)
    }
}

fn sha_256(parts: [&[u8]; 3]) -> Digest {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut digest = Digest::default();
    digest.0.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    digest
}
