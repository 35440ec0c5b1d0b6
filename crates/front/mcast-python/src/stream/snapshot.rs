//! Snapshots: made by a Python function, and fetched.

use std::net::SocketAddr;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::datagram::Payload;
use crate::membership::Address;
use crate::values::{MessageNumber, Port};

/// A state that includes all messages before number `message`.
#[pyclass(frozen, get_all, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The first message that it does not include.
    message: u64,
    /// The state.
    payload: Py<PyBytes>,
}

#[pymethods]
impl Snapshot {
    #[new]
    fn new(message: MessageNumber, payload: Payload<'_>) -> Self {
        Self { message: message.0, payload: payload.0.unbind() }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Snapshot before message {}: {} bytes>", self.message, self.payload.as_bytes(py).len())
    }
}

impl Snapshot {
    pub(super) fn of(py: Python<'_>, snapshot: &mcast_stream::Snapshot) -> Self {
        Self { message: snapshot.message.0, payload: PyBytes::new(py, &snapshot.bytes).unbind() }
    }
}

/// Calls the Python function that makes snapshots. Its exceptions are reported to sys.unraisablehook.
pub(super) fn capture(make: &Py<PyAny>) -> Option<mcast_stream::Snapshot> {
    let snapshot = Python::try_attach(|py| {
        let snapshot = make.call0(py).and_then(|object| {
            let snapshot = object.bind(py).cast::<Snapshot>().map_err(PyErr::from)?.get();
            let bytes = snapshot.payload.as_bytes(py).to_vec();
            Ok(mcast_stream::Snapshot { message: mcast_stream::wire::MessageNumber(snapshot.message), bytes })
        });
        snapshot.map_err(|error| error.write_unraisable(py, Some(make.bind(py)))).ok()
    });
    snapshot.flatten()
}

/// An argument that is a pair of address and port.
pub(super) struct SocketAddress(pub(super) SocketAddr);

impl<'py> FromPyObject<'_, 'py> for SocketAddress {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (Address(address), Port(port)) = object.extract::<(Address, Port)>()?;
        Ok(Self((address, port).into()))
    }
}

/// An argument that is a pair of address and port, or several.
pub(super) struct SocketAddresses(pub(super) Vec<SocketAddr>);

impl<'py> FromPyObject<'_, 'py> for SocketAddresses {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(SocketAddress(address)) = object.extract() {
            return Ok(Self(vec![address]));
        }
        let each = object.try_iter()?.map(|each| Ok(each?.extract::<SocketAddress>()?.0));
        Ok(Self(each.collect::<PyResult<_>>()?))
    }
}

/// Converts an address to a pair for Python.
pub(super) fn pair(address: SocketAddr) -> (String, u16) {
    (address.ip().to_string(), address.port())
}
