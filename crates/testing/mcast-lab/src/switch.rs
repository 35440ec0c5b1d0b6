//! A virtual Ethernet switch.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netlink_packet_route::link::InfoBridge;

use crate::host::{self, Node};
use crate::netlink::{Bridge, Netlink, SETUP_TIMEOUT, VethEnd, wait_until};
use crate::{CidrAddress, Host, LabError, LabErrorKind};

/// A switch of a [`Lab`](crate::Lab): a kernel bridge in a namespace of its own. Clones are the same switch.
#[derive(Clone)]
pub struct Switch {
    pub(crate) node: Arc<Node>,
    ports: Arc<Mutex<Ports>>,
    /// The index of the bridge.
    bridge: u32,
}

/// A port of a switch with a member of a group behind it, as learnt by snooping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnoopedMember {
    /// The group.
    pub group: IpAddr,
    /// The host behind the port.
    pub host: String,
    /// The name of the interface of that host.
    pub interface: String,
}

/// A port of a switch.
#[derive(Debug)]
pub(crate) struct SwitchPort {
    pub(crate) name: String,
    pub(crate) index: u32,
}

/// The ports of a switch.
#[derive(Debug, Default)]
struct Ports {
    /// How many ports have been named so far.
    named: u32,
    /// The host and the interface behind each port, by the index of the port.
    connected: HashMap<u32, (String, String)>,
}

impl Switch {
    pub(crate) fn new(node: Arc<Node>, options: &SwitchOptions) -> Result<Self, LabError> {
        let name = node.namespace.name().to_owned();
        let bridge = node.add_bridge(BRIDGE, options.initial_attributes())?;
        // The MLD querier needs an address from the start. Without one it does not try again until the next query
        // interval, and the bridge floods IPv6 until then.
        let address = host::link_local(node.hardware_address(BRIDGE)).into();
        let link_local = CidrAddress { address, prefix_length: 64 };
        node.namespace.netlink(
            |netlink| {
                netlink.set_link_up(bridge, true)?;
                netlink.add_address(bridge, &link_local)?;
                options
                    .querier_address
                    .iter()
                    .try_for_each(|address| netlink.add_address(bridge, address))?;
                netlink.set_bridge(bridge, options.final_attributes())
            },
            || format!("set up the switch '{name}'"),
        )?;
        let switch = Self { node, ports: Arc::default(), bridge };
        if options.sends_queries() {
            switch.wait_for_querier()?;
        }
        Ok(switch)
    }

