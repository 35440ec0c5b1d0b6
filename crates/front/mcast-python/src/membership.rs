//! Memberships and destinations, and the network interfaces that they select.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use mcast::interface::{AddressState, HardwareAddress, InterfaceAddress};
use mcast::{Destination, Family, GroupAddr, HostAddr, InterfaceIndex, InterfaceSelector, SourceFilter};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{OrRaise, parse, value_error};
use crate::group::{Group, PyGroup};
use crate::values::{Pickled, Port, pickled, unpickle_error};

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
        text_or_pair(object, "a membership is text, a Membership or a pair of group and port; several are several arguments: Receiver(*memberships)").map(Self)
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

/// A network interface, in the state it had when it was listed.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interface(pub(crate) mcast::interface::Interface);

/// Restores a pickled Interface.
#[pyfunction]
pub(crate) fn _interface(
    index: u32,
    name: String,
    flags: (bool, bool, bool, bool, bool),
    mtu: u32,
    hardware_address: Option<[u8; 6]>,
    addresses: Vec<(IpAddr, u8, u8)>,
    port_of: Option<u32>,
) -> PyResult<Interface> {
    let index_of = |number| InterfaceIndex::new(number).ok_or_else(|| unpickle_error("Interface"));
    let mut interface = mcast::interface::Interface::new(index_of(index)?, name);
    (interface.up, interface.running, interface.multicast, interface.loopback, interface.point_to_point) =
        flags;
    interface.mtu = mtu;
    interface.hardware_address = hardware_address.map(HardwareAddress);
    interface.port_of = port_of.map(index_of).transpose()?;
    for (address, prefix, state) in addresses {
        let mut address = InterfaceAddress::new(address, prefix);
        address.state = *STATES.get(usize::from(state)).ok_or_else(|| unpickle_error("Interface"))?;
        interface.addresses.push(address);
    }
    Ok(Interface(interface))
}

/// The states of addresses; pickled as an index into this array.
const STATES: [AddressState; 3] = [AddressState::Ready, AddressState::Tentative, AddressState::Duplicate];

#[pymethods]
impl Interface {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let mcast::interface::Interface { index, name, mtu, hardware_address, addresses, port_of, .. } =
            &self.0;
        let number = |state| STATES.iter().position(|each| *each == state).unwrap_or_default();
        let addresses: Vec<_> =
            addresses.iter().map(|each| (each.address, each.prefix, number(each.state))).collect();
        let arguments = (
            index.number(),
            name,
            (self.0.up, self.0.running, self.0.multicast, self.0.loopback, self.0.point_to_point),
            *mtu,
            hardware_address.map(|address| address.0),
            addresses,
            port_of.map(InterfaceIndex::number),
        );
        pickled(py, "_interface", arguments)
    }

    /// Its index.
    #[getter]
    fn index(&self) -> u32 {
        self.0.index.number()
    }

    /// Its name: "eth0"; on Windows the friendly name, such as "Ethernet 2".
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is administratively up; on Windows, also connected.
    #[getter]
    fn up(&self) -> bool {
        self.0.up
    }

    /// Whether it is up and has a carrier.
    #[getter]
    fn running(&self) -> bool {
        self.0.running
    }

    /// Whether the system reports that it supports multicast.
    #[getter]
    fn multicast(&self) -> bool {
        self.0.multicast
    }

    /// Whether it is a loopback interface.
    #[getter]
    fn loopback(&self) -> bool {
        self.0.loopback
    }

    /// Whether it is a point-to-point link, such as a tunnel.
    #[getter]
    fn point_to_point(&self) -> bool {
        self.0.point_to_point
    }

    /// Its MTU, in bytes.
    #[getter]
    fn mtu(&self) -> u32 {
        self.0.mtu
    }

    /// Its hardware (MAC) address as text, "02:00:00:00:00:01"; None if it does not have one of six bytes.
    #[getter]
    fn hardware_address(&self) -> Option<String> {
        self.0.hardware_address.map(|address| address.to_string())
    }

    /// Its addresses with their prefixes: ipaddress.IPv4Interface and IPv6Interface objects. Link-local addresses
    /// include the scope that sockets need.
    #[getter]
    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        static MAKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKER.import(py, "ipaddress", "ip_interface")?;
        let text = |entry: &InterfaceAddress| match entry.address {
            IpAddr::V6(address) if is_link_local(address) => {
                format!("{address}%{}/{}", self.scope(), entry.prefix)
            }
            address => format!("{address}/{}", entry.prefix),
        };
        self.0.addresses.iter().map(|entry| make.call1((text(entry),))).collect()
    }

    /// The index of the bridge or bond that it is a port of, if any (Linux only). Such interfaces are not joined by
    /// default.
    #[getter]
    fn port_of(&self) -> Option<u32> {
        self.0.port_of.map(InterfaceIndex::number)
    }

    /// Whether a receiver joins on it by default: it is up, supports multicast, and is neither loopback nor a port of
    /// a bridge or bond.
    #[getter]
    fn is_joined_by_default(&self) -> bool {
        self.0.is_joined_by_default()
    }

    /// Reasons why multicast may not work on it, the most severe first.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings().iter().map(ToString::to_string).collect()
    }

    fn __hash__(&self) -> u64 {
        self.0.index.number().into()
    }

    fn __str__(&self) -> &str {
        &self.0.name
    }

    fn __repr__(&self) -> String {
        let addresses: Vec<String> = self.0.addresses.iter().map(ToString::to_string).collect();
        format!("<Interface {} (index {}): {}>", self.0.name, self.0.index, addresses.join(", "))
    }
}

