//! The bridges of this machine, as far as multicast is concerned.

use std::net::IpAddr;
use std::time::Duration;

use mcast_group::InterfaceIndex;

use crate::error::{Error, Operation, Result};
use crate::sys;

/// A bridge of this machine's kernel: a switch in software, which may snoop and query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bridge {
    /// The bridge as an interface.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// Whether groups go only to ports where they were asked for (RFC 4541), as long as there is a
    /// querier.
    pub snooping: bool,
    /// Whether it asks hosts for their groups itself, when nobody else does.
    pub querier: bool,
    /// The version of IGMP that it asks in; `None` where the kernel does not tell.
    pub igmp_version: Option<u8>,
    /// The version of MLD that it asks in; `None` where the kernel does not tell.
    pub mld_version: Option<u8>,
    /// How often it asks.
    pub query_interval: Option<Duration>,
    /// How long a membership lasts without being reported again.
    pub membership_interval: Option<Duration>,
    /// Who it believes asks hosts for their groups: one a family at most. Linux 5.16 or newer tells.
    pub queriers: Vec<BridgeQuerier>,
}

/// Who a bridge believes asks hosts for their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeQuerier {
    /// The address that it asks from; the bridge's own may be unspecified.
    pub address: IpAddr,
    /// The port behind which it is; `None` for the bridge itself.
    pub port: Option<InterfaceIndex>,
    /// After how long the bridge will believe that it is gone, unless it is heard again; `None` for the
    /// bridge itself.
    pub expires: Option<Duration>,
}

/// All bridges of this machine; on Linux those of the calling thread's network namespace.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux; when the system refuses to
/// list them.
pub fn bridges() -> Result<Vec<Bridge>> {
    sys::bridge::list().map_err(|error| Error::os(Operation::Interfaces, error))
}

/// The queue disciplines through which packets leave by an interface, such as `fq` or `noqueue`: one, or
/// where the device has several queues one for each.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) except on Linux; when the system refuses to
/// list them.
pub fn queue_disciplines(interface: InterfaceIndex) -> Result<Vec<String>> {
    sys::bridge::queue_disciplines(interface).map_err(|error| Error::os(Operation::Interfaces, error))
}
