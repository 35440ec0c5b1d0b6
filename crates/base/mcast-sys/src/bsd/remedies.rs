//! Commands suggested to users of these systems.

/// After reaching a limit of the system.
pub const LIMIT: &str = "raise the limit that was reached: descriptors (`ulimit -n`), or socket memory (`sysctl kern.ipc.maxsockbuf`)";

/// To add a route to groups.
pub const ROUTE: &str = "`route add -net 224.0.0.0/4 -interface INTERFACE` (IPv6: `route add -inet6 ff00::/8 -interface INTERFACE`)";

/// To bring an interface up.
pub fn up(interface: &str) -> String {
    format!("`ifconfig {interface} up`")
}

/// To add an address to an interface.
pub fn address(interface: &str) -> String {
    format!("`ifconfig {interface} inet ADDRESS/PREFIX alias`")
}

/// To enable IPv6 on an interface.
pub fn ipv6(interface: &str) -> String {
    if cfg!(target_vendor = "apple") {
        "`networksetup -setv6automatic SERVICE`, where `networksetup -listallnetworkservices` lists the services"
            .to_owned()
    } else {
        format!("`ifconfig {interface} inet6 -ifdisabled`")
    }
}
