//! The datagrams of a worker: a buffer that is filled once and renumbered for each round.

use mcast::Outgoing;
use mcast_probe::wire::{Header, Kind, SessionId, UnixNanos};

use crate::commands::send::targets::Target;

/// The maximum buffer size: it should stay in the processor's cache.
const MOST_BYTES: usize = 768 << 10;
/// Datagrams of a round at most.
const MOST: usize = 1_024;

/// A stream, and how many of it have been sent.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u16,
    pub(super) target: Target,
    pub(super) sent: u64,
    /// How many are still to be sent.
    pub(super) left: u64,
}

/// Datagrams of one size, in memory of their own.
#[derive(Debug)]
pub(super) struct Load {
    bytes: Vec<u8>,
    size: usize,
    /// The stream whose turn it is, and how many more of it go before it is the next one's.
    turn: usize,
    left: usize,
}

impl Load {
    /// The size of each datagram in bytes.
    pub(super) fn new(size: usize) -> Self {
        let places = (MOST_BYTES / size).clamp(1, MOST);
        // Something else than zeroes, which some links squeeze.
        let bytes = (0..places * size).map(|index| (index % 251) as u8).collect();
        Self { bytes, size, turn: 0, left: 0 }
    }

    /// How many datagrams there is room for.
    pub(super) fn places(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// Begins a session: all datagrams get its header, with the number of the first stream.
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

/// The next stream of which something is to be sent.
fn next_turn(streams: &[Stream], turn: usize) -> usize {
    let mut following = (1..=streams.len()).map(|step| (turn + step) % streams.len());
    following.find(|next| streams[*next].left > 0).unwrap_or(turn)
}

/// The same list, empty, its memory kept, for datagrams that live elsewhere.
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
        for (size, places) in [(32, MOST), (1_400, 561), (65_527, 12)] {
            assert_eq!(Load::new(size).places(), places);
        }
    }
}
