//! Trains: runs of equal datagrams that leave as one, to be cut apart by the system or the device
//! (`UDP_SEGMENT` on Linux, `UDP_SEND_MSG_SIZE` on Windows). What was refused once is not tried
//! again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use mcast_group::InterfaceIndex;

use crate::outgoing::Outgoing;

/// Bytes of a train: what an IPv4 packet can carry, although it never becomes one.
const TRAIN_BYTES: usize = 65_507;

/// What one socket has learnt of trains.
#[derive(Debug)]
pub(crate) struct Offload {
    /// Datagrams that a train may have where all goes well, 1 where there are no trains.
    best: usize,
    /// The same, as far as is known by now.
    most: AtomicUsize,
    /// Datagrams from this size on do not go out by this interface in trains: they exceed its MTU.
    too_large: RwLock<Vec<(Option<InterfaceIndex>, usize)>>,
}

/// A train that the system refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) interface: Option<InterfaceIndex>,
    /// Bytes of each datagram but the last.
    pub(crate) size: usize,
    pub(crate) segments: usize,
}

/// What a refusal teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// There are no trains here.
    None,
    /// Trains have no more datagrams than this.
    #[cfg_attr(windows, allow(dead_code, reason = "its limit is the same in all versions"))]
    Shorter(usize),
    /// Datagrams of this size are too large for trains on this interface.
    TooLarge,
}

impl Offload {
    /// Nothing learnt yet of a system whose trains have no more datagrams than this.
    pub(crate) fn new(best: usize) -> Self {
        Self { best, most: AtomicUsize::new(best), too_large: RwLock::default() }
    }

    /// Sends no trains from now on, or tries them.
    pub(crate) fn allow(&self, on: bool) {
        self.most.store(if on { self.best } else { 1 }, Ordering::Relaxed);
    }

    /// Datagrams that a train may have, whatever their size.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Datagrams of this size that a train may have on this interface.
    pub(crate) fn most_of(&self, interface: Option<InterfaceIndex>, size: usize) -> usize {
        let limits = self.too_large.read().unwrap_or_else(PoisonError::into_inner);
        let refused = limits.iter().any(|(by, limit)| *by == interface && size >= *limit);
        if refused { 1 } else { self.most() }
    }

    /// Learns from a refusal; says whether the same datagrams may go with what is known now.
    pub(crate) fn learn(&self, lesson: Option<Lesson>, train: Refused) -> bool {
        if train.segments < 2 {
            return false;
        }
        match lesson {
            None => return false,
            Some(Lesson::None) => self.most.store(1, Ordering::Relaxed),
            Some(Lesson::Shorter(most)) => self.most.store(most, Ordering::Relaxed),
            Some(Lesson::TooLarge) => self.limit(train),
        }
        true
    }

    fn limit(&self, train: Refused) {
        let mut limits = self.too_large.write().unwrap_or_else(PoisonError::into_inner);
        match limits.iter_mut().find(|(by, _)| *by == train.interface) {
            Some((_, limit)) => *limit = train.size.min(*limit),
            None => limits.push((train.interface, train.size)),
        }
    }
}

/// How many datagrams at the start make a train: all to one place, all of one size but the last,
/// which may be shorter.
#[inline]
pub(crate) fn train_length(outgoing: &[Outgoing<'_>], most: usize) -> usize {
    let Some(leader) = outgoing.first() else { return 0 };
    let size = leader.payload.len();
    if size == 0 {
        return 1;
    }
    let most = most.min(TRAIN_BYTES / size).min(outgoing.len());
    let mut count = 1;
    while count < most {
        let next = &outgoing[count];
        // An empty datagram would vanish at the end of a train.
        if next.payload.is_empty() || next.payload.len() > size || !goes_with(next, leader) {
            break;
        }
        count += 1;
        if next.payload.len() < size {
            break;
        }
    }
    count
}

/// Whether both go to the same place in the same way.
#[inline]
fn goes_with(one: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
    (one.to, one.interface, one.hop_limit, one.traffic_class, one.launch)
        == (other.to, other.interface, other.hop_limit, other.traffic_class, other.launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(payloads: &[&[u8]], most: usize) -> Vec<usize> {
        let outgoing: Vec<_> = payloads.iter().map(|payload| Outgoing::new(payload)).collect();
        let (mut rest, mut lengths) = (&outgoing[..], Vec::new());
        while !rest.is_empty() {
            lengths.push(train_length(rest, most));
            rest = &rest[lengths[lengths.len() - 1]..];
        }
        lengths
    }

    #[test]
    fn a_train_has_equal_datagrams_and_may_end_with_a_shorter_one() {
        assert_eq!(lengths(&[b"aaa", b"bbb", b"cc", b"dd", b"eee", b"fff"], 128), [3, 1, 2]);
    }

    #[test]
    fn empty_datagrams_go_alone() {
        assert_eq!(lengths(&[b"", b"", b"a", b"", b"b"], 128), [1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_train_is_no_longer_than_is_allowed() {
        assert_eq!(lengths(&[&b"a"[..]; 10], 4), [4, 4, 2]);
        assert_eq!(lengths(&[&b"a"[..]; 3], 1), [1, 1, 1]);
        assert_eq!(lengths(&[&[0; 40_000][..]; 2], 128), [1, 1]);
    }

    #[test]
    fn a_train_goes_to_one_place() {
        let to = "239.1.2.3:7000".parse().unwrap();
        let outgoing =
            [Outgoing::new(b"a"), Outgoing::new(b"b").to(to), Outgoing::new(b"c").to(to).hop_limit(4)];
        assert_eq!(train_length(&outgoing, 128), 1);
        assert_eq!(train_length(&outgoing[1..], 128), 1);
    }

    fn refused(size: usize, segments: usize) -> Refused {
        Refused { interface: InterfaceIndex::new(3), size, segments }
    }

    #[test]
    fn an_older_system_gets_shorter_trains() {
        let offload = Offload::new(128);
        assert!(offload.learn(Some(Lesson::Shorter(64)), refused(100, 128)));
        assert_eq!(offload.most_of(None, 100), 64);
    }

    #[test]
    fn what_exceeds_the_mtu_goes_alone_on_that_interface() {
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
    fn a_device_without_trains_gets_none() {
        let offload = Offload::new(128);
        assert!(offload.learn(Some(Lesson::None), refused(100, 2)));
        assert_eq!(offload.most(), 1);
    }

    #[test]
    fn other_refusals_teach_nothing() {
        let offload = Offload::new(128);
        assert!(!offload.learn(None, refused(100, 64)));
        assert!(!offload.learn(Some(Lesson::TooLarge), refused(70_000, 1)));
        assert_eq!(offload.most_of(None, 70_000), 128);
    }
}
