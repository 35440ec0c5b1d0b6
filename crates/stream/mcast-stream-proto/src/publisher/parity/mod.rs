//! Forward error correction: the blocks of datagrams that were sent, and the parity for them.

mod loss;
mod requests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::members::Member;
use super::ring::{Repair, Ring};
use super::sealer::SALT_EXTENSION;
use super::signing::Signed;
use super::subscribers::Subscribers;
use super::{ConfigError, Fec, PublisherConfig, PublisherMachine, Transmit};
use crate::ClockTime;
use crate::fec;
use crate::fec::{symbol_length, symbol_of};
use crate::outbox::Target;
use crate::times::publisher::{LOSSLESS_TIME, REORDERING};
use crate::wire::{
    DatagramView, Flags, FlowControl, HEADER_LENGTH, KeyEpoch, Kind, Parity, Sequence, SubscriberId,
    TAG_LENGTH,
};

use loss::{CrowdLoss, MOST_AHEAD, is_crowd};

pub(super) use loss::LossMeter;

/// Symbols that answer requests for a block, in addition to two for each of its datagrams; then these are sent themselves.
const MOST_ANSWERS: usize = 8;
/// Requests of one subscriber for a block that are answered with symbols: further symbols would help no more, because it
/// holds forged datagrams of the block.
const MOST_SYMBOL_REQUESTS: u8 = 3;
/// For how many subscribers these requests are counted.
const MOST_REQUESTERS: usize = 16;
/// If more than this share of the blocks that were requested had several requesters, the first request is answered with
/// parity for all. In thousandths.
const HALF: u32 = 500;

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

/// A block that was sent, and the symbols that answered requests.
#[derive(Debug)]
struct SentBlock {
    block: Block,
    /// The symbols that were used, also for answers that wait.
    used: u8,
    /// When answers were sent; never, if they wait.
    answers: Vec<ClockTime>,
    /// The subscribers that requested something of it, and how many requests of each needed more than was on its way. The
    /// last one is that of the last request.
    requesters: VecDeque<(SubscriberId, u8)>,
    /// Whether several have.
    is_shared: bool,
    /// Symbols that were computed for answers that wait.
    ready: VecDeque<(u8, Vec<u8>)>,
}

impl SentBlock {
    const fn new(block: Block, used: u8) -> Self {
        Self {
            block,
            used,
            answers: Vec::new(),
            requesters: VecDeque::new(),
            is_shared: false,
            ready: VecDeque::new(),
        }
    }

    /// Notes a request; returns whether symbols may help this subscriber. A request that needs no more of them does not count.
    fn record_request(&mut self, id: SubscriberId, needs_more: bool) -> bool {
        let known = self.requesters.iter().position(|(other, _)| *other == id);
        let (_, requests) = known.and_then(|at| self.requesters.remove(at)).unwrap_or((id, 0));
        if self.requesters.len() == MOST_REQUESTERS {
            self.requesters.pop_front();
        }
        self.requesters.push_back((id, requests.saturating_add(u8::from(needs_more))));
        !needs_more || requests < MOST_SYMBOL_REQUESTS
    }
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
    fec: Fec,
    /// A block that is not full ends this long after its first datagram was sent.
    delay: Duration,
    /// The longest datagram whose parity is no longer than a datagram may be.
    longest: usize,
    /// When a loss was last measured, for [`Fec::Auto`].
    lost_at: Option<ClockTime>,
    crowd: CrowdLoss,
    /// Whether a heartbeat has announced the parity: subscribers keep what they need to use it only after that.
    is_announced: bool,
    is_one_way: bool,
    open: Option<OpenBlock>,
    /// The blocks that were sent and are retained, for answers to requests.
    blocks: VecDeque<SentBlock>,
    /// The smoothed share of requested blocks that had several requesters, in thousandths.
    shared: u32,
    waiting: VecDeque<Symbol>,
    /// Without feedback: when everything before a datagram, with its parity, was sent; and before which datagram that was
    /// long enough ago.
    sent: VecDeque<(ClockTime, Sequence)>,
    sent_with_parity: Sequence,
}

