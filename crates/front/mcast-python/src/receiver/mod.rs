//! Receiving datagrams: settings, the status of memberships, and statistics.

mod open;

pub(crate) use open::{Reader, Timeout};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcast::{HostAddr, InterfaceSelector, ReceiverBuilder, SourceFilter};
use open::Open;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyTuple};

use crate::datagram::{Datagram, Payload};
use crate::error::{OrRaise, already_open_error, closed_error, timeout_error, value_error};
use crate::membership::{Address, Hosts, Membership, PyMembership, Selectors, set_of};
use crate::statistics::{AttributeValue, Attributes, statistics_class};
use crate::sys;
use crate::values::{Bytes, Port, refuse_keywords};

/// Receives the datagrams of the memberships that it joined, and no others: each once, with its group, interface and
/// source.
///
/// Each membership is text ("239.255.1.3:7000", "10.0.0.7@232.1.2.3%eth1:7000"), a Membership, or a
/// pair of group and port. The constructor opens it; use it in a `with` statement, or close it.
///
/// interface: where to join memberships that name no interface: a name, index, address or Interface, or several.
///     Default: all that are up, support multicast and are not loopback.
/// listen: addresses of this host at which to receive unicast, for networks without multicast: text
///     ("0.0.0.0:7000"), a pair of address and port, or several. 0.0.0.0 and :: are all its addresses.
/// listen_broadcast: a port at which to receive IPv4 broadcasts.
/// receive_buffer: the size of each socket's buffer to request, in bytes. Default: 4 MiB.
/// loopback: whether to receive datagrams sent by this host. On Unix the sender decides.
/// follow: keep memberships joined when interfaces appear, disappear, flap or change addresses.
/// allow_any_source: allow joining source-specific groups without a source.
/// merging: let the kernel deliver consecutive datagrams of equal size in one buffer (GRO), which makes receiving
///     many times faster. These share one time, and the number of lost datagrams is a lower bound (Linux).
/// details: report hop limit, traffic class, time and loss for each datagram. Without it they are None, and receiving
///     one datagram per call takes a third less time (Linux).
///
/// Raises a subclass of pymcast.Error, such as NoSuchInterfaceError or SourceNeededError, whose `remedy` says what to
/// do; pymcast.ParseError for text that cannot be parsed.
///
/// Threads may share it; each datagram is delivered to one of them.
#[pyclass(frozen, weakref, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Receiver {
    settings: Settings,
    open: Mutex<Option<Arc<Open>>>,
    /// The final statistics, once it is closed.
    counted: Mutex<Option<Statistics>>,
}

