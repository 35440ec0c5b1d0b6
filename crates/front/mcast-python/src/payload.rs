//! Payload arguments: any Python object with the buffer protocol.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// Immutable bytes to send: a `bytes` object is used as it is, any other buffer is copied.
pub(crate) struct Payload<'py>(pub(crate) Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Payload<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        if object.extract::<&str>().is_ok() {
            return Err(PyTypeError::new_err("a payload is bytes, not text: encode it, as in text.encode()"));
        }
        let view = PyMemoryView::from(&object)?;
        Ok(Self(view.call_method0("tobytes")?.cast_into()?))
    }
}

impl Payload<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
