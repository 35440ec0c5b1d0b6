//! macOS and Apple's other systems, and FreeBSD.

mod abi;
#[cfg_attr(target_vendor = "apple", path = "abi_apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "abi_freebsd.rs")]
mod abi_os;
pub(super) mod address;
mod control;
pub mod interface;
pub mod joined;
pub mod layout;
mod membership;
#[cfg_attr(target_vendor = "apple", path = "apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
mod os;
pub mod poller;
mod receive;
pub mod remedies;
pub mod route;
mod send;
pub mod socket;
pub mod watch;

pub use super::errno::{error_kind, is_gone};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface, or it has no link-local address yet", None)
}

/// Returns the length of an address, which the address contains.
pub fn sockaddr_length(address: &libc::sockaddr) -> usize {
    address.sa_len.into()
}
