//! An open receiver and its buffers.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mcast::{Batch, ErrorKind, Membership};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::datagram::{Datagram, InterfaceNames};
use crate::error::{closed_error, raise};

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
            let received = self.receiver.try_recv(buffer)?;
            Ok(received.map(|each| Datagram::new(py, &each, &self.names)))
        });
        self.or_raise(py, received)?.transpose()
    }

    /// Returns a copy of the payload of a datagram, of at most `max` bytes.
    pub(super) fn try_copy(&self, py: Python<'_>, max: usize) -> PyResult<Option<Py<PyBytes>>> {
        let payload = with_buffer(|buffer| {
            let received = self.receiver.try_recv(&mut buffer[..max.min(BYTES)])?;
            Ok(received.map(|each| PyBytes::new(py, each.payload()).unbind()))
        });
        self.or_raise(py, payload)
    }

    /// Receives a datagram into `bytes`; returns its length. Does not call into Python.
    pub(super) fn try_bytes(&self, bytes: &mut [u8]) -> mcast::Result<Option<usize>> {
        Ok(self.receiver.try_recv(bytes)?.map(|received| received.payload().len()))
    }

    /// Returns the datagrams that are available, if any.
    pub(super) fn try_batch(&self, py: Python<'_>) -> PyResult<Option<Vec<Py<Datagram>>>> {
        let mut batch = self.batches.take(|| Batch::new(BUFFERS, BYTES));
        let received = py.detach(|| self.receiver.try_recv_batch(&mut batch));
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
