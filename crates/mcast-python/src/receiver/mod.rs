//! Receiving, as Python has it.

mod open;
mod reader;
mod settings;
mod status;
mod wait;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcast::SourceFilter;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyTuple};

use crate::datagram::Datagram;
use crate::error::{OrRaise, already_open, closed, refused, timed_out};
use crate::interface::Selectors;
use crate::membership::{Address, Membership, set_of};
use crate::number::Bytes;
use crate::payload::Payload;
use crate::sys;
use open::Open;
pub(crate) use reader::Reader;
use settings::Settings;
pub(crate) use settings::spread;
pub(crate) use status::{_statistics, MembershipStatus, Statistics};
pub(crate) use wait::Timeout;

/// Receives the datagrams of the groups that it joined: exactly those, each once, each with the
/// group, interface and source it came by.
///
/// Each membership is text ("239.1.2.3:7000", "10.0.0.7@232.1.2.3%eth1:7000"), a Membership, or a
/// pair of group and port. It is open once it is made; use it in a `with` statement, or close it.
///
/// interface: where memberships that name none are joined: a name, index, address or Interface, or
///     several. Default: all that are up, can multicast and are not loopback.
/// receive_buffer: bytes to ask the system for, for each socket. Default: 4 MiB.
/// loopback: whether datagrams of this host are received; on Unix this is the sender's choice.
/// follow: whether memberships outlive interfaces that appear, vanish, flap or change address.
/// allow_any_source: whether source-specific groups may be joined without a source.
/// merging: whether runs of equal datagrams may come from the system as one buffer, which makes
///     recv_batch many times faster (Linux).
/// details: whether hop limit, traffic class, time and loss are told with each datagram. Without them,
///     they are None, and receiving one datagram a call takes a third less time (Linux).
///
/// Raises pymcast.Error, or one of its kinds, whose `remedy` says what to do: NoSuchInterfaceError,
/// SourceNeededError, AddressInUseError and so on; pymcast.ParseError for text that cannot be
/// understood.
///
/// Threads may share it; each datagram goes to one of them.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Receiver {
    settings: Settings,
    open: Mutex<Option<Arc<Open>>>,
    /// What it had counted when it was closed.
    counted: Mutex<Option<Statistics>>,
}

#[pymethods]
impl Receiver {
    #[new]
    #[pyo3(signature = (
        *memberships, interface=None, receive_buffer=None, loopback=None, follow=false,
        allow_any_source=false, merging=true, details=true
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn new(
        py: Python<'_>,
        memberships: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        receive_buffer: Option<Bytes>,
        loopback: Option<bool>,
        follow: bool,
        allow_any_source: bool,
        merging: bool,
        details: bool,
    ) -> PyResult<Self> {
        let memberships: Vec<Membership> =
            memberships.iter().map(|each| each.extract()).collect::<PyResult<_>>()?;
        let interfaces = interface.map_or_else(Vec::new, |interfaces| interfaces.0);
        let settings = Settings {
            memberships: settings::spread(memberships, &interfaces),
            interfaces,
            receive_buffer: receive_buffer.map(|bytes| bytes.0),
            loopback,
            follow,
            allow_any_source,
            merging,
            details,
        };
        let receiver = Self { settings, open: Mutex::new(None), counted: Mutex::default() };
        receiver.open(py)?;
        Ok(receiver)
    }

