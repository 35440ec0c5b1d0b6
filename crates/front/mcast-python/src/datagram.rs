//! Received datagrams with their metadata, and datagrams to send: any Python object with the buffer protocol.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mcast::{Arrival, GroupAddr, InterfaceIndex, InterfaceSelector};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::error::OrRaise;
use crate::group::PyGroup;
use crate::membership::{Address, Selector, Target};
use crate::sys;
use crate::values::{HopLimit, Pickled, TrafficClass, nanoseconds_of, pickled, time_of, unpickle_error};

/// A received datagram with its metadata: group, interface, source, time, and how many were lost before it.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The payload, cut off at the size of the buffer.
    #[pyo3(get)]
    payload: Py<PyBytes>,
    pub(crate) arrival: Arrival,
    names: Arc<InterfaceNames>,
}

impl Datagram {
    pub(crate) fn new(
        py: Python<'_>,
        received: &mcast::Datagram<'_>,
        names: &Arc<InterfaceNames>,
    ) -> PyResult<Py<Self>> {
        let datagram = Self {
            payload: PyBytes::new(py, received.payload()).unbind(),
            arrival: *received.arrival(),
            names: Arc::clone(names),
        };
        // It refers only to bytes, so it cannot be part of a reference cycle.
        Ok(sys::untracked(Bound::new(py, datagram)?).unbind())
    }
}

/// Restores a pickled Datagram.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "one for each field")]
pub(crate) fn _datagram(
    payload: Py<PyBytes>,
    destination: &str,
    interface: (u32, String),
    source: &str,
    header: (Option<u8>, Option<u8>),
    times: (Option<u64>, Option<u64>),
    lost: Option<u64>,
    length: usize,
    truncated: bool,
) -> PyResult<Datagram> {
    let invalid = || unpickle_error("Datagram");
    let destination: SocketAddr = destination.parse().map_err(|_| invalid())?;
    let index = InterfaceIndex::new(interface.0).ok_or_else(invalid)?;
    let names = Arc::new(InterfaceNames::default());
    names.learn([(index, interface.1)]);
    let mut arrival = Arrival::new(destination, index, source.parse().map_err(|_| invalid())?);
    (arrival.hop_limit, arrival.traffic_class) = header;
    (arrival.time, arrival.hardware_time) = (times.0.map(time_of), times.1.map(time_of));
    (arrival.lost, arrival.length, arrival.truncated) = (lost, length, truncated);
    Ok(Datagram { payload, arrival, names })
}

