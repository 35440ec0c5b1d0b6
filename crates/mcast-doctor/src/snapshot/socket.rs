//! A UDP socket of this machine.

use std::net::SocketAddr;

/// A UDP socket that is bound, whoever has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    /// What it is connected to.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) inode: u64,
    /// Datagrams that were dropped for want of room, since it was opened.
    pub(crate) drops: u64,
    /// The programs that have it open, as far as they could be seen.
    pub(crate) programs: Vec<String>,
}
