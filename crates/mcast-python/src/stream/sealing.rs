//! Secrets, in a build that has ciphers.

use mcast_stream::seal::{Algorithm, Keys};
use pyo3::prelude::*;

use crate::error::refused;

/// The secrets of a file's text.
pub(super) fn read(text: &str) -> PyResult<Keys> {
    Keys::read(text).map_err(refused)
}

/// A line of a file, with a new secret.
pub(super) fn new_line(epoch: u16, algorithm: &str) -> PyResult<String> {
    let known = Algorithm::named(algorithm).ok_or_else(|| {
        refused(format_args!("{algorithm:?} is no algorithm: write aes-128-gcm or chacha20-poly1305"))
    })?;
    Keys::new_line(epoch, known).map_err(refused)
}
