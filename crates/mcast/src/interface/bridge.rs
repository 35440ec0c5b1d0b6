//! The bridges of this machine and their multicast settings.

use mcast_group::InterfaceIndex;

use crate::error::{Error, Operation, Result};

use super::Bridge;
/// Returns all bridges of this machine; on Linux, those of the calling thread's network namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn bridges() -> Result<Vec<Bridge>> {
    mcast_sys::bridge::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// Returns the queue disciplines for packets that leave by an interface, such as `fq` or `noqueue`:
/// one, or one per queue on a device with several queues.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux, or the system's
/// error.
pub fn queue_disciplines(interface: InterfaceIndex) -> Result<Vec<String>> {
    mcast_sys::bridge::queue_disciplines(interface).map_err(|error| Error::os(Operation::Interfaces, error))
}
