//! An open receiver with its buffers: waiting without the GIL, and iteration over datagrams received in batches.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast::{Batch, ErrorKind, Membership};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::datagram::{Datagram, InterfaceNames};
use crate::error::{OrRaise, closed_error, raise, value_error};

/// Size of a buffer: larger than any UDP payload.
const BYTES: usize = 65_536;
/// Buffers in a batch: enough to amortize the system call.
const BUFFERS: usize = 32;

/// An open receiver.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) receiver: mcast::Receiver,
    names: Arc<InterfaceNames>,
    batches: Pool<Batch>,
    ended: AtomicBool,
}

impl Open {
    pub(super) fn new(receiver: mcast::Receiver) -> Self {
        let open =
            Self { receiver, names: Arc::default(), batches: Pool::default(), ended: AtomicBool::new(false) };
        open.learn_names();
        open
    }

    /// Interrupts all waiting calls. The sockets are closed when the last call has returned.
    pub(super) fn end(&self) -> mcast::Result<()> {
        self.ended.store(true, Ordering::Release);
        self.receiver.waker().wake()
    }

    /// Whether the receiver was closed while this was in use.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Joins all of the memberships, or none.
    pub(super) fn join(&self, memberships: Vec<Membership>) -> mcast::Result<()> {
        for (position, membership) in memberships.iter().enumerate() {
            if let Err(error) = self.receiver.join(membership.clone()) {
                // The caller needs the error of the join, not of the clean-up.
                memberships[..position].iter().for_each(|joined| _ = self.receiver.leave(joined));
                return Err(error);
            }
        }
        self.learn_names();
        Ok(())
    }

    /// Leaves all of the memberships; returns the first error.
    pub(super) fn leave(&self, memberships: &[Membership]) -> mcast::Result<()> {
        let results: Vec<mcast::Result<()>> =
            memberships.iter().map(|each| self.receiver.leave(each)).collect();
        results.into_iter().collect()
    }

    /// Returns a datagram if one is available.
    pub(super) fn try_datagram(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        let received = with_buffer(|buffer| {
            let received = self.receiver.recv_timeout(buffer, Duration::ZERO)?;
            Ok(received.map(|each| Datagram::new(py, &each, &self.names)))
        });
        self.or_raise(py, received)?.transpose()
    }

    /// Returns a copy of the payload of a datagram, of at most `max` bytes.
    pub(super) fn try_copy(&self, py: Python<'_>, max: usize) -> PyResult<Option<Py<PyBytes>>> {
        let payload = with_buffer(|buffer| {
            let received = self.receiver.recv_timeout(&mut buffer[..max.min(BYTES)], Duration::ZERO)?;
            Ok(received.map(|each| PyBytes::new(py, each.payload()).unbind()))
        });
        self.or_raise(py, payload)
    }

    /// Receives a datagram into `bytes`; returns its length. Does not call into Python.
    pub(super) fn try_bytes(&self, bytes: &mut [u8]) -> mcast::Result<Option<usize>> {
        Ok(self.receiver.recv_timeout(bytes, Duration::ZERO)?.map(|received| received.payload().len()))
    }

    /// Returns the datagrams that are available, if any.
    pub(super) fn try_batch(&self, py: Python<'_>) -> PyResult<Option<Vec<Py<Datagram>>>> {
        let mut batch = self.batches.take(|| Batch::new(BUFFERS, BYTES));
        let received = py.detach(|| self.receiver.recv_batch(&mut batch, Some(Duration::ZERO)));
        let received = self.or_raise(py, received.map(|count| (count > 0).then_some(count)));
        let datagrams = received.and_then(|count| match count {
            None => Ok(None),
            Some(count) => {
                let mut datagrams = Vec::with_capacity(count);
                for each in batch.iter() {
                    datagrams.push(Datagram::new(py, &each, &self.names)?);
                }
                Ok(Some(datagrams))
            }
        });
        self.batches.put_back(batch);
        datagrams
    }

