//! A network of virtual hosts, switches and links.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    BadLink, Host, Impairment, InterfaceAddress, LabError, LabErrorKind, Port, Router, Switch, SwitchOptions,
    birthplace::Birthplace, command::Children, host::Node, leftovers, name, namespace::Namespace,
    netlink::VethEnd, router::Routing,
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

/// What a router starts with. Forwarding must come first: it resets what else is set for IPv4.
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

/// The inner ends of bad links must not say anything themselves.
const BACKSTAGE_SYSCTLS: &[(&str, &str)] =
    &[("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")];

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
    /// Where bad links have their inner ends; made with the first of them.
    backstage: Mutex<Option<Arc<Node>>>,
    bad_links: Mutex<Vec<BadLink>>,
    routing: Mutex<Vec<Arc<Routing>>>,
}

impl Lab {
    /// Makes an empty lab.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Refused`] where this user may not make network namespaces.
    pub fn new() -> Result<Self, LabError> {
        Ok(Self {
            birthplace: Birthplace::find()?,
            children: Arc::new(Children::new()),
            nodes: Mutex::default(),
            backstage: Mutex::default(),
            bad_links: Mutex::default(),
            routing: Mutex::default(),
        })
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

    /// Adds a router, without interfaces.
    ///
    /// # Errors
    ///
    /// As for [`host`](Self::host); a kernel without multicast routing (`CONFIG_IP_MROUTE`, `CONFIG_IPV6_MROUTE`).
    pub fn router(&self, name: &str) -> Result<Router, LabError> {
        let router = Router::new(self.node(name, ROUTER_SYSCTLS, true)?)?;
        lock(&self.routing).push(router.routing());
        Ok(router)
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
            hardware_address: a.node.new_interface(a_interface)?,
            namespace: here.descriptor(),
        };
        let peer = VethEnd {
            name: b_interface,
            hardware_address: b.node.new_interface(b_interface)?,
            namespace: there.descriptor(),
        };
        let operation = || format!("link {a_interface} of '{}' to {b_interface} of '{}'", a.name(), b.name());
        a.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, None), operation)?;
        let b_port = b.node.port(b_interface, b_addresses)?;
        let a_port = a.node.settle_port(a_interface, a_addresses)?;
        b.node.wait_operational(b_interface, b_port.index)?;
        Ok((a_port, b_port))
    }

    /// Connects two switches by a cable. There is no spanning tree: do not make circles.
    ///
    /// # Errors
    ///
    /// The system's refusal.
    pub fn trunk(&self, a: &Switch, b: &Switch) -> Result<(), LabError> {
        a.add_trunk(b)
    }

    /// Connects two hosts by a bad cable. Its interfaces leave no work to their devices (see [`Offload`]).
    ///
    /// # Errors
    ///
    /// As for [`link`](Self::link); an impossible impairment.
    ///
    /// [`Offload`]: crate::Offload
    #[expect(clippy::too_many_arguments, reason = "two ends, as in `link`, and how bad it is")]
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
        let (link, _, _) = BadLink::between(self.backstage()?, a, b, impairment)?;
        lock(&self.bad_links).push(link.clone());
        Ok(link)
    }

    /// Connects a host to a switch by a bad cable; [`Direction::Forth`](crate::Direction::Forth) is towards the
    /// switch.
    ///
    /// # Errors
    ///
    /// As for [`Host::connect`]; an impossible impairment.
    pub fn connect_badly(
        &self,
        host: &Host,
        interface: &str,
        switch: &Switch,
        addresses: &[&str],
        impairment: Impairment,
    ) -> Result<(Port, BadLink), LabError> {
        let host = (host, interface, addresses);
        let (link, port) = BadLink::to_switch(self.backstage()?, host, switch, impairment)?;
        lock(&self.bad_links).push(link.clone());
        Ok((port, link))
    }

    fn backstage(&self) -> Result<Arc<Node>, LabError> {
        let mut backstage = lock(&self.backstage);
        if let Some(node) = &*backstage {
            return Ok(Arc::clone(node));
        }
        let namespace = Namespace::new(self.birthplace, "the inside of bad links", BACKSTAGE_SYSCTLS)?;
        let node = Arc::new(Node::new(namespace, Arc::clone(&self.children), 0, false));
        Ok(Arc::clone(backstage.insert(node)))
    }

    fn node(
        &self,
        name: &str,
        sysctls: &[(&str, &str)],
        routes_multicast: bool,
    ) -> Result<Arc<Node>, LabError> {
        let mut nodes = lock(&self.nodes);
        let operation = || format!("add '{name}' to the lab");
        if !name::is_host_name(name) {
            let problem = "a name has 1 to 63 letters, digits, '-', '_' and '.'".to_owned();
            return Err(LabError::new(operation(), LabErrorKind::Invalid(problem)));
        }
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
}

impl Lab {
    /// Ends what the programs have left running in the background.
    fn end_leftovers(&self) {
        let nodes = lock(&self.nodes);
        let alive: Vec<_> = nodes.values().filter_map(|node| node.namespace.alive().ok()).collect();
        leftovers::end(&alive);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.children.end();
        if self.children.has_started_any() {
            self.end_leftovers();
        }
        lock(&self.routing).iter().for_each(|routing| routing.end());
        lock(&self.bad_links).iter().for_each(BadLink::end);
        let nodes = lock(&self.nodes);
        nodes.values().chain(&*lock(&self.backstage)).for_each(|node| node.namespace.end());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
