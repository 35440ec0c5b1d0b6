//! All sessions of a receiver, in bounded memory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::{SessionHeader, SessionId, SessionSettings, UnixNanos};
use crate::{Session, SystemCounters};

/// Maximum number of sessions tracked at once, and of their streams in total.
const MAX_SESSIONS: usize = 64;
const MAX_STREAMS: usize = 20_000;
/// Number of ended sessions remembered, so that late datagrams do not start them again.
const REMEMBERED: usize = 16;
/// A session whose streams are all closed ends after this much silence, which is longer than the sender's
/// interval between repeated closing messages.
const LINGER: Duration = Duration::from_millis(500);

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

/// The sessions of a receiver: at most 64, with 20,000 streams in total. Datagrams of further ones are
/// counted as [`rejected`](Self::rejected).
#[derive(Debug)]
pub struct Sessions {
    clock: u64,
    active: Vec<(SessionKey, Session)>,
    /// Index of the session of the latest datagram; the next one most likely belongs to it too.
    last: usize,
    streams: usize,
    ended: VecDeque<SessionKey>,
    started: u64,
    rejected: u64,
    /// The system's counters when there was no session.
    idle: SystemCounters,
}

impl Sessions {
    /// Creates an empty set for a receiver whose clock has this id (see [`SessionSettings::clock`]; 0 if it is
    /// unknown), and whose system has these counters.
    #[must_use]
    pub const fn new(clock: u64, idle: SystemCounters) -> Self {
        Self {
            clock,
            active: Vec::new(),
            last: 0,
            streams: 0,
            ended: VecDeque::new(),
            started: 0,
            rejected: 0,
            idle,
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
        now: Duration,
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
        now: Duration,
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
        now: Duration,
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
        self.active.push((key, Session::new(self.clock, self.idle)));
        self.started += 1;
        Some(self.active.len() - 1)
    }

    fn index_of(&self, key: SessionKey) -> Option<usize> {
        match self.active.get(self.last) {
            Some((last, _)) if *last == key => Some(self.last),
            _ => self.active.iter().position(|(other, _)| *other == key),
        }
    }

    /// Sets the system's counters before the sessions that start from now on.
    pub const fn set_idle_counters(&mut self, idle: SystemCounters) {
        self.idle = idle;
    }

    /// Returns the number of sessions that have started.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Removes and returns the sessions that have ended: all streams closed and half a second of silence, or,
    /// without a closing message, silence for `idle` (or three times the interval between datagrams, if that
    /// is known and longer).
    pub fn take_ended(&mut self, now: Duration, idle: Duration) -> Vec<(SessionKey, Session)> {
        let (ended, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|(_, session)| has_ended(session, now, idle));
        self.active = active;
        self.finish(ended)
    }

    /// Removes and returns all sessions, ended or not.
    pub fn take_all(&mut self) -> Vec<(SessionKey, Session)> {
        let all = std::mem::take(&mut self.active);
        self.finish(all)
    }

    fn finish(&mut self, ended: Vec<(SessionKey, Session)>) -> Vec<(SessionKey, Session)> {
        for (key, session) in &ended {
            self.streams -= session.streams();
            // A session that was only silent may continue; its start then counts as not observed.
            if session.is_closed() {
                self.ended.truncate(REMEMBERED - 1);
                self.ended.push_front(*key);
            }
        }
        ended
    }

    /// Returns the sessions that have not ended.
    pub fn iter(&self) -> impl Iterator<Item = &(SessionKey, Session)> {
        self.active.iter()
    }

    /// Returns the sessions that have not ended.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (SessionKey, Session)> {
        self.active.iter_mut()
    }

    /// Returns whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Returns the number of datagrams of sessions and streams beyond the maximum.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }
}

