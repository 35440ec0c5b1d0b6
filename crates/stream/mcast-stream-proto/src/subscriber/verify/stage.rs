//! Datagrams that have arrived before their manifest.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::Nanos;
use crate::subscriber::naks::Arrival;
use crate::subscriber::window::Meta;
use crate::wire::{Digest, Manifest, Sequence};

/// A datagram that has arrived is not given up before its manifest has had this time, also by subscribers that wait for
/// nothing: the publisher sends it within a millisecond.
const MANIFEST_TIME: Nanos = Nanos::from_millis(10);

/// A datagram that no manifest has vouched for yet.
#[derive(Debug)]
pub(in crate::subscriber) struct Staged {
    pub(super) meta: Meta,
    pub(super) digest: Digest,
    pub(super) body: Vec<u8>,
    pub(super) arrival: Arrival,
    pub(super) is_repair: bool,
    /// It filled a gap.
    pub(super) is_late: bool,
}

/// Unverified datagrams by sequence. Nothing of them is delivered or counted, and they move no state.
#[derive(Debug)]
pub(in crate::subscriber) struct Stage {
    waiting: BTreeMap<Sequence, Staged>,
    most: usize,
    bytes: usize,
    most_bytes: usize,
    /// One past the greatest sequence so far.
    end: Sequence,
}

impl Stage {
    pub(super) const fn new(most: usize, most_bytes: usize) -> Self {
        Self { waiting: BTreeMap::new(), most, bytes: 0, most_bytes, end: Sequence(0) }
    }

    /// Returns their number.
    pub(in crate::subscriber) fn len(&self) -> usize {
        self.waiting.len()
    }

    #[inline]
    pub(in crate::subscriber) fn has(&self, sequence: Sequence) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&sequence)
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&Staged> {
        self.waiting.get(&sequence)
    }

    /// Returns the first of them.
    pub(in crate::subscriber) fn first(&self) -> Option<Sequence> {
        self.waiting.first_key_value().map(|(sequence, _)| *sequence)
    }

    /// Returns one past the greatest sequence that was ever among them, in this incarnation.
    pub(in crate::subscriber) const fn end(&self) -> Sequence {
        self.end
    }

    /// Returns how long a datagram is waited for at least.
    pub(in crate::subscriber) fn timeout(&self, sequence: Sequence) -> Nanos {
        if self.has(sequence) { MANIFEST_TIME } else { Nanos::ZERO }
    }

    /// Returns whether the manifest of a datagram may follow the others: neither it nor any of the later ones before `known` is
    /// missing.
    pub(in crate::subscriber) fn may_be_covered(&self, sequence: Sequence, known: Sequence) -> bool {
        let end = self.end.max(known);
        self.has(sequence)
            && end.ahead_of(sequence) <= Manifest::MOST as u64
            && self.missing(sequence..end).next().is_none()
    }

    /// Returns the parts of a range that are not among them, in ascending order.
    pub(in crate::subscriber) fn missing(
        &self,
        range: Range<Sequence>,
    ) -> impl Iterator<Item = Range<Sequence>> {
        let Range { mut start, end } = range;
        let ends = self.waiting.range(start..end).map(|(sequence, _)| *sequence).chain([end]);
        ends.filter_map(move |arrived| {
            let missing = start..arrived;
            start = arrived + 1;
            (missing.start < missing.end).then_some(missing)
        })
    }

    /// Adds a datagram. If there are too many, the last one is removed and returned.
    pub(super) fn insert(&mut self, sequence: Sequence, staged: Staged) -> Option<(Sequence, Staged)> {
        self.end = self.end.max(sequence + 1);
        self.bytes += staged.body.len();
        self.waiting.insert(sequence, staged);
        let is_full = self.waiting.len() > self.most || self.bytes > self.most_bytes;
        let (last, staged) = if is_full { self.waiting.pop_last()? } else { return None };
        self.bytes -= staged.body.len();
        Some((last, staged))
    }

    /// Removes a datagram.
    pub(super) fn take(&mut self, sequence: Sequence) -> Option<Staged> {
        let staged = self.waiting.remove(&sequence)?;
        self.bytes -= staged.body.len();
        Some(staged)
    }

    /// Removes the first datagram if it is before `end`.
    pub(super) fn take_before(&mut self, end: Sequence) -> Option<(Sequence, Staged)> {
        let first = self.first().filter(|first| *first < end)?;
        Some((first, self.take(first)?))
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        (self.bytes, self.end) = (0, Sequence(0));
    }
}