#[pymethods]
impl Receiver {
    #[new]
    #[pyo3(signature = (
        *memberships, interface=None, listen=None, listen_broadcast=None, receive_buffer=None, loopback=None,
        follow=false, allow_any_source=false, merging=true, details=true, **unknown
    ), text_signature = "(*memberships, interface=None, listen=None, listen_broadcast=None, receive_buffer=None, \
        loopback=None, follow=False, allow_any_source=False, merging=True, details=True)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        memberships: &Bound<'_, PyTuple>,
        interface: Option<Selectors>,
        listen: Option<Hosts>,
        listen_broadcast: Option<Port>,
        receive_buffer: Option<Bytes>,
        loopback: Option<bool>,
        follow: bool,
        allow_any_source: bool,
        merging: bool,
        details: bool,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        refuse_keywords("Receiver", unknown)?;
        let memberships: Vec<Membership> =
            memberships.iter().map(|each| each.extract()).collect::<PyResult<_>>()?;
        let interfaces = interface.map_or_else(Vec::new, |interfaces| interfaces.0);
        let settings = Settings {
            memberships: expand(memberships, &interfaces),
            listen: listen.map_or_else(Vec::new, |hosts| hosts.0),
            listen_broadcast: listen_broadcast.map(|port| port.0),
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

    /// Reopens it with the memberships given to the constructor. Raises pymcast.AlreadyOpenError if it is open.
    fn open(&self, py: Python<'_>) -> PyResult<()> {
        if !self.closed() {
            return Err(already_open_error(py, "receiver"));
        }
        let opened = py.detach(|| self.settings.open()).or_raise(py)?;
        let mut open = self.lock();
        if open.is_some() {
            return Err(already_open_error(py, "receiver"));
        }
        *open = Some(Arc::new(opened));
        Ok(())
    }

    /// Leaves all groups and closes the sockets. Waiting calls raise pymcast.ClosedError; loops over the receiver
    /// end. Closing twice has no effect.
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

    /// Waits for a datagram. Raises TimeoutError if none arrives within `timeout` seconds.
    #[pyo3(signature = (*, timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<Datagram>> {
        let open = self.opened(py)?;
        open::until(py, &open, Timeout::new(timeout)?, |py| open.try_datagram(py))?.ok_or_else(timeout_error)
    }

    /// Returns a datagram if one is available, else None.
    fn try_recv(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        self.opened(py)?.try_datagram(py)
    }

    /// Waits for a datagram, receives it into a writable buffer and returns its length. A datagram longer than the
    /// buffer is cut off. A bytearray is written to directly, other buffers through a copy. Raises TimeoutError if
    /// none arrives within `timeout` seconds.
    #[pyo3(signature = (buffer, *, timeout=None))]
    fn recv_into(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<usize> {
        let open = self.opened(py)?;
        let timeout = Timeout::new(timeout)?;
        let received = match buffer.cast::<PyByteArray>() {
            Ok(bytes) => open::until(py, &open, timeout, |py| {
                let received = sys::with_bytes_mut(bytes, |bytes| open.try_bytes(bytes));
                open.or_raise(py, received)
            })?,
            Err(_) => {
                let view = PyMemoryView::from(buffer)?.call_method1("cast", ("B",))?;
                if view.getattr("readonly")?.is_truthy()? {
                    return Err(PyTypeError::new_err("the buffer is read-only"));
                }
                let room = view.len()?;
                let copied = |py: Python<'_>| open.try_copy(py, room);
                let payload = open::until(py, &open, timeout, copied)?;
                payload.map(|payload| fill(&view, payload.bind(py))).transpose()?
            }
        };
        received.ok_or_else(timeout_error)
    }

    /// Waits for datagrams and returns all that are available, up to one batch (32 kernel buffers, each of which can
    /// hold many small datagrams). Raises TimeoutError if none arrives within `timeout` seconds.
    #[pyo3(signature = (*, timeout=None))]
    fn recv_batch<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let open = self.opened(py)?;
        let batch = open::until(py, &open, Timeout::new(timeout)?, |py| open.try_batch(py))?;
        PyList::new(py, batch.ok_or_else(timeout_error)?)
    }

    /// Returns the datagrams that are available, as recv_batch does; an empty list if there are none.
    fn try_recv_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.opened(py)?.try_batch(py)?.unwrap_or_default())
    }

    /// Returns a reader, which iterates over datagrams that it receives in batches:
    /// `for datagram in receiver.reader()`. It buffers up to one batch.
    fn reader(&self, py: Python<'_>) -> PyResult<Reader> {
        self.opened(py).map(Reader::new)
    }

    /// Waits until a datagram may be available; returns False after `timeout` seconds. True does not guarantee one:
    /// another thread may take it first, or it may belong to another receiver.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let open = self.opened(py)?;
        open::until_ready(py, &open, Timeout::new(timeout)?)
    }

    /// Sends a reply to a datagram's source, on the interface where the datagram was received, from the port it was
    /// sent to. Sender.recv_answer receives it.
    fn reply(&self, py: Python<'_>, datagram: &Datagram, payload: Payload<'_>) -> PyResult<()> {
        let open = self.opened(py)?;
        let (arrival, bytes) = (datagram.arrival, payload.bytes());
        py.detach(|| open.receiver.reply(&arrival, bytes)).or_raise(py)
    }

    /// Joins a membership, in the same notation as in the constructor. If it raises pymcast.Error, nothing has changed.
    fn join(&self, py: Python<'_>, membership: Membership) -> PyResult<()> {
        let open = self.opened(py)?;
        py.detach(|| open.join(expand(vec![membership], &self.settings.interfaces))).or_raise(py)
    }

    /// Leaves a membership, given in the same notation as when it was joined. Once it returns, its datagrams are no
    /// longer received. Raises pymcast.NotJoinedError if it was not joined.
    fn leave(&self, py: Python<'_>, membership: Membership) -> PyResult<()> {
        let open = self.opened(py)?;
        py.detach(|| open.leave(&expand(vec![membership], &self.settings.interfaces))).or_raise(py)
    }

    /// Replaces the sources of a membership atomically: only `sources` are admitted, or all except `exclude`. To
    /// leave it later, give the membership with the new sources.
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
            (Some(_), Some(_)) => return Err(value_error("give sources or exclude, not both")),
        };
        let open = self.opened(py)?;
        let memberships = expand(vec![membership], &self.settings.interfaces);
        let set = |each| open.receiver.set_sources(each, filter.clone());
        py.detach(|| memberships.iter().try_for_each(set)).or_raise(py)
    }

    /// The status of each membership on each of its interfaces.
    #[getter]
    fn memberships(&self, py: Python<'_>) -> PyResult<Vec<MembershipStatus>> {
        let open = self.opened(py)?;
        let statuses = py.detach(|| open.receiver.memberships());
        Ok(statuses.iter().map(MembershipStatus::from).collect())
    }

    /// Its statistics; also available once it is closed.
    #[getter]
    fn statistics(&self, py: Python<'_>) -> PyResult<Statistics> {
        let open = self.lock().clone();
        match open {
            Some(open) => Ok(py.detach(|| open.receiver.statistics()).into()),
            None => {
                let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                counted.ok_or_else(|| closed_error(py, "receiver"))
            }
        }
    }

    /// The size of the receive buffer in bytes: less than requested if a system limit applies (Linux:
    /// net.core.rmem_max).
    #[getter]
    fn receive_buffer(&self, py: Python<'_>) -> PyResult<usize> {
        let open = self.opened(py)?;
        Ok(py.detach(|| open.receiver.receive_buffer()))
    }

    /// Returns one descriptor for all sockets, for use with select: it is readable when a datagram may be available.
    /// Raises OSError on systems other than Unix.
    fn fileno(&self, py: Python<'_>) -> PyResult<i64> {
        sys::receiver_descriptor(&self.opened(py)?.receiver)
    }

    /// Reopens it if it is closed.
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

    /// Returns the next datagram; iteration ends when the receiver is closed.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Datagram>>> {
        let Some(open) = self.lock().clone() else { return Ok(None) };
        match open::until(py, &open, Timeout::NEVER, |py| open.try_datagram(py)) {
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
            crate::lifetime::warn(&self.__repr__());
        }
    }
}

