//! Windows.

mod abi;
pub mod console;
mod control;
mod errors;
mod extension;
pub mod interface;
pub mod joined;
pub mod layout;
mod membership;
pub mod poller;
mod readable;
mod receive;
pub mod remedies;
pub mod route;
mod send;
mod signal;
pub mod socket;
pub mod watch;

pub use errors::{error_kind, is_gone};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}