impl Interface {
    /// Returns the scope of its link-local addresses as the system writes it: the name, on Windows the index.
    fn scope(&self) -> String {
        match cfg!(windows) {
            true => self.0.index_for(Family::V6).to_string(),
            false => self.0.name.clone(),
        }
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Lists the network interfaces of this machine in the order of their indexes; on Linux, those of the calling thread's
/// network namespace.
///
/// Raises pymcast.Error if they cannot be listed.
#[pyfunction]
pub(crate) fn interfaces(py: Python<'_>) -> PyResult<Vec<Interface>> {
    let listed = py.detach(mcast::interface::list).or_raise(py)?;
    Ok(listed.into_iter().map(Interface).collect())
}

/// Returns the interface with this name, index or address (text, a number, or an ipaddress object).
///
/// Raises pymcast.NoSuchInterfaceError if there is none, or if several have the address.
#[pyfunction]
pub(crate) fn find_interface(py: Python<'_>, interface: Selector) -> PyResult<Interface> {
    py.detach(|| mcast::interface::find(&interface.0)).or_raise(py).map(Interface)
}

/// Returns the interface that the routing table selects for sending to a group, or None if there is no route. Instead
/// of a group, `group` may be 4 or 6, for an address family.
///
/// Raises pymcast.Error if the routing table cannot be queried.
#[pyfunction]
pub(crate) fn default_interface(py: Python<'_>, group: &Bound<'_, PyAny>) -> PyResult<Option<Interface>> {
    let found = match group.extract::<u8>() {
        Ok(4) => py.detach(|| mcast::interface::default_of(Family::V4)),
        Ok(6) => py.detach(|| mcast::interface::default_of(Family::V6)),
        Ok(other) => return Err(value_error(format_args!("{other} is not an address family: use 4 or 6"))),
        Err(_) => {
            let group = group.extract::<Group>()?.0;
            py.detach(|| mcast::interface::towards(group.addr()))
        }
    };
    Ok(found.or_raise(py)?.map(Interface))
}

/// Returns the interface that the routing table selects for an address, unicast or multicast, or None if there is no
/// route. `address` is text or an ipaddress object.
///
/// Raises pymcast.Error if the routing table cannot be queried.
#[pyfunction]
pub(crate) fn interface_towards(py: Python<'_>, address: Address) -> PyResult<Option<Interface>> {
    let found = py.detach(|| mcast::interface::towards(address.0)).or_raise(py)?;
    Ok(found.map(Interface))
}

/// An argument that selects an interface: text, an index, an address, or an `Interface`.
pub(crate) struct Selector(pub(crate) InterfaceSelector);

impl<'py> FromPyObject<'_, 'py> for Selector {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(text) = object.extract::<String>() {
            return parse(py, &text).map(Self);
        }
        if let Ok(interface) = object.cast::<Interface>() {
            return Ok(Self(InterfaceSelector::Index(interface.get().0.index)));
        }
        if let Ok(number) = object.extract::<u32>() {
            let index = InterfaceIndex::new(number);
            return index.map(|index| Self(InterfaceSelector::Index(index))).ok_or_else(|| {
                value_error("0 is not an interface index: to let the system choose, omit the interface")
            });
        }
        match object.extract::<IpAddr>() {
            Ok(address) => Ok(Self(InterfaceSelector::Address(address))),
            Err(_) => Err(PyTypeError::new_err(format!(
                "an interface is a name, index, address or Interface, not {}",
                object.get_type()
            ))),
        }
    }
}

/// An argument that selects one interface or several.
pub(crate) struct Selectors(pub(crate) Vec<InterfaceSelector>);

impl<'py> FromPyObject<'_, 'py> for Selectors {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let one = object.extract::<Selector>();
        if let Ok(one) = one {
            return Ok(Self(vec![one.0]));
        }
        if object.extract::<String>().is_ok() || object.try_iter().is_err() {
            return one.map(|one| Self(vec![one.0]));
        }
        let each = object.try_iter()?.map(|each| Ok(each?.extract::<Selector>()?.0));
        each.collect::<PyResult<_>>().map(Self)
    }
}
