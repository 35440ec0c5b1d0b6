//! A datagram to be sent.

use mcast::{GroupAddr, InterfaceIndex, InterfaceSelector};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::OrRaise;
use crate::interface::Selector;
use crate::membership::Target;
use crate::number::{HopLimit, TrafficClass};
use crate::payload::Payload;

/// A datagram to be sent, with what differs from the sender's own settings.
///
/// to: the group and port, as text or a pair, instead of the sender's destinations.
/// interface: the one to leave by: a name, index, address or Interface.
/// hop_limit: how many networks it may cross (IPv4: TTL).
/// traffic_class: DSCP in the upper six bits, ECN in the lower two.
#[pyclass(frozen, module = "pymcast", name = "Outgoing")]
#[derive(Debug)]
pub(crate) struct PyOutgoing {
    payload: Py<PyBytes>,
    manner: Manner,
}

/// Where and how a datagram is sent, where that differs from the sender's settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    to: Option<GroupAddr>,
    interface: Option<InterfaceIndex>,
    hop_limit: Option<u8>,
    traffic_class: Option<u8>,
}

impl Manner {
    pub(crate) fn new(
        py: Python<'_>,
        to: Option<Target>,
        interface: Option<Selector>,
        hop_limit: Option<HopLimit>,
        traffic_class: Option<TrafficClass>,
    ) -> PyResult<Self> {
        let to = to.map(|target| target.0);
        let named = interface.map(|selector| selector.0);
        let zone = || to.as_ref().and_then(|to| to.interface.clone());
        let interface = named.or_else(zone).map(|interface| index_of(py, interface)).transpose()?;
        Ok(Self {
            to: to.map(|to| to.address),
            interface,
            hop_limit: hop_limit.map(|hops| hops.0),
            traffic_class: traffic_class.map(|class| class.0),
        })
    }

    pub(crate) fn of<'a>(&self, payload: &'a [u8]) -> mcast::Outgoing<'a> {
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
        let manner = Manner::new(py, to, interface, hop_limit, traffic_class)?;
        Ok(Self { payload: payload.0.unbind(), manner })
    }

    /// The bytes.
    #[getter]
    fn payload(&self, py: Python<'_>) -> Py<PyBytes> {
        self.payload.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let bytes = self.payload.as_bytes(py).len();
        let to = self.manner.to.map(|to| format!(" to {to}")).unwrap_or_default();
        format!("<Outgoing of {bytes} bytes{to}>")
    }
}

/// A datagram of a batch: bytes, or an `Outgoing`.
pub(crate) struct Item<'py> {
    payload: Bound<'py, PyBytes>,
    manner: Manner,
}

impl Item<'_> {
    pub(crate) fn outgoing(&self) -> mcast::Outgoing<'_> {
        self.manner.of(self.payload.as_bytes())
    }
}

impl<'py> FromPyObject<'_, 'py> for Item<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(outgoing) = object.cast::<PyOutgoing>() {
            let outgoing = outgoing.get();
            let payload = outgoing.payload.bind(object.py()).clone();
            return Ok(Self { payload, manner: outgoing.manner });
        }
        Ok(Self { payload: object.extract::<Payload<'py>>()?.0, manner: Manner::default() })
    }
}