    /// Returns the name of the switch.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.namespace.name()
    }

    /// Returns the switch as a host, to run closures and programs inside it, for instance to capture on a port or to
    /// read its tables. The bridge is `br0`.
    #[must_use]
    pub fn inside(&self) -> Host {
        Host { node: Arc::clone(&self.node) }
    }

    /// Turns the querier on or off. Unlike the querier of a new switch, one that is turned on later does not limit
    /// groups to their members until [`query_response_interval`](SwitchOptions::query_response_interval) has passed.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn set_querier(&self, querier: bool) -> Result<(), LabError> {
        self.set(InfoBridge::MulticastQuerier(querier), "set the querier")
    }

    /// Turns snooping on or off.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn set_snooping(&self, snooping: bool) -> Result<(), LabError> {
        self.set(InfoBridge::MulticastSnooping(snooping), "set snooping")
    }

    /// Returns the groups that the switch has learnt by snooping, with the ports of their members.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn members(&self) -> Result<Vec<SnoopedMember>, LabError> {
        let operation = || format!("list the groups of the switch '{}'", self.name());
        let entries = self.node.namespace.netlink(Netlink::groups, operation)?;
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let member = |port: u32, group| {
            let (host, interface) = ports.connected.get(&port)?.clone();
            Some(SnoopedMember { group, host, interface })
        };
        Ok(entries.into_iter().filter_map(|entry| member(entry.port, entry.group)).collect())
    }

    /// Waits until the switch has learnt that an interface of a host is a member of a group, which takes about 10 ms.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when the switch does not learn it within `timeout`.
    pub fn wait_for_member(
        &self,
        host: &Host,
        interface: &str,
        group: IpAddr,
        timeout: Duration,
    ) -> Result<(), LabError> {
        let member = SnoopedMember { group, host: host.name().to_owned(), interface: interface.to_owned() };
        self.wait_for_membership(&member, true, timeout)
    }

    /// Waits until the switch no longer lists an interface of a host as a member of a group.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::TimedOut`] when it is still listed after `timeout`.
    pub fn wait_for_leave(
        &self,
        host: &Host,
        interface: &str,
        group: IpAddr,
        timeout: Duration,
    ) -> Result<(), LabError> {
        let member = SnoopedMember { group, host: host.name().to_owned(), interface: interface.to_owned() };
        self.wait_for_membership(&member, false, timeout)
    }

    fn wait_for_membership(
        &self,
        member: &SnoopedMember,
        present: bool,
        timeout: Duration,
    ) -> Result<(), LabError> {
        wait_until(
            timeout,
            || Ok(self.members()?.contains(member) == present),
            || {
                let SnoopedMember { group, host, interface } = member;
                let event = if present { "learnt" } else { "removed" };
                let problem = format!("the switch has not {event} this member within {timeout:?}");
                let operation = format!(
                    "wait for the switch '{}' and the member {interface} of '{host}' in {group}",
                    self.name()
                );
                LabError::new(operation, LabErrorKind::TimedOut(problem))
            },
        )
    }

    /// Waits until the querier is active.
    ///
    /// The kernel floods until the delay timers have expired that it starts when the querier is turned on. They have
    /// no delay here, but on a busy machine the kernel may run them tens of milliseconds later. It starts the timers
    /// for the first queries right after them on the same CPU, MLD last, so when the bridge has received its own MLD
    /// query, the delay timers have expired.
    fn wait_for_querier(&self) -> Result<(), LabError> {
        wait_until(
            SETUP_TIMEOUT,
            || self.has_received_mld_query(),
            || {
                let problem = format!("it has not sent a query within {SETUP_TIMEOUT:?}");
                let operation = format!("wait for the querier of the switch '{}'", self.name());
                LabError::new(operation, LabErrorKind::TimedOut(problem))
            },
        )
    }

    fn has_received_mld_query(&self) -> Result<bool, LabError> {
        let counters = self.node.namespace.read("/proc/thread-self/net/snmp6")?;
        let queries = counters.lines().find_map(|line| line.strip_prefix("Icmp6InGroupMembQueries"));
        Ok(queries.is_some_and(|count| count.trim() != "0"))
    }

    fn set(&self, option: InfoBridge, what: &str) -> Result<(), LabError> {
        let operation = || format!("{what} of the switch '{}'", self.name());
        self.node.namespace.netlink(|netlink| netlink.set_bridge(self.bridge, vec![option]), operation)
    }

    /// Creates a cable between a new port of this switch and a new interface of a host.
    pub(crate) fn add_port(&self, host: &Host, interface: &str) -> Result<SwitchPort, LabError> {
        let name = self.next_port_name();
        let (switch_namespace, host_namespace) = (self.node.namespace.live()?, host.node.namespace.live()?);
        let end = VethEnd {
            name: &name,
            hardware_address: self.node.hardware_address(&name),
            namespace: switch_namespace.as_fd(),
        };
        let peer = VethEnd {
            name: interface,
            hardware_address: host.node.new_hardware_address(interface)?,
            namespace: host_namespace.as_fd(),
        };
        let operation =
            || format!("connect {interface} of '{}' to the switch '{}'", host.name(), self.name());
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, Some(self.bridge)), operation)?;
        let index = self.node.interface_index(&name)?;
        let port = SwitchPort { name, index };
        self.record_connection(&port, host, interface)?;
        Ok(port)
    }

    /// Creates a cable between this switch and another one.
    pub(crate) fn add_trunk(&self, other: &Self) -> Result<(), LabError> {
        let (name, other_name) = (self.next_port_name(), other.next_port_name());
        let (namespace, other_namespace) = (self.node.namespace.live()?, other.node.namespace.live()?);
        let end = VethEnd {
            name: &name,
            hardware_address: self.node.hardware_address(&name),
            namespace: namespace.as_fd(),
        };
        let peer = VethEnd {
            name: &other_name,
            hardware_address: other.node.hardware_address(&other_name),
            namespace: other_namespace.as_fd(),
        };
        let operation = || format!("connect the switches '{}' and '{}'", self.name(), other.name());
        self.node.namespace.netlink(|netlink| netlink.add_veth(&end, &peer, Some(self.bridge)), operation)?;
        let other_index = other.node.interface_index(&other_name)?;
        other.node.namespace.netlink(
            |netlink| {
                netlink.set_controller(other_index, other.bridge)?;
                netlink.set_link_up(other_index, true)
            },
            operation,
        )?;
        let index = self.node.interface_index(&name)?;
        self.wait_forwarding(&SwitchPort { name, index })?;
        other.wait_forwarding(&SwitchPort { name: other_name, index: other_index })
    }

    /// Records what is connected to a port. A port that leads to a router is marked as a multicast router port, which
    /// receives every group.
    pub(crate) fn record_connection(
        &self,
        port: &SwitchPort,
        host: &Host,
        interface: &str,
    ) -> Result<(), LabError> {
        let connected = (host.name().to_owned(), interface.to_owned());
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).connected.insert(port.index, connected);
        if !host.node.routes_multicast {
            return Ok(());
        }
        let operation = || format!("mark a router port of the switch '{}'", self.name());
        self.node.namespace.netlink(|netlink| netlink.set_router_port(port.index), operation)
    }

    /// Waits until a port forwards frames. Its host may notice the carrier before the bridge does.
    pub(crate) fn wait_forwarding(&self, port: &SwitchPort) -> Result<(), LabError> {
        self.node.wait_for_link(&port.name, |netlink| Ok(netlink.link(&port.name)?.forwarding))
    }

    /// Returns whether an interface of a host is connected to this switch.
    pub(crate) fn is_connected_to(&self, host: &str, interface: &str) -> bool {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.connected.values().any(|connected| connected.0 == host && connected.1 == interface)
    }

    /// Returns the index of the bridge.
    pub(crate) fn bridge(&self) -> u32 {
        self.bridge
    }

    /// Returns the name for a new port.
    pub(crate) fn next_port_name(&self) -> String {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.named += 1;
        format!("p{}", ports.named)
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
    /// Creates a bridge, which is down at first, and returns its index.
    pub(crate) fn add_bridge(&self, name: &str, options: Vec<InfoBridge>) -> Result<u32, LabError> {
        let bridge = Bridge { name, hardware_address: self.new_hardware_address(name)?, options };
        let operation = || format!("create the bridge {name} in '{}'", self.namespace.name());
        self.namespace.netlink(|netlink| netlink.add_bridge(bridge), operation)?;
        self.interface_index(name)
    }
}

