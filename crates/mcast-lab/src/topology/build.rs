//! From a topology to a network.

use super::{Kind, PlannedHost, PlannedInterface, PlannedLink, Program, RouteBy, Run, Topology};
use crate::{
    BadLink, Command, Host, InterfaceAddress, Lab, LabError, LabErrorKind, RouteGroup, Router, Switch,
};

/// A network made from a [`Topology`]. It is taken down when this is dropped.
#[derive(Debug)]
pub struct Network {
    lab: Lab,
    topology: Topology,
    switches: Vec<Switch>,
    hosts: Vec<Host>,
    routers: Vec<Router>,
    bad_links: Vec<BadLink>,
}

impl Network {
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
        topology
            .trunks
            .iter()
            .try_for_each(|[a, b]| network.lab.trunk(network.known_switch(a)?, network.known_switch(b)?))?;
        topology.hosts.iter().try_for_each(|host| network.add_host(host))?;
        topology.links.iter().try_for_each(|link| network.add_link(link))?;
        topology.hosts.iter().try_for_each(|host| network.configure(host))?;
        Ok(network)
    }

    /// The lab that it stands in, to add more to it.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What it was made from.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The host or router of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name() == name)
    }

    /// The switch of this name.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<&Switch> {
        self.switches.iter().find(|switch| switch.name() == name)
    }

    /// The router of this name.
    #[must_use]
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.routers.iter().find(|router| router.name() == name)
    }

    /// Its switches, in the order of the file.
    #[must_use]
    pub fn switches(&self) -> &[Switch] {
        &self.switches
    }

    /// Its bad links: those of interfaces on switches, host by host, then those between hosts.
    #[must_use]
    pub fn bad_links(&self) -> &[BadLink] {
        &self.bad_links
    }

    /// A program of the topology, to be started by hand: its command for the shell, in a process group of its own.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Missing`] for a program of another topology.
    pub fn command(&self, program: &Program) -> Result<Command, LabError> {
        let mut command = self.known_host(&program.host)?.command("sh")?;
        command.arg("-c").arg(&program.command).own_group();
        Ok(command)
    }

    /// Runs all programs, each when its turn has come. `prepare` may change each command before it starts.
    pub fn run<'a>(&'a self, prepare: impl FnMut(&Program, &mut Command) + 'a) -> Run<'a> {
        Run::new(self, prepare, self.topology.time_limit)
    }

    fn add_host(&mut self, plan: &PlannedHost) -> Result<(), LabError> {
        let host = match plan.kind {
            Kind::Host => self.lab.host(&plan.name)?,
            Kind::Router { .. } => {
                let router = self.lab.router(&plan.name)?;
                self.routers.push(router.clone());
                Host::clone(&router)
            }
        };
        self.hosts.push(host.clone());
        plan.interfaces.iter().try_for_each(|interface| self.connect(&host, interface))
    }

    fn connect(&mut self, host: &Host, plan: &PlannedInterface) -> Result<(), LabError> {
        let switch = self.known_switch(&plan.switch)?;
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
        let (a_host, b_host) = (self.known_host(&a.host)?, self.known_host(&b.host)?);
        let (a_addresses, b_addresses) = (Addresses::of(&a.addresses), Addresses::of(&b.addresses));
        let (a_texts, b_texts) = (a_addresses.texts(), b_addresses.texts());
        match plan.impairment {
            None => drop(self.lab.link(a_host, &a.interface, &a_texts, b_host, &b.interface, &b_texts)?),
            Some(bad) => {
                let lab = &self.lab;
                let link =
                    lab.bad_link(a_host, &a.interface, &a_texts, b_host, &b.interface, &b_texts, bad)?;
                self.bad_links.push(link);
            }
        }
        Ok(())
    }

    /// Sets what needs all interfaces to be there.
    fn configure(&self, plan: &PlannedHost) -> Result<(), LabError> {
        let host = self.known_host(&plan.name)?;
        plan.sysctls.iter().try_for_each(|(path, value)| host.sysctl(path, value))?;
        for route in &plan.routes {
            match &route.by {
                RouteBy::Interface(interface) => host.add_route(&route.to.to_string(), interface)?,
                RouteBy::Gateway(gateway) => {
                    host.add_route_via(&route.to.to_string(), &gateway.to_string())?;
                }
            }
        }
        let (Kind::Router { groups }, Some(router)) = (&plan.kind, self.router(&plan.name)) else {
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

    fn known_switch(&self, name: &str) -> Result<&Switch, LabError> {
        let missing = || LabErrorKind::Missing(format!("there is no switch '{name}'"));
        self.switch(name).ok_or_else(|| LabError::new("find a switch of the topology", missing()))
    }

    pub(super) fn known_host(&self, name: &str) -> Result<&Host, LabError> {
        let missing = || LabErrorKind::Missing(format!("there is no host '{name}'"));
        self.host(name).ok_or_else(|| LabError::new("find a host of the topology", missing()))
    }
}

/// Addresses as text, which is what connecting takes.
struct Addresses(Vec<String>);

impl Addresses {
    fn of(addresses: &[InterfaceAddress]) -> Self {
        Self(addresses.iter().map(ToString::to_string).collect())
    }

    fn texts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}
