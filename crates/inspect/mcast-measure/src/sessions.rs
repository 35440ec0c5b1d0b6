//! All sessions of a receiver, in bounded memory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::wire::{ReceiverReport, SessionHeader, SessionId, SessionSettings, UnixNanos};
use crate::{Session, SessionInterval, SystemCounters};

/// Maximum number of sessions tracked at once, and of their streams in total.
const MAX_SESSIONS: usize = 64;
const MAX_STREAMS: usize = 20_000;
/// Number of ended sessions remembered, so that late datagrams do not start them again.
const REMEMBERED: usize = 16;
/// A session whose streams are all closed ends after this much silence, which is longer than the sender's
/// interval between repeated closing messages.
const LINGER: Duration = Duration::from_millis(500);
/// A sweep whose next step does not start within this time has ended.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// What identifies a session at a receiver. A session that arrives on two interfaces is counted separately
/// for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The source address.
    pub source: IpAddr,
    /// The index of the interface on which it arrives.
    pub interface: u32,
    /// The session id.
    pub session: SessionId,
}

/// A session that has ended, and its last report.
#[derive(Debug)]
pub struct EndedSession {
    /// What identifies it.
    pub key: SessionKey,
    /// Its statistics.
    pub session: Session,
    /// The report.
    pub report: ReceiverReport,
    /// What it has received since the last interval that was returned.
    pub rest: SessionInterval,
}

/// What a session has received in an interval.
#[derive(Debug)]
pub struct SessionProgress<'a> {
    /// What identifies the session.
    pub key: SessionKey,
    /// Its statistics since it started.
    pub session: &'a Session,
    /// What it has received in the interval.
    pub interval: SessionInterval,
}

/// The results of all runs that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunTally {
    /// The number of runs. The sessions of a sweep are one run.
    pub runs: u64,
    /// Distinct datagrams received.
    pub datagrams: u64,
    /// The loss of the run with the highest, in percent.
    pub worst_loss: f64,
}

/// The sessions of a receiver: at most 64, with 20,000 streams in total. Datagrams of further ones are
/// counted as [`rejected`](Self::rejected).
#[derive(Debug)]
pub struct Sessions {
    /// The receiver's random id, which its reports carry.
    receiver: u64,
    clock: u64,
    /// A session without a closing message ends after this much silence.
    idle: Duration,
    active: Vec<(SessionKey, Session)>,
    /// Index of the session of the latest datagram; the next one most likely belongs to it too.
    last: usize,
    streams: usize,
    ended: VecDeque<SessionKey>,
    started: u64,
    rejected: u64,
    tally: RunTally,
    /// When a step of a sweep ended after which more may follow, and the number of sessions started by then.
    between_steps: Option<(ClockTime, u64)>,
    /// The system's counters when there was no session.
    before: SystemCounters,
}

impl Sessions {
    /// Creates an empty set for a receiver with this random id, whose clock has this id (see
    /// [`SessionSettings::clock`]; 0 if it is unknown), and whose system has these counters. A session without a
    /// closing message ends after silence for `idle`.
    #[must_use]
    pub fn new(receiver: u64, clock: u64, idle: Duration, counters: SystemCounters) -> Self {
        Self {
            receiver,
            clock,
            idle,
            active: Vec::new(),
            last: 0,
            streams: 0,
            ended: VecDeque::new(),
            started: 0,
            rejected: 0,
            tally: RunTally::default(),
            between_steps: None,
            before: counters,
        }
    }

    /// Records a datagram of `length` bytes that arrived at `arrival`, which is `now` by the receiver's own
    /// clock.
    pub fn data(
        &mut self,
        key: SessionKey,
        header: &SessionHeader,
        length: usize,
        arrival: UnixNanos,
        now: ClockTime,
    ) {
        if let Some(session) = self.admit(key, header.stream) {
            session.data(header, length, arrival, now);
        }
    }

    /// Records the start of a stream.
    pub fn open(
        &mut self,
        key: SessionKey,
        header: &SessionHeader,
        settings: &SessionSettings,
        now: ClockTime,
    ) {
        if let Some(session) = self.admit(key, header.stream) {
            session.open(header, settings, now);
        }
    }

    /// Records the end of a stream. Returns its session, unless nothing of it was received before.
    pub fn close(
        &mut self,
        key: SessionKey,
        header: &SessionHeader,
        settings: &SessionSettings,
        now: ClockTime,
    ) -> Option<&mut Session> {
        let index = self.index_of(key)?;
        let session = &mut self.active[index].1;
        session.close(header, settings, now);
        Some(session)
    }

