//! Linux and Android.

// Other processor architectures have different numbers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod abi;
pub(super) mod address;
pub mod bpf;
pub mod bridge;
mod control;
pub mod interface;
pub mod joined;
pub mod layout;
mod membership;
pub mod namespace;
mod neighbour;
pub mod netlink;
mod offload;
pub mod poller;
mod receive;
pub mod remedies;
pub mod route;
mod send;
pub mod socket;
pub mod timing;
pub mod watch;
#[cfg_attr(target_os = "android", path = "without_netlink_android.rs")]
mod without_netlink;
pub mod xtables;

pub use super::errno::{error_kind, is_gone};
#[cfg(target_os = "android")]
pub use without_netlink::sockaddr_length;

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(loopback: bool) -> (&'static str, Option<&'static str>) {
    if loopback {
        let remedy = "add one: `ip -6 route add local ff00::/8 dev lo`";
        return ("the loopback interface has no route for IPv6 multicast", Some(remedy));
    }
    ("IPv6 is disabled on the interface", None)
}
