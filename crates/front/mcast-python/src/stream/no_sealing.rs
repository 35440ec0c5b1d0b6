//! Keys, in a build without ciphers: using them raises an error.

use std::path::Path;
use std::sync::Arc;

use mcast_stream::KeyFileAccessError;
use mcast_stream::seal::Keys;
use mcast_stream::sign::{PinnedKeys, Signer};
use pyo3::prelude::*;

use super::keys::access_error;

pub(super) fn read(_: &str) -> PyResult<Keys> {
    Err(without_ciphers())
}

pub(super) fn new_line(_: u16, _: &str) -> PyResult<String> {
    Err(without_ciphers())
}

pub(super) const fn signing_key(_: &Path) -> Result<Arc<dyn Signer>, KeyFileAccessError> {
    Err(KeyFileAccessError::NoCiphers)
}

pub(super) const fn public_keys(_: &Path) -> Result<PinnedKeys, KeyFileAccessError> {
    Err(KeyFileAccessError::NoCiphers)
}

pub(super) fn public_key(_: &str) -> PyResult<PinnedKeys> {
    Err(without_ciphers())
}

/// Signatures are not checked, so an announced key proves nothing.
pub(super) const fn public_key_text(_: [u8; 32]) -> Option<String> {
    None
}

fn without_ciphers() -> PyErr {
    access_error(KeyFileAccessError::NoCiphers)
}