    /// Returns the session, creating it if there is room.
    fn admit(&mut self, key: SessionKey, stream: u16) -> Option<&mut Session> {
        let index = match self.index_of(key) {
            Some(index) => index,
            None => self.start(key)?,
        };
        self.last = index;
        if !self.active[index].1.has_stream(stream) {
            if self.streams == MAX_STREAMS {
                self.rejected += 1;
                return None;
            }
            self.streams += 1;
        }
        Some(&mut self.active[index].1)
    }

    fn start(&mut self, key: SessionKey) -> Option<usize> {
        if self.ended.contains(&key) {
            return None;
        }
        if self.active.len() == MAX_SESSIONS || self.streams == MAX_STREAMS {
            self.rejected += 1;
            return None;
        }
        self.active.push((key, Session::new(self.clock, self.before)));
        self.started += 1;
        Some(self.active.len() - 1)
    }

    fn index_of(&self, key: SessionKey) -> Option<usize> {
        match self.active.get(self.last) {
            Some((last, _)) if *last == key => Some(self.last),
            _ => self.active.iter().position(|(other, _)| *other == key),
        }
    }

    /// Returns the intervals of sessions of which a multiple of `length` has passed since their first arrival. `counters` is called if there is no session.
    pub fn progress(
        &mut self,
        time: UnixNanos,
        length: Duration,
        counters: impl FnOnce() -> SystemCounters,
    ) -> impl Iterator<Item = SessionProgress<'_>> {
        if self.active.is_empty() {
            self.before = counters();
        }
        self.active.iter_mut().filter_map(move |(key, session)| {
            let interval = session.interval(time, length)?;
            Some(SessionProgress { key: *key, session, interval })
        })
    }

    /// Removes and returns the sessions that have ended: all streams closed and half a second of silence, or,
    /// without a closing message, silence for the time given to [`new`](Self::new) (or three times the interval
    /// between datagrams, if that is known and longer). `counters` is called if there are any.
    pub fn take_ended(
        &mut self,
        now: ClockTime,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        let (ended, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|(_, session)| has_ended(session, now, self.idle));
        self.active = active;
        let ended = self.end(ended, now, counters);
        let sweep = self.between_steps.filter(|(_, started)| *started == self.started);
        if sweep.is_some_and(|(since, _)| now >= since + BETWEEN_STEPS.max(self.idle)) {
            self.between_steps = None;
            self.tally.runs += 1;
        }
        ended
    }

    /// Removes and returns all sessions, ended or not. `counters` is called if there are any.
    pub fn take_all(
        &mut self,
        now: ClockTime,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        let all = std::mem::take(&mut self.active);
        self.end(all, now, counters)
    }

    fn end(
        &mut self,
        ended: Vec<(SessionKey, Session)>,
        now: ClockTime,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        if ended.is_empty() {
            return Vec::new();
        }
        self.before = counters();
        let mut report = |(key, mut session): (SessionKey, Session)| {
            self.streams -= session.streams();
            // A session that was only silent may continue; its start then counts as not observed.
            if session.is_closed() {
                self.ended.truncate(REMEMBERED - 1);
                self.ended.push_front(key);
            }
            let report = session.report(self.receiver, &self.before);
            let has_successor = session.settings().is_some_and(|settings| settings.more_follows);
            self.between_steps = has_successor.then_some((now, self.started));
            self.tally.runs += u64::from(!has_successor);
            self.tally.datagrams += report.received;
            self.tally.worst_loss = self.tally.worst_loss.max(report.lost_percent());
            EndedSession { key, rest: session.rest(), session, report }
        };
        ended.into_iter().map(&mut report).collect()
    }

    /// Returns the results of the runs that have ended.
    #[must_use]
    pub const fn tally(&self) -> &RunTally {
        &self.tally
    }

    /// Returns whether there is no session.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Returns the number of datagrams of sessions and streams beyond the maximum.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

fn has_ended(session: &Session, now: ClockTime, idle: Duration) -> bool {
    let timeout = if session.is_closed() { LINGER } else { idle.max(expected_silence(session)) };
    session.silence(now) >= timeout
}

