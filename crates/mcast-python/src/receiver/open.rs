//! A receiver while it is open, with the memory that it receives into.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mcast::{Batch, ErrorKind, Membership};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::datagram::{Datagram, InterfaceNames};
use crate::error::{closed, raise};

/// Whatever UDP carries fits.
const BYTES: usize = 65_536;
/// Buffers of a batch: enough to make the system call cheap.
const BUFFERS: usize = 32;

/// A receiver while it is open.
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

    /// Ends every wait. The sockets are closed when the last call has ended.
    pub(super) fn end(&self) -> mcast::Result<()> {
        self.ended.store(true, Ordering::Release);
        self.receiver.waker().wake()
    }

    /// Whether it was closed while this was in use.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Joins all of these, or none.
    pub(super) fn join(&self, memberships: Vec<Membership>) -> mcast::Result<()> {
        for (position, membership) in memberships.iter().enumerate() {
            if let Err(error) = self.receiver.join(membership.clone()) {
                // What failed is what the caller is told.
                memberships[..position].iter().for_each(|joined| _ = self.receiver.leave(joined));
                return Err(error);
            }
        }
        self.learn_names();
        Ok(())
    }

    /// Leaves all of these; tells the first failure.
    pub(super) fn leave(&self, memberships: &[Membership]) -> mcast::Result<()> {
        let results: Vec<mcast::Result<()>> =
            memberships.iter().map(|each| self.receiver.leave(each)).collect();
        results.into_iter().collect()
    }

    /// A datagram, if one is there.
    pub(super) fn try_datagram(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        let received = with_buffer(|buffer| {
            let received = self.receiver.try_recv(buffer)?;
            Ok(received.map(|each| Datagram::new(py, &each, &self.names)))
        });
        self.told(py, received)?.transpose()
    }

    /// The bytes of a datagram, no more than these.
    pub(super) fn try_copy(&self, py: Python<'_>, most: usize) -> PyResult<Option<Py<PyBytes>>> {
        let payload = with_buffer(|buffer| {
            let received = self.receiver.try_recv(&mut buffer[..most.min(BYTES)])?;
            Ok(received.map(|each| PyBytes::new(py, each.payload()).unbind()))
        });
        self.told(py, payload)
    }

    /// Receives a datagram into these bytes; says how many it has. Calls nothing of Python's.
    pub(super) fn try_bytes(&self, bytes: &mut [u8]) -> mcast::Result<Option<usize>> {
        Ok(self.receiver.try_recv(bytes)?.map(|received| received.payload().len()))
    }

    /// The datagrams that are there, if any.
    pub(super) fn try_batch(&self, py: Python<'_>) -> PyResult<Option<Vec<Py<Datagram>>>> {
        let mut batch = self.batches.take(|| Batch::new(BUFFERS, BYTES));
        let received = py.detach(|| self.receiver.try_recv_batch(&mut batch));
        let received = self.told(py, received.map(|count| (count > 0).then_some(count)));
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
        self.batches.give(batch);
        datagrams
    }

    /// A result as Python is told: the waker that closes is no failure unless this is closed.
    pub(super) fn told<T>(&self, py: Python<'_>, result: mcast::Result<Option<T>>) -> PyResult<Option<T>> {
        result.or_else(|error| match error.kind() {
            ErrorKind::Woken if self.has_ended() => {
                // A wake-up ends one call; others may wait.
                self.receiver.waker().wake().map_err(|error| raise(py, &error))?;
                Err(closed(py, "receiver"))
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

/// Lends this thread's buffer, which holds whatever UDP carries.
fn with_buffer<T>(receive: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local!(static BUFFER: Cell<Box<[u8]>> = Cell::default());
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer = vec![0; BYTES].into();
    }
    let result = receive(&mut buffer);
    // A thread that is about to end keeps none.
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
    result
}

/// Memory that is used again. No lock is held while it is in use, nor while waiting for Python's.
#[derive(Debug)]
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    fn take(&self, make: impl FnOnce() -> T) -> T {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        taken.unwrap_or_else(make)
    }

    fn give(&self, item: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }
}
