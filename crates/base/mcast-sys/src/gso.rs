//! Generic segmentation offload (GSO): consecutive datagrams of equal length that are passed to the
//! system as one buffer, which the system or the device segments (`UDP_SEGMENT` on Linux,
//! `UDP_SEND_MSG_SIZE` on Windows). After a refusal, the same kind of buffer is not tried again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use mcast_group::InterfaceIndex;

use crate::OutgoingDatagram;

/// The maximum size of a segmented buffer: the UDP payload of the largest IPv4 packet, although the
/// buffer is never sent as one packet.
const MAX_BUFFER_BYTES: usize = 65_507;

/// The limits of segmentation that one socket has found.
#[derive(Debug)]
pub(crate) struct Offload {
    /// The maximum number of segments that the system supports; 1 without GSO.
    best: usize,
    /// The maximum number of segments as far as known now.
    most: AtomicUsize,
    /// The datagram sizes from which an interface refuses segmentation, because they exceed its
    /// MTU.
    too_large: RwLock<Vec<(Option<InterfaceIndex>, usize)>>,
}

/// A segmented buffer that the system refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub interface: Option<InterfaceIndex>,
    /// The size of each datagram but the last.
    pub size: usize,
    pub segments: usize,
}

/// The limit that a refusal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// Segmentation is not available.
    None,
    /// The number of segments is at most this.
    #[cfg_attr(windows, allow(dead_code, reason = "the limit is the same in all versions of Windows"))]
    Shorter(usize),
    /// Datagrams of this size are too large to be segmented on this interface.
    TooLarge,
}

impl Offload {
    /// Creates limits for a system with at most `best` segments; nothing was refused yet.
    pub(crate) fn new(best: usize) -> Self {
        Self { best, most: AtomicUsize::new(best), too_large: RwLock::default() }
    }

    /// Disables segmentation, or enables it with the system's maximum.
    pub(crate) fn allow(&self, on: bool) {
        self.most.store(if on { self.best } else { 1 }, Ordering::Relaxed);
    }

    /// Returns the maximum number of segments of any size.
    #[inline]
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of segments of this size on this interface.
    #[inline]
    pub(crate) fn most_of(&self, interface: Option<InterfaceIndex>, size: usize) -> usize {
        let limits = self.too_large.read().unwrap_or_else(PoisonError::into_inner);
        let refused = limits.iter().any(|(by, limit)| *by == interface && size >= *limit);
        if refused { 1 } else { self.most() }
    }

    /// Records a refusal; returns whether sending the same datagrams under the new limits may
    /// succeed.
    pub(crate) fn learn(&self, lesson: Option<Lesson>, buffer: Refused) -> bool {
        if buffer.segments < 2 {
            return false;
        }
        match lesson {
            None => return false,
            Some(Lesson::None) => self.most.store(1, Ordering::Relaxed),
            Some(Lesson::Shorter(most)) => self.most.store(most, Ordering::Relaxed),
            Some(Lesson::TooLarge) => self.limit(buffer),
        }
        true
    }

    fn limit(&self, buffer: Refused) {
        let mut limits = self.too_large.write().unwrap_or_else(PoisonError::into_inner);
        match limits.iter_mut().find(|(by, _)| *by == buffer.interface) {
            Some((_, limit)) => *limit = buffer.size.min(*limit),
            None => limits.push((buffer.interface, buffer.size)),
        }
    }
}

/// Returns how many datagrams at the start can share a segmented buffer: all to the same
/// destination and of equal length, except that the last may be shorter.
#[inline]
pub(crate) fn segmentable_count(outgoing: &[impl OutgoingDatagram], most: usize) -> usize {
    let Some(first) = outgoing.first() else { return 0 };
    let size = first.payload().len();
    if size == 0 {
        return 1;
    }
    let most = most.min(MAX_BUFFER_BYTES / size).min(outgoing.len());
    let mut count = 1;
    while count < most {
        let next = &outgoing[count];
        // An empty datagram at the end of a segmented buffer would not be sent.
        if next.payload().is_empty() || next.payload().len() > size || !next.shares_settings(first) {
            break;
        }
        count += 1;
        if next.payload().len() < size {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload, and the number of its destination.
    struct Outgoing<'a>(&'a [u8], u8);

    impl OutgoingDatagram for Outgoing<'_> {
        fn payload(&self) -> &[u8] {
            self.0
        }

        fn shares_settings(&self, other: &Self) -> bool {
            self.1 == other.1
        }
    }

    fn lengths(payloads: &[&[u8]], most: usize) -> Vec<usize> {
        let outgoing: Vec<_> = payloads.iter().map(|payload| Outgoing(payload, 0)).collect();
        let (mut rest, mut lengths) = (&outgoing[..], Vec::new());
        while !rest.is_empty() {
            lengths.push(segmentable_count(rest, most));
            rest = &rest[lengths[lengths.len() - 1]..];
        }
        lengths
    }

    #[test]
    fn segments_have_equal_length_and_the_last_may_be_shorter() {
        assert_eq!(lengths(&[b"aaa", b"bbb", b"cc", b"dd", b"eee", b"fff"], 128), [3, 1, 2]);
    }

    #[test]
    fn empty_datagrams_are_sent_singly() {
        assert_eq!(lengths(&[b"", b"", b"a", b"", b"b"], 128), [1, 1, 1, 1, 1]);
    }

    #[test]
    fn segments_do_not_exceed_the_maximum() {
        assert_eq!(lengths(&[&b"a"[..]; 10], 4), [4, 4, 2]);
        assert_eq!(lengths(&[&b"a"[..]; 3], 1), [1, 1, 1]);
        assert_eq!(lengths(&[&[0; 40_000][..]; 2], 128), [1, 1]);
    }

    #[test]
    fn segments_have_one_destination() {
        let outgoing = [Outgoing(b"a", 0), Outgoing(b"b", 1), Outgoing(b"c", 1), Outgoing(b"d", 2)];
        assert_eq!(segmentable_count(&outgoing, 128), 1);
        assert_eq!(segmentable_count(&outgoing[1..], 128), 2);
    }

    fn refused(size: usize, segments: usize) -> Refused {
        Refused { interface: InterfaceIndex::new(3), size, segments }
    }

    #[test]
    fn an_older_system_gets_fewer_segments() {
        let offload = Offload::new(128);
        assert!(offload.learn(Some(Lesson::Shorter(64)), refused(100, 128)));
        assert_eq!(offload.most_of(None, 100), 64);
    }

    #[test]
    fn datagrams_above_the_mtu_are_sent_singly_on_that_interface() {
        let offload = Offload::new(128);
        for size in [3000, 2000, 2500] {
            assert!(offload.learn(Some(Lesson::TooLarge), refused(size, 20)));
        }
        let by = |number| InterfaceIndex::new(number);
        assert_eq!(
            [offload.most_of(by(3), 2000), offload.most_of(by(3), 1999), offload.most_of(by(4), 2000)],
            [1, 128, 128]
        );
    }

    #[test]
    fn a_device_without_segmentation_gets_single_datagrams() {
        let offload = Offload::new(128);
        assert!(offload.learn(Some(Lesson::None), refused(100, 2)));
        assert_eq!(offload.most(), 1);
    }

    #[test]
    fn other_refusals_change_no_limit() {
        let offload = Offload::new(128);
        assert!(!offload.learn(None, refused(100, 64)));
        assert!(!offload.learn(Some(Lesson::TooLarge), refused(70_000, 1)));
        assert_eq!(offload.most_of(None, 70_000), 128);
    }
}
