//! Forward error correction: the blocks of datagrams that were sent, and the parity for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::ring::Ring;
use super::{PublisherConfig, PublisherMachine, Transmit};
use crate::fec::{Encoder, symbol_length, symbol_of};
use crate::outbox::Target;
use crate::wire::{
    DatagramView, Flags, FlowControl, HEADER_LENGTH, KeyEpoch, Kind, Parity, Sequence, TAG_LENGTH,
};
use crate::{ClockTime, Nanos};

/// A block that is not full ends this long after its first datagram was sent.
const BLOCK_TIME: Nanos = Nanos::from_millis(10);
/// Without feedback, what a subscriber lacks this long after the last parity of a block is lost: datagrams that were
/// overtaken on the way have arrived by then.
const REORDERING: Nanos = Nanos::from_millis(10);

/// Forward error correction: parity, from which subscribers recover lost datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fec {
    /// No parity. Subscribers request what they lack.
    #[default]
    Off,
    /// So many parity symbols after each block of datagrams.
    Fixed {
        /// Datagrams in a whole block, 1 to 64. A block may be shorter, so that nothing waits for more than 10 ms.
        data: u8,
        /// Parity symbols for each block, 1 to 64: a block survives the loss of so many of its datagrams and symbols.
        parity: u8,
    },
}

/// A block of consecutive datagrams.
#[derive(Clone, Copy, Debug)]
struct Block {
    base: Sequence,
    count: u8,
    epoch: KeyEpoch,
}

/// The block to which the next datagram that is sent is added.
#[derive(Clone, Copy, Debug)]
struct OpenBlock {
    block: Block,
    since: ClockTime,
}

/// A symbol to be sent.
#[derive(Debug)]
struct Symbol {
    block: Block,
    index: u8,
    is_last: bool,
    bytes: Vec<u8>,
}

/// The blocks, and the parity that is about to be sent.
#[derive(Debug)]
pub(super) struct ParitySchedule {
    /// The number of datagrams in a whole block, and of parity symbols for it; no block if there is no parity.
    data: u8,
    parity: u8,
    /// Whether a heartbeat has announced the parity: subscribers keep what they need to use it only after that.
    is_announced: bool,
    is_one_way: bool,
    open: Option<OpenBlock>,
    waiting: VecDeque<Symbol>,
    /// Without feedback: when everything before a datagram, with its parity, was sent; and before which datagram that was
    /// long enough ago.
    sent: VecDeque<(ClockTime, Sequence)>,
    settled: Sequence,
}

impl ParitySchedule {
    pub(super) fn new(config: &PublisherConfig) -> Self {
        let is_one_way = config.flow == FlowControl::OneWay;
        let (data, parity) = match config.fec {
            Fec::Off => (if is_one_way { Parity::LONGEST_BLOCK } else { 0 }, 0),
            Fec::Fixed { data, parity } => (data, parity),
        };
        Self {
            data,
            parity,
            is_announced: false,
            is_one_way,
            open: None,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            settled: Sequence(1),
        }
    }

    /// Returns the number of datagrams in a whole block, if there is parity, and of the symbols sent for it.
    pub(super) const fn announced(&self) -> (u8, u8) {
        if self.parity > 0 { (self.data, self.parity) } else { (0, 0) }
    }

    /// Notes that a heartbeat has announced the parity.
    pub(super) const fn note_announced(&mut self) {
        self.is_announced = true;
    }

    const fn has_blocks(&self) -> bool {
        self.data > 0 && self.is_announced
    }

    /// Returns whether parity must be sent before more data.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns how many datagrams may be sent before the parity of their block.
    pub(super) fn room(&self) -> u64 {
        let used = self.open.map_or(0, |open| open.block.count);
        if self.has_blocks() { u64::from(self.data.saturating_sub(used).max(1)) } else { u64::MAX }
    }

    /// Adds datagrams that were sent to the open block.
    #[inline]
    pub(super) fn note_sent(&mut self, now: ClockTime, first: Sequence, count: u64, ring: &Ring) {
        if self.has_blocks() {
            Sequence::each(first..first + count).for_each(|sequence| self.add(now, sequence, ring));
        }
    }

    fn add(&mut self, now: ClockTime, sequence: Sequence, ring: &Ring) {
        let epoch = DatagramView::parse(ring.get(sequence)).map_or(KeyEpoch::CLEAR, |view| view.header.epoch);
        if self.open.is_some_and(|open| open.block.epoch != epoch) {
            self.end_block(now, ring);
        }
        let start = OpenBlock { block: Block { base: sequence, count: 0, epoch }, since: now };
        let open = self.open.get_or_insert(start);
        open.block.count += 1;
        if open.block.count >= self.data {
            self.end_block(now, ring);
        }
    }