#[pymethods]
impl Datagram {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let Arrival { hop_limit, traffic_class, time, hardware_time, lost, length, truncated, .. } =
            self.arrival;
        let arguments = (
            self.payload.clone_ref(py),
            self.arrival.destination.to_string(),
            (self.interface_index(), self.interface()),
            self.arrival.source.to_string(),
            (hop_limit, traffic_class),
            (time.map(nanoseconds_of), hardware_time.map(nanoseconds_of)),
            lost,
            length,
            truncated,
        );
        pickled(py, "_datagram", arguments)
    }

    /// The destination group; None if it was sent to this host or as a broadcast.
    #[getter]
    fn group(&self) -> Option<PyGroup> {
        self.arrival.group().map(|address| PyGroup(address.group))
    }

    /// The destination in the format of the socket module: (host, port), for IPv6 (host, port, flow, scope).
    #[getter]
    fn destination<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        socket_address(py, self.arrival.destination)
    }

    /// The destination UDP port.
    #[getter]
    fn port(&self) -> u16 {
        self.arrival.destination.port()
    }

    /// The name of the receiving interface; its index as text if the interface no longer exists.
    #[getter]
    fn interface(&self) -> String {
        self.names.of(self.arrival.interface)
    }

    /// The index of the receiving interface.
    #[getter]
    fn interface_index(&self) -> u32 {
        self.arrival.interface.number()
    }

    /// The source address: an ipaddress.IPv4Address or IPv6Address, with its scope if it is link-local. It is not
    /// authenticated: a sender can forge it.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        source_address(py, self.arrival.source, || self.interface())
    }

    /// The source UDP port.
    #[getter]
    fn source_port(&self) -> u16 {
        self.arrival.source.port()
    }

    /// The source in the format of the socket module: (host, port), for IPv6 (host, port, flow, scope).
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        socket_address(py, self.arrival.source)
    }

    /// The remaining hop limit (IPv4: TTL); None where the system does not report it.
    #[getter]
    fn hop_limit(&self) -> Option<u8> {
        self.arrival.hop_limit
    }

    /// The traffic class (IPv4: TOS): DSCP in the upper six bits, ECN in the lower two.
    #[getter]
    fn traffic_class(&self) -> Option<u8> {
        self.arrival.traffic_class
    }

    /// The differentiated services code point (RFC 2474).
    #[getter]
    fn dscp(&self) -> Option<u8> {
        self.arrival.dscp()
    }

    /// When the kernel received it, in nanoseconds since 1970 as time.time_ns(); None on Windows.
    #[getter]
    fn time_ns(&self) -> Option<u128> {
        self.arrival.time.map(nanoseconds)
    }

    /// The same in seconds, as time.time().
    #[getter]
    fn time(&self) -> Option<f64> {
        self.arrival.time.map(seconds)
    }

    /// How many datagrams the system dropped on this socket because its buffer was full, between the previous
    /// datagram and this one; None where it does not count them (macOS, BSD, Windows).
    #[getter]
    fn lost(&self) -> Option<u64> {
        self.arrival.lost
    }

    /// The length of the payload as it was sent, in bytes, even if it was truncated.
    #[getter]
    fn length(&self) -> usize {
        self.arrival.length
    }

    /// Whether the payload was cut off because the buffer was too small.
    #[getter]
    fn truncated(&self) -> bool {
        self.arrival.truncated
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.payload.as_bytes(py).len()
    }

    fn __bytes__(&self, py: Python<'_>) -> Py<PyBytes> {
        self.payload.clone_ref(py)
    }

    fn __bool__(&self) -> bool {
        // An empty datagram is a datagram.
        true
    }

    fn __repr__(&self) -> String {
        let Arrival { destination, source, length, .. } = self.arrival;
        format!("<Datagram of {length} bytes for {destination} from {source} by {}>", self.interface())
    }
}

/// A cache of interface names.
#[derive(Debug, Default)]
pub(crate) struct InterfaceNames(Mutex<HashMap<InterfaceIndex, String>>);

impl InterfaceNames {
    /// Returns the name of an interface; its index as text if it no longer exists.
    pub(crate) fn of(&self, index: InterfaceIndex) -> String {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        cached.unwrap_or_else(|| {
            let found = mcast::interface::find(&InterfaceSelector::Index(index));
            let name = found.map_or_else(|_| index.to_string(), |interface| interface.name);
            self.learn([(index, name.clone())]);
            name
        })
    }

    /// Adds names to the cache.
    pub(crate) fn learn(&self, names: impl IntoIterator<Item = (InterfaceIndex, String)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }
}

/// Converts a source to an ipaddress object; a link-local one gets the interface as its scope.
pub(crate) fn source_address(
    py: Python<'_>,
    source: SocketAddr,
    scope: impl FnOnce() -> String,
) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    match source {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            CLASS.import(py, "ipaddress", "IPv6Address")?.call1((format!("{}%{}", v6.ip(), scope()),))
        }
        _ => source.ip().into_bound_py_any(py),
    }
}

/// Converts an address to the format of the socket module.
pub(crate) fn socket_address(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyAny>> {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_string(), v4.port()).into_bound_py_any(py),
        SocketAddr::V6(v6) => {
            (v6.ip().to_string(), v6.port(), v6.flowinfo(), v6.scope_id()).into_bound_py_any(py)
        }
    }
}

pub(crate) fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

pub(crate) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A datagram to send, with options that override the sender's settings.
///
/// to: the destination group and port, as text or a pair, instead of the sender's destinations.
/// interface: the egress interface: a name, index, address or Interface.
/// hop_limit: the hop limit (IPv4: TTL).
/// traffic_class: DSCP in the upper six bits, ECN in the lower two.
/// source_address: the address to send from, which must be one of this machine's.
#[pyclass(frozen, module = "pymcast", name = "Outgoing")]
#[derive(Debug)]
pub(crate) struct PyOutgoing {
    payload: Py<PyBytes>,
    options: SendOptions,
}

