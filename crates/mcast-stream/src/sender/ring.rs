//! What was sent and may be asked for: datagrams in slots of one long buffer, so that full ones
//! lie one behind the other, as a system that cuts trains apart wants them.

use alloc::vec;
use alloc::vec::Vec;

use crate::wire::{Flags, Header, ReceiverId};

/// Who is to have a datagram again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nobody.
    No,
    /// One receiver.
    By(ReceiverId),
    /// Several.
    ByGroup,
}

/// What is known of the datagram in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) length: u16,
    /// The first message that begins in it or after it.
    pub(crate) message: u64,
    pub(crate) wanted: Wanted,
    /// Whether it stands in the queue of repairs.
    pub(crate) queued: bool,
    /// Who last asked for it, and whether others did before.
    pub(crate) asked_by: Option<ReceiverId>,
    pub(crate) is_shared: bool,
    /// When and for whom it was last repaired.
    pub(crate) repaired: Option<(u64, Wanted)>,
}

const EMPTY: Slot = Slot {
    length: 0,
    message: 0,
    wanted: Wanted::No,
    queued: false,
    asked_by: None,
    is_shared: false,
    repaired: None,
};

/// The datagrams from `trail` to `next`; those from `sent` on were not sent yet.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    stride: usize,
    slots: Vec<Slot>,
    pub(crate) trail: u64,
    pub(crate) sent: u64,
    pub(crate) next: u64,
}

impl Ring {
    /// A ring of so many datagrams, a power of two, of so many bytes.
    pub(crate) fn new(slots: usize, stride: usize) -> Self {
        Self { bytes: vec![0; slots * stride], stride, slots: vec![EMPTY; slots], trail: 1, sent: 1, next: 1 }
    }

    pub(crate) fn slots(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The whole memory of the datagram that is being written.
    #[inline]
    pub(crate) fn open_mut(&mut self) -> &mut [u8] {
        self.memory_mut(self.next)
    }

    /// Ends the datagram that is being written.
    pub(crate) fn close(&mut self, length: usize, message: u64) {
        let index = self.index(self.next);
        self.slots[index] = Slot { length: length as u16, message, ..EMPTY };
        self.next += 1;
    }

    /// Gives the next datagram a slot, of which the datagram that was in it is gone.
    pub(crate) fn make_room(&mut self) {
        self.trail = self.trail.max((self.next + 1).saturating_sub(self.slots()));
    }

    /// The bytes of a datagram; none if it is gone or was not made yet.
    #[inline]
    pub(crate) fn get(&self, sequence: u64) -> &[u8] {
        if !(self.trail..self.next).contains(&sequence) {
            return &[];
        }
        let index = self.index(sequence);
        let start = index * self.stride;
        &self.bytes[start..start + usize::from(self.slots[index].length)]
    }

    pub(crate) fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = self.index(sequence);
        (self.trail..self.next).contains(&sequence).then(|| &mut self.slots[index])
    }

    /// The first message that begins in a datagram or after it.
    pub(crate) fn message_at(&self, sequence: u64, next_message: u64) -> u64 {
        match (self.trail..self.next).contains(&sequence) {
            true => self.slots[self.index(sequence)].message,
            false => next_message,
        }
    }

    /// Sets the flags that may differ between two copies.
    #[inline]
    pub(crate) fn mark(&mut self, sequence: u64, path: u8, is_repair: bool) {
        let repair = if is_repair { Flags::REPAIR } else { Flags(0) };
        let flags = &mut self.memory_mut(sequence)[Header::FLAGS_AT];
        *flags = Flags(*flags).without(Flags::MUTABLE).with(repair).0 | (path & Flags::PATH.0);
    }

    fn memory_mut(&mut self, sequence: u64) -> &mut [u8] {
        let start = self.index(sequence) * self.stride;
        &mut self.bytes[start..start + self.stride]
    }

    #[inline]
    fn index(&self, sequence: u64) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }
}
