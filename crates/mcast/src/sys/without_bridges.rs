//! Systems that are not asked for their bridges and queues.

use std::io;

use mcast_group::InterfaceIndex;

use crate::interface::Bridge;

pub(crate) fn list() -> io::Result<Vec<Bridge>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "bridges are asked for on Linux only"))
}

pub(crate) fn queue_disciplines(_interface: InterfaceIndex) -> io::Result<Vec<String>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "queue disciplines are Linux'"))
}
