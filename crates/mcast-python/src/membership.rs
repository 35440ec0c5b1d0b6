//! What is joined and where is sent, as Python writes it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use mcast::{Destination, GroupAddr, SourceFilter};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{parse, refused};
use crate::group::{Group, PyGroup};
use crate::interface::Selector;
use crate::number::Port;

/// What one joins: a group and port, the interface to join on, and the sources to admit.
///
/// As one text, "[SOURCE[,SOURCE...]@]GROUP[%INTERFACE]:PORT" ("!" before sources excludes them),
/// or in parts. Without an interface: on all that are up, can multicast and are not loopback.
/// Raises pymcast.ParseError (a ValueError) for text that cannot be understood.
///
/// >>> str(Membership("232.1.2.3", 7000, interface="eth1", sources=["10.0.0.7"]))
/// '10.0.0.7@232.1.2.3%eth1:7000'
#[pyclass(frozen, eq, ord, hash, module = "pymcast", name = "Membership")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PyMembership(pub(crate) mcast::Membership);

#[pymethods]
impl PyMembership {
    #[new]
    #[pyo3(signature = (group, port=None, *, interface=None, sources=None, exclude=None))]
    fn new(
        py: Python<'_>,
        group: &Bound<'_, PyAny>,
        port: Option<Port>,
        interface: Option<Selector>,
        sources: Option<Vec<Address>>,
        exclude: Option<Vec<Address>>,
    ) -> PyResult<Self> {
        let mut membership = match port {
            Some(port) => {
                (group, port.0).into_bound_py_any(py).and_then(|pair| pair.extract::<Membership>())?.0
            }
            None => parse(py, &group.extract::<String>()?)?,
        };
        if let Some(interface) = interface {
            membership = membership.on(interface.0);
        }
        let filter = match (sources, exclude) {
            (None, None) => return Ok(Self(membership)),
            (Some(sources), None) => SourceFilter::Include(set_of(sources)),
            (None, Some(sources)) => SourceFilter::Exclude(set_of(sources)),
            (Some(_), Some(_)) => {
                return Err(refused("sources are admitted or excluded, not both in one membership"));
            }
        };
        Ok(Self(membership.from_sources(filter)))
    }

    /// The group.
    #[getter]
    fn group(&self) -> PyGroup {
        PyGroup(self.0.address.group)
    }

    /// The UDP port.
    #[getter]
    fn port(&self) -> u16 {
        self.0.address.port
    }

    /// The interface as it was named; None where it is left to the receiver.
    #[getter]
    fn interface(&self) -> Option<String> {
        self.0.interface.as_ref().map(ToString::to_string)
    }

    /// The only sources that are admitted; None where every one is but those excluded.
    #[getter]
    fn sources(&self) -> Option<Vec<IpAddr>> {
        matches!(self.0.sources, SourceFilter::Include(_)).then(|| self.0.sources.sources().collect())
    }

    /// The sources that are not admitted; None where only named ones are.
    #[getter]
    fn exclude(&self) -> Option<Vec<IpAddr>> {
        matches!(self.0.sources, SourceFilter::Exclude(_)).then(|| self.0.sources.sources().collect())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Membership('{}')", self.0)
    }

    fn __getnewargs__(&self) -> (String,) {
        (self.0.to_string(),)
    }
}

/// An address: text or an ipaddress object.
pub(crate) struct Address(pub(crate) IpAddr);

impl<'py> FromPyObject<'_, 'py> for Address {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Ok(text) = object.extract::<String>() else {
            return object.extract::<IpAddr>().map(Self);
        };
        text.parse().map(Self).map_err(|_| refused(format_args!("\"{text}\" is not an IP address")))
    }
}

pub(crate) fn set_of(addresses: Vec<Address>) -> BTreeSet<IpAddr> {
    addresses.into_iter().map(|address| address.0).collect()
}

/// A membership as people write one: text, a `Membership`, or a pair of group and port.
pub(crate) struct Membership(pub(crate) mcast::Membership);

impl<'py> FromPyObject<'_, 'py> for Membership {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(membership) = object.cast::<PyMembership>() {
            return Ok(Self(membership.get().0.clone()));
        }
        text_or_pair(object, "a membership is text, a Membership or a pair of group and port").map(Self)
    }
}

/// Where to send: a group with its port and perhaps an interface, as text or a pair.
pub(crate) struct Target(pub(crate) Destination);

impl<'py> FromPyObject<'_, 'py> for Target {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        text_or_pair(object, "a destination is text or a pair of group and port").map(Self)
    }
}

/// What is written as one text, or as a pair of group and port. A group that is text may name more than the
/// address: an interface ("ff02::1%eth0"), say.
fn text_or_pair<T>(object: Borrowed<'_, '_, PyAny>, otherwise: &str) -> PyResult<T>
where
    T: From<GroupAddr> + FromStr<Err = mcast::ParseError>,
{
    let py = object.py();
    if let Ok(text) = object.extract::<String>() {
        return parse(py, &text);
    }
    let wrong = |_| PyTypeError::new_err(format!("{otherwise}, not {}", object.get_type()));
    let (group, port) = object.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(wrong)?;
    let Port(port) = port.extract()?;
    match group.extract::<String>() {
        Ok(group) if group.contains('%') && group.contains(':') => parse(py, &format!("[{group}]:{port}")),
        Ok(group) if group.contains('%') => parse(py, &format!("{group}:{port}")),
        _ => Ok(GroupAddr::new(group.extract::<Group>()?.0, port).into()),
    }
}
