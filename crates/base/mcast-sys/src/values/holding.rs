//! The membership of one holder in one group on one interface, and the options of sockets.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

use super::ErrorKind;
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

mcast_group::named! {
    /// The version of the membership protocol that a host uses on an interface.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum Version {
        /// RFC 1112.
        Igmp1 = "IGMPv1",
        /// RFC 2236.
        Igmp2 = "IGMPv2",
        /// RFC 3376: the first version with sources.
        Igmp3 = "IGMPv3",
        /// RFC 2710.
        Mld1 = "MLDv1",
        /// RFC 3810: the first version with sources.
        Mld2 = "MLDv2",
    }
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
    /// What chooses the interface by which it sends (`IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`). `None` if the kernel does not
    /// report it: in IPv4, an index looks like the choice of the routing table.
    pub sends_by: Option<SendInterface>,
}

/// What the kernel answers to a datagram that a socket would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendAnswer {
    /// It finds a route for it.
    Accepted,
    /// It refuses it.
    Refused {
        /// The class of the error.
        kind: ErrorKind,
        /// The error number of the system.
        number: i32,
    },
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

/// The identity of a network namespace. Device and inode are used again for others when it is gone, and the cookie never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkId {
    /// The device of `/proc/PID/ns/net`.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// The number that the kernel has given to the namespace since the boot, if it does (`SO_NETNS_COOKIE`, Linux 5.14).
    pub cookie: Option<u64>,
}

/// A change of one option or membership of a socket. Its text form is read back by [`FromStr`]:
/// `join 10.0.0.7@239.255.2.3%2`, `send-by ipv4 3 instead-of route`, `hops ipv6 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketChange {
    /// Join a group on an interface, from any source or from one (`MCAST_JOIN_GROUP`, `MCAST_JOIN_SOURCE_GROUP`).
    Join(SocketMembership),
    /// Leave a group, or stop to receive it from one source (`MCAST_LEAVE_GROUP`, `MCAST_LEAVE_SOURCE_GROUP`).
    Leave(SocketMembership),
    /// Exclude a source (`MCAST_BLOCK_SOURCE`).
    Block(SocketMembership),
    /// Admit an excluded source (`MCAST_UNBLOCK_SOURCE`).
    Unblock(SocketMembership),
    /// Send to groups by an interface (`IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`).
    SendBy {
        /// The family of the groups.
        family: Family,
        /// What chooses the interface.
        by: SendInterface,
        /// What chose it before, as far as the kernel does not report it.
        instead_of: SendInterface,
    },
    /// Send to groups with a hop limit (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    HopLimit {
        /// The family of the groups.
        family: Family,
        /// The hop limit.
        hops: u8,
    },
    /// Loop what is sent to groups back to this host, or not (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    Loopback {
        /// The family of the groups.
        family: Family,
        /// Whether it is looped back.
        on: bool,
    },
    /// Receive groups that only other sockets have joined, or not (`IP_MULTICAST_ALL`, `IPV6_MULTICAST_ALL`).
    AllGroups {
        /// The family of the groups.
        family: Family,
        /// Whether they are received.
        on: bool,
    },
    /// Set the size of the receive buffer in bytes (`SO_RCVBUFFORCE`, or `SO_RCVBUF` without the right to it).
    ReceiveBuffer(usize),
}

/// A group on an interface, from any source or from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketMembership {
    /// The group.
    pub group: Group,
    /// The interface.
    pub interface: InterfaceIndex,
    /// The source; `None` for any.
    pub source: Option<IpAddr>,
}

/// What chooses the interface by which a socket sends to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendInterface {
    /// The routing table.
    Route,
    /// The program, by index.
    Index(InterfaceIndex),
    /// The program, by an IPv4 address of the interface.
    Address(Ipv4Addr),
}

impl fmt::Display for SocketChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::Join(membership) => write!(f, "join {membership}"),
            Self::Leave(membership) => write!(f, "leave {membership}"),
            Self::Block(membership) => write!(f, "block {membership}"),
            Self::Unblock(membership) => write!(f, "unblock {membership}"),
            Self::SendBy { family, by, instead_of } => {
                write!(f, "send-by {} {by} instead-of {instead_of}", name(*family))
            }
            Self::HopLimit { family, hops } => write!(f, "hops {} {hops}", name(*family)),
            Self::Loopback { family, on } => write!(f, "loopback {} {}", name(*family), switch(on)),
            Self::AllGroups { family, on } => write!(f, "all-groups {} {}", name(*family), switch(on)),
            Self::ReceiveBuffer(bytes) => write!(f, "receive-buffer {bytes}"),
        }
    }
}

