//! A network of virtual hosts, switches and links.

use std::{
    collections::HashMap,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::command::Children;
use crate::host::Node;
use crate::namespace::Namespace;
use crate::namespace::Spawner;
use crate::netlink::VethEnd;
use crate::router::MulticastRouting;
use crate::{
    BadLink, CidrAddress, Host, HostInterface, Impairment, LabError, LabErrorKind, Router, Switch,
    SwitchOptions, address, command,
};

/// The initial sysctls of a host. They are all set explicitly because some kernels copy the machine's own
/// values to new namespaces.
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

/// The initial sysctls of a router. `ip_forward` must come first: setting it resets other IPv4 sysctls.
const ROUTER_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/promote_secondaries", "1"),
    ("net/ipv4/conf/default/promote_secondaries", "1"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// The initial sysctls of the namespace with the inner ends of bad links. Without IPv6, those interfaces send
/// nothing of their own.
const LINK_NAMESPACE_SYSCTLS: &[(&str, &str)] =
    &[("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")];

/// The initial sysctls of a switch. The ports of a switch have no addresses; only its bridge has one, as the
/// source of MLD queries.
const SWITCH_SYSCTLS: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// A network of virtual hosts, switches, routers and links.
///
/// Dropping it kills the programs that run in it and removes its namespaces. The methods of hosts and switches
/// that outlive it return [`LabErrorKind::Gone`]. Threads started by [`Host::spawn`] and sockets that are still
/// open keep their namespace until they end.
#[derive(Debug)]
pub struct Lab {
    spawner: Spawner,
    children: Arc<Children>,
    nodes: Mutex<HashMap<String, Arc<Node>>>,
    /// The namespace with the inner ends of bad links; created with the first bad link.
    link_namespace: Mutex<Option<Arc<Node>>>,
    bad_links: Mutex<Vec<BadLink>>,
    routing: Mutex<Vec<Arc<MulticastRouting>>>,
}

impl Lab {
    /// Creates an empty lab.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Refused`] when this user may not create network namespaces.
    pub fn new() -> Result<Self, LabError> {
        Ok(Self {
            spawner: Spawner::find()?,
            children: Arc::new(Children::new()),
            nodes: Mutex::default(),
            link_namespace: Mutex::default(),
            bad_links: Mutex::default(),
            routing: Mutex::default(),
        })
    }

    /// Adds a host with only the loopback interface, which is up.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Taken`] when another host, switch or router of the lab has this name; otherwise the system's
    /// error.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        Ok(Host { node: self.node(name, HOST_SYSCTLS, false)? })
    }

    /// Adds a switch that floods multicast, like an unmanaged switch.
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

    /// Adds a router without interfaces.
    ///
    /// # Errors
    ///
    /// As for [`host`](Self::host); also when the kernel has no multicast routing (`CONFIG_IP_MROUTE`,
    /// `CONFIG_IPV6_MROUTE`).
    pub fn router(&self, name: &str) -> Result<Router, LabError> {
        let router = Router::new(self.node(name, ROUTER_SYSCTLS, true)?)?;
        lock(&self.routing).push(router.routing());
        Ok(router)
    }

    /// Connects two hosts, or a host to itself, by a cable, and waits until the cable carries traffic.
    ///
    /// # Errors
    ///
    /// An address that does not parse, an interface name that is taken, or the system's error.
    pub fn link(
        &self,
        a: &Host,
        a_interface: &str,
        a_addresses: &[&str],
        b: &Host,
        b_interface: &str,
        b_addresses: &[&str],
    ) -> Result<(HostInterface, HostInterface), LabError> {
        let a_addresses = CidrAddress::parse_all(a_addresses)?;
        let b_addresses = CidrAddress::parse_all(b_addresses)?;
        let (a_namespace, b_namespace) = (a.node.namespace.live()?, b.node.namespace.live()?);
        let end = VethEnd {
            name: a_interface,
            hardware_address: a.node.new_hardware_address(a_interface)?,
            namespace: a_namespace.as_fd(),
        };
        let peer = VethEnd {
            name: b_interface,
            hardware_address: b.node.new_hardware_address(b_interface)?,
            namespace: b_namespace.as_fd(),
        };
        let operation = || format!("link {a_interface} of '{}' to {b_interface} of '{}'", a.name(), b.name());
        a.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, None), operation)?;
        let b_end = b.node.configure_interface(b_interface, b_addresses)?;
        let a_end = a.node.bring_up(a_interface, a_addresses)?;
        b.node.wait_operational(b_interface, b_end.index)?;
        Ok((a_end, b_end))
    }

    /// Connects two switches by a cable. There is no spanning tree, so the switches must not form a loop.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn trunk(&self, a: &Switch, b: &Switch) -> Result<(), LabError> {
        a.add_trunk(b)
    }

    /// Connects two hosts by a bad link. All offloads of its interfaces are off (see [`Offload`]).
    ///
    /// # Errors
    ///
    /// As for [`link`](Self::link), and for an invalid impairment.
    ///
    /// [`Offload`]: crate::Offload
    #[expect(clippy::too_many_arguments, reason = "two ends, as in `link`, and the impairment")]
    pub fn bad_link(
        &self,
        a: &Host,
        a_interface: &str,
        a_addresses: &[&str],
        b: &Host,
        b_interface: &str,
        b_addresses: &[&str],
        impairment: Impairment,
    ) -> Result<BadLink, LabError> {
        let a = (a, a_interface, a_addresses);
        let b = (b, b_interface, b_addresses);
        let (link, _, _) = BadLink::between(self.link_namespace()?, a, b, impairment)?;
        lock(&self.bad_links).push(link.clone());
        Ok(link)
    }

    /// Connects a host to a switch by a bad link; [`LinkDirection::Forward`](crate::LinkDirection::Forward) is
    /// towards the switch.
    ///
    /// # Errors
    ///
    /// As for [`Host::connect`], and for an invalid impairment.
    pub fn connect_badly(
        &self,
        host: &Host,
        interface: &str,
        switch: &Switch,
        addresses: &[&str],
        impairment: Impairment,
    ) -> Result<(HostInterface, BadLink), LabError> {
        let host = (host, interface, addresses);
        let (link, interface) = BadLink::to_switch(self.link_namespace()?, host, switch, impairment)?;
        lock(&self.bad_links).push(link.clone());
        Ok((interface, link))
    }

    fn link_namespace(&self) -> Result<Arc<Node>, LabError> {
        let mut link_namespace = lock(&self.link_namespace);
        if let Some(node) = &*link_namespace {
            return Ok(Arc::clone(node));
        }
        let namespace = Namespace::new(self.spawner, "the inside of bad links", LINK_NAMESPACE_SYSCTLS)?;
        let node = Arc::new(Node::new(namespace, Arc::clone(&self.children), 0, false));
        Ok(Arc::clone(link_namespace.insert(node)))
    }

    fn node(
        &self,
        name: &str,
        sysctls: &[(&str, &str)],
        routes_multicast: bool,
    ) -> Result<Arc<Node>, LabError> {
        let mut nodes = lock(&self.nodes);
        let operation = || format!("add '{name}' to the lab");
        if !address::is_host_name(name) {
            let problem = "a name must consist of 1 to 63 letters, digits, '-', '_' and '.'".to_owned();
            return Err(LabError::new(operation(), LabErrorKind::Invalid(problem)));
        }
        if nodes.contains_key(name) {
            return Err(LabError::new(operation(), LabErrorKind::Taken("the name is taken".to_owned())));
        }
        let number = u16::try_from(nodes.len() + 1);
        let number = number.map_err(|_| {
            LabError::new(operation(), LabErrorKind::Invalid("the lab has too many hosts".to_owned()))
        })?;
        let namespace = Namespace::new(self.spawner, name, sysctls)?;
        let node = Arc::new(Node::new(namespace, Arc::clone(&self.children), number, routes_multicast));
        nodes.insert(name.to_owned(), Arc::clone(&node));
        Ok(node)
    }
}

impl Lab {
    /// Kills the processes that programs of the lab have left in the background.
    fn kill_stray_processes(&self) {
        let nodes = lock(&self.nodes);
        let live: Vec<_> = nodes.values().filter_map(|node| node.namespace.live().ok()).collect();
        command::kill_all(&live);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.children.kill_all();
        if self.children.has_started_any() {
            self.kill_stray_processes();
        }
        lock(&self.routing).iter().for_each(|routing| routing.stop());
        lock(&self.bad_links).iter().for_each(BadLink::stop);
        let nodes = lock(&self.nodes);
        nodes.values().chain(&*lock(&self.link_namespace)).for_each(|node| node.namespace.release());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
