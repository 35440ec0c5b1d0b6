//! Multicast groups.

use std::net::IpAddr;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::{parse, value_error};
use crate::explain::{Advice, Explanation};

/// A multicast group: an IPv4 or IPv6 address known to be multicast.
///
/// `address` is text, an ipaddress object, or a Group. Raises pymcast.ParseError (a ValueError)
/// for anything that is not a multicast address.
///
/// >>> Group("239.255.255.250").name
/// 'SSDP'
#[pyclass(frozen, eq, ord, hash, from_py_object, module = "pymcast", name = "Group")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PyGroup(pub(crate) mcast::Group);

#[pymethods]
impl PyGroup {
    #[new]
    fn new(address: Group) -> Self {
        Self(address.0)
    }

    /// The address: an ipaddress.IPv4Address or IPv6Address.
    #[getter]
    fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The address family: 4 or 6.
    #[getter]
    fn family(&self) -> u8 {
        family_number(self.0.family())
    }

    /// The scope: "link-local", "local", "site-local", "global"...
    #[getter]
    fn scope(&self) -> String {
        self.0.scope().to_string()
    }

    /// The kind of group: "administratively scoped", "GLOP of AS 2057"...
    #[getter]
    fn kind(&self) -> String {
        self.0.kind().to_string()
    }

    /// The name registered by IANA, or else the name in common use; None if there is neither.
    #[getter]
    fn name(&self) -> Option<&'static str> {
        self.0.name()
    }

    /// Whether it is in 232.0.0.0/8 or ff3x::/32, and therefore needs a source to join (RFC 4607).
    #[getter]
    fn is_source_specific(&self) -> bool {
        self.0.is_source_specific()
    }

    /// The Ethernet address that it maps to: "01:00:5e:01:02:03".
    #[getter]
    fn ethernet_address(&self) -> String {
        self.0.ethernet_address().to_string()
    }

    /// The 31 other IPv4 groups with the same Ethernet address; empty for IPv6, where there are too many to list.
    #[getter]
    fn ethernet_aliases(&self) -> Vec<Self> {
        self.0.ethernet_aliases().map(Self).collect()
    }

    /// The customary hop limit (TTL) for its scope; None if there is none.
    #[getter]
    fn customary_hop_limit(&self) -> Option<u8> {
        self.0.scope().customary_hop_limit()
    }

    /// Advice on using it, the most severe first.
    #[getter]
    fn advice(&self) -> Vec<Advice> {
        self.0.advice().iter().map(Advice::from).collect()
    }

    /// Explains the group, each statement with the document that supports it.
    fn explain(&self) -> Explanation {
        Explanation::of(self.0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Group('{}')", self.0)
    }

    fn __getnewargs__(&self) -> (String,) {
        (self.0.to_string(),)
    }
}

/// Returns 4 or 6.
pub(crate) fn family_number(family: mcast::Family) -> u8 {
    match family {
        mcast::Family::V4 => 4,
        mcast::Family::V6 => 6,
    }
}

/// A group argument: text, an ipaddress object, or a `Group`.
pub(crate) struct Group(pub(crate) mcast::Group);

impl<'py> FromPyObject<'_, 'py> for Group {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(group) = object.cast::<PyGroup>() {
            return Ok(Self(group.get().0));
        }
        if let Ok(text) = object.extract::<String>() {
            return parse(object.py(), &text).map(Self);
        }
        match object.extract::<IpAddr>() {
            Ok(address) => mcast::Group::new(address).map(Self).map_err(value_error),
            Err(_) => Err(PyTypeError::new_err(format!(
                "a group is text, an ipaddress object or a Group, not {}",
                object.get_type()
            ))),
        }
    }
}
