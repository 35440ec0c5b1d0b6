//! Datagrams that wait for their turn in the order of delivery, and fragments for the rest of their message.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::wire::{DatagramView, ExtensionKind, Flags, MessageKey, MessageNumber, Sequence};

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
        Self { slots: all, spare: Vec::new(), len: 0, bytes: 0, max_bytes }
    }

    pub(super) const fn length(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The number of datagrams in it.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has(&self, sequence: Sequence) -> bool {
        !matches!(self.slots[self.index(sequence)], Slot::Empty)
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

/// The message that is being reassembled, or the last one that was.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    /// Its number, its length, and the sequence of its next fragment.
    current: Option<(MessageNumber, usize, Sequence)>,
    pub(super) keyed: bool,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssemblyOutcome {
    /// Fragments are still missing.
    Incomplete,
    /// The message is complete.
    Complete,
    /// The fragment does not continue the message that is being reassembled.
    Unrelated,
    /// Its length contradicts the message's; the message is given up.
    Invalid,
}

impl Assembly {
    pub(super) const fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts a message with its first fragment. Memory is allocated for the bytes that arrived, not for the length
    /// that is claimed.
    pub(super) fn begin(
        &mut self,
        number: MessageNumber,
        total: usize,
        sequence: Sequence,
        keyed: bool,
        fragment: &[u8],
    ) -> AssemblyOutcome {
        self.bytes.clear();
        self.keyed = keyed;
        self.current = Some((number, total, sequence));
        self.add(number, sequence, fragment, false)
    }

    /// Adds the next fragment.
    pub(super) fn add(
        &mut self,
        number: MessageNumber,
        sequence: Sequence,
        fragment: &[u8],
        is_last: bool,
    ) -> AssemblyOutcome {
        let Some((current, total, next)) = self.current else { return AssemblyOutcome::Unrelated };
        if current != number || next != sequence {
            return AssemblyOutcome::Unrelated;
        }
        let length = self.bytes.len() + fragment.len();
        if length > total || is_last != (length == total) {
            self.abandon();
            return AssemblyOutcome::Invalid;
        }
        self.bytes.extend_from_slice(fragment);
        self.current = (!is_last).then_some((current, total, next + 1));
        if is_last { AssemblyOutcome::Complete } else { AssemblyOutcome::Incomplete }
    }

    /// Skips a datagram between fragments that is none of them.
    pub(super) fn skip(&mut self, sequence: Sequence) {
        if let Some((_, _, next)) = self.current.as_mut().filter(|(_, _, next)| *next == sequence) {
            *next += 1;
        }
    }

    pub(super) fn abandon(&mut self) {
        self.current = None;
    }
}

/// What stands in the way of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Messages are delivered.
    Open,
    /// Nothing is delivered until the application has loaded a snapshot.
    AwaitingSnapshot,
    /// A loss has stopped delivery permanently, possibly while a snapshot was awaited: of an incarnation that was
    /// followed by another one.
    Stopped { awaits_snapshot: bool },
}

/// How far delivery has got since a snapshot was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinceSnapshot {
    /// There was none, or messages after it were delivered.
    Past,
    /// The first message after it has not arrived yet, so that a gap here asks for a newer snapshot. `is_fresh` until
    /// another incarnation is followed.
    Bridging { is_fresh: bool },
    /// The first datagram after it has arrived, and no message was delivered yet.
    Arrived,
}

/// The state of delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    gate: Gate,
    since_snapshot: SinceSnapshot,
    /// The application is busy: datagrams are buffered, and nothing is delivered until it asks again.
    is_buffering: bool,
    /// The end of the stream was delivered. Another incarnation may begin after it.
    has_ended: bool,
}

impl Delivery {
    pub(super) const fn new() -> Self {
        Self { gate: Gate::Open, since_snapshot: SinceSnapshot::Past, is_buffering: false, has_ended: false }
    }

    /// Returns whether messages are delivered at present.
    #[inline]
    pub(super) const fn is_active(&self) -> bool {
        !self.awaits_snapshot() && !self.is_buffering
    }

    /// Returns whether a datagram may be delivered out of order.
    #[inline]
    pub(super) const fn may_be_early(&self) -> bool {
        matches!(self.gate, Gate::Open) && !self.is_buffering && !self.is_bridging()
    }

    /// Returns whether nothing is delivered until something else happens than the arrival of datagrams.
    #[inline]
    pub(super) const fn is_closed(&self) -> bool {
        !matches!(self.gate, Gate::Open)
    }

