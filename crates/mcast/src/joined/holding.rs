//! One holder's membership of one group on one interface.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

/// A membership and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// The group.
    pub group: Group,
    /// The interface on which it is joined.
    pub interface: InterfaceIndex,
    /// The name of that interface.
    pub interface_name: String,
    /// The protocol version that is spoken for it there, as far as it can be known.
    pub version: Option<Version>,
    /// Who holds it.
    pub holder: Holder,
}

/// Who holds a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A socket, and the processes that have it open.
    Socket(SocketHolder),
    /// The system itself, which joins the group on its own account on every such interface: all
    /// hosts, all nodes, the solicited-node groups of its addresses.
    Kernel,
    /// Sockets of processes that could not be looked into; or the system, on behalf of something
    /// that is no process (a tunnel, say).
    Unseen {
        /// How many; `None` where the system does not count.
        sockets: Option<u32>,
    },
}

/// A socket's part in a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketHolder {
    /// The sources that the socket asked for.
    pub filter: SourceFilter,
    /// Whether the socket also receives groups of this family that only others have joined
    /// (`IP_MULTICAST_ALL`, `IPV6_MULTICAST_ALL`; on unless switched off).
    pub multicast_all: Option<bool>,
    /// Whether what the socket sends to groups of this family comes back to this host
    /// (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`; on unless switched off).
    pub loopback: Option<bool>,
    /// The socket.
    pub socket: Arc<JoinedSocket>,
}

/// A socket that holds memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedSocket {
    /// The system's number for it, the same in every process that has it open.
    pub inode: u64,
    /// Its address family. One of IPv6 can hold memberships of IPv4, too.
    pub family: Family,
    /// Its sort.
    pub kind: SocketKind,
    /// The address and port it is bound to; `None` for one that is not bound and so receives
    /// nothing, and for raw sockets without an address.
    pub local: Option<SocketAddr>,
    /// The address it is connected to, which is the only one it then hears.
    pub peer: Option<SocketAddr>,
    /// The one interface it is bound to (`SO_BINDTODEVICE`), if any.
    pub bound_interface: Option<InterfaceIndex>,
    /// The size of its receive buffer in bytes as one asks for it; the kernel reserves double.
    pub receive_buffer: usize,
    /// How many datagrams the kernel has dropped on it so far. `None` before Linux 4.12.
    pub drops: Option<u32>,
    /// The processes that have it open, by id: more than one where it was inherited or passed on.
    pub processes: Vec<Process>,
}

/// The sort of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SocketKind {
    /// UDP.
    Udp,
    /// Raw IP, as routing daemons use it, of this IP protocol.
    Raw {
        /// The IP protocol number, such as 2 for IGMP.
        protocol: u8,
    },
    /// Another, such as UDP-Lite or one for pings.
    Other,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Process {
    /// Its id, as the calling process sees it.
    pub pid: u32,
    /// The name it goes by in `ps`. At most 15 bytes on Linux, and chosen by the process: it can
    /// hold anything.
    pub name: String,
    /// Its lowest descriptor for the socket.
    pub descriptor: i32,
}

/// The version of the membership protocol that a host speaks on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// RFC 1112.
    Igmp1,
    /// RFC 2236.
    Igmp2,
    /// RFC 3376: the first with sources.
    Igmp3,
    /// RFC 2710.
    Mld1,
    /// RFC 3810: the first with sources.
    Mld2,
}

impl Holding {
    /// What tells this holding from every other, in the order of listings.
    pub(crate) fn place(&self) -> (Group, InterfaceIndex, u8, u32, u64) {
        match &self.holder {
            Holder::Socket(held) => {
                let pid = held.socket.processes.first().map_or(0, |process| process.pid);
                (self.group, self.interface, 0, pid, held.socket.inode)
            }
            Holder::Kernel => (self.group, self.interface, 1, 0, 0),
            Holder::Unseen { .. } => (self.group, self.interface, 2, 0, 0),
        }
    }

    /// Whether the two are the same holder's membership of the same group on the same interface.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        // A socket stays the same although the first of the processes that have it open ends.
        let without_process = |(group, interface, sort, _, inode)| (group, interface, sort, inode);
        without_process(self.place()) == without_process(other.place())
    }
}

impl JoinedSocket {
    /// The UDP port it is bound to.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.local.map(|local| local.port()).filter(|port| *port != 0)
    }
}

impl Version {
    /// Whether sources can be told to routers in it.
    #[must_use]
    pub const fn has_sources(self) -> bool {
        matches!(self, Self::Igmp3 | Self::Mld2)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Igmp1 => "IGMPv1",
            Self::Igmp2 => "IGMPv2",
            Self::Igmp3 => "IGMPv3",
            Self::Mld1 => "MLDv1",
            Self::Mld2 => "MLDv2",
        })
    }
}