    /// Converts a result. Being woken is an error only if the receiver was closed.
    pub(super) fn or_raise<T>(
        &self,
        py: Python<'_>,
        result: mcast::Result<Option<T>>,
    ) -> PyResult<Option<T>> {
        result.or_else(|error| match error.kind() {
            ErrorKind::Woken if self.has_ended() => {
                // A wake-up ends only one call; pass it on to others that wait.
                self.receiver.waker().wake().map_err(|error| raise(py, &error))?;
                Err(closed_error(py, "receiver"))
            }
            ErrorKind::Woken => Ok(None),
            _ => Err(raise(py, &error)),
        })
    }

    fn learn_names(&self) {
        let statuses = self.receiver.memberships();
        self.names
            .learn(statuses.into_iter().flat_map(|status| status.interfaces).map(|on| (on.index, on.name)));
    }
}

/// Lends this thread's buffer of [`BYTES`] bytes.
fn with_buffer<T>(receive: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local!(static BUFFER: Cell<Box<[u8]>> = Cell::default());
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer = vec![0; BYTES].into();
    }
    let result = receive(&mut buffer);
    // This fails only in a thread that is about to exit, which does not need the buffer.
    let _ = BUFFER.try_with(|cell| cell.set(buffer));
    result
}

/// A pool of reusable buffers. The lock is not held while a buffer is in use, nor while waiting for the GIL.
#[derive(Debug)]
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    fn take(&self, make: impl FnOnce() -> T) -> T {
        let item = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        item.unwrap_or_else(make)
    }

    fn put_back(&self, item: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }
}

/// How often to check for signals that do not interrupt the wait: on Windows, and where another thread received the
/// signal.
const SLICE: Duration = Duration::from_millis(if cfg!(windows) { 50 } else { 500 });

/// A timeout, or none. The deadline is computed only once nothing is available, to save reading the clock.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(Option<Duration>);

impl Timeout {
    /// No timeout.
    pub(super) const NEVER: Self = Self(None);

    /// Converts seconds, or None for no timeout.
    pub(crate) fn new(seconds: Option<f64>) -> PyResult<Self> {
        let Some(seconds) = seconds else { return Ok(Self(None)) };
        if seconds.is_nan() || seconds < 0.0 {
            return Err(value_error("a timeout must be zero or a positive number of seconds, or None"));
        }
        // Wait without a timeout if it is too long for the clock.
        Ok(Self(Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Returns the duration, or `None` without a timeout.
    pub(crate) fn duration(self) -> Option<Duration> {
        self.0
    }

    /// Returns the deadline for a wait that starts now.
    pub(crate) fn deadline(self) -> Option<Instant> {
        Instant::now().checked_add(self.0?)
    }
}

/// Repeats `attempt` until it returns a value; returns `None` after the timeout.
pub(super) fn until<T>(
    py: Python<'_>,
    open: &Open,
    timeout: Timeout,
    mut attempt: impl FnMut(Python<'_>) -> PyResult<Option<T>>,
) -> PyResult<Option<T>> {
    if let Some(result) = attempt(py)? {
        return Ok(Some(result));
    }
    let deadline = timeout.deadline();
    loop {
        let is_last = !wait_slice(py, open, deadline)? && is_over(deadline);
        let result = attempt(py)?;
        if is_last || result.is_some() {
            return Ok(result);
        }
    }
}

/// Waits until a datagram may be available; returns `false` after the timeout.
pub(super) fn until_ready(py: Python<'_>, open: &Open, timeout: Timeout) -> PyResult<bool> {
    let deadline = timeout.deadline();
    loop {
        if wait_slice(py, open, deadline)? {
            return Ok(true);
        }
        if is_over(deadline) {
            return Ok(false);
        }
    }
}

/// Waits until a datagram may be available, the deadline, or the next check for signals.
fn wait_slice(py: Python<'_>, open: &Open, deadline: Option<Instant>) -> PyResult<bool> {
    let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
    let ready = py.detach(|| open.receiver.wait(Some(left.min(SLICE)))).or_raise(py)?;
    py.check_signals()?;
    Ok(ready)
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

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
            crate::lifetime::warn(&format!("reader: {} datagrams in it were never read", pending.len()));
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
        let batch = until(py, &self.open, timeout, |py| self.open.try_batch(py))?;
        Ok(batch.and_then(|batch| self.buffer(batch)))
    }
}
