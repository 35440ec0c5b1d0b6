//! Objects with threads of their own cannot be used after a fork: the child process has none of those threads.

use std::mem;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

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