impl fmt::Display for SocketMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = self.source {
            write!(f, "{source}@")?;
        }
        write!(f, "{}%{}", self.group, self.interface)
    }
}

impl fmt::Display for SendInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => f.write_str("route"),
            Self::Index(index) => index.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// The error for a text that is not a [`SocketChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSocketChange(pub String);

impl fmt::Display for InvalidSocketChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a change of a socket, such as `join 239.1.2.3%2` or `hops ipv4 16`", self.0)
    }
}

impl std::error::Error for InvalidSocketChange {}

impl FromStr for SocketChange {
    type Err = InvalidSocketChange;

    fn from_str(text: &str) -> Result<Self, InvalidSocketChange> {
        let words: Vec<_> = text.split_whitespace().collect();
        parse(&words).ok_or_else(|| InvalidSocketChange(text.to_owned()))
    }
}

fn parse(words: &[&str]) -> Option<SocketChange> {
    let family = |text: &str| [Family::V4, Family::V6].into_iter().find(|family| name(*family) == text);
    let switch = |text: &str| match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    Some(match words {
        ["join", text] => SocketChange::Join(membership(text)?),
        ["leave", text] => SocketChange::Leave(membership(text)?),
        ["block", text] => SocketChange::Block(membership(text).filter(|one| one.source.is_some())?),
        ["unblock", text] => SocketChange::Unblock(membership(text).filter(|one| one.source.is_some())?),
        ["send-by", of, by, "instead-of", instead_of] => SocketChange::SendBy {
            family: family(of)?,
            by: send_interface(by)?,
            instead_of: send_interface(instead_of)?,
        },
        ["hops", of, hops] => SocketChange::HopLimit { family: family(of)?, hops: hops.parse().ok()? },
        ["loopback", of, on] => SocketChange::Loopback { family: family(of)?, on: switch(on)? },
        ["all-groups", of, on] => SocketChange::AllGroups { family: family(of)?, on: switch(on)? },
        ["receive-buffer", bytes] => SocketChange::ReceiveBuffer(bytes.parse().ok()?),
        _ => return None,
    })
}

fn membership(text: &str) -> Option<SocketMembership> {
    let (source, rest) = match text.split_once('@') {
        Some((source, rest)) => (Some(source.parse().ok()?), rest),
        None => (None, text),
    };
    let (group, interface) = rest.rsplit_once('%')?;
    let group: Group = group.parse().ok()?;
    let interface = index(interface)?;
    let is_same = |source: &IpAddr| Family::of(*source) == group.family();
    source.iter().all(is_same).then_some(SocketMembership { group, interface, source })
}

fn send_interface(text: &str) -> Option<SendInterface> {
    match text {
        "route" => Some(SendInterface::Route),
        _ => index(text).map(SendInterface::Index).or_else(|| text.parse().ok().map(SendInterface::Address)),
    }
}

fn index(text: &str) -> Option<InterfaceIndex> {
    text.parse().ok().and_then(InterfaceIndex::new)
}

/// A raw socket, as the kernel's tables list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSocket {
    /// Its inode number.
    pub inode: u64,
    /// The family of its packets.
    pub family: Family,
    /// The number of its IP protocol.
    pub protocol: u8,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_change_is_read_back_from_its_text() {
        for text in [
            "join 239.1.2.3%2",
            "join 10.0.0.7@232.1.2.3%2",
            "leave ff15::1234%3",
            "block 10.0.0.7@239.1.2.3%2",
            "unblock fd00::7@ff15::1234%2",
            "send-by ipv4 3 instead-of route",
            "send-by ipv4 10.0.0.7 instead-of 2",
            "send-by ipv6 route instead-of 3",
            "hops ipv4 16",
            "hops ipv6 1",
            "loopback ipv4 on",
            "all-groups ipv6 off",
            "receive-buffer 4194304",
        ] {
            assert_eq!(text.parse::<SocketChange>().unwrap().to_string(), text);
        }
        for text in
            ["", "join 10.0.0.7%2", "join 239.1.2.3%0", "block 239.1.2.3%2", "hops 16", "fd00::7@239.1.2.3%1"]
        {
            assert!(text.parse::<SocketChange>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<SocketChange>();
        }
    }
}
