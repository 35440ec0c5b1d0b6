//! Ring: the retransmission buffer. Datagrams are in one circular block of memory, back to back, so that consecutive datagrams
//! of equal length are contiguous for segmentation offload.
//!
//! Input: datagrams of the intake. Output: their bytes, for as long as they are retained, and the state of their repairs.
//!
//! Promises: a datagram does not change while it is retained, but for the flags that distinguish paths and repairs; the oldest one
//! is always the next to be overwritten; and the memory, and the number of datagrams, are bounded. Whether one may be
//! overwritten is a decision of the machine, which asks the audience.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::ClockTime;
use crate::wire::{DatagramView, Flags, Header, MessageNumber, Sequence, SubscriberId};

/// A datagram costs an index entry, however short it is: there is at most one entry for this many bytes of the buffer.
const BYTES_PER_ENTRY: usize = 64;

/// A repair that is admitted now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    /// The datagram, or the first of the block of which parity is sent.
    pub(super) sequence: Sequence,
    pub(super) length: u64,
    pub(super) target: RepairTarget,
    pub(super) is_parity: bool,
}

/// The destination of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepairTarget {
    /// One subscriber.
    Subscriber(SubscriberId),
    /// All subscribers.
    Group,
}

/// The repair state of a datagram that was requested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RepairState {
    /// The destination of a repair that is not sent yet.
    pub(crate) pending: Option<RepairTarget>,
    /// The subscriber that requested it last, and whether several have.
    pub(crate) requested_by: Option<SubscriberId>,
    pub(crate) is_shared: bool,
    /// The time and destination of the last repair.
    pub(crate) repaired: Option<(ClockTime, RepairTarget)>,
}

impl RepairState {
    const NONE: Self = Self { pending: None, requested_by: None, is_shared: false, repaired: None };
}

#[derive(Debug)]
struct Entry {
    offset: usize,
    length: u16,
    /// The first message that begins in this datagram or after it.
    message: MessageNumber,
    repair: Option<Box<RepairState>>,
}

/// The datagrams from `oldest_retained` to before `next`; those from `sent` on were not sent yet.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: Vec<u8>,
    entries: VecDeque<Entry>,
    /// The longest datagram.
    datagram: usize,
    most_entries: usize,
    /// The offset of the datagram that is being written.
    tail: usize,
    pub(crate) oldest_retained: Sequence,
    pub(crate) sent: Sequence,
    pub(crate) next: Sequence,
}

impl Ring {
    /// Creates a buffer for `retained` bytes of payload in datagrams of at most `datagram` bytes.
    pub(crate) fn new(retained: usize, datagram: usize) -> Self {
        Self {
            // A third more than the payload: headers of datagrams of a hundred bytes.
            memory: vec![0; (retained + retained / 3).max(2 * datagram)],
            entries: VecDeque::new(),
            datagram,
            most_entries: (retained / BYTES_PER_ENTRY).max(16),
            tail: 0,
            oldest_retained: Sequence(1),
            sent: Sequence(1),
            next: Sequence(1),
        }
    }

    /// Returns the number of datagrams of the greatest length that always fit.
    pub(crate) fn capacity(&self) -> u64 {
        (self.memory.len() / self.datagram).min(self.most_entries) as u64
    }