/// Returns the silence to expect between datagrams, from the sender's announced rate; at most one minute,
/// because the announcement is not trusted.
fn expected_silence(session: &Session) -> Duration {
    const MAX_SECONDS: f64 = 60.0;
    let rate = session.settings().and_then(|settings| settings.rate);
    let seconds = rate.map_or(0.0, |rate| (3.0 / rate).min(MAX_SECONDS));
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::MessageType;
    use crate::{DropCounts, DropPoint};

    const IDLE: Duration = Duration::from_secs(2);

    fn at(milliseconds: u64) -> ClockTime {
        ClockTime(milliseconds * 1_000_000)
    }

    fn counters(drops: u64) -> SystemCounters {
        let drops = DropCounts::default().with(DropPoint::Socket, Some(drops));
        SystemCounters { drops, receive_calls: 7, coalesced: 0 }
    }

    fn sessions() -> Sessions {
        Sessions::new(1, 0, IDLE, counters(100))
    }

    fn take_ended(sessions: &mut Sessions, now: ClockTime) -> Vec<EndedSession> {
        sessions.take_ended(now, || counters(100))
    }

    fn key(session: u64) -> SessionKey {
        SessionKey { source: IpAddr::from([10, 0, 0, 1]), interface: 2, session: SessionId(session) }
    }

    fn header(stream: u16, sequence: u64) -> SessionHeader {
        SessionHeader { kind: MessageType::Data, stream, session: SessionId(0), sequence, time: UnixNanos(0) }
    }

    fn receive(sessions: &mut Sessions, session: u64, stream: u16, sequence: u64, now: ClockTime) {
        sessions.data(key(session), &header(stream, sequence), 10, UnixNanos(now.0 + 1), now);
    }

    fn close(sessions: &mut Sessions, session: u64, sent: u64, now: ClockTime) {
        sessions.close(key(session), &header(0, sent), &SessionSettings::default(), now);
    }

    /// Delivers one of two datagrams of a session, and its closing message.
    fn run(sessions: &mut Sessions, session: u64, more_follows: bool, now: ClockTime) {
        let settings = SessionSettings { more_follows, ..SessionSettings::default() };
        sessions.open(key(session), &header(0, 0), &settings, now);
        receive(sessions, session, 0, 1, now);
        sessions.close(key(session), &header(0, 2), &settings, now).unwrap();
    }

    #[test]
    fn closed_session_ends_soon_and_does_not_restart() {
        let mut sessions = sessions();
        receive(&mut sessions, 1, 0, 0, at(0));
        close(&mut sessions, 1, 2, at(0));
        assert!(take_ended(&mut sessions, at(499)).is_empty());
        let ended = take_ended(&mut sessions, at(500));
        assert_eq!((ended[0].report.sent, ended[0].report.lost), (2, 1));
        receive(&mut sessions, 1, 0, 1, at(1_000));
        assert!(sessions.is_empty());
    }

    #[test]
    fn silence_ends_a_session_without_closing() {
        let mut sessions = sessions();
        receive(&mut sessions, 1, 0, 0, at(0));
        assert!(take_ended(&mut sessions, at(1_999)).is_empty());
        assert_eq!(take_ended(&mut sessions, at(2_000)).len(), 1);
    }

    #[test]
    fn slow_sender_gets_a_longer_timeout() {
        let mut sessions = sessions();
        let slow = SessionSettings { rate: Some(0.5), ..SessionSettings::default() };
        sessions.open(key(1), &header(0, 0), &slow, at(0));
        assert!(take_ended(&mut sessions, at(5_000)).is_empty());
        assert_eq!(take_ended(&mut sessions, at(6_000)).len(), 1);
    }

    #[test]
    fn closing_alone_starts_no_session() {
        let mut sessions = sessions();
        close(&mut sessions, 1, 10, at(0));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_report_has_the_drops_since_the_start_of_the_session() {
        let mut sessions = sessions();
        run(&mut sessions, 1, false, at(0));
        let [ended] = &sessions.take_ended(at(1_000), || counters(109))[..] else { panic!("no end") };
        assert_eq!(ended.report.drops.at(DropPoint::Socket), Some(9));
        // What was dropped before the next session is not its loss.
        let _ = sessions.progress(UnixNanos(0), IDLE, || counters(203)).count();
        run(&mut sessions, 2, false, at(1_000));
        let [ended] = &sessions.take_ended(at(2_000), || counters(205))[..] else { panic!("no end") };
        assert_eq!((ended.report.drops.at(DropPoint::Socket), ended.report.receive_calls), (Some(2), 0));
    }

    #[test]
    fn intervals_start_at_the_first_arrival_and_add_up() {
        const SECOND: Duration = Duration::from_secs(1);
        let mut sessions = sessions();
        let (key, mut ends) = (key(1), Vec::new());
        for number in 0..30 {
            // The first datagram arrives at 0.7 s, and one every 100 ms after it.
            let arrival = UnixNanos(700_000_000 + number * 100_000_000);
            let header = SessionHeader {
                sequence: number,
                time: arrival,
                ..SessionHeader::new(MessageType::Data, key.session)
            };
            sessions.data(key, &header, 100, arrival, ClockTime(arrival.0));
            let now = UnixNanos(arrival.0 + 1);
            ends.extend(sessions.progress(now, SECOND, || counters(0)).map(|one| one.interval));
        }
        let [ended] = &sessions.take_all(at(4_000), || counters(0))[..] else { panic!("no end") };
        ends.push(ended.rest);

        let lengths: Vec<_> = ends.iter().map(|one| (one.to - one.from).as_millis()).collect();
        assert_eq!(lengths, [1_000, 1_000, 899], "{ends:?}");
        assert_eq!(ends.iter().map(|one| one.totals.received).sum::<u64>(), 30);
        assert!(ends.windows(2).all(|pair| pair[0].to == pair[1].from), "{ends:?}");
        assert_eq!(ended.rest.to, ended.session.elapsed());
    }

    #[test]
    fn the_sessions_of_a_sweep_are_one_run() {
        let mut sessions = sessions();
        let mut runs = Vec::new();
        for (step, more_follows) in [(0, true), (5_000, true), (9_000, false)] {
            run(&mut sessions, step, more_follows, at(step));
            assert_eq!(take_ended(&mut sessions, at(step + 1_000)).len(), 1);
            runs.push(sessions.tally().runs);
        }
        assert_eq!(runs, [0, 0, 1]);
        assert_eq!(*sessions.tally(), RunTally { runs: 1, datagrams: 3, worst_loss: 50.0 });
    }

    #[test]
    fn a_sweep_without_a_next_step_ends_after_a_while() {
        let mut sessions = sessions();
        run(&mut sessions, 1, true, at(0));
        assert_eq!(take_ended(&mut sessions, at(1_000)).len(), 1);
        let mut runs_at = |milliseconds| {
            assert!(take_ended(&mut sessions, at(milliseconds)).is_empty());
            sessions.tally().runs
        };
        assert_eq!([10_000, 11_000, 60_000].map(&mut runs_at), [0, 1, 1]);
    }

    #[test]
    fn memory_is_bounded_under_forged_sessions_and_streams() {
        let mut sessions = sessions();
        (0..70).for_each(|session| receive(&mut sessions, session, 0, 0, at(0)));
        assert_eq!((sessions.active.len(), sessions.rejected()), (MAX_SESSIONS, 6));
        (0..u16::MAX).for_each(|stream| receive(&mut sessions, 0, stream, 0, at(0)));
        let streams: usize = sessions.active.iter().map(|(_, session)| session.streams()).sum();
        assert_eq!(streams, MAX_STREAMS);
        assert_eq!(sessions.take_all(at(0), || counters(0)).len(), MAX_SESSIONS);
        receive(&mut sessions, 1_000, 0, 0, at(0));
        assert_eq!(sessions.active.len(), 1);
    }

    proptest! {
        #[test]
        fn stream_count_is_consistent_for_any_events(
            events in proptest::collection::vec((0_u8..6, 0_u64..80, 0_u16..4, 0_u64..40), 0..400),
        ) {
            let mut sessions = sessions();
            for (step, (what, session, stream, number)) in events.into_iter().enumerate() {
                let now = at(step as u64 * 20);
                match what {
                    0 => sessions.open(key(session), &header(stream, 0), &SessionSettings::default(), now),
                    1 => close(&mut sessions, session, number, now),
                    2 => drop(take_ended(&mut sessions, now)),
                    _ => receive(&mut sessions, session, stream, number, now),
                }
                let streams: usize = sessions.active.iter().map(|(_, session)| session.streams()).sum();
                prop_assert_eq!(streams, sessions.streams);
                prop_assert!(sessions.active.len() <= MAX_SESSIONS && sessions.ended.len() <= REMEMBERED);
            }
        }
    }
}
