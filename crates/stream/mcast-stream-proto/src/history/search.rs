//! Finds a server: by what the publisher advertises, and by announcements, which searches request; and when a server
//! announces itself.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::reading::RunTime;
use crate::ClockTime;
use crate::random::Random;
use crate::wire::{DatagramWriter, WireError, WriteError, put_socket, read_socket};

/// The interval of searches. A server answers each, so that a few lost datagrams do not matter.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same after [`SHORT`], so that many subscribers without a server stay quiet.
const LONG_INTERVAL: Duration = Duration::from_millis(500);
/// For how long a server is searched if nothing shows that there is one.
pub(super) const SHORT: Duration = Duration::from_millis(1_500);
/// For how long another server than those that have failed is preferred.
const AVOIDANCE: Duration = Duration::from_millis(300);
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

/// The field with the server's address, with the number of the field of a snapshot server.
const ADDRESS: u8 = 3;

/// The body of the announcement of a history server. The stream is in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryAnnouncement {
    /// The TCP address. If it is unspecified, it is that of the host that sends the announcement.
    pub address: SocketAddr,
}

impl HistoryAnnouncement {
    /// Reads a body: fields of kind, length, value. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`WireError::Body`] when a field is malformed, or the address is missing.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let (mut rest, mut address) = (body, None);
        while let [kind, length, behind @ ..] = rest {
            let (value, next) = behind.split_at_checked(usize::from(*length)).ok_or(WireError::Body)?;
            if *kind == ADDRESS {
                address = Some(read_socket(value).ok_or(WireError::Body)?.0);
            }
            rest = next;
        }
        let address = address.filter(|_| rest.is_empty()).ok_or(WireError::Body)?;
        Ok(Self { address })
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(&self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&[ADDRESS, if self.address.is_ipv4() { 7 } else { 19 }])?;
        put_socket(writer, self.address)
    }
}

/// The body of a search for a history server, which servers answer with an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySearch;

impl HistorySearch {
    /// The length of its body: at least that of any announcement, so that a forged search causes no more bytes than it has.
    pub const LENGTH: usize = 24;

    /// Reads a body.
    ///
    /// # Errors
    /// [`WireError::Body`] when it is too short.
    pub const fn read(body: &[u8]) -> Result<Self, WireError> {
        if body.len() < Self::LENGTH { Err(WireError::Body) } else { Ok(Self) }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// When the buffer is too short.
    pub fn write(self, writer: &mut DatagramWriter<'_>) -> Result<(), WriteError> {
        writer.put(&[0; Self::LENGTH])
    }
}

/// When a server announces itself: regularly, and soon after a search.
#[derive(Debug)]
pub struct AnnouncementSchedule {
    sent_at: Option<ClockTime>,
    next_at: ClockTime,
    random: Random,
}

impl AnnouncementSchedule {
    /// The time between two announcements without a search.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    /// The shortest time between two announcements, whatever is searched.
    pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
    /// The servers of a stream answer a search after a random part of this time.
    const SPREAD: Duration = Duration::from_millis(20);

    /// Returns a schedule whose first announcement is due now. The seed should differ between servers.
    #[must_use]
    pub const fn new(now: ClockTime, seed: u64) -> Self {
        Self { sent_at: None, next_at: now, random: Random::new(seed) }
    }

    /// Notes a search for a server of the stream.
    pub fn searched(&mut self, now: ClockTime) {
        let earliest = self.sent_at.map_or(now, |sent_at| now.max(sent_at + Self::SHORTEST_INTERVAL));
        self.next_at = self.next_at.min(earliest + self.random.below(Self::SPREAD));
    }

    /// Returns whether to send an announcement now.
    pub fn poll_transmit(&mut self, now: ClockTime) -> bool {
        let is_due = now >= self.next_at;
        if is_due {
            (self.sent_at, self.next_at) = (Some(now), now + Self::INTERVAL);
        }
        is_due
    }

    /// Returns when the next announcement is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<ClockTime> {
        Some(self.next_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::reading::RunningClock;
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
        fn run(&mut self, time: Duration) -> u64 {
            let (end, mut sent) = (self.now + time, 0);
            while self.now < end {
                self.clock.note(self.now);
                self.search.proceed(self.now, self.clock.now());
                sent += u64::from(self.search.poll(self.now, self.clock.now(), &mut self.random));
                self.now = self.now + Duration::from_millis(1);
            }
            sent
        }
    }

    #[test]
    fn a_search_is_repeated_often_at_first_and_then_rarely() {
        let mut trial = Trial::new();
        let short = trial.run(SHORT);
        assert!((12..=15).contains(&short), "{short}");
        let long = trial.run(Duration::from_secs(10));
        assert!((15..=21).contains(&long), "{long}");
        assert!(!trial.search.exists());
    }

