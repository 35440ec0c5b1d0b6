//! Memory for many frames, filled by one system call.

use std::ops::Range;
use std::time::SystemTime;

use mcast_packet::Checksums;

use crate::Direction;

/// Memory that the system fills with frames.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) memory: Box<[u8]>,
    pub(crate) packets: Vec<BatchPacket>,
}

/// A packet in the memory of a batch, as the kernel delivered it: possibly coalesced, and without its VLAN
/// tag.
#[derive(Clone, Debug)]
pub(crate) struct BatchPacket {
    /// The range of its bytes in the memory.
    pub(crate) range: Range<usize>,
    pub(crate) original_length: usize,
    pub(crate) direction: Direction,
    pub(crate) time: SystemTime,
    pub(crate) checksums: Checksums,
    /// The payload size of each UDP datagram, if the packet is several coalesced ones.
    pub(crate) segment_size: Option<u16>,
}

impl Batch {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into_boxed_slice(), packets: Vec::new() }
    }

    pub(crate) fn bytes(&self, packet: &BatchPacket) -> &[u8] {
        self.memory.get(packet.range.clone()).unwrap_or_default()
    }
}