fn has_ended(session: &Session, now: Duration, idle: Duration) -> bool {
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

    const IDLE: Duration = Duration::from_secs(2);

    fn key(session: u64) -> SessionKey {
        SessionKey { source: IpAddr::from([10, 0, 0, 1]), interface: 2, session: SessionId(session) }
    }

    fn header(stream: u16, sequence: u64) -> SessionHeader {
        SessionHeader { kind: MessageType::Data, stream, session: SessionId(0), sequence, time: UnixNanos(0) }
    }

    fn receive(sessions: &mut Sessions, session: u64, stream: u16, sequence: u64, now: Duration) {
        sessions.data(key(session), &header(stream, sequence), 10, UnixNanos(1), now);
    }

    fn close(sessions: &mut Sessions, session: u64, sent: u64, now: Duration) {
        sessions.close(key(session), &header(0, sent), &SessionSettings::default(), now);
    }

    #[test]
    fn closed_session_ends_soon_and_does_not_restart() {
        let mut sessions = Sessions::new(0, SystemCounters::default());
        receive(&mut sessions, 1, 0, 0, Duration::ZERO);
        close(&mut sessions, 1, 2, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_millis(499), IDLE).is_empty());
        let ended = sessions.take_ended(Duration::from_millis(500), IDLE);
        assert_eq!(ended[0].1.totals().lost, 1);
        receive(&mut sessions, 1, 0, 1, Duration::from_secs(1));
        assert!(sessions.is_empty());
    }

    #[test]
    fn silence_ends_a_session_without_closing() {
        let mut sessions = Sessions::new(0, SystemCounters::default());
        receive(&mut sessions, 1, 0, 0, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_millis(1_999), IDLE).is_empty());
        assert_eq!(sessions.take_ended(IDLE, IDLE).len(), 1);
    }

    #[test]
    fn slow_sender_gets_a_longer_timeout() {
        let mut sessions = Sessions::new(0, SystemCounters::default());
        let slow = SessionSettings { rate: Some(0.5), ..SessionSettings::default() };
        sessions.open(key(1), &header(0, 0), &slow, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_secs(5), IDLE).is_empty());
        assert_eq!(sessions.take_ended(Duration::from_secs(6), IDLE).len(), 1);
    }

    #[test]
    fn closing_alone_starts_no_session() {
        let mut sessions = Sessions::new(0, SystemCounters::default());
        close(&mut sessions, 1, 10, Duration::ZERO);
        assert!(sessions.is_empty());
    }

    #[test]
    fn memory_is_bounded_under_forged_sessions_and_streams() {
        let mut sessions = Sessions::new(0, SystemCounters::default());
        (0..70).for_each(|session| receive(&mut sessions, session, 0, 0, Duration::ZERO));
        assert_eq!((sessions.iter().count(), sessions.rejected()), (MAX_SESSIONS, 6));
        (0..u16::MAX).for_each(|stream| receive(&mut sessions, 0, stream, 0, Duration::ZERO));
        let streams: usize = sessions.iter().map(|(_, session)| session.streams()).sum();
        assert_eq!(streams, MAX_STREAMS);
        assert_eq!(sessions.take_all().len(), MAX_SESSIONS);
        receive(&mut sessions, 1_000, 0, 0, Duration::ZERO);
        assert_eq!(sessions.iter().count(), 1);
    }

    proptest! {
        #[test]
        fn stream_count_is_consistent_for_any_events(
            events in proptest::collection::vec((0_u8..6, 0_u64..80, 0_u16..4, 0_u64..40), 0..400),
        ) {
            let mut sessions = Sessions::new(0, SystemCounters::default());
            for (step, (what, session, stream, number)) in events.into_iter().enumerate() {
                let now = Duration::from_millis(step as u64 * 20);
                match what {
                    0 => sessions.open(key(session), &header(stream, 0), &SessionSettings::default(), now),
                    1 => close(&mut sessions, session, number, now),
                    2 => drop(sessions.take_ended(now, IDLE)),
                    _ => receive(&mut sessions, session, stream, number, now),
                }
                let streams: usize = sessions.iter().map(|(_, session)| session.streams()).sum();
                prop_assert_eq!(streams, sessions.streams);
                prop_assert!(sessions.active.len() <= MAX_SESSIONS && sessions.ended.len() <= REMEMBERED);
            }
        }
    }
}
