//! Linux and Android.

pub(super) mod address;
pub(crate) mod control;
pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod layout;
mod membership;
mod netlink;
mod offload;
pub(crate) mod poller;
mod receive;
pub(crate) mod route;
mod send;
pub(crate) mod socket;
pub(crate) mod timing;
pub(crate) mod watch;
#[cfg_attr(target_os = "android", path = "without_netlink_android.rs")]
mod without_netlink;

pub(crate) use super::descriptors::raise_descriptor_limit;
pub(crate) use super::errno::{descriptors_exhausted, error_kind, is_gone};
#[cfg(target_os = "android")]
pub(crate) use without_netlink::sockaddr_length;

/// What to do when a limit was reached.
pub(crate) const LIMIT_REMEDY: &str = "raise the limit that was met: descriptors (`ulimit -n`), or the kernel's memory for socket options (`sysctl net.core.optmem_max`)";

/// Why IPv6 multicast may be unreachable although the interface was named.
pub(crate) const IPV6_UNREACHABLE: &str = "IPv6 is off there, or it is the loopback interface, which has no route for multicast: `ip -6 route add local ff00::/8 dev lo` makes one";
