//! Which payload sizes and hop limits arrive between two machines.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::pings::widened;
use crate::wire::PathReply;
use crate::{Histogram, ProbeResults};

/// Maximum number of listeners tracked.
const MAX_RESPONDERS: usize = 256;

/// A combination of payload size and hop limit to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathCase {
    /// Payload size in bytes.
    pub size: usize,
    /// The hop limit (IPv4: TTL).
    pub hop_limit: u8,
}

/// Probes of several cases, and the replies of all listeners, in bounded memory.
#[derive(Clone, Debug)]
pub struct PathTest {
    cases: Vec<PathCase>,
    sent: Vec<u64>,
    listeners: Vec<Listener>,
    refused: u64,
}

/// A host that receives the probes and replies.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address of its first reply. It replies through the interface on which a probe arrived, so it may
    /// have several addresses.
    pub address: IpAddr,
    /// Its random id, because several listeners may share an address.
    pub id: u64,
    /// Minimum and maximum number of routers on the path, if both ends report hop limits.
    pub hops: Option<(u8, u8)>,
    /// The indices of the interfaces on which it received probes, as reported by its host.
    pub interfaces: BTreeSet<u32>,
    results: Vec<ProbeResults>,
}

/// Which datagram sizes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// Every size arrived.
    None,
    /// Sizes up to `passes` arrived, and none from `lost` on.
    Between {
        /// The largest size that arrived.
        passes: usize,
        /// The smallest size that never arrived.
        lost: usize,
    },
    /// Nothing arrived, or arrivals do not depend on size.
    Unclear,
}

impl PathTest {
    /// Creates a test without probes. Only the first 65,536 cases are used, because a probe identifies its
    /// case by 16 bits.
    #[must_use]
    pub fn new(mut cases: Vec<PathCase>) -> Self {
        cases.truncate(1 << 16);
        let sent = vec![0; cases.len()];
        Self { cases, sent, listeners: Vec::new(), refused: 0 }
    }

    /// Returns the cases to test.
    #[must_use]
    pub fn cases(&self) -> &[PathCase] {
        &self.cases
    }

    /// Counts a probe of this case as sent, and returns its number.
    pub fn record_probe(&mut self, case: u16) -> u64 {
        let Some(sent) = self.sent.get_mut(usize::from(case)) else { return 0 };
        *sent += 1;
        *sent - 1
    }

    /// Returns the number of probes sent for a case.
    #[must_use]
    pub fn sent(&self, case: usize) -> u64 {
        self.sent.get(case).copied().unwrap_or(0)
    }

    /// Records a reply to the given probe of the given case. Returns `false` if no such probe was sent.
    pub fn record_reply(
        &mut self,
        address: IpAddr,
        case: u16,
        number: u64,
        reply: &PathReply,
        round_trip: Duration,
    ) -> bool {
        let case = usize::from(case);
        let is_whole = self.cases.get(case).is_some_and(|case| case.size == reply.length as usize);
        let index = match is_whole && number < self.sent(case) {
            true => self.listener_index(address, reply.responder),
            false => None,
        };
        let Some(listener) = index.and_then(|index| self.listeners.get_mut(index)) else {
            self.refused += 1;
            return false;
        };
        listener.results[case].record(number, round_trip);
        if listener.interfaces.len() < MAX_RESPONDERS {
            listener.interfaces.insert(reply.interface);
        }
        listener.hops = widened(listener.hops, reply.hops());
        true
    }

    fn listener_index(&mut self, address: IpAddr, id: u64) -> Option<usize> {
        let index = self.listeners.iter().position(|listener| listener.id == id);
        if index.is_some() || self.listeners.len() == MAX_RESPONDERS {
            return index;
        }
        let results = vec![ProbeResults::new(0); self.cases.len()];
        self.listeners.push(Listener { address, id, hops: None, interfaces: BTreeSet::new(), results });
        Some(self.listeners.len() - 1)
    }

