//! A datagram as Python gets it: its bytes, and how it came.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mcast::{Arrival, InterfaceIndex, InterfaceSelector};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::group::PyGroup;
use crate::pickle::{Pickled, nanoseconds_of, pickled, time_of, unpickled};
use crate::sys;

/// A datagram, and how it came: by which group, interface and source, when, and what was lost
/// before it.
#[pyclass(frozen, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The bytes, as many as the buffer could take.
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
        // It refers to bytes only, so that it is in no cycle that would have to be looked for.
        Ok(sys::uncollected(Bound::new(py, datagram)?).unbind())
    }
}

/// Makes a Datagram that was pickled.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "it has so many fields")]
pub(crate) fn _datagram(
    payload: Py<PyBytes>,
    group: &str,
    interface: (u32, String),
    source: &str,
    header: (Option<u8>, Option<u8>),
    times: (Option<u64>, Option<u64>),
    lost: Option<u64>,
    length: usize,
    truncated: bool,
) -> PyResult<Datagram> {
    let wrong = || unpickled("Datagram");
    let group = group.parse().map_err(|_| wrong())?;
    let index = InterfaceIndex::new(interface.0).ok_or_else(wrong)?;
    let names = Arc::new(InterfaceNames::default());
    names.learn([(index, interface.1)]);
    let mut arrival = Arrival::new(group, index, source.parse().map_err(|_| wrong())?);
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
            self.arrival.group.to_string(),
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

    /// The group that it was sent to.
    #[getter]
    fn group(&self) -> PyGroup {
        PyGroup(self.arrival.group.group)
    }

    /// The UDP port that it was sent to.
    #[getter]
    fn port(&self) -> u16 {
        self.arrival.group.port
    }

    /// The name of the interface that it came in by; its index as text if it has none any more.
    #[getter]
    fn interface(&self) -> String {
        self.names.of(self.arrival.interface)
    }

    /// The index of the interface that it came in by.
    #[getter]
    fn interface_index(&self) -> u32 {
        self.arrival.interface.number()
    }

    /// Who sent it: an ipaddress.IPv4Address or IPv6Address, a link-local one with its scope. A claim
    /// of the sender's: nothing on the way proves it.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        source_address(py, self.arrival.source, || self.interface())
    }

    /// The UDP port that it was sent from.
    #[getter]
    fn source_port(&self) -> u16 {
        self.arrival.source.port()
    }

    /// The source as the socket module has it: (host, port), for IPv6 (host, port, flow, scope).
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        socket_address(py, self.arrival.source)
    }

    /// The hop limit (IPv4: TTL) that was left; None where the system doesn't tell.
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

    /// How many datagrams the system dropped on this socket, for want of buffer, between the one
    /// before and this one; None where it doesn't count (macOS, BSD, Windows).
    #[getter]
    fn lost(&self) -> Option<u64> {
        self.arrival.lost
    }

    /// Bytes of payload as it was sent, also where it was cut off.
    #[getter]
    fn length(&self) -> usize {
        self.arrival.length
    }

    /// Whether the buffer was too small and the rest is gone.
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
        let Arrival { group, source, length, .. } = self.arrival;
        format!("<Datagram of {length} bytes for {group} from {source} by {}>", self.interface())
    }
}

/// What the interfaces of a receiver are called, as far as somebody asked.
#[derive(Debug, Default)]
pub(crate) struct InterfaceNames(Mutex<HashMap<InterfaceIndex, String>>);

impl InterfaceNames {
    /// The name of this interface; its index if it has none any more.
    pub(crate) fn of(&self, index: InterfaceIndex) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        known.unwrap_or_else(|| {
            let found = mcast::find(&InterfaceSelector::Index(index));
            let name = found.map_or_else(|_| index.to_string(), |interface| interface.name);
            self.learn([(index, name.clone())]);
            name
        })
    }

    /// Learns what memberships say.
    pub(crate) fn learn(&self, names: impl IntoIterator<Item = (InterfaceIndex, String)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
    }
}

/// A source as an ipaddress object; a link-local one with the interface as its scope.
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

/// An address as the socket module has it.
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