/// Options of one datagram that override the sender's settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendOptions {
    to: Option<GroupAddr>,
    interface: Option<InterfaceIndex>,
    hop_limit: Option<u8>,
    traffic_class: Option<u8>,
    source_address: Option<IpAddr>,
}

impl SendOptions {
    pub(crate) fn new(
        py: Python<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
        source_address: Option<Address>,
    ) -> PyResult<Self> {
        let to = to.map(|target| target.0);
        let given = interface.map(|selector| selector.0);
        let zone = || to.as_ref().and_then(|to| to.interface.clone());
        let interface = given.or_else(zone).map(|interface| index_of(py, interface)).transpose()?;
        Ok(Self {
            to: to.map(|to| to.address),
            interface,
            hop_limit: hop_limit.map(|hops| hops.0),
            traffic_class: traffic_class.map(|class| class.0),
            source_address: source_address.map(|address| address.0),
        })
    }

    pub(crate) fn outgoing<'a>(&self, payload: &'a [u8]) -> mcast::Outgoing<'a> {
        let outgoing = mcast::Outgoing::new(payload);
        let outgoing = self.to.into_iter().fold(outgoing, mcast::Outgoing::to);
        let outgoing = self.interface.into_iter().fold(outgoing, mcast::Outgoing::by);
        let outgoing = self.hop_limit.into_iter().fold(outgoing, mcast::Outgoing::hop_limit);
        let outgoing = self.traffic_class.into_iter().fold(outgoing, mcast::Outgoing::traffic_class);
        self.source_address.into_iter().fold(outgoing, mcast::Outgoing::from_address)
    }
}

fn index_of(py: Python<'_>, selector: InterfaceSelector) -> PyResult<InterfaceIndex> {
    match selector {
        InterfaceSelector::Index(index) => Ok(index),
        other => Ok(py.detach(|| mcast::interface::find(&other)).or_raise(py)?.index),
    }
}

#[pymethods]
impl PyOutgoing {
    #[new]
    #[pyo3(signature = (payload, *, to=None, interface=None, hop_limit=None, traffic_class=None, source_address=None))]
    fn new(
        py: Python<'_>,
        payload: Payload<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
        source_address: Option<Address>,
    ) -> PyResult<Self> {
        let options = SendOptions::new(py, to, interface, hop_limit, traffic_class, source_address)?;
        Ok(Self { payload: payload.0.unbind(), options })
    }

    /// The payload.
    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyBytes> {
        self.payload.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let bytes = self.payload.as_bytes(py).len();
        let to = self.options.to.map(|to| format!(" to {to}")).unwrap_or_default();
        format!("<Outgoing of {bytes} bytes{to}>")
    }
}

/// A datagram of a batch: bytes, or an `Outgoing`.
pub(crate) struct Item<'py> {
    payload: Bound<'py, PyBytes>,
    options: SendOptions,
}

impl Item<'_> {
    pub(crate) fn outgoing(&self) -> mcast::Outgoing<'_> {
        self.options.outgoing(self.payload.as_bytes())
    }
}

impl<'py> FromPyObject<'_, 'py> for Item<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(outgoing) = object.cast::<PyOutgoing>() {
            let outgoing = outgoing.get();
            let payload = outgoing.payload.bind(object.py()).clone();
            return Ok(Self { payload, options: outgoing.options });
        }
        Ok(Self { payload: object.extract::<Payload<'py>>()?.0, options: SendOptions::default() })
    }
}

/// Immutable bytes to send: a `bytes` object is used as it is, any other buffer is copied.
pub(crate) struct Payload<'py>(pub(crate) Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Payload<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        if object.extract::<&str>().is_ok() {
            return Err(PyTypeError::new_err("a payload is bytes, not text: encode it, as in text.encode()"));
        }
        let view = PyMemoryView::from(&object)?;
        Ok(Self(view.call_method0("tobytes")?.cast_into()?))
    }
}

impl Payload<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
