//! Memory for many datagrams at once.

use std::fmt;
use std::ops::Range;

use mcast_sys::ReceiveBuffer;
use mcast_sys::socket::ReceiveSlots;

use crate::datagram::{Arrival, Datagram};

/// A set of reusable receive buffers.
///
/// Each buffer takes one datagram, or one coalesced buffer of equally long datagrams (UDP GRO),
/// which is delivered as the datagrams it holds.
///
/// The memory is allocated once and reused. A datagram borrows from its buffer; [`Datagram::to_owned_datagram`]
/// keeps it without a copy, by reference count. A buffer with kept datagrams is replaced by a fresh
/// one before its next use.
///
/// ```
/// let batch = mcast::Batch::new(64, 2048);
/// assert_eq!(batch.len(), 0);
/// assert_eq!(batch.iter().count(), 0);
/// ```
pub struct Batch {
    buffers: Vec<ReceiveBuffer>,
    slots: ReceiveSlots,
    messages: Vec<Message>,
}

/// Datagrams that arrived in one buffer, or a single one: see [`Batch::buffers`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CoalescedBuffer<'a> {
    /// What is known about the arrival of all of them. Losses happened before the first one.
    pub arrival: Arrival,
    /// Their payloads, one after the other.
    pub payload: &'a [u8],
    /// The length of each datagram but the last, which may be shorter.
    pub segment: usize,
}

/// The contents of one buffer.
struct Message {
    buffer: usize,
    length: usize,
    /// The size of each datagram but the last; `length` for a single one.
    segment: usize,
    /// The number of datagrams in the buffer.
    count: usize,
    arrival: Arrival,
}

impl Batch {
    /// Creates a batch of `buffers` buffers with `bytes` bytes each.
    ///
    /// 65,536 bytes hold the largest UDP datagram and the largest coalesced buffer. Smaller buffers
    /// truncate larger datagrams, which is reported in [`Arrival::truncated`]. The minimum is one
    /// buffer of one byte.
    #[must_use]
    pub fn new(buffers: usize, bytes: usize) -> Self {
        let count = buffers.max(1);
        Self {
            buffers: (0..count).map(|_| ReceiveBuffer::new(bytes.max(1))).collect(),
            slots: ReceiveSlots::new(count),
            messages: Vec::with_capacity(count),
        }
    }

    /// Returns the number of datagrams in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.iter().map(|message| message.count).sum()
    }

    /// Returns whether the batch holds no datagrams.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the number of buffers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffers.len()
    }

    /// Returns the size of each buffer in bytes.
    #[must_use]
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffers[0].size()
    }

    /// Removes the datagrams. The memory stays allocated.
    pub fn clear(&mut self) {
        self.messages.clear();
    }

    /// Returns the datagrams in the order in which they were received.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> + '_ {
        let mut position = Position::default();
        std::iter::from_fn(move || self.take_at(&mut position))
    }

    /// Returns the buffers in the order in which they were received, for callers that forward a coalesced
    /// buffer as a whole. [`Self::iter`] returns the datagrams in them.
    pub fn buffers(&self) -> impl Iterator<Item = CoalescedBuffer<'_>> + '_ {
        self.messages.iter().map(|message| CoalescedBuffer {
            arrival: message.arrival,
            payload: &self.buffers[message.buffer].memory()[..message.length],
            segment: message.segment,
        })
    }

    /// Returns the datagram at the cursor and advances the cursor, for callers that own the batch
    /// and so cannot keep an iterator over it.
    #[inline]
    pub fn next_at(&self, cursor: &mut Cursor) -> Option<Datagram<'_>> {
        self.take_at(&mut cursor.0)
    }

    /// Returns the payload of the datagram at the cursor, without the rest of it; empty behind the last one.
    ///
    /// ```
    /// let batch = mcast::Batch::new(1, 2048);
    /// assert_eq!(batch.payload_at(mcast::Cursor::default()), b"");
    /// ```
    #[inline]
    #[must_use]
    pub fn payload_at(&self, cursor: Cursor) -> &[u8] {
        let Cursor(Position { message, index }) = cursor;
        self.messages.get(message).map_or(&[], |message| message.payload(index, &self.buffers))
    }

    /// Copies a datagram into the next free buffer, for sources that are not sockets. Returns
    /// `false` if no buffer is free.
    ///
    /// A payload longer than the buffer is truncated, and the datagram is marked as truncated.
    pub fn push(&mut self, payload: &[u8], arrival: Arrival) -> bool {
        let Some(index) = self.free() else {
            return false;
        };
        let length = self.buffers[index].fill(payload);
        let arrival = Arrival {
            length: payload.len(),
            truncated: arrival.truncated || length < payload.len(),
            ..arrival
        };
        self.hold(index, length, length, arrival);
        true
    }

    /// Returns the first free buffer: the one behind all that are in use.
    pub(crate) fn free(&self) -> Option<usize> {
        let next = self.messages.last().map_or(0, |message| message.buffer + 1);
        (next < self.buffers.len()).then_some(next)
    }

    /// Returns the memory for a receive into the buffers from `first` on.
    pub(crate) fn receive_space(&mut self, first: usize) -> (&mut ReceiveSlots, &mut [ReceiveBuffer]) {
        (&mut self.slots, &mut self.buffers[first..])
    }

    /// Reads the result of the last receive for one slot.
    #[inline]
    pub(crate) fn read(&self, slot: usize, received: &mut mcast_sys::Received) -> std::io::Result<()> {
        self.slots.read(slot, received)
    }

    /// Returns the memory of one buffer.
    pub(crate) fn buffer_mut(&mut self, index: usize) -> &mut [u8] {
        self.buffers[index].bytes_mut()
    }

    /// Records the contents of a buffer; returns the number of datagrams in it.
    #[inline]
    pub(crate) fn hold(&mut self, buffer: usize, length: usize, segment: usize, arrival: Arrival) -> usize {
        // Divisions are slow, and most buffers hold a single datagram.
        let count = if length <= segment { 1 } else { length.div_ceil(segment) };
        self.messages.push(Message { buffer, length, segment, count, arrival });
        count
    }

    /// Returns whether there is a datagram at this position.
    #[inline]
    pub(crate) fn has(&self, position: Position) -> bool {
        position.message < self.messages.len()
    }

    /// Returns the datagram at this position and advances the position.
    #[inline]
    pub(crate) fn take_at(&self, position: &mut Position) -> Option<Datagram<'_>> {
        let message = self.messages.get(position.message)?;
        let index = position.index;
        position.index += 1;
        if position.index >= message.count {
            *position = Position { message: position.message + 1, index: 0 };
        }
        Some(message.datagram(index, &self.buffers))
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("buffers", &self.buffers.len()).field("datagrams", &self.len()).finish()
    }
}

