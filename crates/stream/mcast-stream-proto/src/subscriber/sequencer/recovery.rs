//! Parity as a source of repairs: recovers lost datagrams from the symbols of their blocks.
//!
//! The sequencer gives it a copy of what arrives ([`Recovery::keep`]), and asks which missing datagrams need not be requested
//! ([`Sequencer::is_replaced`]). What is recovered comes in like a datagram that arrived ([`SubscriberMachine::recover_due`]).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::Sequencer;
use crate::fec::{Symbol, SymbolParts, Symbols, datagram_of, decode, symbol_of};
use crate::subscriber::SubscriberMachine;
use crate::subscriber::arrived::Arrived;
use crate::subscriber::context::Context;
use crate::subscriber::naks::Arrival;
use crate::subscriber::window::Meta;
use crate::times::subscriber::BLOCK_TIME;
use crate::wire::{
    DatagramView, Flags, Header, Heartbeat, KeyEpoch, Kind, Messages, Parity, Sequence, WireError,
};

/// A block may have begun this many datagrams before the first one that is missing.
const BEFORE: u64 = Parity::LONGEST_BLOCK as u64 - 1;
/// Buffers that are kept for reuse.
const MAX_SPARE: usize = 256;
/// The last symbols of a signed stream, by which copies are recognized: their counts are not signed.
const REMEMBERED_PARITY: usize = 64;

/// Returns how long the request for a missing datagram waits for the parity of its block.
pub(in crate::subscriber) const fn parity_delay(heartbeat: &Heartbeat) -> Duration {
    if heartbeat.block > 0 && heartbeat.parity > 0 { BLOCK_TIME } else { Duration::ZERO }
}

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
pub(in crate::subscriber) struct Recovery {
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
    /// The counts of the last symbols of a signed stream.
    counts: VecDeque<u64>,
}

impl Recovery {
    pub(in crate::subscriber) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Begins or ends to keep copies.
    pub(in crate::subscriber) fn set_on(&mut self, is_on: bool) {
        if self.is_on && !is_on {
            self.clear();
        }
        self.is_on = is_on;
    }

    /// Forgets everything.
    pub(in crate::subscriber) fn clear(&mut self) {
        self.copies.clear();
        self.blocks.clear();
        self.due.clear();
        self.counts.clear();
        self.bytes = 0;
    }

    /// Returns the bytes of all copies and symbols.
    pub(in crate::subscriber) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a copy of a datagram, and forgets what is not needed any more to recover anything from `base` on.
    #[inline]
    pub(in crate::subscriber) fn keep(&mut self, base: Sequence, sequence: Sequence, datagram: &[u8]) {
        self.keep_recovered(base, sequence, datagram);
        self.record_change(sequence);
    }

    fn keep_recovered(&mut self, base: Sequence, sequence: Sequence, datagram: &[u8]) {
        if self.is_on {
            self.trim(base);
            self.put(base, sequence, datagram);
        }
    }

    /// Forgets a datagram that turned out not to be genuine: symbols may recover that which is.
    pub(in crate::subscriber) fn discard(&mut self, sequence: Sequence) {
        self.forget(sequence);
        self.record_change(sequence);
    }

