//! Recovers lost datagrams from parity.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::SubscriberMachine;
use super::event::BodyLocation;
use super::naks::Arrival;
use super::window::Meta;
use crate::ClockTime;
use crate::fec::{Symbol, SymbolParts, Symbols, datagram_of, decode, symbol_of};
use crate::wire::{DatagramView, Flags, Header, KeyEpoch, Kind, Messages, Parity, Sequence};

/// A block may have begun this many datagrams before the first one that is missing.
const BEFORE: u64 = Parity::LONGEST_BLOCK as u64 - 1;
/// The parity of a block that is not full follows this long after its first datagram.
const BLOCK_TIME: Duration = Duration::from_millis(10);
/// Buffers that are kept for reuse.
const MAX_SPARE: usize = 256;

/// The parity symbols of a block that is not complete.
#[derive(Debug)]
struct PartialBlock {
    count: u8,
    epoch: KeyEpoch,
    symbols: Symbols,
}

impl PartialBlock {
    fn range(&self, base: Sequence) -> Range<Sequence> {
        base..base + u64::from(self.count)
    }
}

/// Copies of recent datagrams as they arrived, and the parity symbols of their blocks. They are kept only while the
/// publisher sends parity. The default has no room.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    is_on: bool,
    /// The symbols of the datagrams from `first` on; an empty one is missing.
    first: Sequence,
    copies: VecDeque<Symbol>,
    blocks: BTreeMap<Sequence, PartialBlock>,
    /// Of these, those of which something has arrived or was discarded since they were decoded last.
    due: BTreeSet<Sequence>,
    /// Bytes of copies and symbols, and the limit: what does not fit is not kept.
    bytes: usize,
    max_bytes: usize,
    spare: Vec<Symbol>,
}

impl Recovery {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Begins or ends to keep copies.
    pub(super) fn set_on(&mut self, is_on: bool) {
        if self.is_on && !is_on {
            self.clear();
        }
        self.is_on = is_on;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.copies.clear();
        self.blocks.clear();
        self.due.clear();
        self.bytes = 0;
    }

    /// Returns the bytes of all copies and symbols.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a copy of a datagram, and forgets what is not needed any more to recover anything from `base` on.
    #[inline]
    pub(super) fn keep(&mut self, base: Sequence, sequence: Sequence, datagram: &[u8]) {
        if self.is_on {
            self.trim(base);
            self.put(base, sequence, datagram);
        }
    }

    fn put(&mut self, base: Sequence, sequence: Sequence, datagram: &[u8]) {
        if self.copies.is_empty() {
            // A forged datagram may be far ahead of those that follow.
            self.first = sequence.min(base);
        }
        self.forget(sequence);
        while let Some(missing) = self.first.offset_from(sequence).filter(|missing| *missing > 0) {
            if missing > BEFORE {
                return;
            }
            self.copies.push_front(Symbol::default());
            self.first = Sequence(self.first.0 - 1);
        }
        let Some(parts) = symbol_of(datagram) else { return };
        let Some(copy) = self.copy_of(parts) else { return };
        let at = sequence.ahead_of(self.first) as usize;
        if self.copies.len() <= at {
            self.copies.resize_with(at + 1, Symbol::default);
        }
        self.copies[at] = copy;
    }

    /// Copies a symbol into a buffer, if there is room for it.
    fn copy_of<const HEAD: usize>(&mut self, parts: SymbolParts<'_, HEAD>) -> Option<Symbol> {
        let mut copy = self.spare.pop().unwrap_or_default();
        let bytes = copy.memory_with(HEAD + parts.1.len());
        if self.bytes + bytes > self.max_bytes {
            self.spare.push(copy);
            return None;
        }
        copy.set(parts);
        self.bytes += bytes;
        Some(copy)
    }

    /// Forgets a datagram that was discarded.
    pub(super) fn forget(&mut self, sequence: Sequence) {
        let at = sequence.offset_from(self.first).and_then(|at| self.copies.get_mut(at as usize));
        if let Some(former) = at.map(core::mem::take) {
            self.release(former);
        }
    }