/// A position in a [`Batch`]; the default is the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor(Position);

/// A position in a batch: the index of the message, and of the datagram within it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    message: usize,
    index: usize,
}

impl Message {
    /// Returns where in its buffer a datagram is.
    #[inline]
    fn range(&self, index: usize) -> Range<usize> {
        let start = index * self.segment;
        start..self.length.min(start + self.segment)
    }

    #[inline]
    fn payload<'a>(&self, index: usize, buffers: &'a [ReceiveBuffer]) -> &'a [u8] {
        &buffers[self.buffer].memory()[self.range(index)]
    }

    #[inline]
    fn datagram<'a>(&self, index: usize, buffers: &'a [ReceiveBuffer]) -> Datagram<'a> {
        let Range { start, end } = self.range(index);
        let arrival = if self.count == 1 {
            self.arrival
        } else {
            // Losses happened before the first segment. A segment's length is its own, not the
            // buffer's.
            let lost = if index == 0 { self.arrival.lost } else { self.arrival.lost.map(|_| 0) };
            Arrival { length: end - start, lost, ..self.arrival }
        };
        Datagram::in_buffer(buffers[self.buffer].memory(), start..end, arrival)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use mcast_group::InterfaceIndex;

    use super::*;

    fn arrival() -> Arrival {
        let source: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        Arrival {
            lost: Some(3),
            ..Arrival::new(
                "239.1.2.3:7000".parse::<SocketAddr>().unwrap(),
                InterfaceIndex::new(2).unwrap(),
                source,
            )
        }
    }

    #[test]
    fn a_coalesced_buffer_yields_the_datagrams_it_holds() {
        let mut batch = Batch::new(2, 64);
        batch.receive_space(0).1[0].bytes_mut()[..10].copy_from_slice(b"aaaabbbbcc");
        batch.hold(0, 10, 4, arrival());

        let parts: Vec<_> = batch
            .iter()
            .map(|datagram| (datagram.payload().to_vec(), datagram.lost, datagram.length))
            .collect();

        assert_eq!(
            parts,
            [(b"aaaa".to_vec(), Some(3), 4), (b"bbbb".to_vec(), Some(0), 4), (b"cc".to_vec(), Some(0), 2)]
        );
        assert_eq!(batch.len(), 3);
        let mut cursor = Cursor::default();
        for expected in [&b"aaaa"[..], b"bbbb", b"cc", b""] {
            assert_eq!(batch.payload_at(cursor), expected);
            batch.next_at(&mut cursor);
        }
        let buffers: Vec<_> = batch.buffers().map(|buffer| (buffer.payload, buffer.segment)).collect();
        assert_eq!(buffers, [(&b"aaaabbbbcc"[..], 4)]);
    }

    #[test]
    fn a_kept_datagram_outlives_the_next_use_of_its_buffer() {
        let mut batch = Batch::new(1, 16);
        assert!(batch.push(b"first", arrival()));
        let kept = batch.iter().next().unwrap().to_owned_datagram();
        assert_eq!(kept.payload().as_ptr(), batch.iter().next().unwrap().payload().as_ptr());

        batch.clear();
        assert!(batch.push(b"second", arrival()));

        assert_eq!(kept.payload(), b"first");
        assert_eq!(batch.iter().next().unwrap().payload(), b"second");
    }

    #[test]
    fn an_empty_datagram_counts_as_a_datagram() {
        let mut batch = Batch::new(2, 16);
        assert!(batch.push(b"", arrival()));
        assert!(batch.push(b"x", arrival()));

        assert_eq!(batch.iter().map(|datagram| datagram.payload().len()).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_payload_that_does_not_fit_is_marked_as_truncated() {
        let mut batch = Batch::new(1, 4);
        assert!(batch.push(b"longer", arrival()));
        assert!(!batch.push(b"more", arrival()));

        let datagram = batch.iter().next().unwrap();
        assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&b"long"[..], 6, true));
    }
}