    /// Returns the number of datagrams retained.
    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Returns whether `count` more datagrams of any length fit without overwriting any from `keep` on.
    pub(crate) fn has_room(&self, count: u64, keep: Sequence) -> bool {
        let keep = keep.max(self.oldest_retained);
        let kept = self.next.ahead_of(keep);
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

    /// Returns the memory of the datagram that is being written: room for the longest one.
    #[inline]
    pub(crate) fn open_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.tail..self.tail + self.datagram]
    }

    /// Completes the datagram that is being written.
    pub(crate) fn close(&mut self, length: usize, message: MessageNumber) {
        debug_assert!((1..=self.datagram).contains(&length), "a datagram of {length} bytes");
        debug_assert!(
            self.entries.back().is_none_or(|last| last.message <= message),
            "messages out of order"
        );
        self.entries.push_back(Entry { offset: self.tail, length: length as u16, message, repair: None });
        self.tail += length;
        self.next += 1;
        debug_assert!(self.tail <= self.memory.len(), "a datagram beyond the memory");
        debug_assert!(self.len() == self.next - self.oldest_retained, "an entry is missing");
    }

    /// Makes room for the next datagram, and drops the oldest ones for it if necessary.
    pub(crate) fn make_room(&mut self) {
        if self.memory.len() - self.tail < self.datagram {
            // Drop what lies behind the tail first, so that the oldest datagram is always the next ahead of the tail.
            while self.entries.front().is_some_and(|oldest| oldest.offset >= self.tail) {
                self.drop_oldest();
            }
            self.tail = 0;
        }
        let room = self.tail..self.tail + self.datagram;
        let is_in_the_way = |oldest: &Entry| room.contains(&oldest.offset);
        while self.entries.front().is_some_and(is_in_the_way) || self.entries.len() >= self.most_entries {
            self.drop_oldest();
        }
        debug_assert!(self.memory.len() - self.tail >= self.datagram, "no room for the longest datagram");
        debug_assert!(self.entries.len() < self.most_entries, "no room for an entry");
    }

    /// Drops the oldest datagrams that were sent, as long as this holds for their headers.
    pub(crate) fn drop_while_sent(&mut self, is_dropped: impl Fn(&Header) -> bool) {
        let is_next = |ring: &Self| {
            let view = DatagramView::parse(ring.get(ring.oldest_retained));
            ring.oldest_retained < ring.sent && view.is_ok_and(|view| is_dropped(&view.header))
        };
        while is_next(self) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.entries.pop_front();
        debug_assert!(oldest.is_some(), "a datagram is dropped that is not there");
        self.oldest_retained += 1;
    }

    /// Returns the bytes of a datagram; none if it is no longer retained, or not complete yet.
    #[inline]
    pub(crate) fn get(&self, sequence: Sequence) -> &[u8] {
        self.entry(sequence)
            .map_or(&[], |entry| &self.memory[entry.offset..entry.offset + usize::from(entry.length)])
    }

    pub(crate) fn contains(&self, sequence: Sequence) -> bool {
        (self.oldest_retained..self.next).contains(&sequence)
    }

    /// Returns the repair state of a retained datagram, and creates it if there is none.
    pub(crate) fn repair_mut(&mut self, sequence: Sequence) -> Option<&mut RepairState> {
        let index = self.index(sequence)?;
        let entry = self.entries.get_mut(index)?;
        Some(entry.repair.get_or_insert_with(|| Box::new(RepairState::NONE)))
    }

    /// Returns the repair state of a datagram that was requested.
    pub(crate) fn repair(&self, sequence: Sequence) -> Option<&RepairState> {
        self.entry(sequence)?.repair.as_deref()
    }

    /// Returns the first message that begins in a datagram or after it.
    pub(crate) fn message_at(&self, sequence: Sequence, next_message: MessageNumber) -> MessageNumber {
        self.entry(sequence).map_or(next_message, |entry| entry.message)
    }

    /// Sets the flags that may differ between two copies of a datagram.
    #[inline]
    pub(crate) fn mark(&mut self, sequence: Sequence, path: u8, is_repair: bool) {
        let repair = if is_repair { Flags::REPAIR } else { Flags(0) };
        debug_assert!(self.contains(sequence), "datagram {sequence} is not retained");
        let Some(offset) = self.entry(sequence).map(|entry| entry.offset) else { return };
        let flags = &mut self.memory[offset + Header::FLAGS_AT];
        *flags = Flags(*flags).without(Flags::MUTABLE).with(repair).0 | (path & Flags::PATH.0);
    }

    #[inline]
    fn entry(&self, sequence: Sequence) -> Option<&Entry> {
        self.entries.get(self.index(sequence)?)
    }

    #[inline]
    fn index(&self, sequence: Sequence) -> Option<usize> {
        sequence.offset_from(self.oldest_retained).and_then(|index| usize::try_from(index).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{DatagramWriter, Incarnation, IncarnationSalt, KeyEpoch, Kind, StreamId, TAG_LENGTH};

    /// Writes a datagram of this length, filled with the low byte of its sequence.
    fn write(ring: &mut Ring, length: usize) {
        ring.make_room();
        let fill = ring.next.0 as u8;
        ring.open_mut()[..length].fill(fill);
        ring.close(length, MessageNumber(ring.next.0));
    }

    #[test]
    fn eight_mebibytes_hold_eighty_thousand_messages_of_a_hundred_bytes() {
        let mut ring = Ring::new(8 << 20, 1232);
        (0..200_000).for_each(|_| write(&mut ring, 32 + 2 + 100));
        assert!((80_000..90_000).contains(&ring.len()), "{}", ring.len());
    }

    #[test]
    fn what_was_sealed_with_a_removed_secret_is_dropped_and_what_was_not_sent_is_kept() {
        let mut ring = Ring::new(8_192, 256);
        for epoch in [1, 1, 2, 1, 2] {
            ring.make_room();
            let sequence = ring.next;
            let header = Header::new(Kind::Data, StreamId(1), Incarnation(1), sequence.0);
            let header = Header { epoch: KeyEpoch(epoch), ..header };
            let mut writer = DatagramWriter::new(ring.open_mut(), &header).unwrap();
            writer.salt(IncarnationSalt(7)).unwrap();
            writer.put(&[0; TAG_LENGTH]).unwrap();
            let length = writer.finish();
            ring.close(length, MessageNumber(sequence.0));
        }
        let mut oldest = |sent| {
            ring.sent = Sequence(sent);
            ring.drop_while_sent(|header| header.epoch == KeyEpoch(1));
            ring.oldest_retained.0
        };
        assert_eq!([oldest(2), oldest(6)], [2, 3]);
    }

    proptest! {
        #[test]
        fn retained_datagrams_are_unchanged(
            retained in 4_096_usize..20_000,
            lengths in prop::collection::vec(34_usize..=256, 1..400),
            reserve in 0_u64..40,
        ) {
            let mut ring = Ring::new(retained, 256);
            for length in lengths {
                let keep = Sequence(ring.next.0.saturating_sub(reserve)).max(ring.oldest_retained);
                let had_room = ring.has_room(1, keep);
                write(&mut ring, length);
                prop_assert!(!had_room || ring.oldest_retained <= keep, "a datagram from `keep` on was overwritten");
                prop_assert!(ring.len() as usize * 34 <= ring.memory.len());
                for sequence in Sequence::each(ring.oldest_retained..ring.next) {
                    let bytes = ring.get(sequence);
                    prop_assert!(bytes.len() >= 34 && bytes.iter().all(|byte| *byte == sequence.0 as u8));
                }
                prop_assert!(ring.get(ring.next).is_empty() && ring.get(Sequence(ring.oldest_retained.0 - 1)).is_empty());
            }
            prop_assert!(ring.len() + 1 >= ring.capacity().min(ring.next - Sequence(1)).min(20), "{} of {}", ring.len(), ring.capacity());
        }
    }
}