    /// Returns the listeners, in the order of their first reply.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Returns the number of replies that match no probe, or came from more listeners than are tracked.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns whether there is a listener and every listener has replied to every probe so far.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let has_replied = |listener: &Listener| {
            (0..self.cases.len()).all(|case| listener.received(case) == self.sent(case))
        };
        !self.listeners.is_empty() && self.listeners.iter().all(has_replied)
    }

    /// Returns which sizes reach a listener with this hop limit.
    #[must_use]
    pub fn size_limit(&self, listener: &Listener, hop_limit: u8) -> SizeLimit {
        let mut sizes: Vec<(usize, bool)> = self
            .probed()
            .filter(|(_, case)| case.hop_limit == hop_limit)
            .map(|(index, case)| (case.size, listener.received(index) > 0))
            .collect();
        sizes.sort_unstable();
        let arrived = sizes.iter().take_while(|(_, arrived)| *arrived).count();
        let lost_after = sizes.iter().skip(arrived).all(|(_, arrived)| !*arrived);
        match (arrived, sizes.get(arrived)) {
            (0, _) => SizeLimit::Unclear,
            (_, None) => SizeLimit::None,
            (arrived, Some((lost, _))) if lost_after => {
                SizeLimit::Between { passes: sizes[arrived - 1].0, lost: *lost }
            }
            _ => SizeLimit::Unclear,
        }
    }

    /// Returns the lowest hop limit that reaches a listener, among the cases of the smallest size.
    #[must_use]
    pub fn min_hop_limit(&self, listener: &Listener) -> Option<u8> {
        let smallest = self.probed().map(|(_, case)| case.size).min()?;
        let of_size =
            self.probed().filter(|(index, case)| case.size == smallest && listener.received(*index) > 0);
        of_size.map(|(_, case)| case.hop_limit).min()
    }

    /// Returns the cases with at least one probe; the system may have refused to send the others.
    fn probed(&self) -> impl Iterator<Item = (usize, PathCase)> {
        self.cases.iter().copied().enumerate().filter(|(index, _)| self.sent(*index) > 0)
    }
}

impl Listener {
    /// Returns the number of distinct probes of a case that it received.
    #[must_use]
    pub fn received(&self, case: usize) -> u64 {
        self.results.get(case).map_or(0, ProbeResults::received)
    }

    /// Returns the number of duplicate replies for a case.
    #[must_use]
    pub fn duplicated(&self, case: usize) -> u64 {
        self.results.get(case).map_or(0, ProbeResults::duplicated)
    }