impl Receiver {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, py: Python<'_>) -> PyResult<Arc<Open>> {
        self.lock().clone().ok_or_else(|| closed_error(py, "receiver"))
    }
}

fn fill(view: &Bound<'_, PyAny>, payload: &Bound<'_, PyBytes>) -> PyResult<usize> {
    let length = payload.as_bytes().len();
    let slice = pyo3::types::PySlice::new(view.py(), 0, length.cast_signed(), 1);
    view.set_item(slice, payload)?;
    Ok(length)
}

/// The settings of a receiver, kept so that it can be reopened.
#[derive(Debug)]
struct Settings {
    memberships: Vec<mcast::Membership>,
    listen: Vec<HostAddr>,
    listen_broadcast: Option<u16>,
    /// The interfaces on which to join memberships that name none.
    interfaces: Vec<InterfaceSelector>,
    receive_buffer: Option<usize>,
    loopback: Option<bool>,
    follow: bool,
    allow_any_source: bool,
    merging: bool,
    details: bool,
}

impl Settings {
    fn open(&self) -> mcast::Result<Open> {
        let mut builder = mcast::Receiver::builder()
            .join_all(self.memberships.iter().cloned())
            .follow(self.follow)
            .allow_any_source(self.allow_any_source)
            .gro(self.merging)
            .details(self.details);
        builder = self.listen.iter().cloned().fold(builder, ReceiverBuilder::listen);
        builder =
            listen_broadcasts(self.listen_broadcast, &self.interfaces).fold(builder, ReceiverBuilder::listen);
        builder = self.receive_buffer.into_iter().fold(builder, ReceiverBuilder::receive_buffer);
        builder = self.loopback.into_iter().fold(builder, ReceiverBuilder::loopback);
        builder.build().map(Open::new)
    }
}

