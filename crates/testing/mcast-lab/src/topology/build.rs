//! Builds the network of a topology, and checks whether a host has joined a group in it.

use std::net::IpAddr;

use super::{HostKind, NextHop, PlannedHost, PlannedInterface, PlannedLink, Program, Topology};
use crate::{
    BadLink, CidrAddress, Command, Host, Lab, LabError, LabErrorKind, RouteGroup, Router, SnoopedMember,
    Switch,
};

/// A network built from a [`Topology`]. Dropping it kills its programs and removes its namespaces.
#[derive(Debug)]
pub struct LabNetwork {
    lab: Lab,
    topology: Topology,
    switches: Vec<Switch>,
    hosts: Vec<Host>,
    routers: Vec<Router>,
    bad_links: Vec<BadLink>,
}

impl LabNetwork {
    pub(super) fn build(topology: &Topology) -> Result<Self, LabError> {
        let mut network = Self {
            lab: Lab::new()?,
            topology: topology.clone(),
            switches: Vec::new(),
            hosts: Vec::new(),
            routers: Vec::new(),
            bad_links: Vec::new(),
        };
        for (name, options) in &topology.switches {
            let switch = network.lab.switch_with(name, options.clone())?;
            network.switches.push(switch);
        }
        topology.trunks.iter().try_for_each(|[a, b]| {
            network.lab.trunk(network.switch_by_name(a)?, network.switch_by_name(b)?)
        })?;
        topology.hosts.iter().try_for_each(|host| network.add_host(host))?;
        topology.links.iter().try_for_each(|link| network.add_link(link))?;
        topology.hosts.iter().try_for_each(|host| network.configure(host))?;
        Ok(network)
    }

    /// Returns the lab of the network, for instance to add hosts.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Returns the topology of the network.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Returns the host or router of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name() == name)
    }

    /// Returns the switch of this name.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<&Switch> {
        self.switches.iter().find(|switch| switch.name() == name)
    }

    /// Returns the router of this name.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.routers.iter().find(|router| router.name() == name)
    }

    /// Returns the switches, in the order of the file.
    #[must_use]
    pub fn switches(&self) -> &[Switch] {
        &self.switches
    }

    /// Returns the bad links: those from interfaces to switches, host by host, then those between hosts.
    #[must_use]
    pub fn bad_links(&self) -> &[BadLink] {
        &self.bad_links
    }

    /// Returns the command of a program, which runs a shell in a process group of its own. Use it to start the program
    /// outside of [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] for a program of another topology.
    pub fn command(&self, program: &Program) -> Result<Command, LabError> {
        let mut command = self.host_by_name(&program.host)?.command("sh")?;
        command.arg("-c").arg(&program.command).own_group();
        Ok(command)
    }

    fn add_host(&mut self, plan: &PlannedHost) -> Result<(), LabError> {
        let host = match plan.kind {
            HostKind::Host => self.lab.host(&plan.name)?,
            HostKind::Router { .. } => {
                let router = self.lab.router(&plan.name)?;
                self.routers.push(router.clone());
                Host::clone(&router)
            }
        };
        self.hosts.push(host.clone());
        plan.interfaces.iter().try_for_each(|interface| self.connect(&host, interface))
    }

    fn connect(&mut self, host: &Host, plan: &PlannedInterface) -> Result<(), LabError> {
        let switch = self.switch_by_name(&plan.switch)?;
        let addresses = Addresses::of(&plan.addresses);
        match plan.impairment {
            None => drop(host.connect(&plan.name, switch, &addresses.texts())?),
            Some(impairment) => {
                let (_, link) =
                    self.lab.connect_badly(host, &plan.name, switch, &addresses.texts(), impairment)?;
                self.bad_links.push(link);
            }
        }
        plan.mtu.map_or(Ok(()), |mtu| host.set_mtu(&plan.name, mtu))
    }

    fn add_link(&mut self, plan: &PlannedLink) -> Result<(), LabError> {
        let [a, b] = &plan.ends;
        let (a_host, b_host) = (self.host_by_name(&a.host)?, self.host_by_name(&b.host)?);
        let (a_addresses, b_addresses) = (Addresses::of(&a.addresses), Addresses::of(&b.addresses));
        let (a_texts, b_texts) = (a_addresses.texts(), b_addresses.texts());
        match plan.impairment {
            None => drop(self.lab.link(a_host, &a.interface, &a_texts, b_host, &b.interface, &b_texts)?),
            Some(impairment) => {
                let (a_name, b_name) = (&a.interface, &b.interface);
                let link =
                    self.lab.bad_link(a_host, a_name, &a_texts, b_host, b_name, &b_texts, impairment)?;
                self.bad_links.push(link);
            }
        }
        Ok(())
    }

    /// Sets sysctls, routes and multicast routes, which need all interfaces to exist.
    fn configure(&self, plan: &PlannedHost) -> Result<(), LabError> {
        let host = self.host_by_name(&plan.name)?;
        plan.sysctls.iter().try_for_each(|(path, value)| host.sysctl(path, value))?;
        for route in &plan.routes {
            match &route.next_hop {
                NextHop::Interface(interface) => host.add_route(&route.to.to_string(), interface)?,
                NextHop::Gateway(gateway) => {
                    host.add_route_via(&route.to.to_string(), &gateway.to_string())?;
                }
            }
        }
        let (HostKind::Router { groups }, Some(router)) = (&plan.kind, self.router(&plan.name)) else {
            return Ok(());
        };
        groups.iter().try_for_each(|plan| {
            let to: Vec<_> = plan.to.iter().map(String::as_str).collect();
            router.route_group(RouteGroup {
                source: plan.source,
                group: plan.group,
                from: &plan.from,
                to: &to,
                ttl_threshold: plan.ttl_threshold,
            })
        })
    }

    fn switch_by_name(&self, name: &str) -> Result<&Switch, LabError> {
        let missing = || LabErrorKind::Missing(format!("there is no switch '{name}'"));
        self.switch(name).ok_or_else(|| LabError::new("find a switch of the topology", missing()))
    }

    pub(super) fn host_by_name(&self, name: &str) -> Result<&Host, LabError> {
        let missing = || LabErrorKind::Missing(format!("there is no host '{name}'"));
        self.host(name).ok_or_else(|| LabError::new("find a host of the topology", missing()))
    }
}