/// The unit of bridge timers in netlink is a hundredth of a second (`USER_HZ`).
const TICKS_PER_SECOND: u128 = 100;

/// The multicast options of a switch. By default it floods multicast, like an unmanaged switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchOptions {
    snooping: bool,
    querier: bool,
    igmp_version: u8,
    mld_version: u8,
    hash_max: u32,
    query_interval: Duration,
    query_response_interval: Duration,
    membership_interval: Duration,
    pub(crate) querier_address: Option<CidrAddress>,
}

impl Default for SwitchOptions {
    fn default() -> Self {
        Self {
            snooping: false,
            querier: false,
            igmp_version: 3,
            mld_version: 2,
            hash_max: 1 << 16,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            membership_interval: Duration::from_secs(260),
            querier_address: None,
        }
    }
}

impl SwitchOptions {
    /// Returns the options of a managed switch, with snooping and querier on.
    #[must_use]
    pub fn managed() -> Self {
        Self::default().snooping(true).querier(true)
    }

    /// Sets whether the switch forwards groups only to the ports of their members (RFC 4541). Snooping needs a querier
    /// on the LAN. Without one a Linux bridge floods, because it does not learn the members.
    #[must_use]
    pub fn snooping(self, snooping: bool) -> Self {
        Self { snooping, ..self }
    }

