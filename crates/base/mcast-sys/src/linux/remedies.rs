//! Commands suggested to users of this system.

/// After reaching a limit of the system.
pub const LIMIT: &str = "raise the limit that was reached: descriptors (`ulimit -n`), or the kernel's memory for socket options (`sysctl net.core.optmem_max`)";

/// To add a route to groups.
pub const ROUTE: &str = "`ip route add 224.0.0.0/4 dev INTERFACE` (IPv6: `ip -6 route add multicast ff00::/8 dev INTERFACE table local`)";

/// To bring an interface up.
pub fn up(interface: &str) -> String {
    format!("`ip link set {interface} up`")
}

/// To add an address to an interface.
pub fn address(interface: &str) -> String {
    format!("`ip address add ADDRESS/PREFIX dev {interface}`")
}

/// To enable IPv6 on an interface.
pub fn ipv6(interface: &str) -> String {
    format!("`sysctl -w net.ipv6.conf.all.disable_ipv6=0`, also for {interface}")
}
