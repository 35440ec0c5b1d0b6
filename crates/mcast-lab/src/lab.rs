//! A network of virtual hosts, switches and links.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Host, InterfaceAddress, LabError, LabErrorKind, Port, Switch, SwitchOptions, birthplace::Birthplace,
    command::Children, host::Node, namespace::Namespace, netlink::VethEnd,
};

/// What every host starts with, whatever the machine has set for itself: some kernels hand the machine's
/// own values on to new namespaces.
const HOST_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/promote_secondaries", "1"),
    ("net/ipv4/conf/default/promote_secondaries", "1"),
    ("net/ipv4/conf/all/force_igmp_version", "0"),
    ("net/ipv4/conf/default/force_igmp_version", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// A switch's sockets have no addresses; only its bridge has one, to query from.
const SWITCH_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// A network of virtual hosts, switches, routers and links.
///
/// Dropping it ends what runs in it and takes it down; hosts and switches that are kept longer answer with
/// [`LabErrorKind::Gone`]. Only threads that [`Host::spawn`] started and sockets that are still open keep
/// their namespace until they end.
#[derive(Debug)]
pub struct Lab {
    birthplace: Birthplace,
    children: Arc<Children>,
    nodes: Mutex<HashMap<String, Arc<Node>>>,
}

impl Lab {
    /// Makes an empty lab.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Refused`] where this user may not make network namespaces.
    pub fn new() -> Result<Self, LabError> {
        Ok(Self { birthplace: Birthplace::find()?, children: Arc::default(), nodes: Mutex::default() })
    }

    /// Adds a host, with the loopback interface up and nothing else.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Taken`] when something in the lab has this name; the system's refusal.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        Ok(Host { node: self.node(name, HOST_SYSCTLS, false)? })
    }

    /// Adds a switch that floods multicast, as unmanaged switches do.
    ///
    /// # Errors
    ///
    /// As for [`host`](Self::host).
    pub fn switch(&self, name: &str) -> Result<Switch, LabError> {
        self.switch_with(name, SwitchOptions::default())
    }

    /// Adds a switch with options, such as [`SwitchOptions::managed`].
    ///
    /// # Errors
    ///
    /// As for [`host`](Self::host).
    pub fn switch_with(&self, name: &str, options: SwitchOptions) -> Result<Switch, LabError> {
        Switch::new(self.node(name, SWITCH_SYSCTLS, false)?, &options)
    }

    /// Connects two hosts, or one to itself, by a cable, and waits until it carries traffic.
    ///
    /// # Errors
    ///
    /// An address that does not parse, an interface name that is taken, the system's refusal.
    pub fn link(
        &self,
        a: &Host,
        a_interface: &str,
        a_addresses: &[&str],
        b: &Host,
        b_interface: &str,
        b_addresses: &[&str],
    ) -> Result<(Port, Port), LabError> {
        let a_addresses = InterfaceAddress::parse_all(a_addresses)?;
        let b_addresses = InterfaceAddress::parse_all(b_addresses)?;
        let (here, there) = (a.node.namespace.alive()?, b.node.namespace.alive()?);
        let end = VethEnd {
            name: a_interface,
            hardware_address: a.node.hardware_address(a_interface),
            namespace: here.descriptor(),
        };
        let peer = VethEnd {
            name: b_interface,
            hardware_address: b.node.hardware_address(b_interface),
            namespace: there.descriptor(),
        };
        let operation = || format!("link {a_interface} of '{}' to {b_interface} of '{}'", a.name(), b.name());
        a.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, None), operation)?;
        let b_port = b.node.port(b_interface, b_addresses)?;
        let a_port = a.node.settle_port(a_interface, a_addresses)?;
        b.node.wait_operational(b_interface, b_port.index)?;
        Ok((a_port, b_port))
    }

    fn node(
        &self,
        name: &str,
        sysctls: &[(&str, &str)],
        routes_multicast: bool,
    ) -> Result<Arc<Node>, LabError> {
        let mut nodes = self.nodes();
        let operation = || format!("add '{name}' to the lab");
        if nodes.contains_key(name) {
            return Err(LabError::new(operation(), LabErrorKind::Taken("the name is taken".to_owned())));
        }
        let number = u16::try_from(nodes.len() + 1);
        let number =
            number.map_err(|_| LabError::new(operation(), LabErrorKind::Invalid("too many".to_owned())))?;
        let namespace = Namespace::new(self.birthplace, name, sysctls)?;
        let node = Arc::new(Node::new(namespace, Arc::clone(&self.children), number, routes_multicast));
        nodes.insert(name.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.children.end();
        self.nodes().values().for_each(|node| node.namespace.end());
    }
}