impl ParitySchedule {
    pub(super) fn new(config: &PublisherConfig) -> Self {
        let is_one_way = config.flow == FlowControl::OneWay;
        let (data, parity) = match config.fec {
            Fec::Off if !is_one_way => (0, 0),
            Fec::Off | Fec::Crowd | Fec::Auto => (Parity::LONGEST_BLOCK, 0),
            Fec::Fixed { data, parity } => (data, parity),
        };
        Self {
            data,
            parity,
            fec: config.fec,
            delay: config.fec_delay,
            longest: config.longest_with_parity(),
            lost_at: None,
            crowd: CrowdLoss::default(),
            is_announced: false,
            is_one_way,
            open: None,
            blocks: VecDeque::new(),
            shared: HALF + 100,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            sent_with_parity: Sequence(1),
        }
    }

    /// Returns the number of datagrams in a whole block, if there is parity, and of the symbols sent for it.
    pub(super) const fn announced(&self) -> (u8, u8) {
        match self.fec {
            Fec::Fixed { .. } => (self.data, self.parity),
            Fec::Auto if self.lost_at.is_some() => (self.data, self.parity),
            Fec::Crowd if self.crowd.lossy_at.is_some() => (self.data, self.parity),
            Fec::Auto | Fec::Crowd | Fec::Off => (0, 0),
        }
    }

    /// Notes that a heartbeat has announced the parity.
    pub(super) fn record_announced(&mut self) {
        self.is_announced = self.announced().0 > 0 || self.is_one_way;
        if !self.is_announced {
            (self.open, self.blocks) = (None, VecDeque::new());
        }
    }

    /// Adapts the parity to the share of datagrams that the worst of the subscribers loses, in parts per million.
    fn adapt(&mut self, now: ClockTime, share: u64, subscribers: usize) {
        if self.fec != Fec::Auto {
            return;
        }
        if share > 0 {
            self.lost_at = Some(now);
        }
        self.lost_at = self.lost_at.filter(|at| now.since(*at) < LOSSLESS_TIME);
        // The losses of a block that are expected, and two standard deviations, three with eight times as many subscribers:
        // the one that loses most of a block decides.
        let expected = u64::from(self.data) * share;
        let deviations = 6 + u64::from(subscribers.max(1).ilog2());
        let symbols = (expected + (expected * 1_000_000).isqrt() * deviations / 3) / 1_000_000;
        self.parity = symbols.min(MOST_AHEAD) as u8;
    }

    /// Adapts the parity to what all subscribers lose.
    fn adapt_to_crowd(&mut self, now: ClockTime, subscribers: usize, sent: u64, requested: u64) {
        self.crowd.adapt(now, subscribers, sent, requested);
        self.parity = match self.crowd.lossy_at {
            Some(_) => self.crowd.symbols(self.data),
            None => 0,
        };
    }

    /// Returns the number of symbols that are sent for a block without a request.
    fn ahead(&self, block: Block) -> u8 {
        match self.fec {
            Fec::Auto => (self.parity as u16 * block.count as u16).div_ceil(self.data as u16) as u8,
            Fec::Crowd => self.crowd.symbols(block.count),
            _ => self.parity,
        }
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
        let is_limited = self.has_blocks() && (self.parity > 0 || self.is_one_way);
        if is_limited { u64::from(self.data.saturating_sub(used).max(1)) } else { u64::MAX }
    }

    /// Adds datagrams that were sent to the open block.
    #[inline]
    pub(super) fn record_sent(
        &mut self,
        now: ClockTime,
        first: Sequence,
        count: u64,
        ring: &Ring,
        signed: Signed,
    ) {
        if self.has_blocks() {
            Sequence::each(first..first + count).for_each(|sequence| self.add(now, sequence, ring, signed));
        }
    }

