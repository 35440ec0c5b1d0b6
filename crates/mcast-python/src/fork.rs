//! What threads of its own serve does not outlive a fork: the child has none of them.

use std::mem;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The process that made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker(u32);

impl Maker {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(std::process::id())
    }

    /// Whether this process is another one, a fork of it.
    pub(crate) fn is_elsewhere(self) -> bool {
        self != Self::here()
    }

    /// The exception for the use of what another process made.
    pub(crate) fn refuse(self, py: Python<'_>, what: &str) -> PyErr {
        static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let made = CLASS.import(py, "pymcast._errors", "forked").and_then(|make| make.call1((what, self.0)));
        made.map_or_else(|failure| failure, PyErr::from_value)
    }

    /// Ends what this process made; lets go of what another one did, whose threads this one has not.
    pub(crate) fn end<T>(self, made: &mut T)
    where
        T: Default,
    {
        let taken = mem::take(made);
        if self.is_elsewhere() {
            mem::forget(taken);
        }
    }
}