    /// Ends the open block if its time is over, or if no datagram follows.
    pub(super) fn end_in_time(&mut self, now: ClockTime, is_over: bool, ring: &Ring) {
        if self.open.is_some_and(|open| is_over || now >= open.since + BLOCK_TIME) {
            self.end_block(now, ring);
        }
    }

    /// Returns when the open block ends.
    pub(super) fn deadline(&self) -> ClockTime {
        self.open.map_or(ClockTime::NEVER, |open| open.since + BLOCK_TIME)
    }

    fn end_block(&mut self, now: ClockTime, ring: &Ring) {
        let Some(OpenBlock { block, .. }) = self.open.take() else { return };
        let count = self.parity;
        let symbols = encode(ring, block, count).unwrap_or_default();
        if symbols.is_empty() {
            return self.note_block_sent(now, block);
        }
        self.waiting.extend(symbols.into_iter().enumerate().map(|(index, bytes)| {
            let index = index as u8;
            Symbol { block, index, is_last: index + 1 == count, bytes }
        }));
    }

    /// Notes that a block was sent, with its parity.
    fn note_block_sent(&mut self, now: ClockTime, block: Block) {
        if self.is_one_way {
            self.sent.push_back((now, block.base + u64::from(block.count)));
        }
    }

    /// Returns the first datagram that may still be recovered, without feedback.
    pub(super) fn settled(&mut self, now: ClockTime) -> Sequence {
        while let Some((_, end)) = self.sent.front().copied().filter(|(at, _)| now >= *at + REORDERING) {
            self.settled = end;
            self.sent.pop_front();
        }
        self.settled
    }
}

/// Returns the first `count` parity symbols of a block; none if its datagrams are no longer retained.
fn encode(ring: &Ring, block: Block, count: u8) -> Option<Vec<Vec<u8>>> {
    let datagrams = || Sequence::each(block.base..block.base + u64::from(block.count)).map(|at| ring.get(at));
    let longest = datagrams().map(<[u8]>::len).max().filter(|longest| *longest >= HEADER_LENGTH)?;
    let mut encoder = Encoder::new(0..count, symbol_length(longest));
    for (number, datagram) in datagrams().enumerate() {
        let (head, rest) = symbol_of(datagram)?;
        encoder.add(number as u8, &head, rest);
    }
    Some(encoder.finish())
}

impl PublisherConfig {
    /// Returns the length of the longest datagram of data. Its parity is longer by what describes the block.
    pub(super) const fn longest_data(&self) -> usize {
        match self.fec {
            Fec::Off => self.datagram,
            Fec::Fixed { .. } => {
                let sealed = if self.keys.is_empty() { 0 } else { super::publish::SALT_EXTENSION + TAG_LENGTH };
                self.datagram + HEADER_LENGTH - (symbol_length(HEADER_LENGTH) + HEADER_LENGTH + Parity::HEAD + sealed)
            }
        }
    }
}

impl PublisherMachine {
    /// Returns the next parity datagram that the rate admits.
    pub(super) fn next_parity(&mut self, now: ClockTime) -> Option<Transmit> {
        let is_over = self.closed && self.ring.sent == self.ring.next;
        self.parity.end_in_time(now, is_over, &self.ring);
        if !self.pacer.has(self.parity_length()?) {
            return None;
        }
        let Symbol { block, index, is_last, bytes } = self.parity.waiting.pop_front()?;
        let Block { base, count, epoch } = block;
        let parity = Parity { base, count, index, epoch, symbol: &bytes };
        let flags = if is_last { Flags::LAST_AHEAD } else { Flags(0) };
        let length = self.push_control(Target::Group, Kind::Parity, flags, |writer| parity.write(writer));
        self.statistics.parity += 1;
        self.statistics.parity_bytes += length;
        if is_last {
            self.parity.note_block_sent(now, block);
        }
        self.outbox.pop().map(Transmit::Control)
    }

    /// Returns when the next parity is due.
    pub(super) fn parity_deadline(&self) -> ClockTime {
        match self.parity_length() {
            Some(length) => self.pacer.when(length),
            None => self.parity.deadline(),
        }
    }

    /// Returns the length of the parity datagram that is sent next, if one waits.
    fn parity_length(&self) -> Option<u64> {
        let symbol = self.parity.waiting.front()?.bytes.len();
        Some((HEADER_LENGTH + self.seal_length() + Parity::HEAD + symbol) as u64)
    }
}
