//! Datagrams to send, and payloads: any Python object with the buffer protocol.

use mcast::{GroupAddr, InterfaceIndex, InterfaceSelector};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::error::OrRaise;
use crate::interface::Selector;
use crate::membership::Target;
use crate::number::{HopLimit, TrafficClass};

/// A datagram to send, with options that override the sender's settings.
///
/// to: the destination group and port, as text or a pair, instead of the sender's destinations.
/// interface: the egress interface: a name, index, address or Interface.
/// hop_limit: the hop limit (IPv4: TTL).
/// traffic_class: DSCP in the upper six bits, ECN in the lower two.
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
}

impl SendOptions {
    pub(crate) fn new(
        py: Python<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
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
        })
    }

    pub(crate) fn outgoing<'a>(&self, payload: &'a [u8]) -> mcast::Outgoing<'a> {
        let mut outgoing = mcast::Outgoing::new(payload);
        if let Some(to) = self.to {
            outgoing = outgoing.to(to);
        }
        if let Some(interface) = self.interface {
            outgoing = outgoing.by(interface);
        }
        if let Some(hops) = self.hop_limit {
            outgoing = outgoing.hop_limit(hops);
        }
        if let Some(class) = self.traffic_class {
            outgoing = outgoing.traffic_class(class);
        }
        outgoing
    }
}

fn index_of(py: Python<'_>, selector: InterfaceSelector) -> PyResult<InterfaceIndex> {
    match selector {
        InterfaceSelector::Index(index) => Ok(index),
        other => Ok(py.detach(|| mcast::find(&other)).or_raise(py)?.index),
    }
}

#[pymethods]
impl PyOutgoing {
    #[new]
    #[pyo3(signature = (payload, *, to=None, interface=None, hop_limit=None, traffic_class=None))]
    fn new(
        py: Python<'_>,
        payload: Payload<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
    ) -> PyResult<Self> {
        let options = SendOptions::new(py, to, interface, hop_limit, traffic_class)?;
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
