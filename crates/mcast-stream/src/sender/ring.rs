//! The retransmission buffer: sent datagrams in one circular block of memory, back to back, so that a run of equal
//! ones is contiguous for segmentation offload. It holds bytes: short datagrams take little of it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::wire::{Flags, Header, ReceiverId};

/// An empty message in a datagram of its own still costs an index entry: the number of datagrams is bounded by one
/// for so many bytes of the buffer.
const BYTES_PER_ENTRY: usize = 64;

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

/// The repair state of a datagram that somebody has asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairState {
    pub(crate) wanted: Wanted,
    /// Who asked for it last, and whether others did before.
    pub(crate) asked_by: Option<ReceiverId>,
    pub(crate) is_shared: bool,
    /// When and for whom it was last repaired.
    pub(crate) repaired: Option<(u64, Wanted)>,
}

impl RepairState {
    const NONE: Self = Self { wanted: Wanted::No, asked_by: None, is_shared: false, repaired: None };
}

#[derive(Debug)]
struct Entry {
    offset: usize,
    length: u16,
    /// The first message that begins in it or after it.
    message: u64,
    repair: Option<Box<RepairState>>,
}

/// The datagrams from `trail` to `next`; those from `sent` on were not sent yet.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Vec<u8>,
    entries: VecDeque<Entry>,
    /// The longest datagram.
    datagram: usize,
    most_entries: usize,
    /// Where the datagram that is being written lies.
    tail: usize,
    pub(crate) trail: u64,
    pub(crate) sent: u64,
    pub(crate) next: u64,
}

impl Ring {
    /// A buffer for so many bytes of payload in datagrams of at most `datagram` bytes.
    pub(crate) fn new(history: usize, datagram: usize) -> Self {
        Self {
            // A third more than the payload: headers of datagrams of a hundred bytes.
            memory: vec![0; (history + history / 3).max(2 * datagram)],
            entries: VecDeque::new(),
            datagram,
            most_entries: (history / BYTES_PER_ENTRY).max(16),
            tail: 0,
            trail: 1,
            sent: 1,
            next: 1,
        }
    }

    /// How many datagrams of the greatest length it holds for certain.
    pub(crate) fn capacity(&self) -> u64 {
        (self.memory.len() / self.datagram).min(self.most_entries) as u64
    }

