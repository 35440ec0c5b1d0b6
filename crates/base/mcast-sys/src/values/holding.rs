//! The membership of one holder in one group on one interface, and the options of sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

use crate::capture::FilterInstruction;

/// A membership and its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// The group.
    pub group: Group,
    /// The interface on which it is joined.
    pub interface: InterfaceIndex,
    /// The name of that interface.
    pub interface_name: String,
    /// The protocol version in use for it there, as far as it can be determined.
    pub version: Option<Version>,
    /// The holder.
    pub holder: Holder,
}

/// The holder of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A socket, and the processes that have it open.
    Socket(SocketHolder),
    /// The system itself, which joins some groups on every suitable interface: all hosts, all
    /// nodes, and the solicited-node groups of its addresses.
    Kernel,
    /// Sockets of processes that could not be inspected, or a kernel user of multicast that is not
    /// a process, such as a tunnel.
    Unseen {
        /// Their number; `None` where the system does not count.
        sockets: Option<u32>,
    },
}

/// A socket as the holder of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketHolder {
    /// The sources that the socket requested.
    pub filter: SourceFilter,
    /// Whether the socket also receives groups of this family that only other sockets have joined
    /// (`IP_MULTICAST_ALL`, `IPV6_MULTICAST_ALL`; on by default).
    pub multicast_all: Option<bool>,
    /// Whether datagrams that the socket sends to groups of this family are looped back to this
    /// host (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`; on by default).
    pub loopback: Option<bool>,
    /// The socket.
    pub socket: Arc<JoinedSocket>,
}

/// A socket that holds memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedSocket {
    /// Its inode number, which is the same in every process that has it open.
    pub inode: u64,
    /// Its address family. An IPv6 socket can also hold IPv4 memberships.
    pub family: Family,
    /// Its type.
    pub kind: SocketKind,
    /// The address and port it is bound to; `None` for an unbound socket, which receives nothing,
    /// and for a raw socket without an address.
    pub local: Option<SocketAddr>,
    /// The address it is connected to. A connected socket receives from this peer only.
    pub peer: Option<SocketAddr>,
    /// The interface it is bound to (`SO_BINDTODEVICE`), if any.
    pub bound_interface: Option<InterfaceIndex>,
    /// The size of its receive buffer in bytes, as requested; the kernel reserves double.
    pub receive_buffer: usize,
    /// The number of datagrams that the kernel has dropped on it. `None` before Linux 4.12.
    pub drops: Option<u32>,
    /// The processes that have it open, ordered by id: more than one if it was inherited or passed
    /// on.
    pub processes: Vec<Process>,
}

/// The type of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SocketKind {
    /// UDP.
    Udp,
    /// Raw IP for one IP protocol, as used by routing daemons.
    Raw {
        /// The IP protocol number, such as 2 for IGMP.
        protocol: u8,
    },
    /// Another type, such as UDP-Lite or a ping socket.
    Other,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Process {
    /// Its process id, as seen by the calling process.
    pub pid: u32,
    /// Its name as shown by `ps`: on Linux at most 15 bytes, and chosen by the process, so it can
    /// contain anything.
    pub name: String,
    /// Its lowest descriptor for the socket.
    pub descriptor: i32,
}

/// Which processes could be inspected, and so named as holders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visibility {
    /// All processes that the system lists.
    Full,
    /// All but these, for lack of permission to trace them.
    Partial {
        /// The ids of the others, in order.
        closed: Vec<u32>,
    },
    /// None but the calling process (Linux), or none at all, because the system offers no way.
    NoProcesses {
        /// What is missing.
        why: &'static str,
    },
}

/// The version of the membership protocol that a host uses on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// RFC 1112.
    Igmp1,
    /// RFC 2236.
    Igmp2,
    /// RFC 3376: the first version with sources.
    Igmp3,
    /// RFC 2710.
    Mld1,
    /// RFC 3810: the first version with sources.
    Mld2,
}

impl Holding {
    /// Creates a membership whose protocol version is not known, for simulators, tests, and
    /// programs that store listings.
    #[must_use]
    pub const fn new(
        group: Group,
        interface: InterfaceIndex,
        interface_name: String,
        holder: Holder,
    ) -> Self {
        Self { group, interface, interface_name, version: None, holder }
    }
}

impl SocketHolder {
    /// Creates a holder whose socket options are not known; see [`Holding::new`].
    #[must_use]
    pub const fn new(filter: SourceFilter, socket: Arc<JoinedSocket>) -> Self {
        Self { filter, multicast_all: None, loopback: None, socket }
    }
}

impl Process {
    /// Creates a process; see [`Holding::new`].
    #[must_use]
    pub const fn new(pid: u32, name: String, descriptor: i32) -> Self {
        Self { pid, name, descriptor }
    }
}

impl JoinedSocket {
    /// Creates a socket that is not bound, and of which no process is known; see [`Holding::new`].
    #[must_use]
    pub const fn new(inode: u64, family: Family, kind: SocketKind) -> Self {
        Self {
            inode,
            family,
            kind,
            local: None,
            peer: None,
            bound_interface: None,
            receive_buffer: 0,
            drops: None,
            processes: Vec::new(),
        }
    }

    /// Returns the UDP port it is bound to.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.local.map(|local| local.port()).filter(|port| *port != 0)
    }
}

impl Version {
    /// Returns whether hosts can report sources to routers in this version.
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

/// The options of a UDP socket that decide which datagrams it receives, and how it sends to groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Its address family.
    pub family: Family,
    /// Whether an IPv6 socket excludes IPv4 (`IPV6_V6ONLY`).
    pub v6_only: bool,
    /// The interface that it is bound to (`SO_BINDTODEVICE`), if any.
    pub bound_interface: Option<InterfaceIndex>,
    /// The size of its receive buffer in bytes, as requested; the kernel reserves double.
    pub receive_buffer: usize,
    /// The filter that is attached to it (`SO_ATTACH_FILTER`, `SO_ATTACH_BPF`), if any.
    pub filter: Option<SocketFilter>,
    /// The protocol that the kernel takes out of its datagrams (`UDP_ENCAP`), if any.
    pub encapsulation: Option<Encapsulation>,
    /// Its options for groups, for each family that it can use.
    pub groups: BTreeMap<Family, GroupOptions>,
}

/// The options of a socket for the groups of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Whether it receives groups that only other sockets have joined (`IP_MULTICAST_ALL`): by default on, but off for the
    /// IPv4 groups of an IPv6 socket.
    pub all: bool,
    /// Whether what it sends is looped back to this host (`IP_MULTICAST_LOOP`).
    pub loopback: bool,
    /// The hop limit of what it sends (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    pub hop_limit: u8,
}

/// A program that decides which datagrams a socket receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketFilter {
    /// Classic BPF.
    Classic(Vec<FilterInstruction>),
    /// eBPF.
    Extended,
}

/// A protocol that the kernel takes out of the datagrams of a socket. The program does not receive these datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// ESP (RFC 3948). Datagrams that begin with four zero bytes, and those of at most 8 bytes, are the program's.
    Esp,
    /// Another protocol, such as L2TP, by its number in `linux/udp.h`.
    Other(u32),
}
