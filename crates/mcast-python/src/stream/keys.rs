//! The keys of sealed streams.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::sealing;
use crate::error::value_error;

/// The keys that seal and open streams, read from a file such as `mcast publish --new-key FILE` writes. Anybody with
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
        let text = py.detach(|| std::fs::read_to_string(&path))?;
        let keys = sealing::read(&text);
        let keys =
            keys.map_err(|error| value_error(format_args!("{}: {}", path.display(), error.value(py))))?;
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
