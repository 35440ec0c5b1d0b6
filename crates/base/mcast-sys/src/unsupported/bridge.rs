//! The fallback for systems whose bridges and queues are not listed.

use std::io;

use mcast_group::InterfaceIndex;

use crate::Bridge;

/// Fails: the bridges of these systems are not known.
pub fn list() -> io::Result<Vec<Bridge>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "bridges are listed on Linux only"))
}

/// Fails: these systems have no queue disciplines.
pub fn queue_disciplines(_interface: InterfaceIndex) -> io::Result<Vec<String>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "queue disciplines exist on Linux only"))
}
