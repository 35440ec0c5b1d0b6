//! Linux and Android.

// Other processor architectures have different numbers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod abi;
pub(super) mod address;
pub(crate) mod bridge;
pub(crate) mod control;
pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod layout;
mod membership;
mod netlink;
mod offload;
pub(crate) mod poller;
mod receive;
pub(crate) mod remedies;
pub(crate) mod route;
mod send;
pub(crate) mod socket;
pub(crate) mod timing;
pub(crate) mod watch;
#[cfg_attr(target_os = "android", path = "without_netlink_android.rs")]
mod without_netlink;

pub(crate) use super::descriptors::raise_descriptor_limit;
pub(crate) use super::errno::{error_kind, is_gone};
#[cfg(target_os = "android")]
pub(crate) use without_netlink::sockaddr_length;

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub(crate) fn why_no_ipv6(loopback: bool) -> (&'static str, Option<&'static str>) {
    if loopback {
        let remedy = "add one: `ip -6 route add local ff00::/8 dev lo`";
        return ("the loopback interface has no route for IPv6 multicast", Some(remedy));
    }
    ("IPv6 is disabled on the interface", None)
}
