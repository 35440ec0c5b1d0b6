//! The fallback for systems whose bridges and queues are not listed.

use std::io;

use mcast_group::InterfaceIndex;

use crate::interface::Bridge;

pub(crate) fn list() -> io::Result<Vec<Bridge>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "bridges are listed on Linux only"))
}

pub(crate) fn queue_disciplines(_interface: InterfaceIndex) -> io::Result<Vec<String>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "queue disciplines exist on Linux only"))
}
