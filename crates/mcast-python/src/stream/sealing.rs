//! Keys, in a build with ciphers.

use mcast_stream::seal::{Algorithm, Keys};
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