    /// Returns the round-trip times of a case.
    #[must_use]
    pub fn round_trips(&self, case: usize) -> Option<&Histogram> {
        self.results.get(case).map(ProbeResults::round_trips)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZES: [usize; 3] = [64, 1_472, 4_000];

    fn path(hop_limits: &[u8]) -> PathTest {
        let cases = hop_limits
            .iter()
            .flat_map(|hop_limit| SIZES.map(|size| PathCase { size, hop_limit: *hop_limit }));
        let mut path = PathTest::new(cases.collect());
        for case in 0..path.cases().len() {
            (0..3).for_each(|_| {
                let _ = path.record_probe(case as u16);
            });
        }
        path
    }

    fn reply(path: &mut PathTest, case: u16, number: u64) -> bool {
        let size = path.cases().get(usize::from(case)).map_or(64, |case| case.size);
        let reply = PathReply {
            responder: 1,
            interface: 2,
            length: size as u32,
            hop_limit: 9,
            arrival_hop_limit: Some(7),
        };
        path.record_reply([10, 0, 0, 2].into(), case, number, &reply, Duration::from_millis(1))
    }

    #[test]
    fn size_limit_is_found() {
        let mut path = path(&[1]);
        assert_eq!(path.listeners().len(), 0);
        reply(&mut path, 0, 0);
        reply(&mut path, 1, 2);
        let limit = |path: &PathTest| path.size_limit(&path.listeners()[0], 1);
        assert_eq!(limit(&path), SizeLimit::Between { passes: 1_472, lost: 4_000 });
        assert_eq!(path.size_limit(&path.listeners()[0], 9), SizeLimit::Unclear);
        reply(&mut path, 2, 0);
        assert_eq!(limit(&path), SizeLimit::None);
        assert_eq!((path.listeners()[0].hops, path.listeners()[0].received(0)), (Some((2, 2)), 1));
    }

    #[test]
    fn inconsistent_sizes_are_unclear() {
        let mut path = path(&[1]);
        reply(&mut path, 2, 0);
        assert_eq!(path.size_limit(&path.listeners()[0], 1), SizeLimit::Unclear);
    }

    #[test]
    fn unsent_probes_are_not_lost() {
        let mut path = PathTest::new(SIZES.map(|size| PathCase { size, hop_limit: 1 }).to_vec());
        path.record_probe(0);
        path.record_probe(1);
        reply(&mut path, 0, 0);
        reply(&mut path, 1, 0);
        assert_eq!(path.size_limit(&path.listeners()[0], 1), SizeLimit::None);
        assert!(path.all_answered());
    }

    #[test]
    fn min_hop_limit_uses_the_smallest_size() {
        let mut path = path(&[1, 2, 8]);
        reply(&mut path, 8, 0);
        assert_eq!(path.min_hop_limit(&path.listeners()[0]), None);
        reply(&mut path, 6, 0);
        assert_eq!(path.min_hop_limit(&path.listeners()[0]), Some(8));
        reply(&mut path, 3, 1);
        assert_eq!(path.min_hop_limit(&path.listeners()[0]), Some(2));
    }

    #[test]
    fn unmatched_and_truncated_replies_are_refused() {
        let mut path = path(&[1]);
        assert!(!reply(&mut path, 0, 3) && !reply(&mut path, 3, 0) && !reply(&mut path, u16::MAX, 0));
        let truncated =
            PathReply { responder: 1, interface: 2, length: 60, hop_limit: 1, arrival_hop_limit: None };
        assert!(!path.record_reply([10, 0, 0, 2].into(), 0, 0, &truncated, Duration::ZERO));
        assert_eq!((path.listeners().len(), path.refused()), (0, 4));
        assert!(reply(&mut path, 0, 0) && reply(&mut path, 0, 0));
        assert_eq!((path.listeners()[0].received(0), path.listeners()[0].duplicated(0)), (1, 1));
    }

    #[test]
    fn replies_from_two_addresses_are_one_listener_with_duplicates() {
        let mut path = path(&[1]);
        for (address, interface) in [([10, 0, 0, 2], 2), ([10, 0, 0, 3], 3)] {
            let reply =
                PathReply { responder: 1, interface, length: 64, hop_limit: 1, arrival_hop_limit: Some(1) };
            assert!(path.record_reply(address.into(), 0, 0, &reply, Duration::ZERO));
        }
        let [listener] = path.listeners() else { panic!("{:?}", path.listeners()) };
        assert_eq!((listener.received(0), listener.duplicated(0), listener.interfaces.len()), (1, 1, 2));
    }

    #[test]
    fn memory_is_bounded_under_forged_listeners() {
        let mut path = path(&[1]);
        for responder in 0..1_000 {
            let reply =
                PathReply { responder, interface: 1, length: 64, hop_limit: 1, arrival_hop_limit: None };
            path.record_reply([10, 0, 0, 2].into(), 0, 0, &reply, Duration::ZERO);
        }
        assert_eq!(path.listeners().len(), MAX_RESPONDERS);
    }

    proptest! {
        #[test]
        fn received_never_exceeds_sent(
            answers in proptest::collection::vec((0_u16..12, 0_u64..5), 0..200),
        ) {
            let mut path = path(&[1, 4]);
            for (case, number) in answers {
                reply(&mut path, case, number);
            }
            for listener in path.listeners() {
                for case in 0..path.cases().len() {
                    prop_assert!(listener.received(case) <= path.sent(case));
                }
            }
        }
    }
}
