//! Signing: proof that the publisher, and no other member of the group, made a datagram.
//!
//! The core signs and verifies through two small traits. The feature `seal` provides an implementation.

#[cfg(all(feature = "seal", feature = "signatures"))]
mod ed25519;
#[cfg(feature = "signatures")]
mod signer;

#[cfg(all(feature = "seal", feature = "signatures"))]
pub use ed25519::{PublicKey, SigningKey, SigningKeyError};
#[cfg(feature = "signatures")]
pub use signer::{PinnedKeys, Signer, Verifier};
#[cfg(feature = "signatures")]
pub(crate) use signer::{digest, sign, signature_of, signed_text};

/// The length of a signature in bytes.
pub const SIGNATURE_LENGTH: usize = 64;
/// The length of the extension with a signature in bytes.
pub const SIGNATURE_EXTENSION: usize = 4 + SIGNATURE_LENGTH;
