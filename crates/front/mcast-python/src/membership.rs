//! Memberships and destinations.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use mcast::{Destination, GroupAddr, HostAddr, SourceFilter};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{parse, value_error};
use crate::group::{Group, PyGroup};
use crate::interface::Selector;
use crate::number::Port;

/// A membership to join: a group and port, the interface to join on, and the sources to admit.
///
/// Written as one text, "[SOURCE[,SOURCE...]@]GROUP[%INTERFACE]:PORT" ("!" before the sources excludes them),
/// or as arguments. Without an interface, it is joined on all that are up, support multicast and are not loopback.
/// Raises pymcast.ParseError (a ValueError) for text that cannot be parsed.
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
                return Err(value_error("give sources or exclude, not both"));
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

    /// The interface as it was given; None if the receiver chooses.
    #[getter]
    fn interface(&self) -> Option<String> {
        self.0.interface.as_ref().map(ToString::to_string)
    }

    /// The admitted sources; None if all are admitted except those in `exclude`.
    #[getter]
    fn sources(&self) -> Option<Vec<IpAddr>> {
        matches!(self.0.sources, SourceFilter::Include(_)).then(|| self.0.sources.sources().collect())
    }

    /// The excluded sources; None if only those in `sources` are admitted.
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
        text.parse().map(Self).map_err(|_| value_error(format_args!("\"{text}\" is not an IP address")))
    }
}

pub(crate) fn set_of(addresses: Vec<Address>) -> BTreeSet<IpAddr> {
    addresses.into_iter().map(|address| address.0).collect()
}

/// A membership argument: text, a `Membership`, or a pair of group and port.
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

/// A destination argument: a group with its port and optionally an interface, as text or a pair.
pub(crate) struct Target(pub(crate) Destination);

impl<'py> FromPyObject<'_, 'py> for Target {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        text_or_pair(object, "a destination is text or a pair of group and port").map(Self)
    }
}

/// The addresses of hosts: one or several, each as text or a pair of address and port.
pub(crate) struct Hosts(pub(crate) Vec<HostAddr>);

impl<'py> FromPyObject<'_, 'py> for Hosts {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.extract::<String>() {
            return Ok(Self(vec![parse(object.py(), &text)?]));
        }
        if let Ok((address, Port(port))) = object.extract::<(Address, Port)>() {
            let host = HostAddr::new(address.0, port).map_err(value_error)?;
            return Ok(Self(vec![host]));
        }
        let each = object.try_iter()?.map(|each| Ok(each?.extract::<Self>()?.0));
        Ok(Self(each.collect::<PyResult<Vec<_>>>()?.concat()))
    }
}

/// Parses one text, or a pair of group and port. The text of a group may include an interface: "ff02::1%eth0".
fn text_or_pair<T>(object: Borrowed<'_, '_, PyAny>, expected: &str) -> PyResult<T>
where
    T: From<GroupAddr> + FromStr<Err = mcast::ParseError>,
{
    let py = object.py();
    if let Ok(text) = object.extract::<String>() {
        return parse(py, &text);
    }
    let type_error = |_| PyTypeError::new_err(format!("{expected}, not {}", object.get_type()));
    let (group, port) = object.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(type_error)?;
    let Port(port) = port.extract()?;
    match group.extract::<String>() {
        Ok(group) if group.contains('%') && group.contains(':') => parse(py, &format!("[{group}]:{port}")),
        Ok(group) if group.contains('%') => parse(py, &format!("{group}:{port}")),
        _ => Ok(GroupAddr::new(group.extract::<Group>()?.0, port).into()),
    }
}
