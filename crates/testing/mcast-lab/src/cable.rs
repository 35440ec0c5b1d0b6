//! Interfaces of the machine, such as network cards, that a lab borrows.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use mcast_sys::lab as sys;

use crate::error::ErrorContext;
use crate::host::Node;
use crate::netlink::{Netlink, SETUP_TIMEOUT, wait_until};
use crate::switch::SwitchPort;
use crate::{CidrAddress, Host, HostInterface, LabError, LabErrorKind, Switch};

/// Two Ethernet interfaces of the machine that are connected outside of the lab. Borrowing them takes root's rights.
/// When a lab ends, the kernel moves physical interfaces back to the machine's first network namespace, under any name.
#[derive(Debug)]
pub struct Cable {
    host_end: [u8; 6],
    switch_end: [u8; 6],
    machine: OwnedFd,
    netlink: Mutex<Netlink>,
}

/// The kernel's pattern of names for interfaces that are given back.
const GIVEN_BACK: &str = "card%d";

impl Cable {
    /// Describes a cable between two interfaces of the calling thread's network namespace, by their hardware addresses:
    /// the interface to become a host's, and the one to become a port of a switch.
    ///
    /// # Errors
    ///
    /// The system's error if it provides no netlink socket.
    pub fn new(host_end: [u8; 6], switch_end: [u8; 6]) -> Result<Self, LabError> {
        let machine = sys::namespace::network().context(|| "open a network namespace")?;
        let netlink = Netlink::open().context(|| "open a netlink socket")?;
        Ok(Self { host_end, switch_end, machine, netlink: Mutex::new(netlink) })
    }

    /// Moves one of its interfaces from the machine to a node, and returns its index there.
    fn lend(&self, hardware_address: [u8; 6], node: &Node, name: &str) -> Result<u32, LabError> {
        let operation = || {
            let address = hardware_address.map(|byte| format!("{byte:02x}")).join(":");
            format!("borrow the interface {address} for '{}'", node.namespace.name())
        };
        let live = node.namespace.live()?;
        let mut machine = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        wait_until(
            SETUP_TIMEOUT,
            || {
                found = machine.link_of(hardware_address).context(operation)?;
                Ok(found.is_some())
            },
            || LabError::new(operation(), LabErrorKind::TimedOut("there is no such interface".to_owned())),
        )?;
        let index = found.map_or(0, |link| link.index);
        machine.move_link(index, name, live.as_fd()).context(operation)?;
        node.interface_index(name)
    }
}

impl Host {
    /// Connects an interface of this host to a switch by a cable of the machine, and waits until it carries traffic. It
    /// keeps its hardware address. An earlier lab may still be ending, so this waits until the interfaces are there.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] if there is no such interface; otherwise as for [`connect`](Self::connect).
    pub fn connect_by(
        &self,
        cable: &Cable,
        name: &str,
        switch: &Switch,
        addresses: &[&str],
    ) -> Result<HostInterface, LabError> {
        let addresses = CidrAddress::parse_all(addresses)?;
        let port = switch.borrow_port(cable, self, name)?;
        cable.lend(cable.host_end, &self.node, name)?;
        let interface = self.node.bring_up(name, addresses)?;
        switch.wait_forwarding(&port)?;
        Ok(HostInterface { hardware_address: cable.host_end, ..interface })
    }

    /// Returns an interface to the machine, where [`connect_by`](Self::connect_by) finds it again. For this host, it is
    /// deleted. The other end of the cable remains a port of its switch.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or the kernel cannot move it.
    pub fn give_back(&self, name: &str, cable: &Cable) -> Result<(), LabError> {
        self.node.change(
            name,
            |netlink, index| netlink.move_link(index, GIVEN_BACK, cable.machine.as_fd()),
            || format!("give {name} back"),
        )
    }
}

impl Switch {
    /// Makes the end of a cable a port, unless it is one already.
    fn borrow_port(&self, cable: &Cable, host: &Host, interface: &str) -> Result<SwitchPort, LabError> {
        let node = &self.node;
        let operation =
            || format!("connect {interface} of '{}' to the switch '{}'", host.name(), self.name());
        let present = node.namespace.netlink(|netlink| netlink.link_of(cable.switch_end), operation)?;
        if let Some(link) = present {
            return Ok(SwitchPort { name: link.name, index: link.index });
        }
        let name = self.next_port_name();
        let index = cable.lend(cable.switch_end, node, &name)?;
        node.namespace.netlink(
            |netlink| {
                netlink.set_controller(index, self.bridge())?;
                netlink.set_link_up(index, true)
            },
            operation,
        )?;
        let port = SwitchPort { name, index };
        self.record_connection(&port, host, interface)?;
        Ok(port)
    }
}
