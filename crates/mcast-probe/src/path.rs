//! What passes between two machines: by size, and by hop limit.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::PathAnswer;
use crate::{Histogram, SequenceLog};

/// Responders that are kept account of.
const MOST_RESPONDERS: usize = 256;

/// What is tried: so many bytes of payload, with such a hop limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// Bytes of payload.
    pub size: usize,
    /// The hop limit (IPv4: TTL).
    pub hop_limit: u8,
}

/// Probes of several cases, and all that answer them, in bounded memory.
#[derive(Clone, Debug)]
pub struct Path {
    cases: Vec<Case>,
    asked: Vec<u64>,
    listeners: Vec<Listener>,
    refused: u64,
}

/// One that hears the probes and answers.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address that it first answered from. It answers by the interface that a probe came in by, so
    /// it may have several.
    pub address: IpAddr,
    /// Its number: several may share an address.
    pub id: u64,
    /// Fewest and most routers on the way, where both ends tell.
    pub hops: Option<(u8, u8)>,
    /// The interfaces on which it heard, as its machine counts them.
    pub interfaces: BTreeSet<u32>,
    heard: Vec<Heard>,
}

/// What was heard of a case.
#[derive(Clone, Debug, Default)]
struct Heard {
    answers: SequenceLog,
    round_trips: Histogram,
}

/// What became of datagrams by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// Every size came.
    None,
    /// Sizes up to `passes` came, and none from `lost` on.
    Between {
        /// The largest that came.
        passes: usize,
        /// The smallest of those that never came.
        lost: usize,
    },
    /// Nothing came, or sizes without an order.
    Unclear,
}

impl Path {
    /// None asked yet. At most 65,536 cases: a probe's number for them has no more room.
    #[must_use]
    pub fn new(mut cases: Vec<Case>) -> Self {
        cases.truncate(1 << 16);
        let asked = vec![0; cases.len()];
        Self { cases, asked, listeners: Vec::new(), refused: 0 }
    }

    /// What is tried.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// A probe of this case goes now; gives its number.
    pub fn ask(&mut self, case: u16) -> u64 {
        let Some(asked) = self.asked.get_mut(usize::from(case)) else { return 0 };
        *asked += 1;
        *asked - 1
    }

    /// How many probes of a case went.
    #[must_use]
    pub fn asked(&self, case: usize) -> u64 {
        self.asked.get(case).copied().unwrap_or(0)
    }

    /// An answer came: to the probe of this case and number, so long after it was sent. `false` if
    /// nothing was asked that it could answer.
    pub fn answered(
        &mut self,
        address: IpAddr,
        case: u16,
        number: u64,
        answer: &PathAnswer,
        round_trip: Duration,
    ) -> bool {
        let case = usize::from(case);
        let is_whole = self.cases.get(case).is_some_and(|case| case.size == answer.length as usize);
        let place = match is_whole && number < self.asked(case) {
            true => self.place_of(address, answer.responder),
            false => None,
        };
        let Some(listener) = place.and_then(|place| self.listeners.get_mut(place)) else {
            self.refused += 1;
            return false;
        };
        listener.heard[case].came(number, round_trip);
        if listener.interfaces.len() < MOST_RESPONDERS {
            listener.interfaces.insert(answer.interface);
        }
        if let Some(hops) = answer.hops() {
            let (fewest, most) = listener.hops.unwrap_or((hops, hops));
            listener.hops = Some((fewest.min(hops), most.max(hops)));
        }
        true
    }

    fn place_of(&mut self, address: IpAddr, id: u64) -> Option<usize> {
        let known = self.listeners.iter().position(|one| one.id == id);
        if known.is_some() || self.listeners.len() == MOST_RESPONDERS {
            return known;
        }
        let heard = vec![Heard::default(); self.cases.len()];
        self.listeners.push(Listener { address, id, hops: None, interfaces: BTreeSet::new(), heard });
        Some(self.listeners.len() - 1)
    }

