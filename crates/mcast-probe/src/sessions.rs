//! All that a receiver hears, in bounded memory.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::Session;
use crate::wire::{Header, SessionId, Settings, UnixNanos};

/// How many sessions are followed at once, and how many streams of them all.
const MOST_SESSIONS: usize = 64;
const MOST_STREAMS: usize = 20_000;
/// How many that are over are remembered, so that stragglers don't begin them again.
const REMEMBERED: usize = 16;
/// Once every stream is closed, a session is over after so long a silence: longer than the sender
/// waits between its closings.
const LINGER: Duration = Duration::from_millis(500);

/// Who sends a session, and where it comes in: the same session that comes in by two interfaces
/// is counted twice, apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The address that it is sent from.
    pub source: IpAddr,
    /// The index of the interface that it comes in by.
    pub interface: u32,
    /// The session.
    pub session: SessionId,
}

/// The sessions that a receiver hears. Whatever comes, there are at most 64 with 20,000 streams
/// in all: what else begins meanwhile is counted as [`turned_away`](Self::turned_away).
#[derive(Debug)]
pub struct Sessions {
    clock: u64,
    live: Vec<(Origin, Session)>,
    /// Where the last datagram belonged: the next one most likely belongs there, too.
    last: usize,
    streams: usize,
    over: VecDeque<Origin>,
    begun: Vec<Origin>,
    turned_away: u64,
}

impl Sessions {
    /// None yet, for a receiver with this clock (see [`Settings::clock`]; 0 where it isn't known).
    #[must_use]
    pub const fn new(clock: u64) -> Self {
        Self {
            clock,
            live: Vec::new(),
            last: 0,
            streams: 0,
            over: VecDeque::new(),
            begun: Vec::new(),
            turned_away: 0,
        }
    }

    /// A datagram of so many bytes came at this time, `now` by the receiver's own clock.
    pub fn data(
        &mut self,
        origin: Origin,
        header: &Header,
        length: usize,
        arrival: UnixNanos,
        now: Duration,
    ) {
        if let Some(session) = self.admit(origin, header.stream) {
            session.data(header, length, arrival, now);
        }
    }

    /// A stream begins.
    pub fn open(&mut self, origin: Origin, header: &Header, settings: &Settings, now: Duration) {
        if let Some(session) = self.admit(origin, header.stream) {
            session.open(header, settings, now);
        }
    }

    /// A stream has ended: the session it belongs to, unless nothing of it was heard before.
    pub fn close(
        &mut self,
        origin: Origin,
        header: &Header,
        settings: &Settings,
        now: Duration,
    ) -> Option<&Session> {
        let place = self.place(origin)?;
        let session = &mut self.live[place].1;
        session.close(header, settings, now);
        Some(session)
    }

    /// The session, begun if there is room for it.
    fn admit(&mut self, origin: Origin, stream: u16) -> Option<&mut Session> {
        let place = match self.place(origin) {
            Some(place) => place,
            None => self.begin(origin)?,
        };
        self.last = place;
        if !self.live[place].1.knows(stream) {
            if self.streams == MOST_STREAMS {
                self.turned_away += 1;
                return None;
            }
            self.streams += 1;
        }
        Some(&mut self.live[place].1)
    }

    fn begin(&mut self, origin: Origin) -> Option<usize> {
        if self.over.contains(&origin) {
            return None;
        }
        if self.live.len() == MOST_SESSIONS || self.streams == MOST_STREAMS {
            self.turned_away += 1;
            return None;
        }
        self.live.push((origin, Session::new(self.clock)));
        self.begun.push(origin);
        Some(self.live.len() - 1)
    }

    fn place(&self, origin: Origin) -> Option<usize> {
        match self.live.get(self.last) {
            Some((last, _)) if *last == origin => Some(self.last),
            _ => self.live.iter().position(|(other, _)| *other == origin),
        }
    }

    /// The sessions that have begun since this was last asked.
    pub fn take_begun(&mut self) -> Vec<Origin> {
        std::mem::take(&mut self.begun)
    }

    /// Takes out the sessions that are over: every stream closed and nothing heard for half a
    /// second, or, without a closing, nothing heard for `idle` (or three times the time between
    /// two datagrams, if that is known and longer).
    pub fn take_ended(&mut self, now: Duration, idle: Duration) -> Vec<(Origin, Session)> {
        let (over, live) =
            std::mem::take(&mut self.live).into_iter().partition(|(_, session)| is_over(session, now, idle));
        self.live = live;
        self.forget(over)
    }

    /// Takes out all sessions, over or not.
    pub fn take_all(&mut self) -> Vec<(Origin, Session)> {
        let all = std::mem::take(&mut self.live);
        self.forget(all)
    }

    fn forget(&mut self, over: Vec<(Origin, Session)>) -> Vec<(Origin, Session)> {
        self.begun.retain(|origin| over.iter().all(|(other, _)| other != origin));
        for (origin, session) in &over {
            self.streams -= session.streams();
            // One that only fell silent may go on, and is then one whose beginning wasn't heard.
            if session.is_closed() {
                self.over.truncate(REMEMBERED - 1);
                self.over.push_front(*origin);
            }
        }
        over
    }

