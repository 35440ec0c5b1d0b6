//! Iteration over datagrams that are received in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::open::Open;
use super::wait::{self, Timeout};
use crate::datagram::Datagram;

/// Receives datagrams in batches and returns them one by one: `for datagram in reader`.
///
/// It waits only when no datagram is available; iteration ends when the receiver is closed. It buffers up to one
/// batch, so use either one reader or direct calls to see all datagrams in order. Leaving a loop loses nothing as
/// long as the reader exists.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Reader {
    open: Arc<Open>,
    pending: Mutex<VecDeque<Py<Datagram>>>,
}

impl Reader {
    pub(super) fn new(open: Arc<Open>) -> Self {
        Self { open, pending: Mutex::default() }
    }

    fn next_pending(&self) -> Option<Py<Datagram>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Buffers all but the first datagram, which it returns.
    fn buffer(&self, batch: Vec<Py<Datagram>>) -> Option<Py<Datagram>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.extend(batch);
        pending.pop_front()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let pending = self.pending.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !pending.is_empty() && !self.open.has_ended() {
            crate::unclosed::warn(&format!("reader: {} datagrams in it were never read", pending.len()));
        }
    }
}

#[pymethods]
impl Reader {
    /// Returns the next datagram. Raises TimeoutError if none arrives within `timeout` seconds, and
    /// pymcast.ClosedError if the receiver is closed.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<Datagram>> {
        self.next_before(py, Timeout::new(timeout)?)?.ok_or_else(crate::error::timeout_error)
    }

    /// The datagrams in its buffer.
    #[getter]
    fn pending<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pending: Vec<_> = {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.iter().map(|each| each.clone_ref(py)).collect()
        };
        PyList::new(py, pending)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __repr__(&self) -> String {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).len();
        let closed = if self.open.has_ended() { ", of a closed receiver" } else { "" };
        format!("<Reader with {pending} datagrams{closed}>")
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        match self.next_before(py, Timeout::NEVER) {
            Err(_) if self.open.has_ended() => Ok(None),
            result => result,
        }
    }
}

impl Reader {
    fn next_before(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Option<Py<Datagram>>> {
        if let Some(datagram) = self.next_pending() {
            return Ok(Some(datagram));
        }
        let batch = wait::until(py, &self.open, timeout, |py| self.open.try_batch(py))?;
        Ok(batch.and_then(|batch| self.buffer(batch)))
    }
}