    #[test]
    fn the_searches_of_others_replace_its_own() {
        let mut trial = Trial::new();
        trial.run(Duration::from_millis(1));
        for _ in 0..20 {
            trial.search.overhear(trial.now, trial.clock.now(), &mut trial.random);
            assert_eq!(trial.run(Duration::from_millis(90)), 0);
        }
    }

    #[test]
    fn the_server_that_the_publisher_advertises_needs_no_search() {
        let mut trial = Trial::new();
        trial.search.record_advertised(Some(server(1)));
        assert_eq!(trial.run(Duration::from_millis(1)), 0);
        assert_eq!(trial.search.server(), Some(server(1)));
        // A publisher that was started again serves at another port.
        trial.search.record_advertised(Some(server(2)));
        trial.run(Duration::from_millis(1));
        assert_eq!(trial.search.server(), Some(server(2)));
    }

    #[test]
    fn another_server_replaces_one_that_has_failed_and_otherwise_it_is_asked_again() {
        let mut trial = Trial::new();
        trial.search.record_advertised(Some(server(1)));
        trial.run(Duration::from_millis(1));
        trial.search.record_failure();
        trial.run(AVOIDANCE - Duration::from_millis(10));
        assert_eq!(trial.search.server(), None);
        assert!(!trial.search.find(server(1)), "it has failed");
        assert!(trial.search.find(server(2)));
        assert_eq!(trial.search.server(), Some(server(2)));
        trial.search.record_failure();
        trial.run(AVOIDANCE + Duration::from_millis(10));
        assert_eq!(trial.search.server(), Some(server(2)), "there is no other one");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod announcement_tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{HEADER_LENGTH, Header, Incarnation, Kind, StreamId};

    #[test]
    fn golden_vector() {
        let mut buffer = [0; 64];
        let header = Header::new(Kind::History, StreamId(0x0102_0304_0506_0708), Incarnation(0), 1);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        HistoryAnnouncement { address: "10.0.0.1:7768".parse().unwrap() }.write(&mut writer).unwrap();
        let length = writer.finish();
        let hex: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "4d43 10 0c 08 00 0000 0102030405060708 00000000 00000000 0000000000000001 \
                        0307 04 1e58 0a000001";
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn golden_vector_of_a_search() {
        let mut buffer = [0; 64];
        let header = Header::new(Kind::HistorySearch, StreamId(0x0102_0304_0506_0708), Incarnation(0), 1);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        HistorySearch.write(&mut writer).unwrap();
        let length = writer.finish();
        let hex: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "4d43 10 0d 08 00 0000 0102030405060708 00000000 00000000 0000000000000001 \
                        000000000000000000000000000000000000000000000000";
        assert_eq!(hex, expected.replace(' ', ""));
        assert_eq!(HistorySearch::read(&buffer[HEADER_LENGTH..length]), Ok(HistorySearch));
        assert!(HistorySearch::read(&buffer[HEADER_LENGTH..length - 1]).is_err());
    }

    #[test]
    fn a_search_is_at_least_as_long_as_its_answer() {
        for address in ["10.0.0.1:1", "[fd00::1]:1"] {
            let mut buffer = [0; 64];
            let header = Header::new(Kind::History, StreamId(1), Incarnation(0), 1);
            let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
            HistoryAnnouncement { address: address.parse().unwrap() }.write(&mut writer).unwrap();
            assert!(writer.finish() <= HEADER_LENGTH + HistorySearch::LENGTH);
        }
    }

    #[test]
    fn searches_are_answered_soon_and_at_most_ten_times_per_second() {
        let (start, mut sent) = (ClockTime(1_000), Vec::new());
        let mut schedule = AnnouncementSchedule::new(start, 1);
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            // Many subscribers search all the time, except in the first seconds.
            if millisecond == 2_500 || millisecond >= 5_000 {
                schedule.searched(now);
            }
            if schedule.poll_transmit(now) {
                sent.push(millisecond);
            }
        }
        assert_eq!(sent[..3], [0, 1_000, 2_000]);
        assert!((2_500..2_520).contains(&sent[3]), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{sent:?}");
        assert!(sent.windows(2).skip(6).all(|pair| pair[1] - pair[0] <= 121), "{sent:?}");
    }

    proptest! {
        #[test]
        fn addresses_are_read_as_they_were_written(address: SocketAddr) {
            let address = SocketAddr::new(address.ip(), address.port());
            let mut buffer = [0; 64];
            let header = Header::new(Kind::History, StreamId(1), Incarnation(0), 1);
            let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
            HistoryAnnouncement { address }.write(&mut writer).unwrap();
            let length = writer.finish();
            let read = HistoryAnnouncement::read(&buffer[HEADER_LENGTH..length]).unwrap();
            prop_assert_eq!(read.address, address);
        }

        #[test]
        fn any_body_is_read_or_refused(body: Vec<u8>) {
            let _ = HistoryAnnouncement::read(&body);
        }
    }
}
