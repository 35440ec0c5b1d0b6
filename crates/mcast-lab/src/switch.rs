//! A virtual Ethernet switch.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use netlink_packet_route::link::InfoBridge;

use crate::{
    Host, InterfaceAddress, LabError, LabErrorKind, SwitchOptions,
    host::Node,
    netlink::{Bridge, Netlink, VethEnd},
    port,
};

const PAUSE: Duration = Duration::from_micros(500);

/// A switch of a [`Lab`](crate::Lab): a kernel bridge in a namespace of its own. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    pub(crate) node: Arc<Node>,
    ports: Arc<Mutex<Ports>>,
    bridge: u32,
}

/// A port of a switch that wants a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: IpAddr,
    /// The host behind the port.
    pub host: String,
    /// The interface of that host.
    pub interface: String,
}

/// A socket of a switch.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) name: String,
    pub(crate) index: u32,
}

/// The sockets of a switch, and what is plugged into them.
#[derive(Debug, Default)]
struct Ports {
    made: u32,
    behind: HashMap<u32, (String, String)>,
}

impl Switch {
    pub(crate) fn new(node: Arc<Node>, options: &SwitchOptions) -> Result<Self, LabError> {
        let name = node.namespace.name().to_owned();
        let bridge = node.add_bridge(BRIDGE, options.at_first())?;
        // The MLD querier needs an address from the start: without one it gives up until the next interval,
        // and the bridge floods IPv6 so long.
        let address = port::link_local(node.hardware_address(BRIDGE)).into();
        let link_local = InterfaceAddress { address, prefix_length: 64 };
        node.namespace.netlink(
            |netlink| {
                netlink.set_link_up(bridge, true)?;
                netlink.add_address(bridge, &link_local)?;
                options
                    .querier_address
                    .iter()
                    .try_for_each(|address| netlink.add_address(bridge, address))?;
                netlink.set_bridge(bridge, options.at_last())
            },
            || format!("set up the switch '{name}'"),
        )?;
        Ok(Self { node, ports: Arc::default(), bridge })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.namespace.name()
    }

    /// The switch as a host, to run something inside it: capture on a port, read its tables. The bridge is `br0`.
    #[must_use]
    pub fn inside(&self) -> Host {
        Host { node: Arc::clone(&self.node) }
    }

