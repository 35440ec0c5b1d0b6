//! macOS and Apple's other systems, and FreeBSD.

mod abi;
#[cfg_attr(target_vendor = "apple", path = "abi_apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "abi_freebsd.rs")]
mod abi_os;
pub(super) mod address;
pub(crate) mod control;
pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod layout;
mod membership;
#[cfg_attr(target_vendor = "apple", path = "apple.rs")]
#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
mod os;
pub(crate) mod poller;
mod receive;
pub(crate) mod remedies;
pub(crate) mod route;
mod send;
pub(crate) mod socket;
pub(crate) mod watch;

pub(crate) use super::descriptors::raise_descriptor_limit;
pub(crate) use super::errno::{error_kind, is_gone};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub(crate) fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface, or it has no link-local address yet", None)
}

/// Returns the length of an address, which the address contains.
pub(crate) fn sockaddr_length(address: &libc::sockaddr) -> usize {
    address.sa_len.into()
}
