//! The networks on which the guide's commands run.

use std::any::Any;

use mcast_lab::{Host, Lab, RouteGroup, Topology};

/// Hosts, of which the first is meant where none is named.
pub(crate) struct Network {
    /// What else the network is made of.
    _rest: Box<dyn Any>,
    hosts: Vec<Host>,
}

/// The group that the router forwards.
const ROUTED: &str = "239.192.61.126";

impl Network {
    /// `receiver`, `sender` and `other` on one switch, `far` behind a router.
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let [lan, beyond] = ["lan", "beyond"].map(|name| lab.switch(name).unwrap());
        let mut hosts = Vec::new();
        for (number, name) in [(2, "receiver"), (1, "sender"), (3, "other")] {
            let host = lab.host(name).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            host.connect("eth0", &lan, &addresses.each_ref().map(String::as_str)).unwrap();
            host.add_route_via("0.0.0.0/0", "10.0.0.254").unwrap();
            hosts.push(host);
        }
        let far = lab.host("far").unwrap();
        far.connect("eth0", &beyond, &["10.0.1.1/24"]).unwrap();
        far.add_route_via("0.0.0.0/0", "10.0.1.254").unwrap();
        hosts.push(far);
        let router = lab.router("router").unwrap();
        router.connect("lan", &lan, &["10.0.0.254/24"]).unwrap();
        router.connect("beyond", &beyond, &["10.0.1.254/24"]).unwrap();
        let group = ROUTED.parse().unwrap();
        let route = RouteGroup { source: None, group, from: "lan", to: &["beyond"], ttl_threshold: 1 };
        router.route_group(route).unwrap();
        Self { _rest: Box::new((lab, lan, beyond, router)), hosts }
    }

    /// The network that a page asks for: one that comes with the command, or the guide's own.
    pub(crate) fn of(page: &str) -> Self {
        let named = page.lines().find_map(|line| line.strip_prefix("<!-- lab: ")?.strip_suffix(" -->"));
        let Some(name) = named else { return Self::new() };
        let topology = Topology::shipped(name).unwrap_or_else(|| panic!("no network is called {name}"));
        let network = topology.unwrap().build().unwrap();
        let hosts = network.topology().hosts().map(|name| network.host(name).unwrap().clone()).collect();
        Self { _rest: Box::new(network), hosts }
    }

    /// The host of this terminal, which may have a number; without a name it is the first.
    pub(crate) fn host(&self, terminal: &str) -> &Host {
        let name = terminal.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let host = self.hosts.iter().find(|host| name.is_empty() || host.name() == name);
        host.unwrap_or_else(|| panic!("no host is called {name}"))
    }
}