    fn add(&mut self, now: ClockTime, sequence: Sequence, ring: &Ring, signed: Signed) {
        let epoch = DatagramView::parse(ring.get(sequence)).map_or(KeyEpoch::CLEAR, |view| view.header.epoch);
        if self.open.is_some_and(|open| open.block.epoch != epoch) {
            self.end_block(now, ring, signed);
        }
        if ring.get(sequence).len() > self.longest {
            // It was written before there was parity.
            return self.end_block(now, ring, signed);
        }
        let start = OpenBlock { block: Block { base: sequence, count: 0, epoch }, since: now };
        let open = self.open.get_or_insert(start);
        open.block.count += 1;
        if open.block.count >= self.data {
            self.end_block(now, ring, signed);
        }
    }

    /// Ends the open block if its time is over, or if no datagram follows.
    fn end_in_time(&mut self, now: ClockTime, is_over: bool, ring: &Ring, signed: Signed) {
        if self.open.is_some_and(|open| is_over || now >= open.since + self.delay) {
            self.end_block(now, ring, signed);
        }
    }

    /// Returns when the open block ends.
    fn deadline(&self) -> ClockTime {
        self.open.map_or(ClockTime::NEVER, |open| open.since + self.delay)
    }

    fn end_block(&mut self, now: ClockTime, ring: &Ring, signed: Signed) {
        let Some(OpenBlock { block, .. }) = self.open.take() else { return };
        let count = self.ahead(block);
        if !self.is_one_way {
            self.forget(ring.oldest_retained);
            self.blocks.push_back(SentBlock::new(block, count));
        }
        let symbols = encode(ring, block, 0..count).unwrap_or_default();
        if symbols.is_empty() {
            return self.record_block_sent(now, block, signed);
        }
        self.waiting.extend(symbols.into_iter().enumerate().map(|(index, bytes)| {
            let index = index as u8;
            Symbol { block, index, is_last: index + 1 == count, bytes }
        }));
    }

    fn forget(&mut self, oldest_retained: Sequence) {
        while self.blocks.front().is_some_and(|sent| sent.block.base < oldest_retained) {
            self.blocks.pop_front();
        }
    }

    fn sent_mut(&mut self, base: Sequence) -> Option<&mut SentBlock> {
        let index = self.blocks.binary_search_by_key(&base, |sent| sent.block.base).ok()?;
        self.blocks.get_mut(index)
    }

    /// Returns the first datagram of the block that was sent and contains this one.
    pub(super) fn block_of(&self, sequence: Sequence) -> Option<Sequence> {
        let after = self.blocks.partition_point(|sent| sent.block.base <= sequence);
        let block = self.blocks.get(after.checked_sub(1)?)?.block;
        (sequence < block.base + u64::from(block.count)).then_some(block.base)
    }

    /// Decides how to answer a subscriber that needs this number of datagrams or symbols of a block: returns how many symbols that
    /// wait to be sent will serve it; `None` if the datagrams themselves must be sent. What was sent less than `holdoff`
    /// ago is on its way.
    pub(super) fn answer(
        &mut self,
        now: ClockTime,
        base: Sequence,
        id: SubscriberId,
        needed: usize,
        holdoff: Duration,
    ) -> Option<u8> {
        let mut shared = self.shared;
        let sent = self.sent_mut(base)?;
        match sent.requesters.back() {
            Some((other, _)) if *other != id && !sent.is_shared => {
                sent.is_shared = true;
                shared += (2 * HALF - shared) / 4;
            }
            None => shared -= shared / 16,
            _ => {}
        }
        let is_recent = |at: &&ClockTime| **at != ClockTime::NEVER && now.since(**at) < holdoff;
        let recent = sent.answers.iter().filter(is_recent).count();
        let waiting = sent.answers.iter().filter(|at| **at == ClockTime::NEVER).count();
        let needed = needed.saturating_sub(recent);
        let more = u8::try_from(needed.saturating_sub(waiting)).unwrap_or(u8::MAX);
        // More do not help: somebody has forged datagrams of this block, or is cut off.
        let most = MOST_ANSWERS + 2 * usize::from(sent.block.count);
        let has_symbols =
            more <= Parity::SYMBOLS - sent.used && sent.answers.len() + usize::from(more) <= most;
        let may_help = sent.record_request(id, needed > 0);
        let is_for_all = has_symbols && may_help && (sent.is_shared || shared > HALF);
        if is_for_all {
            sent.used += more;
            sent.answers.resize(sent.answers.len() + usize::from(more), ClockTime::NEVER);
        }
        self.shared = shared;
        is_for_all.then_some(needed as u8)
    }

