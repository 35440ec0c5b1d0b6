//! Warnings about objects that were not closed, and about messages that were lost at the end.

use std::ffi::CString;

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyResourceWarning, PyRuntimeWarning};
use pyo3::prelude::*;

/// Warns that something was dropped without being closed, as Python's sockets do. `what` is its representation.
pub(crate) fn warn(what: &str) {
    warn_unraisable(|py| issue::<PyResourceWarning>(py, &format!("unclosed {what}")));
}

/// Warns that accepted messages did not reach all subscribers. Unlike a warning about an unclosed object, Python shows it
/// by default.
pub(crate) fn warn_of_loss(py: Python<'_>, text: &str) -> PyResult<()> {
    issue::<PyRuntimeWarning>(py, text)
}

/// Issues a warning where no exception can be raised.
pub(crate) fn warn_unraisable(issue: impl FnOnce(Python<'_>) -> PyResult<()>) {
    // During interpreter shutdown no warning can be shown.
    let _ = Python::try_attach(|py| {
        // The object may have been dropped because an exception is propagating.
        let pending = PyErr::take(py);
        if let Err(error) = issue(py) {
            error.write_unraisable(py, None);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

fn issue<Category: PyTypeInfo>(py: Python<'_>, text: &str) -> PyResult<()> {
    let text = CString::new(text).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<Category>(), &text, 1)
}