    fn trim(&mut self, base: Sequence) {
        while self.first + BEFORE < base
            && let Some(copy) = self.copies.pop_front()
        {
            self.first += 1;
            self.release(copy);
        }
        while let Some(entry) = self.blocks.first_entry()
            && entry.get().range(*entry.key()).end <= base
        {
            let base = *entry.key();
            self.remove(base);
        }
    }

    fn remove(&mut self, base: Sequence) {
        for (_, symbol) in self.blocks.remove(&base).into_iter().flat_map(|block| block.symbols) {
            self.release(symbol);
        }
    }

    fn release(&mut self, symbol: Symbol) {
        self.bytes -= symbol.memory();
        if symbol.memory() > 0 && self.spare.len() < MAX_SPARE {
            self.spare.push(symbol);
        }
    }

    fn copy(&self, sequence: Sequence) -> Option<&Symbol> {
        let copy = self.copies.get(usize::try_from(sequence.offset_from(self.first)?).ok()?)?;
        (copy.length() > 0).then_some(copy)
    }

    /// Keeps a symbol, if it may help.
    fn add(&mut self, parity: &Parity<'_>) {
        let Parity { base, count, index, epoch, symbol } = *parity;
        let fits = |(known, other): &(u8, Symbol)| *known != index && other.length() == symbol.len();
        let is_new = |block: &PartialBlock| {
            block.count == count
                && block.epoch == epoch
                && block.symbols.len() < usize::from(count)
                && block.symbols.iter().all(fits)
        };
        if !self.blocks.get(&base).is_none_or(is_new) {
            return;
        }
        if let Some(copy) = self.copy_of(([], symbol)) {
            let block = self.blocks.entry(base).or_insert(PartialBlock { count, epoch, symbols: Vec::new() });
            block.symbols.push((index, copy));
            self.due.insert(base);
        }
    }

    /// Returns the base of the block with symbols that contains a datagram.
    fn block_of(&self, sequence: Sequence) -> Option<Sequence> {
        let (base, block) = self.blocks.range(..=sequence).next_back()?;
        block.range(*base).contains(&sequence).then_some(*base)
    }

    /// Returns how many more datagrams or symbols of a block are needed to recover the rest of it.
    fn shortage(&self, base: Sequence) -> usize {
        let Some(block) = self.blocks.get(&base) else { return usize::MAX };
        let known =
            Sequence::each(block.range(base)).filter(|sequence| self.copy(*sequence).is_some()).count();
        (usize::from(block.count) - known).saturating_sub(block.symbols.len())
    }

    /// Takes a block out and returns its recovered datagrams. `None` if its symbols do not belong together.
    fn decode(&mut self, base: Sequence) -> Option<(KeyEpoch, Symbols)> {
        let block = self.blocks.remove(&base)?;
        self.bytes -= block.symbols.iter().map(|(_, symbol)| symbol.memory()).sum::<usize>();
        let known: Vec<Option<&Symbol>> =
            Sequence::each(block.range(base)).map(|sequence| self.copy(sequence)).collect();
        Some((block.epoch, decode(&known, block.symbols)?))
    }

    /// Notes that a datagram has arrived or was discarded: its block may be complete now.
    #[inline]
    pub(super) fn record_change(&mut self, sequence: Sequence) {
        if !self.blocks.is_empty()
            && let Some(base) = self.block_of(sequence)
        {
            self.due.insert(base);
        }
    }

