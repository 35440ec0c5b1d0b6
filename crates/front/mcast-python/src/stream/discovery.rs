//! Discovery of announced streams.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream::seal::Keys;
use mcast_stream::sign::PinnedKeys;
use mcast_stream::{AnnouncedStream, StreamError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::keys::sealing;
use super::keys::{Secrets, SignedBy};
use super::raise_stream;
use super::snapshot::pair;
use crate::error::{closed_error, timeout_error, value_error};
use crate::lifetime::OwnerProcess;
use crate::membership::PyMembership;
use crate::membership::Selector;
use crate::receiver::Timeout;

/// How often a wait checks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// An announced stream: `pymcast.Subscriber(found)` subscribes to it.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct FoundStream {
    pub(super) found: AnnouncedStream,
    memberships: Vec<PyMembership>,
}

#[pymethods]
impl FoundStream {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.found.name
    }

    /// Its identity.
    #[getter]
    fn stream(&self) -> u64 {
        self.found.stream.0
    }

    /// The incarnation of its publisher.
    #[getter]
    fn incarnation(&self) -> u32 {
        self.found.incarnation.0
    }

    /// The memberships to join, one for each path.
    #[getter]
    fn memberships(&self) -> Vec<PyMembership> {
        self.memberships.clone()
    }

    /// The address and port of its snapshot server; None if it has none.
    #[getter]
    fn snapshot(&self) -> Option<(String, u16)> {
        self.found.snapshot.map(pair)
    }

    /// Its rate limit in bytes per second; None without a limit.
    #[getter]
    fn rate(&self) -> Option<u64> {
        (self.found.rate > 0).then_some(self.found.rate)
    }

    /// Whether it is sealed (encrypted).
    #[getter]
    fn sealed(&self) -> bool {
        self.found.sealed
    }

    /// The public key of its publisher ("ed25519:..."), for `Subscriber(signed_by=...)`; None if the stream is not signed. The
    /// announcement proves that its sender has the private key, not who that is.
    #[getter]
    fn public_key(&self) -> Option<String> {
        self.found.public_key.and_then(sealing::public_key_text)
    }

    /// The source of the announcement, an address and port.
    #[getter]
    fn source(&self) -> (String, u16) {
        pair(self.found.source)
    }

    fn __repr__(&self) -> String {
        let AnnouncedStream { name, source, .. } = &self.found;
        format!("<FoundStream {name:?}, announced by {}>", source.ip())
    }
}

impl FoundStream {
    fn new(py: Python<'_>, found: AnnouncedStream) -> PyResult<Self> {
        let memberships = match found.memberships() {
            Err(_) if !found.hosts.is_empty() => Vec::new(),
            memberships => memberships.map_err(|error| raise_stream(py, &error))?,
        };
        Ok(Self { memberships: memberships.into_iter().map(PyMembership).collect(), found })
    }

    pub(super) fn to_join(&self) -> Vec<mcast::Membership> {
        self.memberships.iter().map(|membership| membership.0.clone()).collect()
    }
}

/// Receives announcements of streams, which are repeated every second: `for found in pymcast.Announcements()`.
///
/// interface: the interface to listen on. Default: every interface on which a Receiver joins.
/// family: 4 or 6. Default: both.
/// keys: a Keys or the path of its file, to find streams sealed with them instead of unsealed ones.
/// signed_by: a public key, or the path of a file of public keys, to find only streams that are announced by a publisher
///     with one of them.
///
/// `find_stream` and `find_streams` are based on it. Raises the same exceptions as Receiver.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Announcements {
    open: Mutex<Option<mcast_stream::Announcements>>,
    signed_by: PinnedKeys,
    owner: OwnerProcess,
}

#[pymethods]
impl Announcements {
    #[new]
    #[pyo3(signature = (*, interface=None, family=None, keys=None, signed_by=None))]
    fn new(
        py: Python<'_>,
        interface: Option<Selector>,
        family: Option<u8>,
        keys: Option<Secrets>,
        signed_by: Option<SignedBy>,
    ) -> PyResult<Self> {
        let family = match family {
            None => None,
            Some(4) => Some(mcast::Family::V4),
            Some(6) => Some(mcast::Family::V6),
            Some(other) => {
                return Err(value_error(format_args!("{other} is not an address family: use 4 or 6")));
            }
        };
        let keys = keys.map_or_else(Keys::none, |keys| keys.0);
        let interface = interface.map(|interface| interface.0);
        let joined = py.detach(|| mcast_stream::Announcements::join(family, interface, keys));
        let joined = joined.map_err(|error| raise_stream(py, &error))?;
        let signed_by = signed_by.map_or_else(PinnedKeys::none, |keys| keys.0);
        Ok(Self { open: Mutex::new(Some(joined)), signed_by, owner: OwnerProcess::current() })
    }

    /// Waits for the next announcement. Raises TimeoutError if none arrives within `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<FoundStream> {
        let deadline = Timeout::new(timeout)?.deadline();
        if self.owner.is_another_process() {
            return Err(self.owner.error(py, "listener"));
        }
        loop {
            let left = deadline
                .map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            let announced =
                py.detach(|| self.next_announcement(left)).ok_or_else(|| closed_error(py, "listener"))?;
            match announced.map_err(|error| raise_stream(py, &error))? {
                // Without a group there is nothing to subscribe to.
                Some(found) if found.paths.is_empty() => {}
                Some(found) if !self.is_trusted(&found) => {}
                Some(found) => return FoundStream::new(py, found),
                None if left.is_zero() => return Err(timeout_error()),
                None => {}
            }
            py.check_signals()?;
        }
    }

    /// Stops listening; loops over it end. Closing twice has no effect.
    fn close(&self, py: Python<'_>) {
        if self.owner.is_another_process() {
            return;
        }
        py.detach(|| drop(self.open.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.owner.is_another_process()
            || py.detach(|| self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<FoundStream>> {
        match self.next(py, None) {
            Err(_) if self.closed(py) => Ok(None),
            result => result.map(Some),
        }
    }
}

impl Drop for Announcements {
    fn drop(&mut self) {
        self.owner.release(self.open.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Announcements {
    fn is_trusted(&self, found: &AnnouncedStream) -> bool {
        self.signed_by.is_empty() || found.public_key.is_some_and(|key| self.signed_by.contains(&key))
    }

    /// Waits for an announcement; returns `None` if it is closed. Call it without the GIL: a waiting thread holds the
    /// lock.
    fn next_announcement(&self, time: Duration) -> Option<Result<Option<AnnouncedStream>, StreamError>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Some(open.as_mut()?.next_timeout(time))
    }
}
