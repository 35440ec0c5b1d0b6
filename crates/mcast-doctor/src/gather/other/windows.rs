//! Windows: `netsh`.

use std::process::Command;

use super::SystemReport;
use crate::gather::system_tools::netsh;

/// Runs `netsh` and reads its output.
pub(super) fn query() -> SystemReport {
    let firewall = netsh::blocking_profile(&output(&["advfirewall", "show", "currentprofile"]));
    let settings = netsh::igmp(&output(&["interface", "ipv4", "show", "global"])).into_iter().collect();
    SystemReport { firewall, settings, ..SystemReport::default() }
}

fn output(arguments: &[&str]) -> String {
    let output = Command::new("netsh").args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
