//! The warning about objects that were not closed.

use std::ffi::CString;

use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;

/// Warns that something was dropped without being closed, as Python's sockets do. `what` is its representation.
pub(crate) fn warn(what: &str) {
    // During interpreter shutdown there is nobody to warn.
    let _ = Python::try_attach(|py| {
        // The object may have been dropped because an exception is propagating.
        let pending = PyErr::take(py);
        let text = CString::new(format!("unclosed {what}")).unwrap_or_default();
        if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &text, 1) {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}
