//! Signing and verifying, through two small traits.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::SIGNATURE_LENGTH;
use crate::subscriber::VerificationFailure;
use crate::wire::{Digest, ExtensionKind, Flags, HEADER_LENGTH, Header, SignerId};

/// What precedes a signed datagram in the text that is signed, so that the key's signatures have no other meaning.
const CONTEXT: &[u8] = b"mcast stream signature 1";

/// The private key of a publisher.
pub trait Signer: fmt::Debug + Send + Sync {
    /// Returns the id of the key.
    fn id(&self) -> SignerId;

    /// Returns the public key, for announcements.
    fn public(&self) -> [u8; 32];

    /// Signs a text.
    fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LENGTH];

    /// Returns the hash of the text that consists of these parts.
    fn digest(&self, parts: [&[u8]; 3]) -> Digest;
}

/// The public key of a publisher.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// Returns the id of the key.
    fn id(&self) -> SignerId;

    /// Returns the bytes of the key.
    fn public(&self) -> [u8; 32];

    /// Returns whether the private key has signed this text.
    fn verify(&self, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool;

    /// Returns the hash of the text that consists of these parts.
    fn digest(&self, parts: [&[u8]; 3]) -> Digest;
}

/// The public keys that a subscriber trusts. A datagram must be signed with one of them.
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys {
    keys: Vec<Arc<dyn Verifier>>,
}

impl PinnedKeys {
    /// The largest number of keys.
    pub const MOST: usize = 16;

    /// Returns no keys: nothing is verified.
    #[must_use]
    pub const fn none() -> Self {
        Self { keys: Vec::new() }
    }

    /// Adds a key. Returns `false`, and does not add it, if there are [`MOST`](Self::MOST) already.
    #[must_use]
    pub fn add(&mut self, key: Arc<dyn Verifier>) -> bool {
        let has_room = self.keys.len() < Self::MOST;
        if has_room {
            self.keys.push(key);
        }
        has_room
    }

    /// Returns whether there are none, so that nothing is verified.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether there is a key with this id.
    #[must_use]
    pub fn has(&self, id: SignerId) -> bool {
        self.keys.iter().any(|key| key.id() == id)
    }

    /// Returns whether this key is among them.
    #[must_use]
    pub fn contains(&self, public: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.public() == *public)
    }

    /// Checks the signature of a datagram that is not sealed, or was decrypted: its head and its body. This is for
    /// observers: replays are not detected.
    ///
    /// # Errors
    /// Why none of these keys has signed it.
    pub fn verify(&self, head: &[u8], body: &[u8]) -> Result<(), VerificationFailure> {
        let (id, signature) = signature_of(head).ok_or(VerificationFailure::Unsigned)?;
        if !self.has(id) {
            return Err(VerificationFailure::UnknownKey(id));
        }
        let mut text = Vec::new();
        signed_text(head, body, &mut text);
        self.is_signed(id, &text, &signature).then_some(()).ok_or(VerificationFailure::WrongSignature(id))
    }

    /// Returns whether the key with this id has signed the text.
    pub(crate) fn is_signed(&self, id: SignerId, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        self.keys.iter().filter(|key| key.id() == id).any(|key| key.verify(text, signature))
    }

    pub(crate) fn digest(&self, datagram: &[u8]) -> Option<Digest> {
        let (head, flags, rest) = digest_parts(datagram)?;
        Some(self.keys.first()?.digest([head, &[flags], rest]))
    }
}

/// Returns the digest of a datagram, by which its manifest names it.
pub(crate) fn digest(signer: &dyn Signer, datagram: &[u8]) -> Option<Digest> {
    let (head, flags, rest) = digest_parts(datagram)?;
    Some(signer.digest([head, &[flags], rest]))
}

/// Splits a datagram at its flags, of which those are cleared that may differ between two copies.
fn digest_parts(datagram: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (head, rest) = datagram.split_at_checked(Header::FLAGS_AT)?;
    let (flags, rest) = rest.split_first()?;
    Some((head, Flags(*flags).without(Flags::MUTABLE).0, rest))
}

/// Returns the id of the key, and the signature, in a datagram that begins with this head.
pub(crate) fn signature_of(head: &[u8]) -> Option<(SignerId, [u8; SIGNATURE_LENGTH])> {
    let place = signature_place(head)?;
    let id = head.get(place.start - 2..place.start)?;
    Some((SignerId(u16::from_be_bytes([id[0], id[1]])), head.get(place)?.try_into().ok()?))
}

/// Writes the text that a signature covers: context, head and body, with the mutable flags and the signature cleared.
pub(crate) fn signed_text(head: &[u8], body: &[u8], text: &mut Vec<u8>) {
    text.clear();
    for part in [CONTEXT, head, body] {
        text.extend_from_slice(part);
    }
    if let Some(flags) = text.get_mut(CONTEXT.len() + Header::FLAGS_AT) {
        *flags = Flags(*flags).without(Flags::MUTABLE).0;
    }
    let place = signature_place(head).map(|place| CONTEXT.len() + place.start..CONTEXT.len() + place.end);
    if let Some(signature) = place.and_then(|place| text.get_mut(place)) {
        signature.fill(0);
    }
}

/// Signs a datagram that is not sealed yet and has room for the signature. Returns `false` if it has no such room.
pub(crate) fn sign(signer: &dyn Signer, datagram: &mut [u8], text: &mut Vec<u8>) -> bool {
    let Some(end) = datagram.get(Header::LENGTH_AT).map(|words| usize::from(*words) * 4) else {
        return false;
    };
    let Some((head, body)) = datagram.split_at_checked(end) else { return false };
    let Some(place) = signature_place(head) else { return false };
    signed_text(head, body, text);
    let signature = signer.sign(text);
    let room = datagram.get_mut(place);
    room.is_some_and(|room| {
        room.copy_from_slice(&signature);
        true
    })
}

/// Returns where the signature is in a head.
fn signature_place(head: &[u8]) -> Option<Range<usize>> {
    let mut at = HEADER_LENGTH;
    loop {
        let (kind, words) = (*head.get(at)?, usize::from(*head.get(at + 1)?));
        let end = at + 4 * words;
        if kind == ExtensionKind::SIGNATURE.0 {
            return Some(at + 4..end).filter(|place| place.len() == SIGNATURE_LENGTH && end <= head.len());
        }
        if words == 0 {
            return None;
        }
        at = end;
    }
}
