//! macOS and FreeBSD: `netstat` and `sysctl`.

use std::process::Command;

use super::Told;
use crate::gather::foreign::{netstat, sysctl};

/// What the system's own programs say.
pub(super) fn ask() -> Told {
    let mut counters = netstat::counters(&output("netstat", &["-s", "-p", "ip"]));
    counters.extend(netstat::counters(&output("netstat", &["-s", "-p", "udp"])));
    let names = ["net.inet.igmp.default_version", "kern.ipc.maxsockbuf"];
    let settings = sysctl::settings(&output("sysctl", &names)).into_iter().collect();
    let firewall = output("/usr/libexec/ApplicationFirewall/socketfilterfw", &["--getglobalstate"]);
    let firewall = sysctl::is_firewall_on(&firewall).then(|| "the application firewall is on".to_owned());
    Told { counters: counters.into_iter().collect(), settings, firewall }
}

/// Nothing where there is no such program.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