/// Addresses as text, which is the form that [`Host::connect`] and [`Lab::link`] take.
struct Addresses(Vec<String>);

impl Addresses {
    fn of(addresses: &[CidrAddress]) -> Self {
        Self(addresses.iter().map(ToString::to_string).collect())
    }

    fn texts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// Returns whether a host has joined a group on any interface, and the snooping switches at those interfaces have
/// learnt it.
pub(super) fn has_joined(network: &LabNetwork, host: &str, group: IpAddr) -> Result<bool, LabError> {
    let interfaces = joined_on(network.host_by_name(host)?, group)?;
    if interfaces.is_empty() {
        return Ok(false);
    }
    for (switch, (_, options)) in network.switches().iter().zip(&network.topology().switches) {
        let is_connected = |interface: &String| switch.is_connected_to(host, interface);
        let learns = options.is_snooping() && !is_link_local(group) && interfaces.iter().any(is_connected);
        let is_member = |member: &SnoopedMember| member.host == host && member.group == group;
        if learns && !switch.members()?.iter().any(is_member) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the interfaces on which a host has joined a group.
fn joined_on(host: &Host, group: IpAddr) -> Result<Vec<String>, LabError> {
    match group {
        IpAddr::V4(group) => {
            // The kernel prints the address as a number in its own byte order.
            let group = format!("{:08X}", u32::from_ne_bytes(group.octets()));
            Ok(ipv4_interfaces(&host.read_proc_net("igmp")?, &group))
        }
        IpAddr::V6(group) => {
            let group = format!("{:032x}", group.to_bits());
            let table = host.read_proc_net("igmp6")?;
            let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let joined = rows.filter(|row| row.get(2) == Some(&group.as_str()));
            Ok(joined.filter_map(|row| row.get(1).map(|&name| name.to_owned())).collect())
        }
    }
}

/// Finds the interfaces with a group in `/proc/net/igmp`, where the row of each interface is followed by indented rows
/// for its groups.
fn ipv4_interfaces(table: &str, group: &str) -> Vec<String> {
    let mut interface = "";
    let mut joined = Vec::new();
    for line in table.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with('\t') {
            if words.next() == Some(group) {
                joined.push(interface.to_owned());
            }
        } else {
            interface = words.nth(1).unwrap_or_default();
        }
    }
    joined
}

/// Returns whether a group is link-local. Switches flood such groups, and hosts do not report all of them (RFC 4541,
/// section 2.1.2).
fn is_link_local(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        IpAddr::V6(group) => group.octets()[1] & 0xf <= 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
        1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
        2\teth0      :     2      V3\n\t\t\t\t030201EF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";

    #[test]
    fn groups_belong_to_the_interface_above_them() {
        assert_eq!(ipv4_interfaces(IGMP, "030201EF"), ["eth0"]);
        assert_eq!(ipv4_interfaces(IGMP, "010000E0"), ["lo", "eth0"]);
        assert!(ipv4_interfaces(IGMP, "040201EF").is_empty());
    }
}