    #[inline]
    pub(super) const fn awaits_snapshot(&self) -> bool {
        matches!(self.gate, Gate::AwaitingSnapshot | Gate::Stopped { awaits_snapshot: true })
    }

    pub(super) const fn has_stopped(&self) -> bool {
        matches!(self.gate, Gate::Stopped { .. })
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    #[inline]
    pub(super) const fn is_buffering(&self) -> bool {
        self.is_buffering
    }

    pub(super) const fn is_bridging(&self) -> bool {
        matches!(self.since_snapshot, SinceSnapshot::Bridging { .. })
    }

    /// Returns whether a datagram that is given up now is lost, and not covered by a snapshot.
    pub(super) const fn counts_losses(&self) -> bool {
        !self.awaits_snapshot() && matches!(self.since_snapshot, SinceSnapshot::Past)
    }

    /// Begins with an incarnation.
    pub(super) const fn begin(&mut self, awaits_snapshot: bool) {
        self.gate = if awaits_snapshot { Gate::AwaitingSnapshot } else { Gate::Open };
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { .. } => SinceSnapshot::Bridging { is_fresh: false },
            SinceSnapshot::Past | SinceSnapshot::Arrived => SinceSnapshot::Past,
        };
        self.has_ended = false;
    }

    /// Delivers nothing until a snapshot is loaded.
    pub(super) const fn await_snapshot(&mut self) {
        self.gate = match self.gate {
            Gate::Open | Gate::AwaitingSnapshot => Gate::AwaitingSnapshot,
            Gate::Stopped { .. } => Gate::Stopped { awaits_snapshot: true },
        };
    }

    /// Notes that a snapshot was loaded; returns whether it was awaited.
    pub(super) const fn resume(&mut self) -> bool {
        self.gate = match self.gate {
            Gate::AwaitingSnapshot => Gate::Open,
            Gate::Stopped { awaits_snapshot: true } => Gate::Stopped { awaits_snapshot: false },
            Gate::Open | Gate::Stopped { awaits_snapshot: false } => return false,
        };
        self.since_snapshot = SinceSnapshot::Bridging { is_fresh: true };
        true
    }

    /// Stops delivery permanently.
    pub(super) const fn stop(&mut self) {
        self.gate = Gate::Stopped { awaits_snapshot: self.awaits_snapshot() };
    }

    /// Stops delivery permanently, because the snapshot that was awaited will not be loaded.
    pub(super) const fn give_up_snapshot(&mut self) {
        self.gate = Gate::Stopped { awaits_snapshot: false };
    }

    /// Notes that the next message has arrived: there is no gap after the snapshot.
    #[inline]
    pub(super) const fn record_bridged(&mut self) {
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { is_fresh: true } => SinceSnapshot::Arrived,
            SinceSnapshot::Bridging { is_fresh: false } => SinceSnapshot::Past,
            other => other,
        };
    }

    /// Notes that a message was delivered.
    #[inline]
    pub(super) const fn record_message(&mut self) {
        self.since_snapshot = match self.since_snapshot {
            SinceSnapshot::Bridging { .. } => SinceSnapshot::Bridging { is_fresh: false },
            SinceSnapshot::Past | SinceSnapshot::Arrived => SinceSnapshot::Past,
        };
    }

    /// Notes that the end was delivered.
    pub(super) const fn end(&mut self) {
        self.has_ended = true;
    }

    #[inline]
    pub(super) const fn set_buffering(&mut self, is_buffering: bool) {
        self.is_buffering = is_buffering;
    }
}

#[derive(Debug)]
pub(super) struct Latest {
    all: BTreeMap<MessageKey, MessageNumber>,
    most: usize,
}

impl Latest {
    pub(super) const fn new(most: usize) -> Self {
        Self { all: BTreeMap::new(), most }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Notes a message; returns `false` if it or a later one of its key was delivered. A publisher that continues the stream
    /// may send again what was delivered early.
    pub(super) fn is_latest(&mut self, key: MessageKey, number: MessageNumber) -> bool {
        match self.all.get_mut(&key) {
            Some(known) if *known >= number => false,
            Some(known) => {
                *known = number;
                true
            }
            None => {
                if self.all.len() >= self.most {
                    // A forgotten key may deliver an outdated message once; the alternative is unbounded memory.
                    self.all.pop_first();
                }
                self.all.insert(key, number);
                true
            }
        }
    }
}
