//! The datagrams of a worker: a buffer that is filled once and renumbered for each round.

use mcast::Outgoing;
use mcast_measure::wire::{Header, Kind, SessionId, UnixNanos};

use crate::sending::Target;

/// The maximum buffer size: it should stay in the processor's cache.
const MAX_BYTES: usize = 768 << 10;
/// The maximum number of datagrams per round.
const MAX_DATAGRAMS: usize = 1_024;

/// A stream, with its counts of datagrams.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u16,
    pub(super) target: Target,
    pub(super) sent: u64,
    /// The number of datagrams still to send.
    pub(super) left: u64,
}

/// Datagrams of one size in one buffer.
#[derive(Debug)]
pub(super) struct Load {
    bytes: Vec<u8>,
    size: usize,
    /// The current stream, and the number of its datagrams before the next stream's turn.
    turn: usize,
    left: usize,
}

impl Load {
    /// Allocates datagrams of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        let places = (MAX_BYTES / size).clamp(1, MAX_DATAGRAMS);
        // Not zeroes, which some links compress.
        let bytes = (0..places * size).map(|index| (index % 251) as u8).collect();
        Self { bytes, size, turn: 0, left: 0 }
    }

    /// Returns the number of datagrams in the buffer.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Begins a session: writes its header, with the number of the first stream, to all datagrams.
    pub(super) fn begin(&mut self, session: SessionId, streams: &[Stream]) {
        let stream = streams.first().map_or(0, |stream| stream.number);
        let header = Header { kind: Kind::Data, stream, session, sequence: 0, time: UnixNanos::default() };
        self.bytes.chunks_exact_mut(self.size).for_each(|datagram| header.write(datagram));
        (self.turn, self.left) = (0, 0);
    }

    /// Returns the next datagrams of these streams in turn, `at_a_time` of each.
    pub(super) fn fill<'a>(
        &'a mut self,
        streams: &mut [Stream],
        session: SessionId,
        count: usize,
        at_a_time: usize,
        time: UnixNanos,
        round: &mut Vec<Outgoing<'a>>,
    ) {
        let single = streams.len() == 1;
        for datagram in self.bytes.chunks_exact_mut(self.size).take(count) {
            if self.left == 0 || streams[self.turn].left == 0 {
                self.turn = next_turn(streams, self.turn);
                self.left = at_a_time.max(1);
            }
            self.left -= 1;
            let stream = &mut streams[self.turn];
            stream.left = stream.left.saturating_sub(1);
            let sequence = stream.sent;
            stream.sent += 1;
            if single {
                Header::renumber(datagram, sequence, time);
            } else {
                Header { kind: Kind::Data, stream: stream.number, session, sequence, time }.write(datagram);
            }
            round.push(stream.target.outgoing(datagram));
        }
    }
}

/// Returns the next stream with datagrams to send.
fn next_turn(streams: &[Stream], turn: usize) -> usize {
    let mut following = (1..=streams.len()).map(|step| (turn + step) % streams.len());
    following.find(|next| streams[*next].left > 0).unwrap_or(turn)
}

/// Empties a list but keeps its memory, for datagrams with another lifetime.
pub(super) fn emptied<'b>(mut list: Vec<Outgoing<'_>>) -> Vec<Outgoing<'b>> {
    list.clear();
    list.into_iter().map(|_| Outgoing::new(&[])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_its_memory() {
        let list: Vec<Outgoing<'_>> = Vec::with_capacity(500);
        assert!(emptied(list).capacity() >= 500);
    }

    #[test]
    fn a_load_has_room_for_any_size() {
        for (size, places) in [(32, MAX_DATAGRAMS), (1_400, 561), (65_527, 12)] {
            assert_eq!(Load::new(size).capacity(), places);
        }
    }
}
