//! What arrives of the probes of one path, by size: the limit, and the loss below it.

use std::collections::BTreeMap;

use super::matrix::FleetCell;
use crate::Severity;
use crate::path::{Tally, is_certain};

/// The probes of one path with the highest hop limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    /// The largest payload that fits in one frame of the sender.
    frame: usize,
    tallies: BTreeMap<usize, Tally>,
}

impl Sizes {
    pub(super) fn of<'a>(cells: impl Iterator<Item = &'a FleetCell>) -> Self {
        let mut sizes = Self::default();
        for cell in cells.filter(|cell| cell.sent > 0) {
            sizes.frame = cell.frame;
            let received = cell.received.min(cell.sent);
            *sizes.tallies.entry(cell.size).or_default() += Tally { sent: cell.sent, received };
        }
        sizes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// Returns the largest size that arrives.
    pub(super) fn largest(&self) -> Option<usize> {
        self.tallies.iter().rev().find(|(_, tally)| tally.received > 0).map(|(size, _)| *size)
    }

    /// Returns the smallest of the sizes that are too large, if random loss does not explain that these do not arrive.
    pub(super) fn too_large(&self) -> Option<usize> {
        let largest = self.largest()?;
        let arrives = self.total(|size| size <= largest.min(self.frame));
        let lost = || self.tallies.iter().filter(|(size, _)| **size > largest);
        let sent = lost().map(|(size, tally)| (*size, tally.sent));
        lost().next().filter(|_| is_certain(arrives, sent, self.frame)).map(|(size, _)| *size)
    }

    /// Returns whether these datagrams fit in a frame.
    pub(super) const fn fits(&self, size: usize) -> bool {
        size <= self.frame
    }

    /// Returns the loss of sizes that are not too large: of datagrams in one frame if these are lost, which loses fragments
    /// as well, otherwise of fragmented ones. `None` if it may be chance.
    pub(super) fn loss(&self) -> Option<Loss> {
        let limit = self.too_large().unwrap_or(usize::MAX);
        let of = |in_frames: bool| self.total(|size| size < limit && self.fits(size) == in_frames);
        let (frames, fragmented) = (of(true), of(false));
        let of_frames = frames.severity().map(|severity| Loss { severity, is_of_fragments: false });
        // A lost fragment loses the whole datagram: a low rate of lost packets becomes a high one.
        let of_fragments =
            fragmented.severity().map(|_| Loss { severity: Severity::Warning, is_of_fragments: true });
        of_frames.or(of_fragments)
    }

    /// Returns the percentage of lost probes of sizes that are not too large.
    pub(super) fn percent_lost(&self) -> u64 {
        let limit = self.too_large().unwrap_or(usize::MAX);
        let Tally { sent, received } = self.total(|size| size < limit);
        (sent.saturating_sub(received) * 100).div_ceil(sent.max(1))
    }

    fn total(&self, sizes: impl Fn(usize) -> bool) -> Tally {
        let mut total = Tally::default();
        self.tallies.iter().filter(|(size, _)| sizes(**size)).for_each(|(_, tally)| total += *tally);
        total
    }
}

/// The loss of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) severity: Severity,
    /// Whether all datagrams that fit in one frame arrive.
    pub(super) is_of_fragments: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the sizes of a path of which these numbers of 5 probes arrive.
    fn sizes(received: [u64; 5]) -> Sizes {
        let tallies = [64, 1_472, 1_473, 4_000, 16_000].into_iter().zip(received);
        Sizes {
            frame: 1_472,
            tallies: tallies.map(|(size, received)| (size, Tally { sent: 5, received })).collect(),
        }
    }

    fn of_frames(severity: Severity) -> Option<Loss> {
        Some(Loss { severity, is_of_fragments: false })
    }

    #[test]
    fn a_limit_is_found_unless_loss_explains_it() {
        assert_eq!(sizes([5, 5, 5, 5, 5]).too_large(), None);
        assert_eq!(sizes([5, 5, 0, 0, 0]).too_large(), Some(1_473));
        assert_eq!(sizes([5, 0, 0, 0, 0]).too_large(), Some(1_472));
        // Half of all packets are lost, so that hardly anything arrives that needs several.
        let lossy = sizes([3, 2, 1, 0, 0]);
        assert_eq!((lossy.too_large(), lossy.loss()), (None, of_frames(Severity::Fault)));
        assert_eq!(sizes([0, 0, 0, 0, 0]).too_large(), None);
    }

    #[test]
    fn loss_of_fragments_alone_is_a_warning() {
        let fragmented = sizes([5, 5, 5, 4, 3]);
        assert_eq!(fragmented.loss(), Some(Loss { severity: Severity::Warning, is_of_fragments: true }));
        assert_eq!(fragmented.percent_lost(), 12);
        // One lost probe is chance.
        assert_eq!(sizes([5, 5, 5, 5, 4]).loss(), None);
        assert_eq!(sizes([3, 5, 5, 5, 4]).loss(), of_frames(Severity::Fault));
        // What is too large is not lost.
        assert_eq!(sizes([5, 5, 0, 0, 0]).loss(), None);
    }
}