    /// The sessions that are not over.
    pub fn iter(&self) -> impl Iterator<Item = &(Origin, Session)> {
        self.live.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Datagrams of sessions and streams beyond the most that are followed.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }
}

fn is_over(session: &Session, now: Duration, idle: Duration) -> bool {
    let patience = if session.is_closed() { LINGER } else { idle.max(slowest(session)) };
    session.silence(now) >= patience
}

/// How long a silence is nothing to wonder at. What the sender claims is believed up to a minute.
fn slowest(session: &Session) -> Duration {
    const MOST: f64 = 60.0;
    let rate = session.settings().and_then(|settings| settings.rate);
    let seconds = rate.map_or(0.0, |rate| (3.0 / rate).min(MOST));
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Kind;

    const IDLE: Duration = Duration::from_secs(2);

    fn origin(session: u64) -> Origin {
        Origin { source: IpAddr::from([10, 0, 0, 1]), interface: 2, session: SessionId(session) }
    }

    fn header(stream: u16, sequence: u64) -> Header {
        Header { kind: Kind::Data, stream, session: SessionId(0), sequence, time: UnixNanos(0) }
    }

    fn hear(sessions: &mut Sessions, session: u64, stream: u16, sequence: u64, now: Duration) {
        sessions.data(origin(session), &header(stream, sequence), 10, UnixNanos(1), now);
    }

    fn close(sessions: &mut Sessions, session: u64, sent: u64, now: Duration) {
        sessions.close(origin(session), &header(0, sent), &Settings::default(), now);
    }

    #[test]
    fn a_closed_session_is_over_soon_and_does_not_begin_again() {
        let mut sessions = Sessions::new(0);
        hear(&mut sessions, 1, 0, 0, Duration::ZERO);
        assert_eq!(sessions.take_begun(), [origin(1)]);
        assert!(sessions.take_begun().is_empty());
        close(&mut sessions, 1, 2, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_millis(499), IDLE).is_empty());
        let over = sessions.take_ended(Duration::from_millis(500), IDLE);
        assert_eq!(over[0].1.totals().lost, 1);
        hear(&mut sessions, 1, 0, 1, Duration::from_secs(1));
        assert!(sessions.is_empty());
    }

    #[test]
    fn without_a_closing_silence_ends_it() {
        let mut sessions = Sessions::new(0);
        hear(&mut sessions, 1, 0, 0, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_millis(1_999), IDLE).is_empty());
        assert_eq!(sessions.take_ended(IDLE, IDLE).len(), 1);
    }

    #[test]
    fn a_slow_sender_is_waited_for() {
        let mut sessions = Sessions::new(0);
        let slow = Settings { rate: Some(0.5), ..Settings::default() };
        sessions.open(origin(1), &header(0, 0), &slow, Duration::ZERO);
        assert!(sessions.take_ended(Duration::from_secs(5), IDLE).is_empty());
        assert_eq!(sessions.take_ended(Duration::from_secs(6), IDLE).len(), 1);
    }

    #[test]
    fn a_closing_alone_begins_nothing() {
        let mut sessions = Sessions::new(0);
        close(&mut sessions, 1, 10, Duration::ZERO);
        assert!(sessions.is_empty());
    }

    #[test]
    fn forged_sessions_and_streams_take_no_more_memory_than_there_is() {
        let mut sessions = Sessions::new(0);
        (0..70).for_each(|session| hear(&mut sessions, session, 0, 0, Duration::ZERO));
        assert_eq!((sessions.iter().count(), sessions.turned_away()), (MOST_SESSIONS, 6));
        (0..u16::MAX).for_each(|stream| hear(&mut sessions, 0, stream, 0, Duration::ZERO));
        let streams: usize = sessions.iter().map(|(_, session)| session.streams()).sum();
        assert_eq!(streams, MOST_STREAMS);
        assert_eq!(sessions.take_all().len(), MOST_SESSIONS);
        hear(&mut sessions, 1_000, 0, 0, Duration::ZERO);
        assert_eq!(sessions.iter().count(), 1);
    }

    proptest! {
        #[test]
        fn any_order_of_events_keeps_the_books_straight(
            events in proptest::collection::vec((0_u8..6, 0_u64..80, 0_u16..4, 0_u64..40), 0..400),
        ) {
            let mut sessions = Sessions::new(0);
            for (step, (what, session, stream, number)) in events.into_iter().enumerate() {
                let now = Duration::from_millis(step as u64 * 20);
                match what {
                    0 => sessions.open(origin(session), &header(stream, 0), &Settings::default(), now),
                    1 => close(&mut sessions, session, number, now),
                    2 => drop(sessions.take_ended(now, IDLE)),
                    _ => hear(&mut sessions, session, stream, number, now),
                }
                let streams: usize = sessions.iter().map(|(_, session)| session.streams()).sum();
                prop_assert_eq!(streams, sessions.streams);
                prop_assert!(sessions.live.len() <= MOST_SESSIONS && sessions.over.len() <= REMEMBERED);
            }
        }
    }
}
