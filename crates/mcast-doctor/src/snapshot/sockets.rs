//! UDP sockets and joined groups.

use std::net::{IpAddr, SocketAddr};

use mcast::InterfaceIndex;

/// A bound UDP socket of any program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    /// The address that it is connected to.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) inode: u64,
    /// Datagrams dropped since the socket was opened, because its receive buffer was full.
    pub(crate) drops: u64,
    /// The programs that have it open, if they can be determined.
    pub(crate) programs: Vec<String>,
}

/// A group that is joined on an interface, by any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinedGroup {
    pub(crate) group: IpAddr,
    pub(crate) interface: InterfaceIndex,
}
