//! The interfaces, addresses and routes of a host.

use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Host, InterfaceAddress, LabError, LabErrorKind, Port, Switch,
    host::Node,
    netlink::{Netlink, Route},
};

/// How long an interface may take until it carries traffic. It takes a millisecond, unless many namespaces are
/// being made and taken down at once.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_micros(100);

impl Host {
    /// Connects an interface of this host to a switch, and waits until it carries traffic.
    ///
    /// Addresses are such as `10.0.0.1/24` and `fd00::1/64`; there may be none.
    ///
    /// # Errors
    ///
    /// An address that does not parse, an interface name that is taken, the system's refusal.
    pub fn connect(&self, name: &str, switch: &Switch, addresses: &[&str]) -> Result<Port, LabError> {
        let addresses = InterfaceAddress::parse_all(addresses)?;
        let socket = switch.add_port(self, name)?;
        let port = self.node.settle_port(name, addresses)?;
        switch.wait_forwarding(&socket)?;
        Ok(port)
    }

    /// Deletes an interface, if it is there, and connects one of the same name, with another index.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn reconnect(&self, name: &str, switch: &Switch, addresses: &[&str]) -> Result<Port, LabError> {
        if self.interface_index(name).is_ok() {
            self.delete_interface(name)?;
        }
        self.connect(name, switch, addresses)
    }

    /// The index of an interface.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is none of this name.
    pub fn interface_index(&self, name: &str) -> Result<u32, LabError> {
        self.node.interface_index(name)
    }

    /// Adds an address to an interface; an IPv6 one is usable at once.
    ///
    /// # Errors
    ///
    /// An address that does not parse or is there already, an interface that is not.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let address = InterfaceAddress::parse(address)?;
        self.node.change(
            interface,
            |netlink, index| netlink.add_address(index, &address),
            || format!("add {address} to {interface}"),
        )
    }

    /// Removes an address from an interface.
    ///
    /// # Errors
    ///
    /// An address or an interface that is not there.
    pub fn remove_address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let address = InterfaceAddress::parse(address)?;
        self.node.change(
            interface,
            |netlink, index| netlink.remove_address(index, &address),
            || format!("remove {address} from {interface}"),
        )
    }

    /// The addresses of an interface, the IPv6 link-local one included.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn addresses(&self, interface: &str) -> Result<Vec<InterfaceAddress>, LabError> {
        self.node.change(interface, Netlink::addresses, || format!("list the addresses of {interface}"))
    }

    /// Brings an interface up.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn set_up(&self, interface: &str) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_link_up(index, true),
            || format!("bring up {interface}"),
        )
    }

    /// Takes an interface down. The kernel forgets its IPv6 addresses then (unless `keep_addr_on_down` is set).
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn set_down(&self, interface: &str) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_link_up(index, false),
            || format!("take down {interface}"),
        )
    }

    /// Sets or clears an interface's multicast flag (`IFF_MULTICAST`).
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn set_multicast(&self, interface: &str, can: bool) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_multicast(index, can),
            || format!("set the multicast flag of {interface}"),
        )
    }

    /// Sets the size in bytes of the largest packet that an interface takes.
    ///
    /// # Errors
    ///
    /// A size that the kernel does not allow; a missing interface.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_mtu(index, mtu),
            || format!("set the MTU of {interface} to {mtu}"),
        )
    }

    /// Gives an interface another name.
    ///
    /// # Errors
    ///
    /// A name that is taken or no name for an interface; a missing interface.
    pub fn rename_interface(&self, interface: &str, name: &str) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.rename_link(index, name),
            || format!("rename {interface} to {name}"),
        )
    }

    /// Deletes an interface, and with it the other end of its cable.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn delete_interface(&self, interface: &str) -> Result<(), LabError> {
        self.node.change(interface, Netlink::delete_link, || format!("delete {interface}"))
    }

    /// Makes a second interface, with a hardware address of its own, on top of another one (macvlan in bridge mode).
    ///
    /// # Errors
    ///
    /// A kernel without macvlan, a missing parent, a name that is taken, an address that does not parse.
    pub fn macvlan(&self, name: &str, parent: &str, addresses: &[&str]) -> Result<Port, LabError> {
        let addresses = InterfaceAddress::parse_all(addresses)?;
        let hardware_address = self.node.new_interface(name)?;
        self.node.change(
            parent,
            |netlink, index| netlink.add_macvlan(name, index, hardware_address),
            || format!("make the macvlan {name} on {parent}"),
        )?;
        self.node.settle_port(name, addresses)
    }

    /// Makes a bridge inside this host, up, and puts interfaces under it.
    ///
    /// # Errors
    ///
    /// A name that is taken, a missing interface, an address that does not parse.
    pub fn bridge(&self, name: &str, interfaces: &[&str], addresses: &[&str]) -> Result<Port, LabError> {
        let addresses = InterfaceAddress::parse_all(addresses)?;
        let bridge = self.node.add_bridge(name, Vec::new())?;
        for interface in interfaces {
            self.node.change(
                interface,
                |netlink, index| netlink.set_controller(index, bridge),
                || format!("put {interface} under {name}"),
            )?;
        }
        self.node.port(name, addresses)
    }

    /// Routes a network to an interface. `224.0.0.0/4` is how IPv4 hosts choose the interface for groups.
    ///
    /// # Errors
    ///
    /// A destination that does not parse or is routed already, a missing interface.
    pub fn add_route(&self, destination: &str, interface: &str) -> Result<(), LabError> {
        self.change_route(destination, Some(interface), None, false, Netlink::add_route)
    }

    /// Routes a network to a gateway.
    ///
    /// # Errors
    ///
    /// A destination or gateway that does not parse, a gateway that no interface reaches.
    pub fn add_route_via(&self, destination: &str, gateway: &str) -> Result<(), LabError> {
        self.change_route(destination, None, Some(gateway), false, Netlink::add_route)
    }

    /// Makes a network this host's own (a route of type local), as IPv6 groups on `lo` need it: `ff00::/8`.
    ///
    /// # Errors
    ///
    /// A destination that does not parse, a missing interface.
    pub fn add_local_route(&self, destination: &str, interface: &str) -> Result<(), LabError> {
        self.change_route(destination, Some(interface), None, true, Netlink::add_route)
    }

    /// Removes a route to a network by an interface.
    ///
    /// # Errors
    ///
    /// A route that is not there.
    pub fn remove_route(&self, destination: &str, interface: &str) -> Result<(), LabError> {
        self.change_route(destination, Some(interface), None, false, Netlink::remove_route)
    }

    fn change_route(
        &self,
        destination: &str,
        interface: Option<&str>,
        gateway: Option<&str>,
        local: bool,
        change: fn(&mut Netlink, &Route) -> io::Result<()>,
    ) -> Result<(), LabError> {
        let operation = || {
            let by = interface.or(gateway).unwrap_or_default();
            format!("change the route to {destination} by {by} on '{}'", self.name())
        };
        let invalid = |problem: String| LabError::new(operation(), LabErrorKind::Invalid(problem));
        let gateway: Option<IpAddr> = match gateway {
            Some(text) => Some(text.parse().map_err(|_| invalid(format!("'{text}' is not an address")))?),
            None => None,
        };
        let interface = interface.map(|name| self.interface_index(name)).transpose()?;
        let route = Route { destination: InterfaceAddress::parse(destination)?, interface, gateway, local };
        self.node.namespace.netlink(|netlink| change(netlink, &route), operation)
    }
}

