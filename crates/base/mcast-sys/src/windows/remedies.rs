//! Commands suggested to users of this system.

/// After reaching a limit of the system.
pub const LIMIT: &str = "close sockets, or join fewer groups and sources on each";

/// To add a route to groups.
pub const ROUTE: &str = "`netsh interface ipv4 add route 224.0.0.0/4 \"INTERFACE\"` (IPv6: `netsh interface ipv6 add route ff00::/8 \"INTERFACE\"`)";

/// To bring an interface up.
pub fn up(interface: &str) -> String {
    format!("`netsh interface set interface \"{interface}\" enabled`")
}

/// To add an address to an interface.
pub fn address(interface: &str) -> String {
    format!("`netsh interface ipv4 add address \"{interface}\" ADDRESS MASK`")
}

/// To enable IPv6 on an interface.
pub fn ipv6(interface: &str) -> String {
    format!("`Enable-NetAdapterBinding -Name \"{interface}\" -ComponentID ms_tcpip6` in PowerShell")
}
