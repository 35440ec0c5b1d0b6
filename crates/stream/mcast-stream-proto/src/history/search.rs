//! Finds a server: by what the publisher advertises, and by announcements, which searches request.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::running::RunTime;
use crate::random::Random;
use crate::{ClockTime, Nanos};

/// The interval of searches. A server answers each, so that a few lost datagrams do not matter.
const INTERVAL: Nanos = Nanos::from_millis(100);
/// The same after [`SHORT`], so that many subscribers without a server stay quiet.
const LONG_INTERVAL: Nanos = Nanos::from_millis(500);
/// For how long a server is searched if nothing shows that there is one.
pub(super) const SHORT: Nanos = Nanos::from_millis(1_500);
/// For how long another server than those that have failed is preferred.
const AVOIDANCE: Nanos = Nanos::from_millis(300);
/// Limit of the servers that are avoided.
const MOST_FAILED: usize = 8;

/// A search that is under way.
#[derive(Clone, Copy, Debug)]
struct Turn {
    since: RunTime,
    next_at: ClockTime,
    /// A server that has failed, if no other one is found.
    second_best: Option<SocketAddr>,
}

/// The server to ask, and the search for one.
#[derive(Debug)]
pub(super) struct Search {
    server: Option<SocketAddr>,
    /// The server that the publisher advertises.
    advertised: Option<SocketAddr>,
    /// Whether something has shown that there is a server.
    exists: bool,
    failed: Vec<SocketAddr>,
    turn: Option<Turn>,
}

impl Search {
    pub(super) const fn new() -> Self {
        Self { server: None, advertised: None, exists: false, failed: Vec::new(), turn: None }
    }

    /// Returns the server to ask.
    pub(super) const fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// Whether something has shown that there is a server.
    pub(super) const fn exists(&self) -> bool {
        self.exists
    }

    /// Whether announcements are wanted.
    pub(super) const fn is_under_way(&self) -> bool {
        self.turn.is_some()
    }

    /// Notes that the publisher advertises a server: at this address, or at one that is announced.
    pub(super) fn record_advertised(&mut self, at: Option<SocketAddr>) {
        self.exists = true;
        if at.is_some() && self.advertised != at {
            // It may have been started again.
            (self.advertised, self.server) = (at, None);
        }
    }

    /// Searches, if no server is known. Returns `true` if one was found in this call.
    pub(super) fn proceed(&mut self, now: ClockTime, run: RunTime) -> bool {
        if self.server.is_some() {
            return false;
        }
        if let Some(server) = self.advertised.filter(|server| !self.failed.contains(server)) {
            (self.server, self.turn) = (Some(server), None);
            return true;
        }
        let second_best = self.failed.last().copied();
        let turn = self.turn.get_or_insert(Turn { since: run, next_at: now, second_best });
        if run >= turn.since + AVOIDANCE
            && let Some(server) = turn.second_best
        {
            self.failed.clear();
            (self.server, self.turn) = (Some(server), None);
        }
        self.server.is_some()
    }

    /// Returns whether to send a search now.
    pub(super) fn poll(&mut self, now: ClockTime, run: RunTime, random: &mut Random) -> bool {
        let is_due = self.turn.is_some_and(|turn| now >= turn.next_at);
        if is_due {
            self.postpone(now, run, random);
        }
        is_due
    }

    /// Notes the search of another subscriber: the answer reaches this one, too.
    pub(super) fn overhear(&mut self, now: ClockTime, run: RunTime, random: &mut Random) {
        self.postpone(now, run, random);
    }

    fn postpone(&mut self, now: ClockTime, run: RunTime, random: &mut Random) {
        if let Some(turn) = &mut self.turn {
            let is_long = run >= turn.since + SHORT;
            let interval = if is_long { LONG_INTERVAL } else { INTERVAL };
            turn.next_at = now + interval + random.below(interval / 4);
        }
    }