impl Node {
    pub(crate) fn interface_index(&self, name: &str) -> Result<u32, LabError> {
        let operation = || format!("find {name} on '{}'", self.namespace.name());
        match self.namespace.netlink(|netlink| netlink.link(name), operation) {
            Ok(link) => Ok(link.index),
            Err(error) if is_missing(&error) => Err(LabError::new(
                operation(),
                LabErrorKind::Missing("there is no such interface".to_owned()),
            )),
            Err(error) => Err(error),
        }
    }

    /// Does something to an interface of this node, by its name.
    pub(crate) fn change<T>(
        &self,
        interface: &str,
        work: impl FnOnce(&mut Netlink, u32) -> io::Result<T>,
        operation: impl FnOnce() -> String,
    ) -> Result<T, LabError> {
        let index = self.interface_index(interface)?;
        let operation = || format!("{} on '{}'", operation(), self.namespace.name());
        self.namespace.netlink(|netlink| work(netlink, index), operation)
    }

    /// Brings up a new interface, gives it its addresses and waits until it carries traffic.
    pub(crate) fn settle_port(&self, name: &str, addresses: Vec<InterfaceAddress>) -> Result<Port, LabError> {
        let port = self.port(name, addresses)?;
        self.wait_operational(name, port.index)?;
        Ok(port)
    }

    /// Brings up a new interface and gives it its addresses.
    pub(crate) fn port(&self, name: &str, addresses: Vec<InterfaceAddress>) -> Result<Port, LabError> {
        let operation = || format!("bring up {name} on '{}' with its addresses", self.namespace.name());
        let index = self.interface_index(name)?;
        self.namespace.netlink(
            |netlink| {
                netlink.set_link_up(index, true)?;
                addresses.iter().try_for_each(|address| netlink.add_address(index, address))
            },
            operation,
        )?;
        Ok(Port {
            host: self.namespace.name().to_owned(),
            name: name.to_owned(),
            index,
            hardware_address: self.hardware_address(name),
            addresses,
        })
    }

    /// Waits until the kernel has noticed the carrier of an interface and given it its link-local address.
    pub(crate) fn wait_operational(&self, name: &str, index: u32) -> Result<(), LabError> {
        let expects_link_local = self.has_ipv6(name)?;
        self.wait_for_link(name, |netlink| {
            let operational = netlink.link(name)?.operational;
            Ok(operational && (!expects_link_local || has_link_local(&netlink.addresses(index)?)))
        })
    }

    /// Waits until something holds for an interface that has just been brought up.
    pub(crate) fn wait_for_link(
        &self,
        name: &str,
        mut is_ready: impl FnMut(&mut Netlink) -> io::Result<bool>,
    ) -> Result<(), LabError> {
        let operation = || format!("wait for {name} on '{}'", self.namespace.name());
        let deadline = Instant::now() + PATIENCE;
        while !self.namespace.netlink(&mut is_ready, operation)? {
            if Instant::now() > deadline {
                let late = LabErrorKind::TimedOut("the interface does not come up".to_owned());
                return Err(LabError::new(operation(), late));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn has_ipv6(&self, interface: &str) -> Result<bool, LabError> {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
        match self.namespace.read(&path) {
            Ok(text) => Ok(text.trim() == "0"),
            Err(error) if error.cause().is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn has_link_local(addresses: &[InterfaceAddress]) -> bool {
    addresses.iter().any(|address| match address.address {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    })
}

fn is_missing(error: &LabError) -> bool {
    error.cause().is_some_and(|cause| cause.raw_os_error() == Some(libc::ENODEV))
}
