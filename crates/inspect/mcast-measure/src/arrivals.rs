//! What has arrived of each session of probes, in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::ProbeCase;
use crate::wire::SessionId;

/// The maximum number of counters of all sessions. The oldest session is forgotten first. The probes of a large fleet fit:
/// each of its machines is a few sessions with about ten counters.
const MAX_COUNTERS: usize = 16_384;
/// A session takes the memory of this number of counters, beside its own.
const SESSION: usize = 8;
/// The maximum number of cases per session.
const MAX_CASES: usize = 256;

/// What has arrived of one session at a replier, including what the rate limit left unanswered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionArrivals {
    /// The session.
    pub session: SessionId,
    /// The source address of its first message.
    pub source: IpAddr,
    by_group: BTreeMap<ProbeCase, u64>,
    by_unicast: BTreeMap<ProbeCase, u64>,
}

impl SessionArrivals {
    const fn new(session: SessionId, source: IpAddr) -> Self {
        Self { session, source, by_group: BTreeMap::new(), by_unicast: BTreeMap::new() }
    }

    /// Returns the number of probes of a case that arrived, duplicates included.
    #[must_use]
    pub fn count(&self, case: ProbeCase, by_unicast: bool) -> u64 {
        let counts = if by_unicast { &self.by_unicast } else { &self.by_group };
        counts.get(&case).copied().unwrap_or_default()
    }

    /// Returns the number of probes to the group that arrived by case, duplicates included.
    pub fn to_group_by_case(&self) -> impl Iterator<Item = (ProbeCase, u64)> + '_ {
        self.by_group.iter().map(|(case, count)| (*case, *count))
    }

    /// Returns the number of probes to the group that arrived, duplicates included.
    #[must_use]
    pub fn to_group(&self) -> u64 {
        self.by_group.values().sum()
    }

    /// Returns whether the case is new.
    fn record(&mut self, case: ProbeCase, by_unicast: bool) -> bool {
        let counts = if by_unicast { &mut self.by_unicast } else { &mut self.by_group };
        let is_new = !counts.contains_key(&case);
        if is_new && counts.len() >= MAX_CASES {
            return false;
        }
        *counts.entry(case).or_default() += 1;
        is_new
    }

    fn counters(&self) -> usize {
        SESSION + self.by_group.len() + self.by_unicast.len()
    }
}

/// The arrivals of the latest sessions.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    sessions: VecDeque<SessionArrivals>,
    /// The counters in `sessions`.
    counters: usize,
    forgotten: u64,
}

impl Arrivals {
    /// Counts a probe.
    pub(crate) fn record(&mut self, session: SessionId, source: IpAddr, case: ProbeCase, by_unicast: bool) {
        let is_new = self.session(session, source).record(case, by_unicast);
        self.counters += usize::from(is_new);
        self.forget_oldest();
    }

    /// Returns the number of probes of a session to the group. A session that is not known is from now on.
    pub(crate) fn known_to_group(&mut self, session: SessionId, source: IpAddr) -> u64 {
        let count = self.session(session, source).to_group();
        self.forget_oldest();
        count
    }

    fn session(&mut self, session: SessionId, source: IpAddr) -> &mut SessionArrivals {
        // The latest sessions are the most likely ones.
        let position = self.sessions.iter().rposition(|arrivals| arrivals.session == session);
        let index = position.unwrap_or_else(|| {
            self.sessions.push_back(SessionArrivals::new(session, source));
            self.counters += SESSION;
            self.sessions.len() - 1
        });
        &mut self.sessions[index]
    }

    fn forget_oldest(&mut self) {
        while self.counters > MAX_COUNTERS {
            let Some(oldest) = self.sessions.pop_front() else { return };
            self.counters = self.counters.saturating_sub(oldest.counters());
            self.forgotten += 1;
        }
    }

    /// Returns the sessions, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SessionArrivals> {
        self.sessions.iter()
    }

    /// Returns the number of sessions that were forgotten.
    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(arrivals: &mut Arrivals, session: u64, size: usize) {
        let source = IpAddr::from([10, 0, 0, 1]);
        arrivals.record(SessionId(session), source, ProbeCase { size, hop_limit: 4 }, false);
    }

    #[test]
    fn arrivals_are_counted_by_session_and_case_in_bounded_memory() {
        let mut arrivals = Arrivals::default();
        for size in [64, 64, 1_400] {
            record(&mut arrivals, 1, size);
        }
        let first = arrivals.iter().next().unwrap();
        let count = |size| first.count(ProbeCase { size, hop_limit: 4 }, false);
        assert_eq!([64, 1_400, 99].map(count), [2, 1, 0]);
        (2..4_000).for_each(|session| record(&mut arrivals, session, 64));
        // Each session has one counter.
        assert_eq!(arrivals.iter().count(), MAX_COUNTERS / (SESSION + 1));
        assert_eq!(arrivals.iter().last().unwrap().session, SessionId(3_999));
        assert_eq!(arrivals.forgotten() as usize + MAX_COUNTERS / (SESSION + 1), 3_999);
    }

    #[test]
    fn nothing_of_a_large_fleet_is_forgotten() {
        let mut arrivals = Arrivals::default();
        // 64 machines, two families, two rounds, multicast and unicast.
        for (session, size) in (0..64 * 8).flat_map(|session| (64..80).map(move |size| (session, size))) {
            record(&mut arrivals, session, size);
        }
        assert_eq!((arrivals.iter().count(), arrivals.forgotten()), (64 * 8, 0));
        assert!(arrivals.iter().all(|session| session.to_group() == 16));
    }
}