    /// Turns the querier on or off while the switch runs.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn set_querier(&self, querier: bool) -> Result<(), LabError> {
        self.set(InfoBridge::MulticastQuerier(querier), "set the querier")
    }

    /// Turns snooping on or off while the switch runs.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn set_snooping(&self, snooping: bool) -> Result<(), LabError> {
        self.set(InfoBridge::MulticastSnooping(snooping), "set snooping")
    }

    /// The groups that the switch has learnt by snooping, with the ports that want them.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn members(&self) -> Result<Vec<Member>, LabError> {
        let operation = || format!("list the groups of the switch '{}'", self.name());
        let entries = self.node.namespace.netlink(Netlink::groups, operation)?;
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let member = |port: u32, group| {
            let (host, interface) = ports.behind.get(&port)?.clone();
            Some(Member { group, host, interface })
        };
        Ok(entries.into_iter().filter_map(|entry| member(entry.port, entry.group)).collect())
    }

    /// Waits until the switch knows that an interface of a host wants a group. Reports take about 10 ms.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when it does not learn it within `timeout`.
    pub fn wait_for_member(
        &self,
        host: &Host,
        interface: &str,
        group: IpAddr,
        timeout: Duration,
    ) -> Result<(), LabError> {
        let wanted = Member { group, host: host.name().to_owned(), interface: interface.to_owned() };
        self.wait_until(&wanted, true, timeout)
    }

    /// Waits until the switch no longer counts an interface of a host as wanting a group.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when it still does after `timeout`.
    pub fn wait_for_leave(
        &self,
        host: &Host,
        interface: &str,
        group: IpAddr,
        timeout: Duration,
    ) -> Result<(), LabError> {
        let unwanted = Member { group, host: host.name().to_owned(), interface: interface.to_owned() };
        self.wait_until(&unwanted, false, timeout)
    }

    fn wait_until(&self, member: &Member, present: bool, timeout: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + timeout;
        while self.members()?.contains(member) != present {
            if Instant::now() > deadline {
                let Member { group, host, interface } = member;
                let late = if present { "has not learnt of it" } else { "has not forgotten it" };
                let late = LabErrorKind::TimedOut(format!("the switch {late} within {timeout:?}"));
                let operation = format!("watch {interface} of '{host}' and {group} on '{}'", self.name());
                return Err(LabError::new(operation, late));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn set(&self, option: InfoBridge, what: &str) -> Result<(), LabError> {
        let operation = || format!("{what} of the switch '{}'", self.name());
        self.node.namespace.netlink(|netlink| netlink.set_bridge(self.bridge, vec![option]), operation)
    }

    /// Makes a cable between a new socket of this switch and a new interface of a host.
    pub(crate) fn add_port(&self, host: &Host, interface: &str) -> Result<Socket, LabError> {
        let socket = self.next_socket();
        let (here, there) = (self.node.namespace.alive()?, host.node.namespace.alive()?);
        let end = VethEnd {
            name: &socket,
            hardware_address: self.node.hardware_address(&socket),
            namespace: here.descriptor(),
        };
        let peer = VethEnd {
            name: interface,
            hardware_address: host.node.new_interface(interface)?,
            namespace: there.descriptor(),
        };
        let operation =
            || format!("connect {interface} of '{}' to the switch '{}'", host.name(), self.name());
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, Some(self.bridge)), operation)?;
        let index = self.node.interface_index(&socket)?;
        let socket = Socket { name: socket, index };
        self.plugged(&socket, host, interface)?;
        Ok(socket)
    }

    /// Makes a cable between this switch and another one.
    pub(crate) fn add_trunk(&self, other: &Self) -> Result<(), LabError> {
        let (socket, other_socket) = (self.next_socket(), other.next_socket());
        let (here, there) = (self.node.namespace.alive()?, other.node.namespace.alive()?);
        let end = VethEnd {
            name: &socket,
            hardware_address: self.node.hardware_address(&socket),
            namespace: here.descriptor(),
        };
        let peer = VethEnd {
            name: &other_socket,
            hardware_address: other.node.hardware_address(&other_socket),
            namespace: there.descriptor(),
        };
        let operation = || format!("connect the switches '{}' and '{}'", self.name(), other.name());
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, Some(self.bridge)), operation)?;
        let index = other.node.interface_index(&other_socket)?;
        other.node.namespace.netlink(
            |netlink| {
                netlink.set_controller(index, other.bridge)?;
                netlink.set_link_up(index, true)
            },
            operation,
        )?;
        let index = self.node.interface_index(&socket)?;
        self.wait_forwarding(&Socket { name: socket, index })?;
        other.wait_forwarding(&Socket { name: other_socket, index })
    }

    /// Notes what is behind a socket, and marks it if that is a router, which then gets every group.
    pub(crate) fn plugged(&self, socket: &Socket, host: &Host, interface: &str) -> Result<(), LabError> {
        let behind = (host.name().to_owned(), interface.to_owned());
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).behind.insert(socket.index, behind);
        if !host.node.routes_multicast {
            return Ok(());
        }
        let operation = || format!("mark a router's port of the switch '{}'", self.name());
        self.node.namespace.netlink(|netlink| netlink.set_router_port(socket.index), operation)
    }

    /// Waits until a socket passes frames on. Its host may notice the carrier before the bridge does.
    pub(crate) fn wait_forwarding(&self, socket: &Socket) -> Result<(), LabError> {
        self.node.wait_for_link(&socket.name, |netlink| Ok(netlink.link(&socket.name)?.forwarding))
    }

    /// Whether an interface of a host is connected here.
    pub(crate) fn has_port(&self, host: &str, interface: &str) -> bool {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.behind.values().any(|(a_host, an_interface)| a_host == host && an_interface == interface)
    }

    /// The index of the bridge.
    pub(crate) fn bridge(&self) -> u32 {
        self.bridge
    }

    /// A name for another socket.
    pub(crate) fn next_socket(&self) -> String {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.made += 1;
        format!("p{}", ports.made)
    }
}

/// The name of the bridge inside a switch.
const BRIDGE: &str = "br0";

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Switch").field(&self.name()).finish()
    }
}

impl Node {
    /// Makes a bridge, down, and returns its index.
    pub(crate) fn add_bridge(&self, name: &str, options: Vec<InfoBridge>) -> Result<u32, LabError> {
        let bridge = Bridge { name, hardware_address: self.new_interface(name)?, options };
        let operation = || format!("make the bridge {name} in '{}'", self.namespace.name());
        self.namespace.netlink(|netlink| netlink.add_bridge(bridge), operation)?;
        self.interface_index(name)
    }
}
