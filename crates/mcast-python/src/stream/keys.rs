//! The secrets of a group, as Python has them.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::sealing;
use crate::error::refused;

/// The secrets that seal and open streams: of a file, as `mcast publish --new-key FILE` writes one. Whoever
/// has them can read and write the group's streams.
///
/// A file has a line for each secret, `EPOCH ALGORITHM SECRET`; the greatest epoch seals, all open. Raises
/// OSError when it cannot be read, ValueError, with the number of the line, when it is no such file.
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
        let keys = keys.map_err(|error| refused(format_args!("{}: {}", path.display(), error.value(py))))?;
        Ok(Self { keys })
    }

    /// The secrets of a file's text.
    #[classmethod]
    fn from_text(_class: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
        Ok(Self { keys: sealing::read(text)? })
    }

    /// A line for a file, with a new secret of the system's randomness. To change secrets without a gap, give
    /// everybody a file with the new line, of the next epoch, beside the old one, and the publisher last.
    #[staticmethod]
    #[pyo3(signature = (epoch=1, algorithm="aes-128-gcm"))]
    fn new_line(epoch: u16, algorithm: &str) -> PyResult<String> {
        match epoch {
            0 => Err(refused("an epoch is a number of 1 to 65535")),
            _ => sealing::new_line(epoch, algorithm),
        }
    }

    /// The epoch that seals: the greatest.
    #[getter]
    fn epoch(&self) -> u16 {
        self.keys.latest().0
    }

    fn __repr__(&self) -> String {
        format!("<Keys of epoch {}>", self.epoch())
    }
}

/// Secrets as people name them: a `Keys`, or the path of a file.
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
