//! Datagrams that wait for their turn in the order of delivery.

use alloc::vec::Vec;

use crate::wire::{DatagramView, ExtensionKind, Flags, MessageNumber, Sequence};

/// The fields of a data header that delivery needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) flags: Flags,
    pub(super) message: u32,
    pub(super) keyed: bool,
    pub(super) total: Option<u32>,
}

impl Meta {
    #[inline]
    pub(super) fn of(view: &DatagramView<'_>) -> Self {
        let extensions = view.extensions;
        let (keyed, total) = match extensions.is_empty() {
            true => (false, None),
            false => {
                (extensions.find(ExtensionKind::KEYED).is_some(), extensions.u32(ExtensionKind::TOTAL_LENGTH))
            }
        };
        Self { flags: view.header.flags, message: view.header.message, keyed, total }
    }

    /// Whether a message begins where the datagram does.
    #[inline]
    pub(super) const fn begins_message(&self) -> bool {
        self.flags.has(Flags::BATCH) || self.flags.has(Flags::BEGIN)
    }

    /// Whether it contains only whole messages.
    pub(super) const fn is_whole(&self) -> bool {
        self.flags.has(Flags::BATCH) || self.flags.has(Flags::BEGIN.with(Flags::END))
    }
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Buffered(Meta, Vec<u8>),
    /// It was delivered out of order: its first message, and the number of its messages.
    Delivered(MessageNumber, u64),
    /// A manifest: there is nothing to deliver.
    Manifest,
}

/// What a slot contains, without the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum SlotContent {
    Buffered(Meta),
    Delivered(MessageNumber, u64),
    Manifest,
}

/// Longer buffers are freed instead of reused, in bytes.
const MAX_SPARE: usize = 16_384;

/// A ring of datagrams by sequence, which reuses its buffers. The default has no room.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: Vec<Slot>,
    spare: Vec<Vec<u8>>,
    len: usize,
    /// The datagram that is being delivered from where it has arrived. Its slot is empty.
    lent: Option<Sequence>,
    /// Bytes in it, and the limit.
    bytes: usize,
    max_bytes: usize,
}

impl Window {
    /// Returns a window of `slots` datagrams, a power of two, and at most `max_bytes` bytes.
    pub(super) fn new(slots: usize, max_bytes: usize) -> Self {
        debug_assert!(slots.is_power_of_two(), "a window of {slots} datagrams");
        let mut all = Vec::new();
        all.resize_with(slots, Slot::default);
        Self { slots: all, spare: Vec::new(), len: 0, lent: None, bytes: 0, max_bytes }
    }

    pub(super) const fn length(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The number of datagrams in it.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has(&self, sequence: Sequence) -> bool {
        self.lent == Some(sequence) || !matches!(self.slots[self.index(sequence)], Slot::Empty)
    }

    /// Whether a datagram of this size fits, in bytes.
    pub(super) const fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.max_bytes
    }

    pub(super) fn buffer(&mut self, sequence: Sequence, meta: Meta, body: &[u8]) {
        let bytes = self.copy(body);
        self.put(sequence, Slot::Buffered(meta, bytes));
    }

    /// Copies a body into a buffer of its own, for [`insert`](Self::insert) or [`reuse`](Self::reuse).
    pub(super) fn copy(&mut self, body: &[u8]) -> Vec<u8> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(body);
        bytes
    }

    /// Buffers a datagram whose body was copied before.
    pub(super) fn insert(&mut self, sequence: Sequence, meta: Meta, body: Vec<u8>) {
        self.put(sequence, Slot::Buffered(meta, body));
    }

    /// Takes back a buffer.
    pub(super) fn reuse(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() <= MAX_SPARE {
            self.spare.push(bytes);
        }
    }

    /// Notes that a datagram is delivered without being buffered: it counts as here until it is released.
    #[inline]
    pub(super) fn lend(&mut self, sequence: Sequence) {
        debug_assert!(!self.has(sequence), "a datagram is delivered twice");
        self.lent = Some(sequence);
    }

    pub(super) fn mark_manifest(&mut self, sequence: Sequence) {
        self.put(sequence, Slot::Manifest);
    }

    pub(super) fn mark_delivered(&mut self, sequence: Sequence, first: MessageNumber, count: u64) {
        self.put(sequence, Slot::Delivered(first, count));
    }

    pub(super) fn content(&self, sequence: Sequence) -> Option<SlotContent> {
        match &self.slots[self.index(sequence)] {
            Slot::Empty => None,
            Slot::Buffered(meta, _) => Some(SlotContent::Buffered(*meta)),
            Slot::Delivered(first, count) => Some(SlotContent::Delivered(*first, *count)),
            Slot::Manifest => Some(SlotContent::Manifest),
        }
    }

    /// Returns the body of a buffered datagram, and an empty slice for any other.
    pub(super) fn body(&self, sequence: Sequence) -> &[u8] {
        match &self.slots[self.index(sequence)] {
            Slot::Buffered(_, bytes) => bytes,
            _ => &[],
        }
    }

    pub(super) fn release(&mut self, sequence: Sequence) {
        self.lent = self.lent.filter(|lent| *lent != sequence);
        let index = self.index(sequence);
        match core::mem::take(&mut self.slots[index]) {
            Slot::Empty => {}
            Slot::Buffered(_, bytes) => {
                debug_assert!(
                    self.bytes >= bytes.len() && self.len > 0,
                    "the window holds less than its datagrams"
                );
                self.bytes -= bytes.len();
                self.len -= 1;
                self.reuse(bytes);
            }
            Slot::Delivered(..) | Slot::Manifest => self.len -= 1,
        }
    }

    pub(super) fn clear(&mut self) {
        self.lent = None;
        for index in 0..self.length() {
            self.release(Sequence(index));
        }
        debug_assert!(self.len == 0 && self.bytes == 0, "an empty window holds {} bytes", self.bytes);
    }

    fn put(&mut self, sequence: Sequence, slot: Slot) {
        self.release(sequence);
        let index = self.index(sequence);
        if let Slot::Buffered(_, bytes) = &slot {
            self.bytes += bytes.len();
        }
        self.slots[index] = slot;
        self.len += 1;
        debug_assert!(self.len <= self.slots.len(), "more datagrams than slots");
    }

    const fn index(&self, sequence: Sequence) -> usize {
        sequence.0 as usize & (self.slots.len() - 1)
    }
}
