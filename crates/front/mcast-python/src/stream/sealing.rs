//! Keys, in a build with ciphers.

use std::path::Path;
use std::sync::Arc;

use mcast_stream::seal::{Algorithm, Keys};
use mcast_stream::sign::{PinnedKeys, PublicKey, Signer};
use mcast_stream::{KeyFile, KeyFileAccessError};
use pyo3::prelude::*;

use crate::error::value_error;

/// Parses the text of a key file.
pub(super) fn read(text: &str) -> PyResult<Keys> {
    Keys::read(text).map_err(value_error)
}

/// Returns a line for a key file, with a new secret.
pub(super) fn new_line(epoch: u16, algorithm: &str) -> PyResult<String> {
    let algorithm = Algorithm::named(algorithm).ok_or_else(|| {
        value_error(format_args!("{algorithm:?} is not an algorithm: use aes-128-gcm or chacha20-poly1305"))
    })?;
    Keys::new_line(epoch, algorithm).map_err(value_error)
}

/// Reads the signing key from a file.
pub(super) fn signing_key(path: &Path) -> Result<Arc<dyn Signer>, KeyFileAccessError> {
    KeyFile::new(path).read_signing().map(|key| key as Arc<dyn Signer>)
}

/// Reads public keys from a file.
pub(super) fn public_keys(path: &Path) -> Result<PinnedKeys, KeyFileAccessError> {
    KeyFile::new(path).read_public()
}

/// Parses a public key.
pub(super) fn public_key(text: &str) -> PyResult<PinnedKeys> {
    text.parse().map(PublicKey::pinned).map_err(value_error)
}

/// Returns a public key as text, which [`public_key`] parses.
pub(super) fn public_key_text(key: [u8; 32]) -> Option<String> {
    Some(PublicKey::new(key).to_string())
}