    /// Sets whether the switch is a querier, which sends general queries to the hosts. With snooping it limits groups
    /// to their members from the start, whereas a kernel bridge would first flood for
    /// [`query_response_interval`](Self::query_response_interval).
    #[must_use]
    pub fn querier(self, querier: bool) -> Self {
        Self { querier, ..self }
    }

    /// Sets the IGMP version of the querier: 2 or 3 (the default).
    #[must_use]
    pub fn igmp_version(self, version: u8) -> Self {
        Self { igmp_version: version, ..self }
    }

    /// Sets the MLD version of the querier: 1 or 2 (the default).
    #[must_use]
    pub fn mld_version(self, version: u8) -> Self {
        Self { mld_version: version, ..self }
    }

    /// Sets the maximum number of groups in the table of the switch, 65,536 by default (the kernel's own default is
    /// 4,096). When the table is full the kernel turns snooping off.
    #[must_use]
    pub fn hash_max(self, groups: u32) -> Self {
        Self { hash_max: groups, ..self }
    }

    /// Sets the time between general queries, 125 s by default (RFC 9776, section 8.2).
    #[must_use]
    pub fn query_interval(self, interval: Duration) -> Self {
        Self { query_interval: interval, ..self }
    }

    /// Sets the time within which hosts respond to a query, 10 s by default (RFC 9776, section 8.3).
    #[must_use]
    pub fn query_response_interval(self, interval: Duration) -> Self {
        Self { query_response_interval: interval, ..self }
    }

    /// Sets the time after which a membership expires that is not reported again, 260 s by default (RFC 9776,
    /// section 8.4).
    #[must_use]
    pub fn membership_interval(self, interval: Duration) -> Self {
        Self { membership_interval: interval, ..self }
    }

    /// Sets the source address of the querier's IGMP queries, 0.0.0.0 by default.
    #[must_use]
    pub fn querier_address(self, address: CidrAddress) -> Self {
        Self { querier_address: Some(address), ..self }
    }

    pub(crate) fn is_snooping(&self) -> bool {
        self.snooping
    }

    /// Returns whether the bridge sends queries, which the kernel only does with snooping.
    pub(crate) fn sends_queries(&self) -> bool {
        self.snooping && self.querier
    }

    /// Returns the attributes to create the bridge with. The response interval is 0 until the querier is on, because a
    /// bridge that becomes querier floods for one response interval.
    pub(crate) fn initial_attributes(&self) -> Vec<InfoBridge> {
        vec![
            InfoBridge::MulticastSnooping(self.snooping),
            InfoBridge::MulticastIgmpVersion(self.igmp_version),
            InfoBridge::MulticastMldVersion(self.mld_version),
            InfoBridge::MulticastHashMax(self.hash_max),
            InfoBridge::MulticastQueryInterval(ticks(self.query_interval)),
            InfoBridge::MulticastStartupQueryInterval(ticks(self.query_interval / 4)),
            InfoBridge::MulticastMembershipInterval(ticks(self.membership_interval)),
            InfoBridge::MulticastQueryResponseInterval(0),
            InfoBridge::MulticastQueryUseIfaddr(self.querier_address.is_some()),
            // Otherwise a timer moves a port whose state is set to "learning" on to "forwarding" 15 s after it came up,
            // although there is no spanning tree.
            InfoBridge::ForwardDelay(0),
        ]
    }

    /// Returns the attributes to set when the bridge is up and has its addresses.
    pub(crate) fn final_attributes(&self) -> Vec<InfoBridge> {
        vec![
            InfoBridge::MulticastQuerier(self.querier),
            InfoBridge::MulticastQueryResponseInterval(ticks(self.query_response_interval)),
        ]
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() * TICKS_PER_SECOND / 1000).unwrap_or(u64::MAX)
}