    /// How many datagrams it holds now.
    pub(crate) fn held(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether so many further datagrams of any length have room while nothing from `keep` on is overwritten.
    pub(crate) fn has_room(&self, count: u64, keep: u64) -> bool {
        let keep = keep.max(self.trail);
        let kept = self.next.saturating_sub(keep);
        if kept + count > self.most_entries as u64 {
            return false;
        }
        let Some(first) = self.entry(keep).filter(|_| kept > 0) else { return count <= self.capacity() };
        let fit = |bytes: usize| (bytes / self.datagram) as u64;
        let room = match self.tail > first.offset {
            true => fit(self.memory.len() - self.tail) + fit(first.offset),
            false => fit(first.offset - self.tail),
        };
        count <= room
    }

    /// The memory of the datagram that is being written: as much as the longest one takes.
    #[inline]
    pub(crate) fn open_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.tail..self.tail + self.datagram]
    }

    /// Ends the datagram that is being written.
    pub(crate) fn close(&mut self, length: usize, message: u64) {
        self.entries.push_back(Entry { offset: self.tail, length: length as u16, message, repair: None });
        self.tail += length;
        self.next += 1;
    }

    /// Makes room for the next datagram; the oldest go as far as they must.
    pub(crate) fn make_room(&mut self) {
        if self.memory.len() - self.tail < self.datagram {
            // Whatever lies behind the tail goes first, so that the oldest datagram is always the next ahead of it.
            while self.entries.front().is_some_and(|oldest| oldest.offset >= self.tail) {
                self.forget_oldest();
            }
            self.tail = 0;
        }
        let room = self.tail..self.tail + self.datagram;
        let is_in_the_way = |oldest: &Entry| room.contains(&oldest.offset);
        while self.entries.front().is_some_and(is_in_the_way) || self.entries.len() >= self.most_entries {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.entries.pop_front();
        self.trail += 1;
    }

    /// The bytes of a datagram; none if it is gone or was not made yet.
    #[inline]
    pub(crate) fn get(&self, sequence: u64) -> &[u8] {
        self.entry(sequence)
            .map_or(&[], |entry| &self.memory[entry.offset..entry.offset + usize::from(entry.length)])
    }

    pub(crate) fn contains(&self, sequence: u64) -> bool {
        (self.trail..self.next).contains(&sequence)
    }

    /// The repair state of a datagram that is there, to be changed.
    pub(crate) fn repair_mut(&mut self, sequence: u64) -> Option<&mut RepairState> {
        let index = self.index(sequence)?;
        let entry = self.entries.get_mut(index)?;
        Some(entry.repair.get_or_insert_with(|| Box::new(RepairState::NONE)))
    }

    /// The repair state of a datagram that was asked for.
    pub(crate) fn repair(&self, sequence: u64) -> Option<&RepairState> {
        self.entry(sequence)?.repair.as_deref()
    }

    /// The first message that begins in a datagram or after it.
    pub(crate) fn message_at(&self, sequence: u64, next_message: u64) -> u64 {
        self.entry(sequence).map_or(next_message, |entry| entry.message)
    }

    /// Sets the flags that may differ between two copies.
    #[inline]
    pub(crate) fn mark(&mut self, sequence: u64, path: u8, is_repair: bool) {
        let repair = if is_repair { Flags::REPAIR } else { Flags(0) };
        let Some(offset) = self.entry(sequence).map(|entry| entry.offset) else { return };
        let flags = &mut self.memory[offset + Header::FLAGS_AT];
        *flags = Flags(*flags).without(Flags::MUTABLE).with(repair).0 | (path & Flags::PATH.0);
    }

    #[inline]
    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(self.index(sequence)?)
    }

    #[inline]
    fn index(&self, sequence: u64) -> Option<usize> {
        sequence.checked_sub(self.trail).and_then(|index| usize::try_from(index).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a datagram of this length, of which each byte tells its number.
    fn write(ring: &mut Ring, length: usize) {
        ring.make_room();
        let sign = ring.next as u8;
        ring.open_mut()[..length].fill(sign);
        ring.close(length, ring.next);
    }

    #[test]
    fn eight_mebibytes_hold_eighty_thousand_messages_of_a_hundred_bytes() {
        let mut ring = Ring::new(8 << 20, 1232);
        (0..200_000).for_each(|_| write(&mut ring, 32 + 2 + 100));
        assert!((80_000..90_000).contains(&ring.held()), "{}", ring.held());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_as_it_was_written(
            history in 4_096_usize..20_000,
            lengths in prop::collection::vec(34_usize..=256, 1..400),
            reserve in 0_u64..40,
        ) {
            let mut ring = Ring::new(history, 256);
            for length in lengths {
                let keep = ring.next.saturating_sub(reserve).max(ring.trail);
                let had_room = ring.has_room(1, keep);
                write(&mut ring, length);
                prop_assert!(!had_room || ring.trail <= keep, "what was to be kept was overwritten");
                prop_assert!(ring.held() as usize * 34 <= ring.memory.len());
                for sequence in ring.trail..ring.next {
                    let bytes = ring.get(sequence);
                    prop_assert!(bytes.len() >= 34 && bytes.iter().all(|byte| *byte == sequence as u8));
                }
                prop_assert!(ring.get(ring.next).is_empty() && ring.get(ring.trail - 1).is_empty());
            }
            prop_assert!(ring.held() + 1 >= ring.capacity().min(ring.next - 1).min(20), "{} of {}", ring.held(), ring.capacity());
        }
    }
}
