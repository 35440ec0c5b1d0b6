//! Multicast groups, and everything that is known about one.

use std::net::IpAddr;

use mcast::group::{Reference, WithReference};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::error::{parse, value_error};
use crate::values::{Pickled, pickled};

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

    /// The Ethernet address that it maps to: "01:00:5e:7f:01:03".
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

/// A statement and the document that supports it.
#[pyclass(frozen, eq, hash, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    /// What is stated.
    value: String,
    /// The document and section: "RFC 5771 section 4".
    reference: String,
}

/// A name assigned to a group.
#[pyclass(frozen, eq, hash, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Assignment {
    /// The name, as the registry writes it.
    name: String,
    /// Whether IANA registered it; an unregistered name is only in common use.
    registered: bool,
    /// Whether and when it was registered, in words.
    standing: String,
    /// The addresses that the name covers: one, or the first and the last.
    addresses: String,
    /// The UDP ports used with it, if known.
    ports: Vec<u16>,
    /// The documents that the registry names.
    references: Vec<String>,
}

/// A short name of a group, such as `mdns`, which `mcast recv mdns` accepts.
#[pyclass(frozen, eq, hash, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShortName {
    /// The name, in lower case.
    name: String,
    /// The UDP ports of its protocol.
    ports: Vec<u16>,
    /// The hop limit that the protocol requires of senders, if it requires one.
    hop_limit: Option<u8>,
    /// The document that defines it.
    reference: String,
}

/// One point to consider before using a group.
#[pyclass(frozen, eq, hash, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Advice {
    /// How much it matters: "note", "caution" or "avoid".
    severity: String,
    /// The advice.
    text: String,
    /// The document that supports it.
    reference: String,
}

/// Everything that is known about a group.
#[pyclass(frozen, eq, get_all, module = "pymcast")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The group.
    group: PyGroup,
    /// Its address family: 4 or 6.
    family: u8,
    /// How far it reaches.
    scope: Statement,
    /// The kind of group.
    kind: Statement,
    /// The flags of an IPv6 group.
    flags: Option<Statement>,
    /// The scope-relative offset, for an address in the top 256 of its scope (RFC 2365).
    relative: Option<Statement>,
    /// The Ethernet address.
    ethernet: Statement,
    /// The 31 other IPv4 groups with that Ethernet address; empty for IPv6.
    ethernet_aliases: Vec<PyGroup>,
    /// The control group among the aliases; it makes switches flood this group to every port.
    control_alias: Option<Statement>,
    /// Its names, registered ones first.
    names: Vec<Assignment>,
    /// Its short names, with ports.
    short_names: Vec<ShortName>,
    /// The date of the IANA registry that the names come from: "2024-02-02".
    registry_date: String,
    /// Advice, the most severe first.
    advice: Vec<Advice>,
}

impl Explanation {
    pub(crate) fn of(group: mcast::Group) -> Self {
        let explanation = group.explain();
        Self {
            group: PyGroup(group),
            family: family_number(group.family()),
            scope: explanation.scope.into(),
            kind: explanation.kind.into(),
            flags: explanation.flags.map(Into::into),
            relative: explanation.relative.map(Into::into),
            ethernet: explanation.ethernet.into(),
            ethernet_aliases: explanation.ethernet_aliases.into_iter().map(PyGroup).collect(),
            control_alias: explanation.control_alias.map(Into::into),
            names: explanation.assignments.iter().map(Assignment::from).collect(),
            short_names: explanation.well_known.iter().map(|name| ShortName::from(*name)).collect(),
            registry_date: explanation.registry_date.to_owned(),
            advice: explanation.advice.iter().map(Advice::from).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let fact = |title: &str, statement: &Statement| format!("  {title:<9} {statement}");
        let mut lines = vec![self.group.0.to_string(), fact("kind", &self.kind), fact("scope", &self.scope)];
        lines.extend(self.flags.as_ref().map(|flags| fact("flags", flags)));
        lines.extend(self.relative.as_ref().map(|relative| fact("relative", relative)));
        lines.push(fact("Ethernet", &self.ethernet));
        lines.extend(self.control_alias.as_ref().map(|alias| fact("alias", alias)));
        lines.extend(
            self.names.iter().map(|each| format!("  {:<9} {}, {}", "name", each.name, each.standing)),
        );
        lines.extend(
            self.advice
                .iter()
                .map(|each| format!("  {:<9} {} [{}]", each.severity, each.text, each.reference)),
        );
        lines
    }
}

#[pymethods]
impl Explanation {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        pickled(py, "explain", (self.group,))
    }

