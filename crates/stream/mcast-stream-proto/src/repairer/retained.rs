//! The datagrams that a repairer retains, as they arrived.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::wire::{Flags, Header, Sequence};

/// What a datagram takes beside its bytes: many short ones must not exceed the limit.
const EXTRA: usize = 64;

/// Datagrams by sequence, in any order and with gaps: what a subscriber receives has both, unlike what a publisher sends.
#[derive(Debug)]
pub(super) struct Retained {
    datagrams: BTreeMap<Sequence, Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
}

impl Retained {
    pub(super) const fn new(most_bytes: usize) -> Self {
        Self { datagrams: BTreeMap::new(), bytes: 0, most_bytes }
    }

    /// Keeps a copy as it is sent to others, and drops the oldest ones for it. One that is older than all of them is not kept.
    pub(super) fn insert(&mut self, sequence: Sequence, datagram: &[u8]) {
        self.remove(sequence);
        let needed = datagram.len() + EXTRA;
        let mut copy = Vec::new();
        while self.bytes + needed > self.most_bytes {
            match self.datagrams.first_entry() {
                Some(oldest) if *oldest.key() < sequence => {
                    copy = oldest.remove();
                    self.bytes -= copy.len() + EXTRA;
                }
                _ => return,
            }
        }
        copy.clear();
        copy.extend_from_slice(datagram);
        if let Some(flags) = copy.get_mut(Header::FLAGS_AT) {
            *flags = Flags(*flags).without(Flags::MUTABLE).with(Flags::REPAIR).0;
        }
        self.bytes += needed;
        self.datagrams.insert(sequence, copy);
    }

    pub(super) fn remove(&mut self, sequence: Sequence) {
        if let Some(copy) = self.datagrams.remove(&sequence) {
            self.bytes -= copy.len() + EXTRA;
        }
    }

    pub(super) fn clear(&mut self) {
        self.datagrams.clear();
        self.bytes = 0;
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&[u8]> {
        self.datagrams.get(&sequence).map(Vec::as_slice)
    }

    /// Returns those of a range, with their lengths.
    pub(super) fn range(&self, range: Range<Sequence>) -> impl Iterator<Item = (Sequence, usize)> {
        self.datagrams.range(range).map(|(sequence, copy)| (*sequence, copy.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::random::Random;

    #[test]
    fn the_latest_datagrams_are_retained_within_the_limit() {
        const MOST: usize = 50_000;
        let (mut retained, mut random) = (Retained::new(MOST), Random::new(3));
        for turn in 0..20_000_u64 {
            let sequence = Sequence(1 + turn + random.next() % 40);
            retained.insert(sequence, &vec![0; 32 + (random.next() % 1_000) as usize]);
            if random.next().is_multiple_of(16) {
                retained.remove(Sequence(1 + turn));
            }
            let bytes: usize = retained.datagrams.values().map(|copy| copy.len() + EXTRA).sum();
            assert_eq!(bytes, retained.bytes);
            assert!(bytes <= MOST && (bytes > MOST / 2 || turn < 100), "{bytes} bytes");
        }
        let oldest = retained.range(Sequence(0)..Sequence::MAX).next().unwrap().0;
        retained.insert(Sequence(1), &[0; 32]);
        assert!(oldest.0 > 19_000 && retained.get(Sequence(1)).is_none());
    }

    #[test]
    fn a_copy_is_marked_as_a_repair_and_otherwise_unchanged() {
        let mut retained = Retained::new(1_000);
        let datagram: Vec<u8> = (0..64).map(|byte| byte | 3).collect();
        retained.insert(Sequence(1), &datagram);
        let copy = retained.get(Sequence(1)).unwrap();
        let flags = Flags(copy[Header::FLAGS_AT]);
        assert!(flags.has(Flags::REPAIR) && flags.path() == 0);
        assert_eq!(flags.without(Flags::MUTABLE), Flags(datagram[Header::FLAGS_AT]).without(Flags::MUTABLE));
        let others = |bytes: &[u8]| [&bytes[..Header::FLAGS_AT], &bytes[Header::FLAGS_AT + 1..]].concat();
        assert_eq!(others(copy), others(&datagram));
    }
}