    /// Notes the count of a symbol of a signed stream; returns whether it is new. One that was forged hides no others.
    fn record_count(&mut self, count: u64) -> bool {
        let is_new = !self.counts.contains(&count);
        if is_new {
            self.counts.truncate(REMEMBERED_PARITY - 1);
            self.counts.push_front(count);
        }
        is_new
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

    /// Forgets a datagram that was not delivered.
    pub(in crate::subscriber) fn forget(&mut self, sequence: Sequence) {
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
    fn record_change(&mut self, sequence: Sequence) {
        if !self.blocks.is_empty()
            && let Some(base) = self.block_of(sequence)
        {
            self.due.insert(base);
        }
    }
}

/// The missing datagrams of each block that need not be requested, because its symbols replace them.
#[derive(Debug, Default)]
pub(in crate::subscriber) struct Replaced(BTreeMap<Sequence, u64>);

impl SubscriberMachine {
    /// Handles a parity symbol.
    pub(in crate::subscriber) fn on_parity(&mut self, header: &Header, body: &[u8]) -> Result<(), WireError> {
        let parity = Parity::read(body)?;
        let Self { context, sequencer, .. } = self;
        let is_verifying = context.config.verifies();
        if is_verifying && !sequencer.recovery.record_count(header.sequence) {
            context.statistics.copies += 1;
            return Ok(());
        }
        context.statistics.parity += 1;
        let end = parity.end();
        let is_known = sequencer.recovery.is_on && end <= sequencer.base + sequencer.window.length();
        if !is_known || end <= sequencer.base {
            return Ok(());
        }
        if !is_verifying {
            sequencer.record_sent_before(context, end);
        }
        sequencer.recovery.trim(sequencer.base);
        if Sequence::each(parity.base..end).any(|sequence| sequencer.is_pending(sequence)) {
            sequencer.recovery.add(&parity);
        }
        if header.flags.has(Flags::REPAIR) {
            return Ok(());
        }
        // No more parity follows for this block, or for those before it: what is still missing is due.
        let complete_until = if header.flags.has(Flags::LAST_AHEAD) { end } else { parity.base };
        sequencer.request_soon(context, complete_until);
        Ok(())
    }

    /// Recovers the rest of the blocks that may be complete now. Each is decoded once, and needs further symbols for another
    /// time.
    #[inline]
    pub(in crate::subscriber) fn recover_due(&mut self) {
        while let Some(base) = self.sequencer.recovery.due.pop_first() {
            self.recover(base);
        }
    }

    /// Recovers what is missing of a block, if enough of it has arrived. The symbols of a block whose datagrams wait for
    /// their manifest are kept: one of these may turn out to be forged.
    fn recover(&mut self, base: Sequence) {
        let sequencer = &mut self.sequencer;
        let Some(range) = sequencer.recovery.blocks.get(&base).map(|block| block.range(base)) else {
            return;
        };
        if !Sequence::each(range.clone()).any(|sequence| sequencer.is_pending(sequence)) {
            return sequencer.recovery.remove(base);
        }
        let has_missing = Sequence::each(range.clone()).any(|sequence| sequencer.is_missing(sequence));
        if !has_missing || sequencer.recovery.shortage(base) > 0 {
            return;
        }
        if let Some((epoch, symbols)) = sequencer.recovery.decode(base) {
            // The present message may be in this buffer.
            let decrypted = core::mem::take(&mut self.filter.decrypted);
            for (number, symbol) in symbols {
                let sequence = base + u64::from(number);
                if self.sequencer.is_missing(sequence) {
                    self.take_recovered(sequence, epoch, &symbol.to_bytes());
                }
            }
            self.filter.decrypted = decrypted;
        }
        // Symbols that were forged recover nothing: the datagrams are requested.
        self.sequencer.request_soon(&self.context, range.end);
    }

    /// Handles a datagram that was recovered, like one that arrived.
    fn take_recovered(&mut self, sequence: Sequence, epoch: KeyEpoch, symbol: &[u8]) {
        let Self { context, sequencer, .. } = self;
        let Some(incarnation) = context.publisher.incarnations.current() else { return };
        let datagram = datagram_of(symbol, context.config.stream, incarnation, epoch, sequence.0);
        let datagram = datagram.unwrap_or_default();
        let Some(view) = DatagramView::parse(&datagram).ok().filter(|_| is_plausible(context, &datagram))
        else {
            context.statistics.malformed += 1;
            return;
        };
        if !sequencer.has_room(sequence, datagram.len()) {
            context.statistics.beyond += 1;
            return;
        }
        let recovered = Arrived { arrival: Arrival::Recovered, from: None, datagram: &datagram, view };
        if view.header.kind == Kind::Manifest {
            let was_noticed = sequence < sequencer.highest;
            if self.take_manifest(&recovered) {
                record_recovered(&mut self.context, was_noticed);
            }
            return;
        }
        if !self.may_be_genuine(&recovered) {
            return;
        }
        let Self { context, filter, sequencer, .. } = self;
        let Some(body) = filter.open(context, &recovered) else { return };
        let bytes = filter.lend(&datagram).get(body.clone());
        // Nothing authenticates a symbol of a clear stream.
        if view.header.flags.has(Flags::BATCH) && Messages::read(bytes).is_err() {
            context.statistics.malformed += 1;
            return;
        }
        sequencer.record_arrival(context, sequence, datagram.len(), recovered.repaired_by());
        record_recovered(context, true);
        sequencer.recovery.keep_recovered(sequencer.base, sequence, &datagram);
        sequencer.repairers.retain(sequence, &datagram);
        self.buffer(sequence, Meta::of(&view), body, &datagram);
    }
}

/// Counts a datagram that was recovered. If its symbols arrived before anything showed that it was missing, as may be in a
/// signed stream, it was missing nevertheless.
pub(in crate::subscriber) const fn record_recovered(context: &mut Context, was_noticed: bool) {
    context.statistics.recovered += 1;
    if !was_noticed {
        context.statistics.missed += 1;
    }
}

/// Whether a datagram may be of this publisher: not too long, and sealed if the group seals.
fn is_plausible(context: &Context, datagram: &[u8]) -> bool {
    let longest = usize::from(context.heartbeat().datagram);
    let is_short = longest == 0 || datagram.len() <= longest;
    let is_clear = datagram.get(6..8).is_some_and(|epoch| *epoch == [0, 0]);
    is_short && (context.config.keys.is_empty() || !is_clear)
}

impl Sequencer {
    /// Whether a datagram was neither accepted nor given up. It may have arrived, and wait for its manifest.
    fn is_pending(&self, sequence: Sequence) -> bool {
        sequence >= self.base && !self.window.has(sequence)
    }

    /// Whether a datagram neither arrived nor was given up.
    fn is_missing(&self, sequence: Sequence) -> bool {
        self.is_pending(sequence) && !self.stage.has(sequence)
    }

    /// Requests what is missing before `end` as soon as it cannot be merely late.
    fn request_soon(&mut self, context: &Context, end: Sequence) {
        let now = context.now;
        let due = now + self.naks.reorder_guard(context.round_trip());
        self.naks.schedule_soon(end, due);
    }

    /// Returns whether a missing datagram need not be requested, because a symbol of its block replaces it.
    pub(in crate::subscriber) fn is_replaced(&self, sequence: Sequence, replaced: &mut Replaced) -> bool {
        let Some(base) = self.recovery.block_of(sequence) else { return false };
        let left = replaced.0.entry(base).or_insert_with(|| {
            let range = self.recovery.blocks.get(&base).map_or(base..base, |block| block.range(base));
            let missing = Sequence::each(range).filter(|sequence| self.is_missing(*sequence)).count();
            missing.saturating_sub(self.recovery.shortage(base)) as u64
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
