//! Windows: `netsh`.

use std::process::Command;

use super::Told;
use crate::gather::foreign::netsh;

/// What the system's own programs say.
pub(super) fn ask() -> Told {
    let firewall = netsh::blocking_profile(&output(&["advfirewall", "show", "currentprofile"]));
    let settings = netsh::igmp(&output(&["interface", "ipv4", "show", "global"])).into_iter().collect();
    Told { firewall, settings, ..Told::default() }
}

fn output(arguments: &[&str]) -> String {
    let output = Command::new("netsh").args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
