//! Interfaces, and how Python names one.

use std::net::{IpAddr, Ipv6Addr};

use mcast::interface::{AddressState, HardwareAddress, InterfaceAddress};
use mcast::{Family, InterfaceIndex, InterfaceSelector};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{OrRaise, parse, refused};
use crate::group::Group;
use crate::membership::Address;
use crate::pickle::{Pickled, pickled, unpickled};

/// A network interface, as it was when it was listed.
#[pyclass(frozen, eq, module = "pymcast")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interface(pub(crate) mcast::Interface);

/// Makes an Interface that was pickled.
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
    let index_of = |number| InterfaceIndex::new(number).ok_or_else(|| unpickled("Interface"));
    let mut interface = mcast::Interface::new(index_of(index)?, name);
    (interface.up, interface.running, interface.multicast, interface.loopback, interface.point_to_point) =
        flags;
    interface.mtu = mtu;
    interface.hardware_address = hardware_address.map(HardwareAddress);
    interface.port_of = port_of.map(index_of).transpose()?;
    for (address, prefix, state) in addresses {
        let mut address = InterfaceAddress::new(address, prefix);
        address.state = *STATES.get(usize::from(state)).ok_or_else(|| unpickled("Interface"))?;
        interface.addresses.push(address);
    }
    Ok(Interface(interface))
}

/// The states of addresses, by their number where they are pickled.
const STATES: [AddressState; 3] = [AddressState::Ready, AddressState::Tentative, AddressState::Duplicate];

#[pymethods]
impl Interface {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Pickled<'py>> {
        let mcast::Interface { index, name, mtu, hardware_address, addresses, port_of, .. } = &self.0;
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

    /// The system's number for it.
    #[getter]
    fn index(&self) -> u32 {
        self.0.index.number()
    }

    /// Its name: "eth0"; on Windows the friendly name, such as "Ethernet 2".
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is switched on. On Windows also: connected.
    #[getter]
    fn up(&self) -> bool {
        self.0.up
    }

    /// Whether it is up and has a carrier.
    #[getter]
    fn running(&self) -> bool {
        self.0.running
    }

    /// Whether the system says that it can multicast.
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

    /// The largest IP packet it carries, in bytes.
    #[getter]
    fn mtu(&self) -> u32 {
        self.0.mtu
    }

    /// Its hardware (MAC) address as text, "02:00:00:00:00:01"; None where it has none of six bytes.
    #[getter]
    fn hardware_address(&self) -> Option<String> {
        self.0.hardware_address.map(|address| address.to_string())
    }

    /// Its addresses with their prefixes: ipaddress.IPv4Interface and IPv6Interface objects.
    /// A link-local address carries its scope, as sockets need it.
    #[getter]
    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        static MAKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKER.import(py, "ipaddress", "ip_interface")?;
        let text = |entry: &mcast::interface::InterfaceAddress| match entry.address {
            IpAddr::V6(address) if is_link_local(address) => {
                format!("{address}%{}/{}", self.scope(), entry.prefix)
            }
            address => format!("{address}/{}", entry.prefix),
        };
        self.0.addresses.iter().map(|entry| make.call1((text(entry),))).collect()
    }

    /// The index of the bridge or bond that it is a port of, if so (Linux only). Such an interface
    /// is not joined on by default.
    #[getter]
    fn port_of(&self) -> Option<u32> {
        self.0.port_of.map(InterfaceIndex::number)
    }

    /// Whether a receiver that names no interface joins on it: up, able to multicast, no loopback,
    /// and no port of a bridge or bond.
    #[getter]
    fn is_joined_by_default(&self) -> bool {
        self.0.is_joined_by_default()
    }

    /// What there is to say against multicast on it, the worst first; empty for an ordinary one.
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
    /// How the system writes the scope of a link-local address: by name, on Windows by number.
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

/// All network interfaces of this machine, by index; on Linux those of the calling thread's
/// network namespace.
///
/// Raises pymcast.Error when the system refuses to list them.
#[pyfunction]
pub(crate) fn interfaces(py: Python<'_>) -> PyResult<Vec<Interface>> {
    let listed = py.detach(mcast::interfaces).or_raise(py)?;
    Ok(listed.into_iter().map(Interface).collect())
}

/// The one interface of this name, index or address (text, a number, or an ipaddress object).
///
/// Raises pymcast.NoSuchInterfaceError when there is none, or when several have the address.
#[pyfunction]
pub(crate) fn find_interface(py: Python<'_>, interface: Selector) -> PyResult<Interface> {
    py.detach(|| mcast::find(&interface.0)).or_raise(py).map(Interface)
}

/// The interface by which a sender that names none reaches the group, as the routing table says;
/// None when there is no route. Instead of a group: 4 or 6, for a family as a whole.
///
/// Raises pymcast.Error when the system refuses to answer.
#[pyfunction]
pub(crate) fn default_interface(py: Python<'_>, group: &Bound<'_, PyAny>) -> PyResult<Option<Interface>> {
    let found = match group.extract::<u8>() {
        Ok(4) => py.detach(|| mcast::default_interface_of(Family::V4)),
        Ok(6) => py.detach(|| mcast::default_interface_of(Family::V6)),
        Ok(other) => return Err(refused(format_args!("{other} is no address family: write 4 or 6"))),
        Err(_) => {
            let group = group.extract::<Group>()?.0;
            py.detach(|| mcast::default_interface(group))
        }
    };
    Ok(found.or_raise(py)?.map(Interface))
}

/// The interface that the routing table takes towards an address, a group's or another; None when
/// there is no route. `address` is text or an ipaddress object.
///
/// Raises pymcast.Error when the system refuses to answer.
#[pyfunction]
pub(crate) fn interface_towards(py: Python<'_>, address: Address) -> PyResult<Option<Interface>> {
    let found = py.detach(|| mcast::interface_towards(address.0)).or_raise(py)?;
    Ok(found.map(Interface))
}

/// Which interface is meant: text, an index, an address, or an `Interface`.
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
            return index
                .map(|index| Self(InterfaceSelector::Index(index)))
                .ok_or_else(|| refused("0 is no interface index: leave the interface out to choose none"));
        }
        match object.extract::<IpAddr>() {
            Ok(address) => Ok(Self(InterfaceSelector::Address(address))),
            Err(_) => Err(PyTypeError::new_err(format!(
                "an interface is named by its name, index, address or an Interface, not by {}",
                object.get_type()
            ))),
        }
    }
}

/// One interface, or several.
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
