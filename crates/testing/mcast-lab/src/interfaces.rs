//! The interfaces, addresses and routes of a host.

use std::io;
use std::net::IpAddr;

use mcast_sys::lab as sys;

use crate::error::ErrorContext;
use crate::host::Node;
use crate::netlink::{Netlink, Route, SETUP_TIMEOUT, wait_until};
use crate::{CidrAddress, Host, HostInterface, LabError, LabErrorKind, Switch};

impl Host {
    /// Connects an interface of this host to a switch, and waits until it carries traffic.
    ///
    /// The addresses are in CIDR notation, such as `10.0.0.1/24` or `fd00::1/64`. There may be none.
    ///
    /// # Errors
    ///
    /// When an address does not parse or the interface name is taken; otherwise the system's error.
    pub fn connect(
        &self,
        name: &str,
        switch: &Switch,
        addresses: &[&str],
    ) -> Result<HostInterface, LabError> {
        let addresses = CidrAddress::parse_all(addresses)?;
        let port = switch.add_port(self, name)?;
        let interface = self.node.bring_up(name, addresses)?;
        switch.wait_forwarding(&port)?;
        Ok(interface)
    }

    /// Deletes an interface, if it exists, and connects a new one of the same name, which has another index.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn reconnect(
        &self,
        name: &str,
        switch: &Switch,
        addresses: &[&str],
    ) -> Result<HostInterface, LabError> {
        if self.interface_index(name).is_ok() {
            self.delete_interface(name)?;
        }
        self.connect(name, switch, addresses)
    }

    /// Returns the index of an interface.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no interface of this name.
    pub fn interface_index(&self, name: &str) -> Result<u32, LabError> {
        self.node.interface_index(name)
    }

    /// Adds an address to an interface. IPv6 addresses are usable at once.
    ///
    /// # Errors
    ///
    /// When the address does not parse, the interface has it already, or there is no such interface.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let address = CidrAddress::parse(address)?;
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
    /// When the interface does not have the address, or there is no such interface.
    pub fn remove_address(&self, interface: &str, address: &str) -> Result<(), LabError> {
        let address = CidrAddress::parse(address)?;
        self.node.change(
            interface,
            |netlink, index| netlink.remove_address(index, &address),
            || format!("remove {address} from {interface}"),
        )
    }

    /// Returns the addresses of an interface, including the IPv6 link-local address.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn addresses(&self, interface: &str) -> Result<Vec<CidrAddress>, LabError> {
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

    /// Takes an interface down. The kernel then removes its IPv6 addresses, unless `keep_addr_on_down` is set.
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
    pub fn set_multicast(&self, interface: &str, enabled: bool) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_multicast(index, enabled),
            || format!("set the multicast flag of {interface}"),
        )
    }

    /// Sets the MTU of an interface in bytes.
    ///
    /// # Errors
    ///
    /// When the kernel does not allow the size, or there is no such interface.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| netlink.set_mtu(index, mtu),
            || format!("set the MTU of {interface} to {mtu}"),
        )
    }

    /// Renames an interface. Kernels before 6.2 rename only interfaces that are down. There this takes the interface
    /// down temporarily, so that it loses its IPv6 addresses.
    ///
    /// # Errors
    ///
    /// When the name is taken or not valid, or there is no such interface.
    pub fn rename_interface(&self, interface: &str, name: &str) -> Result<(), LabError> {
        self.node.change(
            interface,
            |netlink, index| match netlink.rename_link(index, name) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    netlink.set_link_up(index, false)?;
                    netlink.rename_link(index, name)?;
                    netlink.set_link_up(index, true)
                }
                renamed => renamed,
            },
            || format!("rename {interface} to {name}"),
        )
    }

    /// Deletes an interface, and with it the interface at the other end of its cable.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] when there is no such interface.
    pub fn delete_interface(&self, interface: &str) -> Result<(), LabError> {
        self.node.change(interface, Netlink::delete_link, || format!("delete {interface}"))
    }

    /// Adds an interface with a hardware address of its own on top of another one (macvlan in bridge mode).
    ///
    /// # Errors
    ///
    /// When the kernel has no macvlan, the parent does not exist, the name is taken, or an address does not parse.
    pub fn macvlan(&self, name: &str, parent: &str, addresses: &[&str]) -> Result<HostInterface, LabError> {
        let addresses = CidrAddress::parse_all(addresses)?;
        let hardware_address = self.node.new_hardware_address(name)?;
        self.node.change(
            parent,
            |netlink, index| netlink.add_macvlan(name, index, hardware_address),
            || format!("create the macvlan {name} on {parent}"),
        )?;
        self.node.bring_up(name, addresses)
    }

    /// Creates a bridge in this host, brings it up, and makes interfaces its ports.
    ///
    /// # Errors
    ///
    /// When the name is taken, an interface does not exist, or an address does not parse.
    pub fn bridge(
        &self,
        name: &str,
        interfaces: &[&str],
        addresses: &[&str],
    ) -> Result<HostInterface, LabError> {
        let addresses = CidrAddress::parse_all(addresses)?;
        let bridge = self.node.add_bridge(name, Vec::new())?;
        for interface in interfaces {
            self.node.change(
                interface,
                |netlink, index| netlink.set_controller(index, bridge),
                || format!("make {interface} a port of {name}"),
            )?;
        }
        self.node.configure_interface(name, addresses)
    }

    /// Adds a route by an interface. IPv4 hosts choose the interface for groups by the route to `224.0.0.0/4`.
    ///
    /// # Errors
    ///
    /// When the destination does not parse, the route exists, or there is no such interface.
    pub fn add_route(&self, destination: &str, interface: &str) -> Result<(), LabError> {
        self.change_route(destination, Some(interface), None, false, Netlink::add_route)
    }

    /// Adds a route via a gateway.
    ///
    /// # Errors
    ///
    /// When the destination or the gateway does not parse, or the gateway is not reachable by any interface.
    pub fn add_route_via(&self, destination: &str, gateway: &str) -> Result<(), LabError> {
        self.change_route(destination, None, Some(gateway), false, Netlink::add_route)
    }

    /// Adds a route of type local, which makes the destination the host's own. IPv6 groups on `lo` need one for
    /// `ff00::/8`.
    ///
    /// # Errors
    ///
    /// When the destination does not parse, or there is no such interface.
    pub fn add_local_route(&self, destination: &str, interface: &str) -> Result<(), LabError> {
        self.change_route(destination, Some(interface), None, true, Netlink::add_route)
    }

    /// Removes a route by an interface.
    ///
    /// # Errors
    ///
    /// When there is no such route.
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
        let route = Route { destination: CidrAddress::parse(destination)?, interface, gateway, local };
        self.node.namespace.netlink(|netlink| change(netlink, &route), operation)
    }
}