/// Returns where broadcasts are received.
pub(crate) fn listen_broadcasts(
    port: Option<u16>,
    interfaces: &[InterfaceSelector],
) -> impl Iterator<Item = HostAddr> {
    let everywhere = port.map(HostAddr::broadcast);
    let hosts = match interfaces {
        [] => vec![everywhere],
        several => several.iter().map(|on| Some(everywhere.clone()?.on(on.clone()))).collect(),
    };
    hosts.into_iter().flatten()
}

/// Expands memberships that name no interface to one for each of `interfaces`.
pub(crate) fn expand(
    memberships: Vec<Membership>,
    interfaces: &[InterfaceSelector],
) -> Vec<mcast::Membership> {
    let expand = |Membership(membership)| match membership.interface {
        None if !interfaces.is_empty() => {
            interfaces.iter().map(|each| membership.clone().on(each.clone())).collect()
        }
        _ => vec![membership],
    };
    memberships.into_iter().flat_map(expand).collect()
}

/// The status of a membership on each of its interfaces.
#[pyclass(frozen, module = "pymcast")]
#[derive(Clone, Debug)]
pub(crate) struct MembershipStatus {
    /// The membership as it was requested.
    #[pyo3(get)]
    membership: PyMembership,
    /// The names of the interfaces on which it is joined.
    #[pyo3(get)]
    joined: Vec<String>,
    /// The names of the interfaces on which joining failed, with the reasons.
    #[pyo3(get)]
    failed: BTreeMap<String, String>,
    /// Why no interface matches at present, if so; with `follow`, the receiver waits for one.
    #[pyo3(get)]
    waiting: Option<String>,
    text: String,
}

#[pymethods]
impl MembershipStatus {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<MembershipStatus {}>", self.text)
    }
}

impl From<&mcast::MembershipStatus> for MembershipStatus {
    fn from(status: &mcast::MembershipStatus) -> Self {
        let (failed, joined): (Vec<_>, Vec<_>) =
            status.interfaces.iter().partition(|interface| interface.failure.is_some());
        let reason = |on: &mcast::InterfaceStatus| Some((on.name.clone(), on.failure.as_ref()?.to_string()));
        Self {
            membership: PyMembership(status.membership.clone()),
            joined: joined.into_iter().map(|on| on.name.clone()).collect(),
            failed: failed.into_iter().filter_map(reason).collect(),
            waiting: status.waiting.as_ref().map(ToString::to_string),
            text: status.to_string(),
        }
    }
}

statistics_class! {
    /// Statistics of a receiver.
    Statistics of mcast::Statistics, shows "received" "truncated" "refused" "dropped"
}

impl From<mcast::Statistics> for Statistics {
    fn from(counted: mcast::Statistics) -> Self {
        let dropped = AttributeValue::Known(counted.dropped.count());
        let certainty = AttributeValue::Name(counted.dropped.certainty(), &CERTAINTIES);
        let attributes = Attributes::of(counted.figures())
            .with(
                "dropped",
                dropped,
                "Datagrams that the system dropped because a buffer was full; None where it does not count them.",
            )
            .with(
                "dropped_certainty",
                certainty,
                "How exact `dropped` is: \"exactly\", \"at least\", \"at most\", \"about\" or \"unknown\".",
            );
        Self(attributes)
    }
}

const CERTAINTIES: [&str; 5] = ["exactly", "at least", "at most", "about", "unknown"];
