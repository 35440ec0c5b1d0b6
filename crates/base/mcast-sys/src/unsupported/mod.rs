//! The backend for unsupported systems: every operation fails with a reason.
#![allow(missing_docs, reason = "the contract at the head of the crate describes these items")]

pub mod layout;
pub mod poller;
pub mod socket;
pub mod watch;

use std::io;

use crate::{ErrorKind, Operation};

/// Returns why an interface that is up has no route to IPv6 groups, and a remedy if it differs from
/// that of the error kind.
pub fn why_no_ipv6(_loopback: bool) -> (&'static str, Option<&'static str>) {
    ("IPv6 is disabled on the interface", None)
}

/// Returns the meaning of a system error of this operation.
pub fn error_kind(_operation: Operation, error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

/// Returns whether leaving failed because the interface, and the membership with it, is gone.
pub fn is_gone(_error: &io::Error) -> bool {
    false
}

/// Returns the error of every operation.
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this library does not support this operating system yet"))
}

pub mod interface {
    use std::io;

    use mcast_group::InterfaceIndex;

    use crate::Interface;

    pub fn list() -> io::Result<Vec<Interface>> {
        super::unsupported()
    }

    pub fn index_of(_name: &str) -> io::Result<InterfaceIndex> {
        super::unsupported()
    }

    pub fn name_of(_interface: InterfaceIndex) -> io::Result<String> {
        super::unsupported()
    }
}

pub mod route {
    use std::io;
    use std::net::IpAddr;

    use mcast_group::InterfaceIndex;

    pub fn interface_towards(_address: IpAddr) -> io::Result<Option<InterfaceIndex>> {
        super::unsupported()
    }
}

pub mod joined {
    use std::io;

    pub use crate::pause::Notices;
    use crate::{Holding, Visibility};

    pub fn survey() -> io::Result<(Vec<Holding>, Visibility)> {
        super::unsupported()
    }
}

pub mod remedies {
    /// After reaching a limit of the system.
    pub const LIMIT: &str = "raise the limit that was reached";

    /// To add a route to groups.
    pub const ROUTE: &str = "with the system's own tools";

    /// To bring an interface up.
    pub fn up(_: &str) -> String {
        "with the system's own tools".to_owned()
    }

    /// To add an address to an interface.
    pub fn address(_: &str) -> String {
        "with the system's own tools".to_owned()
    }

    /// To enable IPv6 on an interface.
    pub fn ipv6(_: &str) -> String {
        "with the system's own tools".to_owned()
    }
}