    fn __str__(&self) -> String {
        self.lines().join("\n")
    }

    fn __repr__(&self) -> String {
        format!("<Explanation of {}: {}, {}>", self.group.0, self.kind.value, self.scope.value)
    }
}

#[pymethods]
impl Statement {
    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Statement: {self}>")
    }
}

#[pymethods]
impl Assignment {
    fn __str__(&self) -> String {
        format!("{}, {}", self.name, self.standing)
    }

    fn __repr__(&self) -> String {
        format!("<Assignment of {}: {}, {}>", self.addresses, self.name, self.standing)
    }
}

#[pymethods]
impl ShortName {
    fn __repr__(&self) -> String {
        format!("<ShortName {}, ports {:?}>", self.name, self.ports)
    }
}

#[pymethods]
impl Advice {
    fn __str__(&self) -> String {
        format!("{}: {} ({})", self.severity, self.text, self.reference)
    }

    fn __repr__(&self) -> String {
        format!("<Advice {}>", self.__str__())
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.value, self.reference)
    }
}

impl<T: ToString> From<WithReference<T>> for Statement {
    fn from(statement: WithReference<T>) -> Self {
        Self { value: statement.value.to_string(), reference: statement.reference.to_string() }
    }
}

impl From<&mcast::group::Assignment> for Assignment {
    fn from(assignment: &mcast::group::Assignment) -> Self {
        Self {
            name: assignment.name.to_owned(),
            registered: assignment.standing.is_registered(),
            standing: assignment.standing.to_string(),
            addresses: assignment.addresses.to_string(),
            ports: assignment.ports.to_vec(),
            references: assignment.references.iter().map(Reference::to_string).collect(),
        }
    }
}

impl From<&mcast::group::WellKnown> for ShortName {
    fn from(well_known: &mcast::group::WellKnown) -> Self {
        Self {
            name: well_known.name.to_owned(),
            ports: well_known.ports.to_vec(),
            hop_limit: well_known.hop_limit,
            reference: well_known.reference.to_string(),
        }
    }
}

impl From<&mcast::group::Advice> for Advice {
    fn from(advice: &mcast::group::Advice) -> Self {
        Self {
            severity: advice.severity.to_string(),
            text: advice.statement.to_string(),
            reference: advice.reference.to_string(),
        }
    }
}

/// Explains a group: its scope, kind, Ethernet address, names, and advice, each with the document that supports
/// it.
///
/// `group` is text, an ipaddress object or a Group; str() of the result is a report for people.
/// Raises pymcast.ParseError (a ValueError) for anything that is not a multicast address.
#[pyfunction]
pub(crate) fn explain(group: Group) -> Explanation {
    Explanation::of(group.0)
}

/// Picks a group for a name. The same name gives the same group on every machine. The group is not registered,
/// and does not share an Ethernet address with a control group.
///
/// `scope` is "local", "organization", "site", "global" and so on; the default is the narrowest scope wider than
/// one link. `in_use` lists groups to avoid. Raises ValueError when the scope has no groups to pick from, or all of
/// them are in use.
#[pyfunction]
#[pyo3(
    signature = (name, *, scope=None, family=4, source_specific=false, in_use=Vec::new()),
    text_signature = "(name, *, scope=None, family=4, source_specific=False, in_use=())"
)]
pub(crate) fn pick(
    py: Python<'_>,
    name: &str,
    scope: Option<&str>,
    family: u8,
    source_specific: bool,
    in_use: Vec<Group>,
) -> PyResult<PyGroup> {
    let options = mcast::group::PickOptions {
        family: match family {
            4 => mcast::Family::V4,
            6 => mcast::Family::V6,
            other => {
                return Err(PyValueError::new_err(format!("{other} is not an address family: use 4 or 6")));
            }
        },
        source_specific,
        in_use: in_use.into_iter().map(|group| group.0).collect(),
    };
    let scope = match scope {
        Some(text) => parse(py, text)?,
        None => options.default_scope(),
    };
    let picked = py.detach(|| mcast::group::pick(name, scope, &options));
    picked.map(PyGroup).map_err(|error| PyValueError::new_err(error.to_string()))
}