    /// Those that answer, in the order in which they first did.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Answers to nothing that was asked, and from more listeners than are kept account of.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether somebody answers, and everybody who does has heard everything so far.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let all = |listener: &Listener| {
            (0..self.cases.len()).all(|case| listener.received(case) == self.asked(case))
        };
        !self.listeners.is_empty() && self.listeners.iter().all(all)
    }

    /// Up to which size a listener hears, of the cases with this hop limit.
    #[must_use]
    pub fn size_limit(&self, listener: &Listener, hop_limit: u8) -> SizeLimit {
        let mut sizes: Vec<(usize, bool)> = self
            .tried()
            .filter(|(_, case)| case.hop_limit == hop_limit)
            .map(|(place, case)| (case.size, listener.received(place) > 0))
            .collect();
        sizes.sort_unstable();
        let came = sizes.iter().take_while(|(_, came)| *came).count();
        let lost_after = sizes.iter().skip(came).all(|(_, came)| !*came);
        match (came, sizes.get(came)) {
            (0, _) => SizeLimit::Unclear,
            (_, None) => SizeLimit::None,
            (came, Some((lost, _))) if lost_after => {
                SizeLimit::Between { passes: sizes[came - 1].0, lost: *lost }
            }
            _ => SizeLimit::Unclear,
        }
    }

    /// The lowest hop limit with which a listener hears, of the cases of the smallest size.
    #[must_use]
    pub fn least_hop_limit(&self, listener: &Listener) -> Option<u8> {
        let smallest = self.tried().map(|(_, case)| case.size).min()?;
        let of_size =
            self.tried().filter(|(place, case)| case.size == smallest && listener.received(*place) > 0);
        of_size.map(|(_, case)| case.hop_limit).min()
    }

    /// The cases that were tried: what the system refused to send was not.
    fn tried(&self) -> impl Iterator<Item = (usize, Case)> {
        self.cases.iter().copied().enumerate().filter(|(place, _)| self.asked(*place) > 0)
    }
}

impl Listener {
    /// How many probes of a case it heard.
    #[must_use]
    pub fn received(&self, case: usize) -> u64 {
        self.heard.get(case).map_or(0, |heard| heard.answers.received())
    }

    /// How many probes of a case it heard once more.
    #[must_use]
    pub fn duplicated(&self, case: usize) -> u64 {
        self.heard.get(case).map_or(0, |heard| heard.answers.duplicated())
    }

    /// The times from probe to answer of a case.
    #[must_use]
    pub fn round_trips(&self, case: usize) -> Option<&Histogram> {
        self.heard.get(case).map(|heard| &heard.round_trips)
    }
}

