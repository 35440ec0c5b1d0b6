//! Streams by name, as Python has them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcast_stream::seal::Keys;
use mcast_stream::{Found, StreamError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::error::raise_stream;
use super::keys::Secrets;
use super::snapshot::pair;
use crate::error::{closed, refused, timed_out};
use crate::fork::Maker;
use crate::interface::Selector;
use crate::membership::PyMembership;
use crate::receiver::Timeout;

/// How long to wait before looking for signals.
const SLICE: Duration = Duration::from_millis(50);

/// A stream that is announced: `pymcast.Subscriber(found)` receives it.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct FoundStream {
    pub(super) found: Found,
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

    /// The life of its publisher.
    #[getter]
    fn incarnation(&self) -> u32 {
        self.found.incarnation.0
    }

    /// What to join to hear it: a path each.
    #[getter]
    fn memberships(&self) -> Vec<PyMembership> {
        self.memberships.clone()
    }

    /// Where snapshots are to be had, an address and port; None if nowhere.
    #[getter]
    fn snapshot(&self) -> Option<(String, u16)> {
        self.found.snapshot.map(pair)
    }

    /// How fast it sends, in bytes a second; None: as fast as it goes.
    #[getter]
    fn rate(&self) -> Option<u64> {
        (self.found.rate > 0).then_some(self.found.rate)
    }

    /// Whether it is sealed.
    #[getter]
    fn sealed(&self) -> bool {
        self.found.sealed
    }

    /// Who announced it, an address and port.
    #[getter]
    fn source(&self) -> (String, u16) {
        pair(self.found.source)
    }

    fn __repr__(&self) -> String {
        let Found { name, source, .. } = &self.found;
        format!("<FoundStream {name:?}, announced by {}>", source.ip())
    }
}

impl FoundStream {
    fn new(py: Python<'_>, found: Found) -> PyResult<Self> {
        let memberships = found.memberships().map_err(|error| raise_stream(py, &error))?;
        Ok(Self { memberships: memberships.into_iter().map(PyMembership).collect(), found })
    }

    pub(super) fn joined(&self) -> Vec<mcast::Membership> {
        self.memberships.iter().map(|membership| membership.0.clone()).collect()
    }
}

/// Hears what streams are announced, each again every second: `for found in pymcast.Announcements()`.
///
/// interface: where to listen. Default: on every interface on which a Receiver joins.
/// family: 4 or 6. Default: both.
/// keys: a Keys or the path of its file: streams that they seal, instead of those in clear.
///
/// `find_stream` and `discover` are made of it. Raises what Receiver does.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Announcements {
    open: Mutex<Option<mcast_stream::Announcements>>,
    maker: Maker,
}

#[pymethods]
impl Announcements {
    #[new]
    #[pyo3(signature = (*, interface=None, family=None, keys=None))]
    fn new(
        py: Python<'_>,
        interface: Option<Selector>,
        family: Option<u8>,
        keys: Option<Secrets>,
    ) -> PyResult<Self> {
        let family = match family {
            None => None,
            Some(4) => Some(mcast::Family::V4),
            Some(6) => Some(mcast::Family::V6),
            Some(other) => return Err(refused(format_args!("{other} is no family: write 4 or 6"))),
        };
        let keys = keys.map_or_else(Keys::none, |keys| keys.0);
        let interface = interface.map(|interface| interface.0);
        let joined = py.detach(|| mcast_stream::Announcements::join(family, interface, keys));
        let joined = joined.map_err(|error| raise_stream(py, &error))?;
        Ok(Self { open: Mutex::new(Some(joined)), maker: Maker::here() })
    }

    /// Waits for the next announcement. Raises TimeoutError when none came in `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<FoundStream> {
        let deadline = Timeout::new(timeout)?.deadline();
        if self.maker.is_elsewhere() {
            return Err(self.maker.refuse(py, "listener"));
        }
        loop {
            let left = deadline
                .map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            let heard = py.detach(|| self.hear(left)).ok_or_else(|| closed(py, "listener"))?;
            match heard.map_err(|error| raise_stream(py, &error))? {
                // One that says no group leads nowhere.
                Some(found) if found.paths.is_empty() => {}
                Some(found) => return FoundStream::new(py, found),
                None if left.is_zero() => return Err(timed_out()),
                None => {}
            }
            py.check_signals()?;
        }
    }

    /// Stops listening. Loops just end. Closing twice does nothing.
    fn close(&self, py: Python<'_>) {
        if self.maker.is_elsewhere() {
            return;
        }
        py.detach(|| drop(self.open.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.maker.is_elsewhere()
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
        self.maker.end(self.open.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Announcements {
    /// Without Python's lock: whoever waits holds this one. `None` when it is closed.
    fn hear(&self, time: Duration) -> Option<Result<Option<Found>, StreamError>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Some(open.as_mut()?.next_timeout(time))
    }
}