    /// Returns whether symbols wait to answer requests for a block.
    pub(super) fn has_answers(&self, base: Sequence) -> bool {
        let index = self.blocks.binary_search_by_key(&base, |sent| sent.block.base);
        let sent = index.ok().and_then(|index| self.blocks.get(index));
        sent.is_some_and(|sent| sent.answers.contains(&ClockTime::NEVER))
    }

    /// Takes the next symbol that answers requests for a block.
    fn take_answer(&mut self, now: ClockTime, base: Sequence, ring: &Ring) -> Option<Symbol> {
        let sent = self.sent_mut(base)?;
        let waiting = sent.answers.iter().filter(|at| **at == ClockTime::NEVER).count() as u8;
        if sent.ready.is_empty() {
            let first = sent.used.checked_sub(waiting)?;
            sent.ready = (first..sent.used).zip(encode(ring, sent.block, first..sent.used)?).collect();
        }
        let answer = sent.answers.iter_mut().find(|at| **at == ClockTime::NEVER)?;
        *answer = now;
        let (index, bytes) = sent.ready.pop_front()?;
        Some(Symbol { block: sent.block, index, is_last: false, bytes })
    }

    /// Returns one past the last datagram of a block that was sent.
    fn end_of(&self, base: Sequence) -> Option<Sequence> {
        let index = self.blocks.binary_search_by_key(&base, |sent| sent.block.base).ok()?;
        self.blocks.get(index).map(|sent| base + u64::from(sent.block.count))
    }

    /// Returns the length of the symbols of a block.
    fn symbol_length(&self, base: Sequence, ring: &Ring) -> Option<usize> {
        let index = self.blocks.binary_search_by_key(&base, |sent| sent.block.base).ok()?;
        longest(ring, self.blocks.get(index)?.block).map(symbol_length)
    }

    /// Notes that a block was sent, with its parity. Signed data counts up to where a sent manifest verifies it.
    fn record_block_sent(&mut self, now: ClockTime, block: Block, signed: Signed) {
        if self.is_one_way {
            let end = block.base + u64::from(block.count);
            self.sent.push_back((now, signed.verified_through.map_or(end, |verified| verified.min(end))));
        }
    }

    /// Returns the first datagram that may still be recovered, without feedback.
    pub(super) fn sent_with_parity(&mut self, now: ClockTime) -> Sequence {
        while let Some((_, end)) = self.sent.front().copied().filter(|(at, _)| now >= *at + REORDERING) {
            self.sent_with_parity = end;
            self.sent.pop_front();
        }
        self.sent_with_parity
    }
}

fn datagrams(ring: &Ring, block: Block) -> impl Iterator<Item = &[u8]> {
    Sequence::each(block.base..block.base + u64::from(block.count)).map(|sequence| ring.get(sequence))
}

/// Returns the length of the longest datagram of a block.
fn longest(ring: &Ring, block: Block) -> Option<usize> {
    datagrams(ring, block).map(<[u8]>::len).max().filter(|longest| *longest >= HEADER_LENGTH)
}