    /// Takes the address of a server that is announced. Returns `true` if it is asked from now on.
    pub(super) fn find(&mut self, server: SocketAddr) -> bool {
        self.exists = true;
        let Some(turn) = &mut self.turn else { return false };
        if self.failed.contains(&server) {
            turn.second_best = Some(server);
            return false;
        }
        (self.server, self.turn) = (Some(server), None);
        true
    }

    /// Notes that the server has answered.
    pub(super) fn record_answer(&mut self) {
        self.exists = true;
        self.failed.clear();
    }

    /// Notes that the server cannot be used.
    pub(super) fn record_failure(&mut self) {
        let Some(server) = self.server.take() else { return };
        if self.failed.len() >= MOST_FAILED {
            self.failed.clear();
        }
        self.failed.push(server);
    }

    /// Returns the latest time for the next call.
    pub(super) fn deadline(&self) -> ClockTime {
        self.turn.map_or(ClockTime::NEVER, |turn| turn.next_at)
    }

    /// Ends the search.
    pub(super) fn stop(&mut self) {
        self.turn = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::running::RunningClock;
    use super::*;

    fn server(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    /// A search, and the clock and the random numbers that it needs.
    struct Trial {
        search: Search,
        now: ClockTime,
        clock: RunningClock,
        random: Random,
    }

    impl Trial {
        fn new() -> Self {
            let now = ClockTime(1_000);
            Self { search: Search::new(), now, clock: RunningClock::new(now), random: Random::new(1) }
        }

        /// Searches for this time, every millisecond; returns how many searches were sent.
        fn run(&mut self, time: Nanos) -> u64 {
            let (end, mut sent) = (self.now + time, 0);
            while self.now < end {
                self.clock.note(self.now);
                self.search.proceed(self.now, self.clock.now());
                sent += u64::from(self.search.poll(self.now, self.clock.now(), &mut self.random));
                self.now = self.now + Nanos::from_millis(1);
            }
            sent
        }
    }

    #[test]
    fn a_search_is_repeated_often_at_first_and_then_rarely() {
        let mut trial = Trial::new();
        let short = trial.run(SHORT);
        assert!((12..=15).contains(&short), "{short}");
        let long = trial.run(Nanos::from_secs(10));
        assert!((15..=21).contains(&long), "{long}");
        assert!(!trial.search.exists());
    }

    #[test]
    fn the_searches_of_others_replace_its_own() {
        let mut trial = Trial::new();
        trial.run(Nanos::from_millis(1));
        for _ in 0..20 {
            trial.search.overhear(trial.now, trial.clock.now(), &mut trial.random);
            assert_eq!(trial.run(Nanos::from_millis(90)), 0);
        }
    }

    #[test]
    fn the_server_that_the_publisher_advertises_needs_no_search() {
        let mut trial = Trial::new();
        trial.search.record_advertised(Some(server(1)));
        assert_eq!(trial.run(Nanos::from_millis(1)), 0);
        assert_eq!(trial.search.server(), Some(server(1)));
        // A publisher that was started again serves at another port.
        trial.search.record_advertised(Some(server(2)));
        trial.run(Nanos::from_millis(1));
        assert_eq!(trial.search.server(), Some(server(2)));
    }

    #[test]
    fn another_server_replaces_one_that_has_failed_and_otherwise_it_is_asked_again() {
        let mut trial = Trial::new();
        trial.search.record_advertised(Some(server(1)));
        trial.run(Nanos::from_millis(1));
        trial.search.record_failure();
        trial.run(AVOIDANCE - Nanos::from_millis(10));
        assert_eq!(trial.search.server(), None);
        assert!(!trial.search.find(server(1)), "it has failed");
        assert!(trial.search.find(server(2)));
        assert_eq!(trial.search.server(), Some(server(2)));
        trial.search.record_failure();
        trial.run(AVOIDANCE + Nanos::from_millis(10));
        assert_eq!(trial.search.server(), Some(server(2)), "there is no other one");
    }
}
