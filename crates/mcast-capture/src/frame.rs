//! One captured frame.

use std::time::SystemTime;

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};

/// One frame, with what the system knows about it. Its bytes are the capture's and last until the
/// next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The frame, without the check sequence at its end.
    pub bytes: &'a [u8],
    /// How long the frame was; more than `bytes` has when the system cut it off.
    pub original_length: usize,
    /// What `bytes` starts with.
    pub link_type: LinkType,
    /// Where it was seen: in a live capture the index that the system has for the interface, in a file
    /// the number of the interface in the file, from 1.
    pub interface: InterfaceIndex,
    /// Whether it came in or went out.
    pub direction: Direction,
    /// When the kernel saw it. Linux: to the nanosecond, `SO_TIMESTAMPNS`. In a file: as it says.
    pub time: SystemTime,
    /// Whether the transport checksum is in `bytes` as it was or will be on the wire.
    pub checksums: Checksums,
    /// Whether the kernel carried this datagram as part of a larger packet (GSO, GRO), from which it
    /// has been cut. Its checksum is then a new one.
    pub cut: bool,
}

impl<'a> Frame<'a> {
    /// The layers of the frame.
    #[must_use]
    pub fn packet(&self) -> Packet<'a> {
        Packet::decode(self.bytes, self.link_type, self.checksums)
    }
}

/// Which way a frame went, and whom its Ethernet address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// It came in, addressed to this machine.
    ToUs,
    /// It came in, addressed to everybody.
    Broadcast,
    /// It came in, addressed to a group.
    Multicast,
    /// It came in, addressed to another machine.
    ToOthers,
    /// This machine sent it.
    Outgoing,
    /// Nobody knows: a file need not say it.
    Unknown,
}

impl Direction {
    /// Whether this machine sent it.
    #[must_use]
    pub const fn is_outgoing(self) -> bool {
        matches!(self, Self::Outgoing)
    }
}