/// Returns the parity symbols of a block with these indexes; none if its datagrams are no longer retained.
fn encode(ring: &Ring, block: Block, indexes: Range<u8>) -> Option<Vec<Vec<u8>>> {
    if indexes.is_empty() {
        return None;
    }
    let parts = datagrams(ring, block).map(symbol_of).collect::<Option<Vec<_>>>()?;
    Some(fec::encode(&parts, indexes, symbol_length(longest(ring, block)?)))
}

impl PublisherConfig {
    /// Returns the length of the longest datagram of data. Its parity is longer by what describes the block.
    pub(super) const fn longest_data(&self) -> usize {
        match self.fec {
            Fec::Off | Fec::Crowd => self.datagram,
            Fec::Auto | Fec::Fixed { .. } => self.longest_with_parity(),
        }
    }

    /// Returns the length of a fragment: it may be sent when there is parity.
    pub(super) const fn longest_fragment(&self) -> usize {
        match self.fec {
            Fec::Off => self.datagram,
            _ => self.longest_with_parity(),
        }
    }

    /// Returns the length of the datagrams of parity, for which buffers are kept.
    pub(super) const fn parity_datagram(&self) -> usize {
        match self.fec {
            Fec::Off => 0,
            _ => self.datagram,
        }
    }

    /// Checks the settings of parity.
    pub(super) fn check_parity(&self) -> Result<(), ConfigError> {
        if let Fec::Fixed { data, parity } = self.fec
            && !((1..=64).contains(&data) && (1..=64).contains(&parity))
        {
            return Err(ConfigError::Fec { data, parity });
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(10)).contains(&self.fec_delay) {
            return Err(ConfigError::FecDelay(self.fec_delay));
        }
        match self.flow == FlowControl::OneWay && self.fec == Fec::Auto {
            true => Err(ConfigError::OneWayAuto),
            false => Ok(()),
        }
    }

    /// Returns the length of the longest datagram whose parity is no longer than a datagram may be.
    const fn longest_with_parity(&self) -> usize {
        let sealed = if self.keys.is_empty() { 0 } else { SALT_EXTENSION + TAG_LENGTH };
        self.datagram + HEADER_LENGTH - (symbol_length(HEADER_LENGTH) + HEADER_LENGTH + Parity::HEAD + sealed)
    }
}

impl PublisherMachine {
    /// Returns the next parity datagram that the rate admits.
    pub(super) fn next_parity(&mut self, now: ClockTime) -> Option<Transmit> {
        let is_over = self.intake.is_closed() && self.ring.sent == self.ring.next;
        let signed = self.signed();
        self.scheduler.parity.end_in_time(now, is_over, &self.ring, signed);
        if !self.pacer.has(self.parity_length()?) {
            return None;
        }
        let Symbol { block, index, is_last, bytes } = self.scheduler.parity.waiting.pop_front()?;
        let flags = if is_last { Flags::LAST_AHEAD } else { Flags(0) };
        let length = self.push_parity(block, index, flags, &bytes);
        self.pacer.charge(length);
        self.context.statistics.parity += 1;
        self.context.statistics.parity_bytes += length;
        if is_last {
            self.scheduler.parity.record_block_sent(now, block, signed);
        }
        self.scheduler.outbox.pop().map(Transmit::Control)
    }

    /// Queues a parity datagram; returns its length.
    fn push_parity(&mut self, block: Block, index: u8, flags: Flags, symbol: &[u8]) -> u64 {
        let Block { base, count, epoch } = block;
        let parity = Parity { base, count, index, epoch, symbol };
        self.push_uncharged(Target::Group, Kind::Parity, flags, |writer| parity.write(writer))
    }

