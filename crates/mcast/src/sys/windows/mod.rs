//! Windows.

mod abi;
pub(crate) mod control;
mod errors;
mod extension;
pub(crate) mod interface;
pub(crate) mod joined;
pub(crate) mod layout;
mod membership;
pub(crate) mod poller;
mod readable;
mod receive;
pub(crate) mod remedies;
pub(crate) mod route;
mod send;
mod signal;
pub(crate) mod socket;
pub(crate) mod watch;

pub(crate) use errors::{error_kind, is_gone, raise_descriptor_limit};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub(crate) fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}
