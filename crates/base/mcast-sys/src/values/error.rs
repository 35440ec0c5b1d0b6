//! What failed, and why: the meaning of the system's errors for multicast.

use std::fmt;

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Listing or watching interfaces.
    Interfaces,
    /// Finding an interface by name, index or address.
    Find,
    /// Looking up a group's interface in the routing table.
    Route,
    /// Opening or binding a socket, or setting its options.
    Open,
    /// Joining a group.
    Join,
    /// Leaving a group, or changing its source list.
    Leave,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
    /// Taking frames off an interface, past the kernel's network stack.
    TakeFrames,
    /// Reading the memberships of this machine.
    Inspect,
}

/// The reason for a failure, as far as a program can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No interface has this name, index or address.
    NoSuchInterface,
    /// No interface is up and can multicast.
    NoUsableInterface,
    /// The interface is down.
    InterfaceDown,
    /// The routing table has no route to the group, and no interface was given.
    NoRoute,
    /// The interface has no address of the group's family to send from.
    NoAddress,
    /// IPv6 (or IPv4) is disabled on this machine or interface, or not configured there.
    FamilyUnavailable,
    /// A source-specific group was joined without a source, which RFC 4604 requires hosts to
    /// refuse.
    SourceNeeded,
    /// The membership is already joined, or the membership to leave is not joined.
    NotJoined,
    /// The values contradict each other, such as an IPv6 source for an IPv4 group.
    Mismatch,
    /// Another socket uses the port or address without sharing it.
    AddressInUse,
    /// The address to send from or bind to does not belong to this machine.
    AddressNotAvailable,
    /// A limit of the system was reached: memberships, sources, memory or descriptors.
    LimitReached,
    /// The datagram exceeds the maximum of UDP, or of the path with don't-fragment set.
    TooLarge,
    /// The queue of the interface is full; the datagram was not sent.
    QueueFull,
    /// The process lacks a privilege.
    Permission,
    /// This system, or this version of it, does not support the operation.
    Unsupported,
    /// Another thread ended the wait.
    Woken,
    /// Any other reason; see the system's error.
    Other,
}

/// What the operation does, to follow the word "cannot".
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interfaces => "read the interfaces",
            Self::Find => "find the interface",
            Self::Route => "find the route",
            Self::Open => "open a socket",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::TakeFrames => "take datagrams off the interface",
            Self::Inspect => "read the memberships of this machine",
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchInterface => "no such interface",
            Self::NoUsableInterface => "no interface is up and can multicast",
            Self::InterfaceDown => "the interface is down",
            Self::NoRoute => "no route to the group, and no interface was given",
            Self::NoAddress => "the interface has no address of the group's family",
            Self::FamilyUnavailable => "this address family cannot be used here",
            Self::SourceNeeded => "the group is source-specific and no source was given",
            Self::NotJoined => "not joined",
            Self::Mismatch => "the values contradict each other",
            Self::AddressInUse => "the address is in use",
            Self::AddressNotAvailable => "the address does not belong to this machine",
            Self::LimitReached => "a limit of the system was reached",
            Self::TooLarge => "the datagram is too large",
            Self::QueueFull => "the queue of the interface is full",
            Self::Permission => "permission denied",
            Self::Unsupported => "not supported on this system",
            Self::Woken => "a waker ended the wait",
            Self::Other => "the system refused",
        })
    }
}
