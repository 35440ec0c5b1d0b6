//! A toy signature with the interface of a real one, without its security: a [`ToyKey`] signs and verifies.

use std::sync::Arc;

use mcast_sim::{hash, mix};
use mcast_stream_proto::sign::{PinnedKeys, SIGNATURE_LENGTH, Signer, Verifier};
use mcast_stream_proto::wire::{Digest, SignerId};

/// A signing key and its public key.
#[derive(Debug)]
pub(crate) struct ToyKey(pub(crate) u64);

impl ToyKey {
    fn id(&self) -> SignerId {
        SignerId(mix(self.0) as u16)
    }

    fn signature(&self, text: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        stretched(hash(self.0, text))
    }
}

fn digest(parts: [&[u8]; 3]) -> Digest {
    Digest(stretched(parts.iter().fold(0, |state, part| hash(state, part))))
}

/// Returns bytes that follow from this number.
fn stretched<const LENGTH: usize>(number: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&mix(number ^ at as u64).to_be_bytes());
    }
    bytes
}

impl Signer for ToyKey {
    fn id(&self) -> SignerId {
        self.id()
    }

    fn public(&self) -> [u8; 32] {
        [0; 32]
    }

    fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.signature(text)
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        digest(parts)
    }
}

impl Verifier for ToyKey {
    fn id(&self) -> SignerId {
        self.id()
    }

    fn public(&self) -> [u8; 32] {
        [0; 32]
    }

    fn verify(&self, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        self.signature(text) == *signature
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        digest(parts)
    }
}

/// Returns the publisher's key, before and after it changes.
pub(crate) fn key(seed: u64, has_changed: bool) -> Arc<ToyKey> {
    Arc::new(ToyKey(mix(seed ^ 0x6b65_7973 ^ u64::from(has_changed))))
}

/// Returns the keys that subscribers trust.
pub(crate) fn pinned(seed: u64) -> PinnedKeys {
    let mut pinned = PinnedKeys::none();
    assert!(pinned.add(key(seed, false)) && pinned.add(key(seed, true)));
    pinned
}
