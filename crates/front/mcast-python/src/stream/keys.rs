//! The keys of sealed and signed streams.

use std::path::PathBuf;
use std::sync::Arc;

use mcast_stream::sign::{PinnedKeys, Signer};
use mcast_stream::{KeyFile, KeyFileAccessError};
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::value_error;

/// The keys that seal and open streams, read from a file such as `mcast keys make FILE` creates. Anybody with
/// these keys can read the streams and publish to them.
///
/// Each line of the file is a key, `EPOCH ALGORITHM SECRET`. The key with the greatest epoch seals; all of them open.
/// Raises OSError if the file cannot be read, and ValueError, with the line number, if it is not a key file.
#[pyclass(frozen, module = "pymcast", name = "Keys")]
pub(crate) struct PyKeys {
    pub(super) keys: mcast_stream::seal::Keys,
}

#[pymethods]
impl PyKeys {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let keys = py.detach(|| KeyFile::new(path).read()).map_err(access_error)?;
        Ok(Self { keys })
    }

    /// Parses the text of a key file.
    #[classmethod]
    fn from_text(_class: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
        Ok(Self { keys: sealing::read(text)? })
    }

    /// Returns a line for a key file, with a new secret from the system's random number generator. To change keys
    /// without interruption, add a line with the next epoch to every file, and update the publisher last.
    #[staticmethod]
    #[pyo3(signature = (epoch=1, algorithm="aes-128-gcm"))]
    fn new_line(epoch: u16, algorithm: &str) -> PyResult<String> {
        match epoch {
            0 => Err(value_error("an epoch is a number from 1 to 65535")),
            _ => sealing::new_line(epoch, algorithm),
        }
    }

    /// The epoch of the key that seals: the greatest.
    #[getter]
    fn epoch(&self) -> u16 {
        self.keys.latest().0
    }

    fn __repr__(&self) -> String {
        format!("<Keys of epoch {}>", self.epoch())
    }
}

/// A keys argument: a `Keys`, or the path of a key file.
pub(super) struct Secrets(pub(super) mcast_stream::seal::Keys);

impl<'py> FromPyObject<'_, 'py> for Secrets {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(keys) = object.cast::<PyKeys>() {
            return Ok(Self(keys.get().keys.clone()));
        }
        PyKeys::new(object.py(), object.extract()?).map(|read| Self(read.keys))
    }
}

/// A signing_key argument: the path of a file with signing keys.
pub(super) struct SigningFile(pub(super) Arc<dyn Signer>);

impl<'py> FromPyObject<'_, 'py> for SigningFile {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let path: PathBuf = object.extract()?;
        let key = object.py().detach(|| sealing::signing_key(&path));
        key.map(Self).map_err(access_error)
    }
}

/// A signed_by argument: a public key as text, or the path of a file with public keys.
pub(super) struct SignedBy(pub(super) PinnedKeys);

impl<'py> FromPyObject<'_, 'py> for SignedBy {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.extract::<String>()
            && text.starts_with("ed25519:")
        {
            return sealing::public_key(&text).map(Self);
        }
        let path: PathBuf = object.extract()?;
        let keys = object.py().detach(|| sealing::public_keys(&path));
        keys.map(Self).map_err(access_error)
    }
}

/// Converts a failure to read a key file: OSError if the system failed, else ValueError.
pub(super) fn access_error(error: KeyFileAccessError) -> PyErr {
    match error {
        KeyFileAccessError::Read { source, .. } => source.into(),
        KeyFileAccessError::NoCiphers => {
            PyNotImplementedError::new_err("this build has no ciphers: build with the feature `seal`")
        }
        error => value_error(error),
    }
}

#[cfg(feature = "seal")]
pub(super) mod sealing {
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
            value_error(format_args!(
                "{algorithm:?} is not an algorithm: use aes-128-gcm or chacha20-poly1305"
            ))
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
    pub(in crate::stream) fn public_key_text(key: [u8; 32]) -> Option<String> {
        Some(PublicKey::new(key).to_string())
    }
}

#[cfg(not(feature = "seal"))]
pub(super) mod sealing {
    //! Keys, in a build without ciphers: using them raises an error.

    use std::path::Path;
    use std::sync::Arc;

    use mcast_stream::KeyFileAccessError;
    use mcast_stream::seal::Keys;
    use mcast_stream::sign::{PinnedKeys, Signer};
    use pyo3::prelude::*;

    use super::access_error;

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
    pub(in crate::stream) const fn public_key_text(_: [u8; 32]) -> Option<String> {
        None
    }

    fn without_ciphers() -> PyErr {
        access_error(KeyFileAccessError::NoCiphers)
    }
}