impl Heard {
    fn came(&mut self, number: u64, round_trip: Duration) {
        let before = self.answers.received();
        self.answers.record(number);
        if self.answers.received() > before {
            self.round_trips.record(u64::try_from(round_trip.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZES: [usize; 3] = [64, 1_472, 4_000];

    fn path(hop_limits: &[u8]) -> Path {
        let cases =
            hop_limits.iter().flat_map(|hop_limit| SIZES.map(|size| Case { size, hop_limit: *hop_limit }));
        let mut path = Path::new(cases.collect());
        for case in 0..path.cases().len() {
            (0..3).for_each(|_| {
                let _ = path.ask(case as u16);
            });
        }
        path
    }

    fn hear(path: &mut Path, case: u16, number: u64) -> bool {
        let size = path.cases().get(usize::from(case)).map_or(64, |case| case.size);
        let answer = PathAnswer {
            responder: 1,
            interface: 2,
            length: size as u32,
            hop_limit: 9,
            hop_limit_left: Some(7),
        };
        path.answered([10, 0, 0, 2].into(), case, number, &answer, Duration::from_millis(1))
    }

    #[test]
    fn the_size_above_which_nothing_comes_is_found() {
        let mut path = path(&[1]);
        assert_eq!(path.listeners().len(), 0);
        hear(&mut path, 0, 0);
        hear(&mut path, 1, 2);
        let limit = |path: &Path| path.size_limit(&path.listeners()[0], 1);
        assert_eq!(limit(&path), SizeLimit::Between { passes: 1_472, lost: 4_000 });
        assert_eq!(path.size_limit(&path.listeners()[0], 9), SizeLimit::Unclear);
        hear(&mut path, 2, 0);
        assert_eq!(limit(&path), SizeLimit::None);
        assert_eq!((path.listeners()[0].hops, path.listeners()[0].received(0)), (Some((2, 2)), 1));
    }

    #[test]
    fn sizes_without_an_order_prove_nothing() {
        let mut path = path(&[1]);
        hear(&mut path, 2, 0);
        assert_eq!(path.size_limit(&path.listeners()[0], 1), SizeLimit::Unclear);
    }

    #[test]
    fn what_could_not_be_sent_is_not_lost() {
        let mut path = Path::new(SIZES.map(|size| Case { size, hop_limit: 1 }).to_vec());
        path.ask(0);
        path.ask(1);
        hear(&mut path, 0, 0);
        hear(&mut path, 1, 0);
        assert_eq!(path.size_limit(&path.listeners()[0], 1), SizeLimit::None);
        assert!(path.all_answered());
    }

    #[test]
    fn the_least_hop_limit_is_that_of_the_smallest_size() {
        let mut path = path(&[1, 2, 8]);
        hear(&mut path, 8, 0);
        assert_eq!(path.least_hop_limit(&path.listeners()[0]), None);
        hear(&mut path, 6, 0);
        assert_eq!(path.least_hop_limit(&path.listeners()[0]), Some(8));
        hear(&mut path, 3, 1);
        assert_eq!(path.least_hop_limit(&path.listeners()[0]), Some(2));
    }

    #[test]
    fn answers_to_nothing_and_pieces_of_probes_are_refused() {
        let mut path = path(&[1]);
        assert!(!hear(&mut path, 0, 3) && !hear(&mut path, 3, 0) && !hear(&mut path, u16::MAX, 0));
        let cut = PathAnswer { responder: 1, interface: 2, length: 60, hop_limit: 1, hop_limit_left: None };
        assert!(!path.answered([10, 0, 0, 2].into(), 0, 0, &cut, Duration::ZERO));
        assert_eq!((path.listeners().len(), path.refused()), (0, 4));
        assert!(hear(&mut path, 0, 0) && hear(&mut path, 0, 0));
        assert_eq!((path.listeners()[0].received(0), path.listeners()[0].duplicated(0)), (1, 1));
    }

    #[test]
    fn one_that_answers_from_two_addresses_is_one_that_hears_twice() {
        let mut path = path(&[1]);
        for (address, interface) in [([10, 0, 0, 2], 2), ([10, 0, 0, 3], 3)] {
            let answer =
                PathAnswer { responder: 1, interface, length: 64, hop_limit: 1, hop_limit_left: Some(1) };
            assert!(path.answered(address.into(), 0, 0, &answer, Duration::ZERO));
        }
        let [listener] = path.listeners() else { panic!("{:?}", path.listeners()) };
        assert_eq!((listener.received(0), listener.duplicated(0), listener.interfaces.len()), (1, 1, 2));
    }

    #[test]
    fn forged_listeners_take_no_more_memory_than_there_is() {
        let mut path = path(&[1]);
        for responder in 0..1_000 {
            let answer =
                PathAnswer { responder, interface: 1, length: 64, hop_limit: 1, hop_limit_left: None };
            path.answered([10, 0, 0, 2].into(), 0, 0, &answer, Duration::ZERO);
        }
        assert_eq!(path.listeners().len(), MOST_RESPONDERS);
    }

    proptest! {
        #[test]
        fn whatever_answers_come_no_more_is_received_than_asked(
            answers in proptest::collection::vec((0_u16..12, 0_u64..5), 0..200),
        ) {
            let mut path = path(&[1, 4]);
            for (case, number) in answers {
                hear(&mut path, case, number);
            }
            for listener in path.listeners() {
                for case in 0..path.cases().len() {
                    prop_assert!(listener.received(case) <= path.asked(case));
                }
            }
        }
    }
}
