//! Three hosts on a configurable switch.

use std::net::IpAddr;
use std::time::Duration;

use mcast_lab::{Host, Lab, Switch, SwitchOptions};

use crate::support::{Running, start};

pub(crate) const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:3"];

/// Hosts `a`, `b` and `c`: `eth0` with 10.0.0.1, .2, .3 and the link-local addresses of the lab, in the same order.
pub(crate) struct Network {
    pub(crate) switch: Switch,
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) c: Host,
    _lab: Lab,
}

impl Network {
    pub(crate) fn new(options: SwitchOptions) -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch_with("lan", options).unwrap();
        let host = |name: &str, number: u8| {
            let host = lab.host(name).unwrap();
            host.connect("eth0", &switch, &[&format!("10.0.0.{number}/24")]).unwrap();
            host
        };
        let (a, b, c) = (host("a", 1), host("b", 2), host("c", 3));
        Self { switch, a, b, c, _lab: lab }
    }

    /// A switch that snoops and does not ask, and forgets after this time.
    pub(crate) fn without_querier(membership: Duration) -> Self {
        Self::new(SwitchOptions::default().snooping(true).membership_interval(membership))
    }
}

/// `mcast querier --become` on a host with quick timers, once it has asked in both families.
pub(crate) fn become_querier(host: &Host, arguments: &[&str]) -> Running {
    let quick = ["--query-interval", "1s", "--response-interval", "500ms"];
    let intervals = if arguments.contains(&"--query-interval") { &[][..] } else { &quick[..] };
    let running = start(host, &[&["querier", "-i", "eth0", "--become"], intervals, arguments].concat());
    let (igmp, mld) = match arguments.contains(&"--json") {
        true => (r#""query-sent""#, r#""protocol":"mld""#),
        false => ("sent IGMP", "sent MLD"),
    };
    running.stdout.wait_for(igmp);
    running.stdout.wait_for(mld);
    running
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address that a running querier asks from in MLD.
pub(crate) fn link_local(running: &Running) -> String {
    let text = running.stdout.text();
    let line = text.lines().find(|line| line.contains("sends queries from fe80:")).unwrap();
    line.split_whitespace().find(|word| word.starts_with("fe80::")).unwrap().to_owned()
}
