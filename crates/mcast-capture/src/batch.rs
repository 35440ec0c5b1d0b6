//! Memory for many frames, filled by one call to the system.

use std::ops::Range;
use std::time::SystemTime;

use mcast_packet::Checksums;

use crate::Direction;

/// Memory that the system fills with frames.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) memory: Box<[u8]>,
    pub(crate) arrived: Vec<Arrived>,
}

/// A packet in the memory of a batch, before anything is undone that the kernel did to it.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// Where in the memory its bytes are.
    pub(crate) place: Range<usize>,
    pub(crate) original_length: usize,
    pub(crate) direction: Direction,
    pub(crate) time: SystemTime,
    pub(crate) checksums: Checksums,
    /// The payload of each UDP datagram that the packet stands for, when it is not one itself.
    pub(crate) segment_size: Option<u16>,
}

impl Batch {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into_boxed_slice(), arrived: Vec::new() }
    }

    pub(crate) fn bytes(&self, arrived: &Arrived) -> &[u8] {
        self.memory.get(arrived.place.clone()).unwrap_or_default()
    }
}
