//! Datagrams that came before their turn.

use alloc::vec::Vec;

use crate::wire::{ExtensionKind, Flags, Packet};

/// What of a data header its delivery needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) flags: Flags,
    pub(super) message: u32,
    pub(super) keyed: bool,
    pub(super) total: Option<u32>,
}

impl Meta {
    #[inline]
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        let extensions = packet.extensions;
        let (keyed, total) = match extensions.is_empty() {
            true => (false, None),
            false => {
                (extensions.find(ExtensionKind::KEYED).is_some(), extensions.u32(ExtensionKind::TOTAL_LENGTH))
            }
        };
        Self { flags: packet.header.flags, message: packet.header.message, keyed, total }
    }

    /// Whether it holds nothing but whole messages.
    pub(super) const fn is_whole(&self) -> bool {
        self.flags.has(Flags::BATCH) || self.flags.has(Flags::BEGIN.with(Flags::END))
    }
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Kept(Meta, Vec<u8>),
    /// It was handed out before its turn: so many messages from this one on.
    Done(u64, u64),
}

/// A datagram whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    Kept(Meta),
    Done(u64, u64),
}

/// A buffer that is longer is not used again.
const LONGEST_SPARE: usize = 16_384;

/// As many slots as the window is long; buffers are used again.
#[derive(Debug)]
pub(super) struct Window {
    slots: Vec<Slot>,
    spare: Vec<Vec<u8>>,
    kept: usize,
    /// Bytes in it, and the most that there may be.
    bytes: usize,
    most_bytes: usize,
}

impl Window {
    /// A window of so many datagrams, a power of two, and so many bytes.
    pub(super) fn new(slots: usize, most_bytes: usize) -> Self {
        let mut all = Vec::new();
        all.resize_with(slots, Slot::default);
        Self { slots: all, spare: Vec::new(), kept: 0, bytes: 0, most_bytes }
    }

    pub(super) const fn length(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many datagrams are in it.
    pub(super) const fn kept(&self) -> usize {
        self.kept
    }

    pub(super) fn has(&self, sequence: u64) -> bool {
        !matches!(self.slots[self.index(sequence)], Slot::Empty)
    }

    /// Whether a datagram of so many bytes has room.
    pub(super) const fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.most_bytes
    }

    pub(super) fn keep(&mut self, sequence: u64, meta: Meta, body: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(body);
        self.put(sequence, Slot::Kept(meta, bytes));
    }

    pub(super) fn done(&mut self, sequence: u64, first: u64, count: u64) {
        self.put(sequence, Slot::Done(first, count));
    }

    pub(super) fn turn(&self, sequence: u64) -> Option<Turn> {
        match &self.slots[self.index(sequence)] {
            Slot::Empty => None,
            Slot::Kept(meta, _) => Some(Turn::Kept(*meta)),
            Slot::Done(first, count) => Some(Turn::Done(*first, *count)),
        }
    }

    /// The body of a datagram that is kept; nothing of any other.
    pub(super) fn body(&self, sequence: u64) -> &[u8] {
        match &self.slots[self.index(sequence)] {
            Slot::Kept(_, bytes) => bytes,
            _ => &[],
        }
    }

    pub(super) fn release(&mut self, sequence: u64) {
        let index = self.index(sequence);
        match core::mem::take(&mut self.slots[index]) {
            Slot::Empty => {}
            Slot::Kept(_, bytes) => {
                self.bytes -= bytes.len();
                self.kept -= 1;
                if bytes.capacity() <= LONGEST_SPARE {
                    self.spare.push(bytes);
                }
            }
            Slot::Done(..) => self.kept -= 1,
        }
    }

    pub(super) fn clear(&mut self) {
        for index in 0..self.length() {
            self.release(index);
        }
    }

    fn put(&mut self, sequence: u64, slot: Slot) {
        self.release(sequence);
        let index = self.index(sequence);
        if let Slot::Kept(_, bytes) = &slot {
            self.bytes += bytes.len();
        }
        self.slots[index] = slot;
        self.kept += 1;
    }

    const fn index(&self, sequence: u64) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }
}
