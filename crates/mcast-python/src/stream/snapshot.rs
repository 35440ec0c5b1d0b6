//! Snapshots, as Python has them: made by a function of Python's, and fetched.

use std::net::SocketAddr;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::membership::Address;
use crate::number::{MessageNumber, Port};
use crate::payload::Payload;

/// A state, and the messages that it has: all before number `message`.
#[pyclass(frozen, get_all, module = "pymcast")]
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// It has all messages before this one.
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
        Self { message: snapshot.message, payload: PyBytes::new(py, &snapshot.bytes).unbind() }
    }
}

/// Calls what makes snapshots. What it raises is told as Python tells what nobody catches.
pub(super) fn capture(make: &Py<PyAny>) -> Option<mcast_stream::Snapshot> {
    let made = Python::try_attach(|py| {
        let made = make.call0(py).and_then(|made| {
            let made = made.bind(py).cast::<Snapshot>().map_err(PyErr::from)?.get();
            let bytes = made.payload.as_bytes(py).to_vec();
            Ok(mcast_stream::Snapshot { message: made.message, bytes })
        });
        made.map_err(|error| error.write_unraisable(py, Some(make.bind(py)))).ok()
    });
    made.flatten()
}

/// An address and a port, as sockets have them.
pub(super) struct Place(pub(super) SocketAddr);

impl<'py> FromPyObject<'_, 'py> for Place {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let (Address(address), Port(port)) = object.extract::<(Address, Port)>()?;
        Ok(Self((address, port).into()))
    }
}

/// The same for Python.
pub(super) fn pair(address: SocketAddr) -> (String, u16) {
    (address.ip().to_string(), address.port())
}
