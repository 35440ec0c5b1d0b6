//! The datagrams of a sender of `mcast perf`.

use alloc::vec::Vec;

use crate::wire::{HEADER_LENGTH, MessageType, SessionHeader, SessionId, UnixNanos};

/// The maximum buffer size: it should stay in the processor's cache.
const MAX_BYTES: usize = 768 << 10;
/// The maximum number of datagrams in the buffer.
const MAX_DATAGRAMS: usize = 1_024;

/// Numbered datagrams of one size for the streams of a session, in one buffer that is filled once and then only
/// renumbered.
#[derive(Clone, Debug)]
pub struct NumberedDatagrams {
    bytes: Vec<u8>,
    size: usize,
    session: SessionId,
    streams: Vec<OutgoingStream>,
    /// The index of the current stream, and the number of its datagrams before the next stream's turn.
    turn: usize,
    turn_left: usize,
    /// The number of datagrams still to send, of all streams together.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct OutgoingStream {
    number: u16,
    sent: u64,
    left: u64,
}

impl NumberedDatagrams {
    /// Creates datagrams of `size` bytes (at least [`HEADER_LENGTH`]) for the streams with these numbers.
    #[must_use]
    pub fn new(size: usize, streams: impl IntoIterator<Item = u16>) -> Self {
        let size = size.max(HEADER_LENGTH);
        let capacity = (MAX_BYTES / size).clamp(1, MAX_DATAGRAMS);
        // Not zeroes, which some links compress.
        let bytes = (0..capacity * size).map(|index| (index % 251) as u8).collect();
        let streams = streams.into_iter().map(|number| OutgoingStream { number, sent: 0, left: 0 }).collect();
        Self { bytes, size, session: SessionId::default(), streams, turn: 0, turn_left: 0, left: 0 }
    }

    /// Begins a session with at most `count` datagrams per stream.
    pub fn begin(&mut self, session: SessionId, count: Option<u64>) {
        let each = count.unwrap_or(u64::MAX);
        self.streams.iter_mut().for_each(|stream| (stream.sent, stream.left) = (0, each));
        self.left = each.saturating_mul(self.streams.len() as u64);
        (self.session, self.turn, self.turn_left) = (session, 0, 0);
        let stream = self.streams.first().map_or(0, |stream| stream.number);
        let header = SessionHeader { stream, ..SessionHeader::new(MessageType::Data, session) };
        self.bytes.chunks_exact_mut(self.size).for_each(|datagram| header.write(datagram));
    }

    /// Passes the next `count` datagrams, or fewer if fewer are left or fit in the buffer, to `send` with the
    /// indices of their streams. Streams take turns, with `at_a_time` datagrams each.
    pub fn take_next<'a>(
        &'a mut self,
        count: usize,
        at_a_time: usize,
        time: UnixNanos,
        mut send: impl FnMut(usize, &'a [u8]),
    ) {
        let is_single = self.streams.len() == 1;
        let count = usize::try_from(self.left).map_or(count, |left| left.min(count));
        for datagram in self.bytes.chunks_exact_mut(self.size).take(count) {
            if self.turn_left == 0 || self.streams[self.turn].left == 0 {
                self.turn = next_turn(&self.streams, self.turn);
                self.turn_left = at_a_time.max(1);
            }
            self.turn_left -= 1;
            self.left -= 1;
            let stream = &mut self.streams[self.turn];
            stream.left = stream.left.saturating_sub(1);
            let sequence = stream.sent;
            stream.sent += 1;
            if is_single {
                SessionHeader::renumber(datagram, sequence, time);
            } else {
                let (stream, session) = (stream.number, self.session);
                SessionHeader { kind: MessageType::Data, stream, session, sequence, time }.write(datagram);
            }
            send(self.turn, datagram);
        }
    }

    /// Returns the number of datagrams that fit in the buffer.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Returns the number of datagrams still to send.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Returns the number of each stream, and how many datagrams it has sent.
    pub fn streams(&self) -> impl Iterator<Item = (u16, u64)> {
        self.streams.iter().map(|stream| (stream.number, stream.sent))
    }
}

/// Returns the index of the next stream with datagrams to send.
fn next_turn(streams: &[OutgoingStream], turn: usize) -> usize {
    let mut following = (1..=streams.len()).map(|step| (turn + step) % streams.len());
    following.find(|next| streams[*next].left > 0).unwrap_or(turn)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: SessionId = SessionId(7);

    #[test]
    fn the_buffer_has_room_for_any_size() {
        for (size, capacity) in [(0, MAX_DATAGRAMS), (32, MAX_DATAGRAMS), (1_400, 561), (65_527, 12)] {
            assert_eq!(NumberedDatagrams::new(size, [0]).capacity(), capacity);
        }
        let mut none = NumberedDatagrams::new(32, []);
        none.begin(ID, None);
        none.take_next(9, 1, UnixNanos(0), |_, _| panic!("there is no stream"));
    }

    #[test]
    fn streams_take_turns() {
        let mut datagrams = NumberedDatagrams::new(32, [5, 6]);
        datagrams.begin(ID, None);
        let mut turns = Vec::new();
        datagrams.take_next(7, 2, UnixNanos(0), |stream, _| turns.push(stream));
        // The first stream comes last in the first round.
        assert_eq!(turns, [1, 1, 0, 0, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn every_stream_sends_its_count_in_order(
            streams in 1_u16..5, count in 1_u64..50, calls in prop::collection::vec((1_usize..40, 0_usize..5), 1..300),
        ) {
            let mut datagrams = NumberedDatagrams::new(40, 3..3 + streams);
            for session in [1, 2].map(SessionId) {
                datagrams.begin(session, Some(count));
                let mut expected = vec![0; usize::from(streams)];
                for (most, at_a_time) in &calls {
                    datagrams.take_next(*most, *at_a_time, UnixNanos(9), |stream, bytes| {
                        let header = SessionHeader::decode(bytes).unwrap();
                        assert_eq!((header.session, header.time, bytes.len()), (session, UnixNanos(9), 40));
                        assert_eq!((usize::from(header.stream), header.sequence), (stream + 3, expected[stream]));
                        expected[stream] += 1;
                    });
                }
                let sent: u64 = expected.iter().sum();
                prop_assert_eq!(datagrams.left(), count * u64::from(streams) - sent);
                prop_assert!(datagrams.left() > 0 || expected.iter().all(|sent| *sent == count));
                prop_assert!(datagrams.streams().map(|(_, sent)| sent).eq(expected));
            }
        }
    }
}
