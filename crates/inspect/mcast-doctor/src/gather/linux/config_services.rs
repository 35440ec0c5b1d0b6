//! The services that configure interfaces at boot, systemd-networkd and NetworkManager, from their state in
//! `/run`.

use std::fs;

use mcast::InterfaceIndex;

use crate::snapshot::{ConfigService, Link};

/// Sets the configuration service of each interface. Indices in `/run` are those of the initial network
/// namespace, so nothing is known in any other.
pub(super) fn add_config_services(links: &mut [Link]) {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    if namespace("1").is_none() || namespace("1") != namespace("thread-self") {
        return;
    }
    let state =
        |folder: &str, index: InterfaceIndex| fs::read_to_string(format!("/run/{folder}/{index}")).ok();
    for link in links {
        let networkd = state("systemd/netif/links", link.index()).and_then(|state| networkd(&state));
        let other =
            || state("NetworkManager/devices", link.index()).and_then(|state| network_manager(&state));
        link.config_service = networkd.or_else(other);
    }
}

/// Reads from networkd's state the file that configures an interface.
fn networkd(state: &str) -> Option<ConfigService> {
    if value(state, "ADMIN_STATE")? == "unmanaged" {
        return None;
    }
    let file = value(state, "NETWORK_FILE")?.rsplit('/').next()?;
    (!file.is_empty()).then(|| ConfigService::Networkd { file: file.to_owned() })
}

/// Reads from NetworkManager's state the connection that configures an interface.
fn network_manager(state: &str) -> Option<ConfigService> {
    if value(state, "managed")? != "true" {
        return None;
    }
    let connection = value(state, "connection-uuid")?.to_owned();
    Some(ConfigService::NetworkManager { connection })
}

/// Returns the value in the line `NAME=VALUE`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networkd_configures_interfaces_that_have_a_file() {
        let state = "# private\nADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-lan.network\n";
        assert_eq!(networkd(state), Some(ConfigService::Networkd { file: "10-lan.network".into() }));
        assert_eq!(networkd("ADMIN_STATE=unmanaged\nNETWORK_FILE=/etc/x.network\n"), None);
        assert_eq!(networkd("ADMIN_STATE=configuring\n"), None);
    }

    #[test]
    fn network_manager_configures_interfaces_that_have_a_connection() {
        let state = "[device]\nmanaged=true\nconnection-uuid=5d-7\n";
        assert_eq!(network_manager(state), Some(ConfigService::NetworkManager { connection: "5d-7".into() }));
        assert_eq!(network_manager("[device]\nmanaged=false\nconnection-uuid=5d-7\n"), None);
        assert_eq!(network_manager("[device]\nmanaged=true\n"), None);
    }
}
