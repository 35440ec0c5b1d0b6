//! macOS and Apple's other systems, and FreeBSD.

mod abi;
pub mod interface;
pub mod joined;
#[cfg_attr(target_vendor = "apple", path = "apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
mod os;
pub mod poller;
pub mod route;
pub mod socket;
pub mod watch;

pub use super::errno::{error_kind, is_gone};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface, or it has no link-local address yet", None)
}

/// The meaning of `EACCES` when sending: a firewall, or a broadcast address that is not allowed.
pub(crate) const DENIED_SEND: crate::ErrorKind = crate::ErrorKind::Permission;

/// Returns the length of an address, which the address contains.
pub fn sockaddr_length(address: &libc::sockaddr) -> usize {
    address.sa_len.into()
}

pub mod layout {
    //! The distribution of groups over sockets on macOS and FreeBSD.

    use std::net::IpAddr;

    use mcast_group::Group;

    pub use super::os::most_descriptors;

    pub use crate::fallbacks::plain::layout::{
        BINDS_TO_BROADCAST, COUNTS_DROPS, FILTERS_BY_INTERFACE_V6, HOLDS_APART, held_above, implies_interface,
    };

    /// A socket bound to a group receives only that group, and no unicast datagrams of other programs.
    pub const BINDS_TO_GROUP: bool = true;

    /// Returns whether a socket for the group is bound to an interface, too, and receives on that one
    /// only: IPv6 groups of interface-local and link-local scope, into which these kernels write the
    /// interface.
    pub fn is_scoped(group: Group) -> bool {
        match group.addr() {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => matches!(address.octets()[1] & 0x0f, 1 | 2),
        }
    }
}

pub mod remedies {
    //! Commands suggested to users of these systems.

    /// After reaching a limit of the system.
    pub const LIMIT: &str = "raise the limit that was reached: descriptors (`ulimit -n`), or socket memory (`sysctl kern.ipc.maxsockbuf`)";

    /// To add a route to groups.
    pub const ROUTE: &str = "`route add -net 224.0.0.0/4 -interface INTERFACE` (IPv6: `route add -inet6 ff00::/8 -interface INTERFACE`)";

    /// To see what rejects.
    pub const ROUTES: &str = "`netstat -rn` lists the routes";

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
}

pub(super) mod address {
    //! Socket addresses in the layout of these kernels.

    use std::mem::zeroed;
    use std::net::{IpAddr, SocketAddr};

    use socket2::SockAddr;

    /// Converts an address for join requests, including its length, which these kernels check.
    pub(crate) fn request_address(address: IpAddr) -> libc::sockaddr_storage {
        let address = SockAddr::from(SocketAddr::new(address, 0));
        // SAFETY: an all-zero `sockaddr_storage` is valid.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        // SAFETY: `SockAddr` holds `len` bytes, never more than a `sockaddr_storage`.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                (&raw mut storage).cast::<u8>(),
                address.len() as usize,
            );
        }
        storage.ss_len = address.len() as u8;
        storage
    }
}