    /// Opens it again, with the memberships that it was made with. Raises pymcast.AlreadyOpenError if it is
    /// open.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        if !self.closed() {
            return Err(already_open(py, "receiver"));
        }
        let opened = py.detach(|| self.settings.open()).or_raise(py)?;
        let mut open = self.lock();
        if open.is_some() {
            return Err(already_open(py, "receiver"));
        }
        *open = Some(Arc::new(opened));
        Ok(())
    }

    /// Leaves all groups and closes the sockets. Calls that wait end with pymcast.ClosedError,
    /// loops over the receiver just end. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let was_open = self.lock().take();
        match was_open {
            Some(open) => {
                let counted = py.detach(|| open.receiver.statistics());
                *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(counted.into());
                py.detach(|| open.end()).or_raise(py)
            }
            None => Ok(()),
        }
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Waits for a datagram. Raises TimeoutError when none came in `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<Datagram>> {
        let open = self.opened(py)?;
        wait::until(py, &open, Timeout::new(timeout)?, |py| open.try_datagram(py))?.ok_or_else(timed_out)
    }

    /// A datagram if one is there, else None.
    fn try_recv(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        self.opened(py)?.try_datagram(py)
    }

    /// Waits for a datagram, receives it into a writable buffer and says how many bytes that is.
    /// What is longer than the buffer is cut off. A bytearray is written to directly, others by
    /// way of a copy. Raises TimeoutError when none came in `timeout` seconds.
    #[pyo3(signature = (buffer, timeout=None))]
    fn recv_into(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<usize> {
        let open = self.opened(py)?;
        let timeout = Timeout::new(timeout)?;
        let received = match buffer.cast::<PyByteArray>() {
            Ok(bytes) => wait::until(py, &open, timeout, |py| {
                let received = sys::with_bytes_mut(bytes, |bytes| open.try_bytes(bytes));
                open.told(py, received)
            })?,
            Err(_) => {
                let view = PyMemoryView::from(buffer)?.call_method1("cast", ("B",))?;
                if view.getattr("readonly")?.is_truthy()? {
                    return Err(PyTypeError::new_err(
                        "a datagram is received into a buffer that can be written",
                    ));
                }
                let room = view.len()?;
                let copied = |py: Python<'_>| open.try_copy(py, room);
                let payload = wait::until(py, &open, timeout, copied)?;
                payload.map(|payload| fill(&view, payload.bind(py))).transpose()?
            }
        };
        received.ok_or_else(timed_out)
    }

    /// Waits for datagrams and returns as many as are there, up to what a batch holds (32 buffers
    /// of the kernel's, of which each may hold many small datagrams).
    /// Raises TimeoutError when none came in `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn recv_batch<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let open = self.opened(py)?;
        let batch = wait::until(py, &open, Timeout::new(timeout)?, |py| open.try_batch(py))?;
        PyList::new(py, batch.ok_or_else(timed_out)?)
    }

    /// The datagrams that are there, as recv_batch; an empty list when none is.
    fn try_recv_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.opened(py)?.try_batch(py)?.unwrap_or_default())
    }

    /// A reader: a plain loop over datagrams, `for datagram in receiver.reader()`, that costs no more
    /// than batches. Up to a batch waits inside it.
    fn reader(&self, py: Python<'_>) -> PyResult<Reader> {
        self.opened(py).map(Reader::new)
    }

    /// Waits until something may be there to receive; False when nothing was in `timeout` seconds.
    /// True promises no datagram: another thread may be faster, or what came was not for this one.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let open = self.opened(py)?;
        wait::for_something(py, &open, Timeout::new(timeout)?)
    }

    /// Sends an answer to a datagram's source: by the interface it came in by, from the port it was
    /// sent to. Sender.recv_answer receives it.
    fn reply(&self, py: Python<'_>, datagram: &Datagram, payload: Payload<'_>) -> PyResult<()> {
        let open = self.opened(py)?;
        let (arrival, bytes) = (datagram.arrival, payload.bytes());
        py.detach(|| open.receiver.reply(&arrival, bytes)).or_raise(py)
    }

    /// Joins, while receiving; takes what the constructor takes. Raises pymcast.Error, and then
    /// nothing has changed.
    fn join(&self, py: Python<'_>, membership: Membership) -> PyResult<()> {
        let open = self.opened(py)?;
        py.detach(|| open.join(settings::spread(vec![membership], &self.settings.interfaces))).or_raise(py)
    }

    /// Leaves, while receiving, what was joined in the same words. Once it returns, nothing of it is
    /// received any more. Raises pymcast.NotJoinedError if it was not joined.
    fn leave(&self, py: Python<'_>, membership: Membership) -> PyResult<()> {
        let open = self.opened(py)?;
        py.detach(|| open.leave(&settings::spread(vec![membership], &self.settings.interfaces))).or_raise(py)
    }

    /// Replaces the sources of a membership, at once: only `sources` are admitted, or all but
    /// `exclude`. From then on it is known as the membership with the new sources.
    #[pyo3(signature = (membership, sources=None, *, exclude=None))]
    fn set_sources(
        &self,
        py: Python<'_>,
        membership: Membership,
        sources: Option<Vec<Address>>,
        exclude: Option<Vec<Address>>,
    ) -> PyResult<()> {
        let filter = match (sources, exclude) {
            (Some(sources), None) => SourceFilter::Include(set_of(sources)),
            (None, excluded) => SourceFilter::Exclude(set_of(excluded.unwrap_or_default())),
            (Some(_), Some(_)) => return Err(refused("sources are admitted or excluded, not both")),
        };
        let open = self.opened(py)?;
        let memberships = settings::spread(vec![membership], &self.settings.interfaces);
        let set = |each| open.receiver.set_sources(each, filter.clone());
        py.detach(|| memberships.iter().try_for_each(set)).or_raise(py)
    }

    /// What became of each membership, on each of its interfaces.
    #[getter]
    fn memberships(&self, py: Python<'_>) -> PyResult<Vec<MembershipStatus>> {
        let open = self.opened(py)?;
        let statuses = py.detach(|| open.receiver.memberships());
        Ok(statuses.iter().map(MembershipStatus::from).collect())
    }

    /// What was received, refused, cut off and dropped so far; also once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<Statistics> {
        let open = self.lock().clone();
        match open {
            Some(open) => Ok(py.detach(|| open.receiver.statistics()).into()),
            None => {
                let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                counted.ok_or_else(|| closed(py, "receiver"))
            }
        }
    }

    /// Bytes of receive buffer that the system granted: less than was asked for where a limit is in
    /// the way (Linux: net.core.rmem_max).
    #[getter]
    fn receive_buffer(&self, py: Python<'_>) -> PyResult<usize> {
        let open = self.opened(py)?;
        Ok(py.detach(|| open.receiver.receive_buffer()))
    }

    /// One descriptor for all sockets, for select and the like: readable when a receive would find
    /// something to do. Unix only; elsewhere OSError.
    fn fileno(&self, py: Python<'_>) -> PyResult<i64> {
        sys::descriptor(&self.opened(py)?.receiver)
    }

    /// Opens it again if it is closed.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().closed() {
            slf.get().open(slf.py())?;
        }
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next datagram; the loop ends when the receiver is closed.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        let Some(open) = self.lock().clone() else { return Ok(None) };
        match wait::until(py, &open, Timeout::NEVER, |py| open.try_datagram(py)) {
            Err(_) if open.has_ended() => Ok(None),
            result => result,
        }
    }

    fn __repr__(&self) -> String {
        let memberships: Vec<String> = self.settings.memberships.iter().map(ToString::to_string).collect();
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Receiver of {}{closed}>", memberships.join(", "))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.closed() {
            crate::unclosed::warn(&self.__repr__());
        }
    }
}

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<Open>> {
        self.lock().clone().ok_or_else(|| closed(py, "receiver"))
    }
}

fn fill(view: &Bound<'_, PyAny>, payload: &Bound<'_, PyBytes>) -> PyResult<usize> {
    let length = payload.as_bytes().len();
    let slice = pyo3::types::PySlice::new(view.py(), 0, length.cast_signed(), 1);
    view.set_item(slice, payload)?;
    Ok(length)
}