    /// Queues repairs of what a subscriber requests of a block: the datagrams themselves if it is alone, and parity if
    /// others may need something else of the block.
    pub(super) fn repair_block(
        &mut self,
        now: ClockTime,
        id: SubscriberId,
        base: Sequence,
        requested: &[Sequence],
    ) {
        let Some(member) = self.subscribers.members.get(id) else { return };
        let (holdoff, room_end) = (member.holdoff(), member.room_end());
        let Self { scheduler, subscribers: Subscribers { members, .. }, ring, .. } = self;
        let (repairs, parity) = (&scheduler.repairs, &mut scheduler.parity);
        let is_coming = |sequence: &&Sequence| repairs.is_coming(now, **sequence, id, holdoff, ring);
        let needed = requested.len() - requested.iter().filter(is_coming).count();
        // A subscriber that has no room for the whole block, because it joined later, cannot use parity.
        let has_room = parity.end_of(base).is_some_and(|end| end <= room_end);
        let answer = match members.len() > 1 && needed > 0 && has_room {
            true => parity.answer(now, base, id, needed, holdoff),
            false => None,
        };
        match (answer, parity.symbol_length(base, ring)) {
            (Some(symbols), Some(symbol)) => {
                let length = HEADER_LENGTH + self.context.seal_length() + Parity::HEAD + symbol;
                self.scheduler.repairs.request_parity(
                    base,
                    length as u64,
                    symbols,
                    id,
                    &mut self.subscribers.members,
                );
            }
            _ => {
                for sequence in requested {
                    self.scheduler.repairs.request(
                        now,
                        *sequence,
                        id,
                        &mut self.subscribers.members,
                        &mut self.ring,
                    );
                }
            }
        }
    }

    /// Sends the next symbol that answers requests for a block.
    pub(super) fn repair_with_parity(&mut self, now: ClockTime, repair: Repair) -> Option<Transmit> {
        let Symbol { block, index, bytes, .. } =
            self.scheduler.parity.take_answer(now, repair.sequence, &self.ring)?;
        let length = self.push_parity(block, index, Flags::REPAIR, &bytes);
        self.context.statistics.group_repairs += 1;
        self.context.statistics.parity_repairs += 1;
        self.context.statistics.repair_bytes += length;
        self.scheduler.heartbeats.record_repair(now);
        self.scheduler.outbox.pop().map(Transmit::Control)
    }

    /// Returns the length of the datagrams of data that are written now: shorter if they get parity.
    pub(super) const fn data_length(&self) -> usize {
        match self.scheduler.parity.is_announced && self.scheduler.parity.crowd.lossy_at.is_some() {
            true => self.context.config.longest_with_parity(),
            false => self.context.config.longest_data(),
        }
    }

    /// Adapts the parity to the losses that a subscriber reports.
    pub(super) fn observe_parity(&mut self, now: ClockTime, id: SubscriberId) {
        if !matches!(self.context.config.fec, Fec::Auto | Fec::Crowd) {
            return;
        }
        let is_large_group = is_crowd(self.subscribers.members.len());
        if let Some(Member { loss, highest, missed, .. }) = self.subscribers.members.get_mut(id)
            && let Some((sent, lost)) = loss.note(*highest, *missed, is_large_group)
        {
            self.scheduler.parity.crowd.note(sent, lost);
        }
        if self.context.config.fec == Fec::Crowd {
            let (sent, requested) = (self.context.statistics.datagrams, self.scheduler.repairs.requested);
            return self.scheduler.parity.adapt_to_crowd(
                now,
                self.subscribers.members.len(),
                sent,
                requested,
            );
        }
        let worst = self.subscribers.members.iter().map(|(_, member)| member.loss.share).max();
        self.scheduler.parity.adapt(now, worst.unwrap_or(0), self.subscribers.members.len());
    }

    /// Returns when the next parity is due.
    pub(super) fn parity_deadline(&self) -> ClockTime {
        match self.parity_length() {
            Some(length) => self.pacer.when(length),
            None => self.scheduler.parity.deadline(),
        }
    }

    /// Returns the length of the parity datagram that is sent next, if one waits.
    fn parity_length(&self) -> Option<u64> {
        let symbol = self.scheduler.parity.waiting.front()?.bytes.len();
        Some((HEADER_LENGTH + self.context.seal_length() + Parity::HEAD + symbol) as u64)
    }
}
