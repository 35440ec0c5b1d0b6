//! What to tell people of this system to do.

/// A limit of the system was met.
pub(crate) const LIMIT: &str = "raise the limit that was met: descriptors (`ulimit -n`), or socket memory (`sysctl kern.ipc.maxsockbuf`)";

/// To give groups a route.
pub(crate) const ROUTE: &str = "`route add -net 224.0.0.0/4 -interface INTERFACE` (IPv6: `route add -inet6 ff00::/8 -interface INTERFACE`)";

/// To bring an interface up.
pub(crate) fn up(interface: &str) -> String {
    format!("`ifconfig {interface} up`")
}

/// To give an interface an address.
pub(crate) fn address(interface: &str) -> String {
    format!("`ifconfig {interface} inet ADDRESS/PREFIX alias`")
}

/// To switch IPv6 on, on an interface.
pub(crate) fn ipv6(interface: &str) -> String {
    if cfg!(target_vendor = "apple") {
        "`networksetup -setv6automatic SERVICE`, where `networksetup -listallnetworkservices` lists the services"
            .to_owned()
    } else {
        format!("`ifconfig {interface} inet6 -ifdisabled`")
    }
}
