//! Memory for many frames, filled by one system call.

use std::ops::Range;
use std::time::SystemTime;

use crate::Direction;

/// Memory that the system fills with frames.
#[derive(Debug)]
pub struct PacketBatch {
    /// The memory.
    pub memory: Box<[u8]>,
    /// The packets in it, in the order in which they were captured.
    pub packets: Vec<BatchPacket>,
}

/// A packet in the memory of a batch, as the kernel delivered it: possibly coalesced, and without its VLAN
/// tag.
#[derive(Clone, Debug)]
pub struct BatchPacket {
    /// The range of its bytes in the memory.
    pub range: Range<usize>,
    /// Its length on the wire, in bytes.
    pub original_length: usize,
    /// Its direction.
    pub direction: Direction,
    /// When the kernel saw it.
    pub time: SystemTime,
    /// Whether its transport checksum was left to the device to compute.
    pub lacks_checksum: bool,
    /// The payload size of each UDP datagram, if the packet is several coalesced ones.
    pub segment_size: Option<u16>,
}

impl PacketBatch {
    /// Allocates this much memory, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into_boxed_slice(), packets: Vec::new() }
    }

    /// Returns the bytes of a packet.
    #[must_use]
    pub fn bytes(&self, packet: &BatchPacket) -> &[u8] {
        self.memory.get(packet.range.clone()).unwrap_or_default()
    }
}
