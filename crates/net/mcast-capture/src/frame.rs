//! One captured frame.

use std::time::SystemTime;

use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};
use mcast_sys::Direction;

/// One frame and its metadata. Its bytes belong to the capture and are valid until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The frame, without the frame check sequence.
    pub bytes: &'a [u8],
    /// The original length of the frame; larger than the length of `bytes` if the frame was truncated.
    pub original_length: usize,
    /// The link type, which determines what `bytes` starts with.
    pub link_type: LinkType,
    /// The interface: in a live capture its index, in a file its number within the file, from 1.
    pub interface: InterfaceIndex,
    /// The name of the interface, if it is known. A name in a file may contain any characters.
    pub interface_name: Option<&'a str>,
    /// Whether it was received or sent.
    pub direction: Direction,
    /// When the kernel saw it. Linux: in nanoseconds, by `SO_TIMESTAMPNS`. In a file: as recorded.
    pub time: SystemTime,
    /// Whether the transport checksum in `bytes` is the one on the wire.
    pub checksums: Checksums,
    /// Whether the kernel carried this datagram in a coalesced packet (GSO, GRO), from which it was
    /// extracted. Its checksum is then recomputed.
    pub resegmented: bool,
}

impl<'a> Frame<'a> {
    /// Returns the decoded layers of the frame.
    #[must_use]
    pub fn packet(&self) -> Packet<'a> {
        Packet::decode(self.bytes, self.link_type, self.checksums)
    }
}
