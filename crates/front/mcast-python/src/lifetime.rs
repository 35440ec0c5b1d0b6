//! What ends badly: objects that were not closed, with messages lost at the end, and objects that are used after a fork.

use std::ffi::CString;
use std::mem;

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyResourceWarning, PyRuntimeWarning};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

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

/// The process that created an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerProcess(u32);

impl OwnerProcess {
    /// Returns the current process.
    pub(crate) fn current() -> Self {
        Self(std::process::id())
    }

    /// Whether the current process is a fork of the owner.
    pub(crate) fn is_another_process(self) -> bool {
        self != Self::current()
    }

    /// Returns the exception for using an object that another process created.
    pub(crate) fn error(self, py: Python<'_>, what: &str) -> PyErr {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let error = CLASS.import(py, "pymcast._errors", "forked").and_then(|make| make.call1((what, self.0)));
        error.map_or_else(|failure| failure, PyErr::from_value)
    }

    /// Drops the value in its owner; leaks it in a fork, where dropping would wait for threads that do not exist.
    pub(crate) fn release<T>(self, value: &mut T)
    where
        T: Default,
    {
        let taken = mem::take(value);
        if self.is_another_process() {
            mem::forget(taken);
        }
    }
}
