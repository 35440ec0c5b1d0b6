//! The options of UDP sockets, of any process.

use std::collections::BTreeMap;

use mcast_group::{Family, InterfaceIndex};

use crate::capture::FilterInstruction;

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
