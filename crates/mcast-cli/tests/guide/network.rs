//! The network on which the guide's commands run.

use mcast_lab::{Host, Lab, RouteGroup, Router, Switch};

/// `sender`, `receiver` and `other` on one switch, `far` behind a router.
pub(crate) struct Network {
    _lab: Lab,
    _switches: [Switch; 2],
    _router: Router,
    hosts: Vec<(&'static str, Host)>,
}

/// The group that the router forwards.
const ROUTED: &str = "239.192.61.126";

impl Network {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let [lan, beyond] = ["lan", "beyond"].map(|name| lab.switch(name).unwrap());
        let mut hosts = Vec::new();
        for (number, name) in [(1, "sender"), (2, "receiver"), (3, "other")] {
            let host = lab.host(name).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            host.connect("eth0", &lan, &addresses.each_ref().map(String::as_str)).unwrap();
            host.add_route_via("0.0.0.0/0", "10.0.0.254").unwrap();
            hosts.push((name, host));
        }
        let far = lab.host("far").unwrap();
        far.connect("eth0", &beyond, &["10.0.1.1/24"]).unwrap();
        far.add_route_via("0.0.0.0/0", "10.0.1.254").unwrap();
        hosts.push(("far", far));
        let router = lab.router("router").unwrap();
        router.connect("lan", &lan, &["10.0.0.254/24"]).unwrap();
        router.connect("beyond", &beyond, &["10.0.1.254/24"]).unwrap();
        let group = ROUTED.parse().unwrap();
        let route = RouteGroup { source: None, group, from: "lan", to: &["beyond"], ttl_threshold: 1 };
        router.route_group(route).unwrap();
        Self { _lab: lab, _switches: [lan, beyond], _router: router, hosts }
    }

    /// The host of this terminal, which may have a number; without a name it is the receiver.
    pub(crate) fn host(&self, terminal: &str) -> &Host {
        let name = terminal.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let name = if name.is_empty() { "receiver" } else { name };
        let host = self.hosts.iter().find(|(known, _)| *known == name);
        &host.unwrap_or_else(|| panic!("no host is called {name}")).1
    }
}
