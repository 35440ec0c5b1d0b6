//! macOS and FreeBSD: `netstat` and `sysctl`.

use std::process::Command;

use super::SystemReport;
use crate::gather::system_tools::{netstat, sysctl};

/// Runs the system's tools and reads their output.
pub(super) fn query() -> SystemReport {
    let mut counters = netstat::counters(&output("netstat", &["-s", "-p", "ip"]));
    counters.extend(netstat::counters(&output("netstat", &["-s", "-p", "udp"])));
    let names = ["net.inet.igmp.default_version", "kern.ipc.maxsockbuf"];
    let settings = sysctl::settings(&output("sysctl", &names)).into_iter().collect();
    let firewall = output("/usr/libexec/ApplicationFirewall/socketfilterfw", &["--getglobalstate"]);
    let firewall = sysctl::is_firewall_on(&firewall).then(|| "the application firewall is on".to_owned());
    SystemReport { counters: counters.into_iter().collect(), settings, firewall }
}

/// Returns the standard output of a program; empty if the program does not exist.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
