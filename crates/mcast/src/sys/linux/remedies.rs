//! What to tell people of this system to do.

/// A limit of the system was met.
pub(crate) const LIMIT: &str = "raise the limit that was met: descriptors (`ulimit -n`), or the kernel's memory for socket options (`sysctl net.core.optmem_max`)";

/// To give groups a route.
pub(crate) const ROUTE: &str = "`ip route add 224.0.0.0/4 dev INTERFACE` (IPv6: `ip -6 route add multicast ff00::/8 dev INTERFACE table local`)";

/// To bring an interface up.
pub(crate) fn up(interface: &str) -> String {
    format!("`ip link set {interface} up`")
}

/// To give an interface an address.
pub(crate) fn address(interface: &str) -> String {
    format!("`ip address add ADDRESS/PREFIX dev {interface}`")
}

/// To switch IPv6 on, on an interface.
pub(crate) fn ipv6(interface: &str) -> String {
    format!("`sysctl -w net.ipv6.conf.all.disable_ipv6=0`, also for {interface}")
}