    /// Returns whether nothing is to be recovered.
    pub(super) fn is_idle(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// The missing datagrams of each block that need not be requested, because its symbols replace them.
#[derive(Debug, Default)]
pub(super) struct Replaced(BTreeMap<Sequence, u64>);

impl SubscriberMachine {
    /// Returns how long the request for a missing datagram waits for the parity of its block.
    pub(super) const fn parity_delay(&self) -> Duration {
        if self.followed.heartbeat.block > 0 && self.followed.heartbeat.parity > 0 {
            BLOCK_TIME
        } else {
            Duration::ZERO
        }
    }

    /// Handles a parity symbol.
    pub(super) fn on_parity(&mut self, now: ClockTime, header: &Header, parity: &Parity<'_>) {
        self.statistics.parity += 1;
        let end = parity.end();
        let is_known =
            self.followed.recovery.is_on && end <= self.followed.base + self.followed.window.length();
        if !is_known || end <= self.followed.base {
            return;
        }
        if !self.is_verifying() {
            self.record_sent_before(now, end);
        }
        self.followed.recovery.trim(self.followed.base);
        if Sequence::each(parity.base..end).any(|sequence| self.is_pending(sequence)) {
            self.followed.recovery.add(parity);
        }
        if header.flags.has(Flags::REPAIR) {
            return;
        }
        // No more parity follows for this block, or for those before it: what is still missing is due.
        let complete_until = if header.flags.has(Flags::LAST_AHEAD) { end } else { parity.base };
        let due = now + self.followed.naks.reorder_guard(self.round_trip());
        self.followed.naks.schedule_soon(complete_until, due);
    }

    /// Recovers the rest of the blocks that may be complete now. Each is decoded once, and needs further symbols for another
    /// time.
    pub(super) fn recover_due(&mut self, now: ClockTime) {
        while let Some(base) = self.followed.recovery.due.pop_first() {
            self.recover(now, base);
        }
    }

    /// Whether a datagram was neither accepted nor given up. It may have arrived, and wait for its manifest.
    fn is_pending(&self, sequence: Sequence) -> bool {
        let is_current = self.followed.current.as_ref().is_some_and(|current| current.sequence == sequence);
        sequence >= self.followed.base && !is_current && !self.followed.window.has(sequence)
    }

    /// Whether a datagram neither arrived nor was given up.
    fn is_missing(&self, sequence: Sequence) -> bool {
        self.is_pending(sequence) && !self.followed.verification.stage.has(sequence)
    }

    /// Recovers what is missing of a block, if enough of it has arrived. The symbols of a block whose datagrams wait for
    /// their manifest are kept: one of these may turn out to be forged.
    fn recover(&mut self, now: ClockTime, base: Sequence) {
        let Some(range) = self.followed.recovery.blocks.get(&base).map(|block| block.range(base)) else {
            return;
        };
        if !Sequence::each(range.clone()).any(|sequence| self.is_pending(sequence)) {
            return self.followed.recovery.remove(base);
        }
        let has_missing = Sequence::each(range.clone()).any(|sequence| self.is_missing(sequence));
        if !has_missing || self.followed.recovery.shortage(base) > 0 {
            return;
        }
        let recovered = self.followed.recovery.decode(base);
        // The present message may be in this buffer.
        let decrypted = core::mem::take(&mut self.decrypted);
        if let Some((epoch, symbols)) = recovered {
            for (number, symbol) in symbols {
                let sequence = base + u64::from(number);
                if self.is_missing(sequence) {
                    self.take_recovered(now, sequence, epoch, &symbol.to_bytes());
                }
            }
        }
        self.decrypted = decrypted;
        // Symbols that were forged recover nothing: the datagrams are requested.
        let due = now + self.followed.naks.reorder_guard(self.round_trip());
        self.followed.naks.schedule_soon(range.end, due);
    }

    /// Handles a datagram that was recovered, like one that arrived.
    fn take_recovered(&mut self, now: ClockTime, sequence: Sequence, epoch: KeyEpoch, symbol: &[u8]) {
        let Some(incarnation) = self.incarnations.current() else { return };
        let datagram = datagram_of(symbol, self.config.stream, incarnation, epoch, sequence.0);
        let datagram = datagram.unwrap_or_default();
        let Some(view) = DatagramView::parse(&datagram).ok().filter(|_| self.is_plausible(&datagram)) else {
            self.statistics.malformed += 1;
            return;
        };
        if sequence != self.followed.base
            && !self.followed.window.has_room(datagram.len() + self.followed.recovery.bytes())
        {
            self.statistics.beyond += 1;
            return;
        }
        if view.header.kind == Kind::Manifest {
            let was_noticed = sequence < self.followed.highest;
            if self.open_manifest(now, Arrival::Recovered, None, &datagram, &view) {
                self.record_recovered(was_noticed);
            }
            return;
        }
        if !self.may_be_genuine(now, Arrival::Recovered, &datagram, &view) {
            return;
        }
        let Some((location, range)) = self.open(&view, &datagram) else { return };
        let decrypted = core::mem::take(&mut self.decrypted);
        let body = match location {
            BodyLocation::Decrypted => decrypted.get(range),
            _ => datagram.get(range),
        };
        let body = body.unwrap_or_default();
        // Nothing authenticates a symbol of a clear stream.
        if view.header.flags.has(Flags::BATCH) && Messages::read(body).is_err() {
            self.statistics.malformed += 1;
        } else {
            self.record_arrival(now, sequence, datagram.len(), Arrival::Recovered.repaired_by(true));
            self.record_recovered(true);
            self.followed.recovery.keep(self.followed.base, sequence, &datagram);
            self.repairers.retain(sequence, &datagram);
            self.followed.window.buffer(sequence, Meta::of(&view), body);
            if self.delivery.is_buffering() {
                self.schedule_status_after_progress();
            }
        }
        self.decrypted = decrypted;
    }

    /// Counts a datagram that was recovered. If its symbols arrived before anything showed that it was missing, as may be in a
    /// signed stream, it was missing nevertheless.
    pub(super) const fn record_recovered(&mut self, was_noticed: bool) {
        self.statistics.recovered += 1;
        if !was_noticed {
            self.statistics.missed += 1;
        }
    }

    /// Whether a datagram may be of this publisher: not too long, and sealed if the group seals.
    fn is_plausible(&self, datagram: &[u8]) -> bool {
        let longest = usize::from(self.followed.heartbeat.datagram);
        let is_short = longest == 0 || datagram.len() <= longest;
        let is_clear = datagram.get(6..8).is_some_and(|epoch| *epoch == [0, 0]);
        is_short && (self.config.keys.is_empty() || !is_clear)
    }

    /// Returns whether a missing datagram need not be requested, because a symbol of its block replaces it.
    pub(super) fn is_replaced(&self, sequence: Sequence, replaced: &mut Replaced) -> bool {
        let Some(base) = self.followed.recovery.block_of(sequence) else { return false };
        let left = replaced.0.entry(base).or_insert_with(|| {
            let range =
                self.followed.recovery.blocks.get(&base).map_or(base..base, |block| block.range(base));
            let missing = Sequence::each(range).filter(|sequence| self.is_missing(*sequence)).count();
            missing.saturating_sub(self.followed.recovery.shortage(base)) as u64
        });
        let is_replaced = *left > 0;
        *left = left.saturating_sub(1);
        is_replaced
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::random::Random;

    /// Whatever is forged, memory is bounded, and everything is released when delivery has passed it.
    #[test]
    fn copies_and_symbols_stay_within_their_bytes() {
        const MOST: usize = 20_000;
        let mut random = Random::new(1);
        let mut recovery = Recovery::new(MOST);
        recovery.set_on(true);
        for round in 0..20_000_u64 {
            let base = Sequence(100 + round / 20);
            let sequence = Sequence(40 + base.0 - 100 + random.next() % 500);
            let bytes = vec![7; 32 + (random.next() % 1_000) as usize];
            match random.next() % 3 {
                0 => recovery.keep(base, sequence, &bytes),
                1 => recovery.forget(sequence),
                _ => {
                    let (count, index) = ((random.next() % 64) as u8 + 1, (random.next() % 192) as u8);
                    let parity =
                        Parity { base: sequence, count, index, epoch: KeyEpoch::CLEAR, symbol: &bytes };
                    recovery.add(&parity);
                    let _ = recovery.decode(sequence);
                }
            }
            assert!(recovery.bytes() <= MOST, "{} bytes", recovery.bytes());
            assert!(recovery.copies.len() <= 500 + 2 * BEFORE as usize, "{}", recovery.copies.len());
        }
        recovery.trim(Sequence(1 << 40));
        assert_eq!((recovery.bytes(), recovery.blocks.len(), recovery.copies.len()), (0, 0, 0));
    }
}
