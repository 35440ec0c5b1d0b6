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

pub(crate) use errors::{descriptors_exhausted, error_kind, is_gone, raise_descriptor_limit};

/// Why an interface that is up reaches no IPv6 group, and what to do where that is not the kind's
/// own remedy.
pub(crate) fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is off there", None)
}
