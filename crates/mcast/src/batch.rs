//! Memory for many datagrams at once.

use std::fmt;
use std::sync::Arc;

use crate::datagram::{Arrival, Datagram};
use crate::sys::socket::ReceiveSlots;

/// Memory in kernel buffers: each takes one datagram, or a run of equal ones that the kernel
/// merged (UDP GRO), which is handed out as the datagrams it holds.
///
/// The memory is made once and reused. A datagram in it is borrowed, or kept without a copy by
/// reference count ([`Datagram::keep`]); a buffer of which something is kept is replaced by a
/// fresh one when its turn comes.
///
/// ```
/// let batch = mcast::Batch::new(64, 2048);
/// assert_eq!(batch.len(), 0);
/// assert_eq!(batch.iter().count(), 0);
/// ```
pub struct Batch {
    buffers: Vec<Buffer>,
    slots: ReceiveSlots,
    messages: Vec<Message>,
}

/// What one buffer holds.
struct Message {
    buffer: usize,
    length: usize,
    /// The size of each datagram but the last; `length` for a single one.
    segment: usize,
    /// How many datagrams that makes.
    count: usize,
    arrival: Arrival,
}

impl Batch {
    /// A batch of so many buffers of so many bytes.
    ///
    /// 65,536 bytes hold whatever UDP carries and all that the kernel merges; smaller buffers
    /// truncate larger datagrams, visibly. At least one buffer of one byte is made.
    #[must_use]
    pub fn new(buffers: usize, bytes: usize) -> Self {
        let count = buffers.max(1);
        Self {
            buffers: (0..count).map(|_| Buffer::new(bytes.max(1))).collect(),
            slots: ReceiveSlots::new(count),
            messages: Vec::with_capacity(count),
        }
    }

    /// How many datagrams it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.iter().map(|message| message.count).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many buffers it has.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffers.len()
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.buffers[0].0.len()
    }

    /// Forgets the datagrams. The memory stays.
    pub fn clear(&mut self) {
        self.messages.clear();
    }

    /// The datagrams, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> + '_ {
        self.messages
            .iter()
            .flat_map(|message| (0..message.count).map(move |index| (message, index)))
            .map(|(message, index)| message.datagram(index, &self.buffers))
    }

    /// The datagram at this place, which moves on to the one after it: for those who cannot keep
    /// an iterator, since they own the batch.
    #[inline]
    pub fn next_at(&self, cursor: &mut Cursor) -> Option<Datagram<'_>> {
        self.take_at(&mut cursor.0)
    }

    /// Copies a datagram in, as a source that is no socket does; `false` if no buffer is left.
    ///
    /// What doesn't fit a buffer is cut off, and the datagram says so.
    pub fn push(&mut self, payload: &[u8], arrival: Arrival) -> bool {
        let Some(index) = self.free() else {
            return false;
        };
        let bytes = self.buffers[index].bytes_mut();
        let length = payload.len().min(bytes.len());
        bytes[..length].copy_from_slice(&payload[..length]);
        let arrival = Arrival {
            length: payload.len(),
            truncated: arrival.truncated || length < payload.len(),
            ..arrival
        };
        self.hold(index, length, length, arrival);
        true
    }

    /// The first buffer behind all that hold something.
    pub(crate) fn free(&self) -> Option<usize> {
        let next = self.messages.last().map_or(0, |message| message.buffer + 1);
        (next < self.buffers.len()).then_some(next)
    }

    /// The memory for a receive into the buffers from `first` on.
    pub(crate) fn receive_space(&mut self, first: usize) -> (&mut ReceiveSlots, &mut [Buffer]) {
        (&mut self.slots, &mut self.buffers[first..])
    }

    /// What the last receive put into its slot of this index.
    pub(crate) fn received(&self, slot: usize) -> std::io::Result<crate::sys::Received> {
        self.slots.received(slot)
    }

    /// Declares what a buffer holds.
    pub(crate) fn hold(&mut self, buffer: usize, length: usize, segment: usize, arrival: Arrival) {
        let count = if length == 0 { 1 } else { length.div_ceil(segment) };
        self.messages.push(Message { buffer, length, segment, count, arrival });
    }

    /// Whether there is a datagram at this position.
    #[inline]
    pub(crate) fn has(&self, position: Position) -> bool {
        position.message < self.messages.len()
    }

    /// The datagram at this position, which moves on to the one after it.
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

/// A place in a [`Batch`]; the default is its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor(Position);

/// A place in a batch: the datagram of this index within this message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    message: usize,
    index: usize,
}

impl Message {
    #[inline]
    fn datagram<'a>(&self, index: usize, buffers: &'a [Buffer]) -> Datagram<'a> {
        let start = index * self.segment;
        let end = self.length.min(start + self.segment);
        let arrival = if self.count == 1 {
            self.arrival
        } else {
            // What was lost, was lost before the first; a merged datagram is as long as its part.
            let lost = if index == 0 { self.arrival.lost } else { self.arrival.lost.map(|_| 0) };
            Arrival { length: end - start, lost, ..self.arrival }
        };
        Datagram::in_buffer(&buffers[self.buffer].0, start..end, arrival)
    }
}

/// One buffer, shared with the datagrams of it that are kept.
pub(crate) struct Buffer(Arc<[u8]>);

impl Buffer {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes].into())
    }

    /// The whole buffer, to be written. If something of the last use is kept, a fresh one.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::make_mut(&mut self.0)
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
            ..Arrival::new("239.1.2.3:7000".parse().unwrap(), InterfaceIndex::new(2).unwrap(), source)
        }
    }

    #[test]
    fn a_merged_buffer_is_handed_out_as_the_datagrams_it_holds() {
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
    }

    #[test]
    fn a_kept_datagram_outlives_the_next_use_of_its_buffer() {
        let mut batch = Batch::new(1, 16);
        assert!(batch.push(b"first", arrival()));
        let kept = batch.iter().next().unwrap().keep();
        assert_eq!(kept.payload().as_ptr(), batch.iter().next().unwrap().payload().as_ptr());

        batch.clear();
        assert!(batch.push(b"second", arrival()));

        assert_eq!(kept.payload(), b"first");
        assert_eq!(batch.iter().next().unwrap().payload(), b"second");
    }

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let mut batch = Batch::new(2, 16);
        assert!(batch.push(b"", arrival()));
        assert!(batch.push(b"x", arrival()));

        assert_eq!(batch.iter().map(|datagram| datagram.payload().len()).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_does_not_fit_is_cut_off_visibly() {
        let mut batch = Batch::new(1, 4);
        assert!(batch.push(b"longer", arrival()));
        assert!(!batch.push(b"more", arrival()));

        let datagram = batch.iter().next().unwrap();
        assert_eq!((datagram.payload(), datagram.length, datagram.truncated), (&b"long"[..], 6, true));
    }
}