impl Node {
    pub(crate) fn interface_index(&self, name: &str) -> Result<u32, LabError> {
        let operation = || format!("find {name} on '{}'", self.namespace.name());
        match self.namespace.netlink(|netlink| netlink.link(name), operation) {
            Ok(link) => Ok(link.index),
            Err(error) if is_missing(&error) => {
                Err(LabError::new(operation(), LabErrorKind::Missing("no such interface".to_owned())))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs `work` with the netlink socket of this node and the index of an interface.
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

    /// Brings up a new interface, assigns its addresses and waits until it carries traffic.
    pub(crate) fn bring_up(
        &self,
        name: &str,
        addresses: Vec<CidrAddress>,
    ) -> Result<HostInterface, LabError> {
        let interface = self.configure_interface(name, addresses)?;
        self.wait_operational(name, interface.index)?;
        Ok(interface)
    }

    /// Brings up a new interface and assigns its addresses.
    pub(crate) fn configure_interface(
        &self,
        name: &str,
        addresses: Vec<CidrAddress>,
    ) -> Result<HostInterface, LabError> {
        let operation = || format!("bring up {name} on '{}' with its addresses", self.namespace.name());
        let index = self.interface_index(name)?;
        self.namespace.netlink(
            |netlink| {
                netlink.set_link_up(index, true)?;
                addresses.iter().try_for_each(|address| netlink.add_address(index, address))
            },
            operation,
        )?;
        Ok(HostInterface {
            host: self.namespace.name().to_owned(),
            name: name.to_owned(),
            index,
            hardware_address: self.hardware_address(name),
            addresses,
        })
    }

    /// Waits until the kernel has noticed the carrier of an interface and assigned its link-local address.
    pub(crate) fn wait_operational(&self, name: &str, index: u32) -> Result<(), LabError> {
        let expects_link_local = self.has_ipv6(name)?;
        self.wait_for_link(name, |netlink| {
            let operational = netlink.link(name)?.operational;
            Ok(operational && (!expects_link_local || has_link_local(&netlink.addresses(index)?)))
        })
    }

    /// Waits until `is_ready` returns true for an interface that has just been brought up.
    pub(crate) fn wait_for_link(
        &self,
        name: &str,
        mut is_ready: impl FnMut(&mut Netlink) -> io::Result<bool>,
    ) -> Result<(), LabError> {
        let operation = || format!("wait for {name} on '{}'", self.namespace.name());
        wait_until(
            SETUP_TIMEOUT,
            || self.namespace.netlink(&mut is_ready, operation),
            || {
                let problem = format!("the interface has not come up within {SETUP_TIMEOUT:?}");
                LabError::new(operation(), LabErrorKind::TimedOut(problem))
            },
        )
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

fn has_link_local(addresses: &[CidrAddress]) -> bool {
    addresses.iter().any(|address| match address.address {
        IpAddr::V6(address) => address.is_unicast_link_local(),
        IpAddr::V4(_) => false,
    })
}

fn is_missing(error: &LabError) -> bool {
    error.cause().is_some_and(|cause| cause.raw_os_error() == Some(libc::ENODEV))
}

/// The work that an interface offloads to its device. The default is that of new virtual interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offload {
    /// Checksums of sent packets (`tx-checksum-ip-generic`).
    pub tx_checksum: bool,
    /// Segmentation of large UDP sends into datagrams (`tx-udp-segmentation`, UDP GSO).
    pub tx_udp_segmentation: bool,
    /// Segmentation of large TCP sends (`tx-tcp-segmentation`, TSO).
    pub tso: bool,
    /// Segmentation in software just before the device (`tx-generic-segmentation`, GSO).
    pub gso: bool,
    /// Coalescing of received packets (`rx-gro`). Virtual interfaces then receive as real ones do (NAPI).
    pub gro: bool,
}

impl Default for Offload {
    fn default() -> Self {
        Self { tx_checksum: true, tx_udp_segmentation: true, tso: true, gso: true, gro: false }
    }
}

impl Offload {
    /// Returns the setting without any offload: each frame is one complete datagram.
    #[must_use]
    pub fn none() -> Self {
        Self { tx_checksum: false, tx_udp_segmentation: false, tso: false, gso: false, gro: false }
    }

    /// Returns the kernel's names of the features, and whether each is on.
    fn features(self) -> [(&'static str, bool); 8] {
        [
            ("tx-checksum-ip-generic", self.tx_checksum),
            ("tx-udp-segmentation", self.tx_udp_segmentation),
            ("tx-tcp-segmentation", self.tso),
            ("tx-tcp-ecn-segmentation", self.tso),
            ("tx-tcp-mangleid-segmentation", self.tso),
            ("tx-tcp6-segmentation", self.tso),
            ("tx-generic-segmentation", self.gso),
            ("rx-gro", self.gro),
        ]
    }
}

impl Host {
    /// Sets the offloads of an interface.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or when its features cannot be changed.
    pub fn offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        self.node.set_offload(interface, offload)
    }
}

impl Node {
    pub(crate) fn set_offload(&self, interface: &str, offload: Offload) -> Result<(), LabError> {
        let set = || sys::offload::set_features(interface, &offload.features());
        let operation = || format!("set the offloads of {interface} on '{}'", self.namespace.name());
        self.namespace.call(set)?.context(operation)
    }
}
