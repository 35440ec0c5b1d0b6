//! Linux and Android.

// Other processor architectures have different numbers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod abi;
pub(super) mod address;
pub mod bpf;
pub mod bridge;
pub mod interface;
pub mod joined;
#[cfg(target_os = "linux")]
pub mod link;
pub mod namespace;
pub mod netlink;
pub mod poller;
pub mod protocol;
mod receive;
mod receive_slots;
#[cfg(target_os = "linux")]
pub mod rights;
pub mod route;
mod send;
pub mod socket;
pub mod timing;
pub mod watch;
#[cfg_attr(target_os = "android", path = "without_netlink_android.rs")]
mod without_netlink;
pub mod xtables;

use crate::ErrorKind;

pub use super::errno::{error_kind, is_gone};
#[cfg(target_os = "android")]
pub use address::sockaddr_length;

/// Returns why an interface that is up and has no IPv6 address has no route to IPv6 groups, and a remedy if it differs from that of
/// the error kind.
pub fn why_no_ipv6(loopback: bool) -> (&'static str, Option<&'static str>) {
    if loopback {
        let remedy = "add one: `ip -6 route add local ff00::/8 dev lo`";
        return ("the loopback interface has no route for IPv6 multicast", Some(remedy));
    }
    ("IPv6 is disabled on the interface", None)
}

/// The meaning of `EACCES` when sending: a `prohibit` route or rule, or a broadcast address that is not allowed. A firewall refuses
/// with `EPERM`.
pub(crate) const DENIED_SEND: ErrorKind = ErrorKind::RouteRejects;

pub mod layout {
    //! The distribution of groups over sockets on Linux. For measurements see docs/design/001-sockets-per-port.md.

    use std::net::IpAddr;

    use mcast_group::{Family, Group};

    /// A socket bound to a group receives only that group, and no unicast datagrams of other programs.
    pub const BINDS_TO_GROUP: bool = true;

    /// A socket bound to a broadcast address receives only broadcasts, and no unicast datagrams of other programs.
    pub const BINDS_TO_BROADCAST: bool = true;

    /// Sockets other than the receiving one may hold its memberships.
    pub const HOLDS_APART: bool = true;

    /// Returns the maximum number of descriptors under this hard limit.
    pub fn most_descriptors(hard_limit: libc::rlim_t) -> libc::rlim_t {
        hard_limit
    }

    /// Returns the number of groups on one port above which other sockets hold the memberships and one
    /// wildcard socket receives. An IPv6 wildcard socket would take the unicast datagrams of other
    /// programs, so every IPv6 group keeps its own socket.
    pub fn held_above(family: Family) -> usize {
        match family {
            Family::V4 => 64,
            Family::V6 => usize::MAX,
        }
    }

    /// Whether the kernel considers the interface when it filters IPv6 sources. It does not:
    /// `inet6_mc_check` takes the first membership with the group's address. For IPv4 it does.
    pub const FILTERS_BY_INTERFACE_V6: bool = false;

    /// Returns whether a socket that is bound to a group, and has joined it on one interface only,
    /// receives nothing from other interfaces. This holds for IPv4 with `IP_MULTICAST_ALL` off
    /// (`ip_mc_sf_allow` compares the interface, `inet6_mc_check` does not).
    pub fn implies_interface(family: Family) -> bool {
        family == Family::V4
    }

    /// The kernel counts drops per socket (`SO_RXQ_OVFL`, `SO_MEMINFO`).
    pub const COUNTS_DROPS: bool = true;

    /// Returns whether a socket for the group is bound to an interface, too, and receives on that one
    /// only: IPv6 groups of interface-local and link-local scope (`__ipv6_addr_needs_scope_id`).
    pub fn is_scoped(group: Group) -> bool {
        match group.addr() {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
        }
    }
}

pub mod remedies {
    //! Commands suggested to users of this system.

    /// After reaching a limit of the system.
    pub const LIMIT: &str = "raise the limit that was reached: descriptors (`ulimit -n`), or the kernel's memory for socket options (`sysctl net.core.optmem_max`)";

    /// To add a route to groups.
    pub const ROUTE: &str = "`ip route add 224.0.0.0/4 dev INTERFACE` (IPv6: `ip -6 route add multicast ff00::/8 dev INTERFACE table local`)";

    /// To see what rejects.
    pub const ROUTES: &str = "`ip rule` and `ip route show table all` list what is in effect (IPv6: `ip -6 rule`, `ip -6 route show table all`)";

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
}
