//! Ping-pong: round-trip times with one ping in flight at a time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::wire::{
    MessageType, PING_LENGTH, SessionHeader, SessionId, SessionMessage, SessionSettings, UnixNanos,
};
use mcast_pace::{ClockTime, PaceDecision, PaceSchedule, Rate};

use crate::{Histogram, Inquiry, Question, Recipient};

/// The number of calls without an answer after which there is no receiver.
const CALLS: u32 = 30;
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// A pong that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The number of opening and closing messages, so that hardly any receiver misses all of them.
const REPEATS: u32 = 5;
const BETWEEN_REPEATS: Duration = Duration::from_millis(2);

/// When a ping-pong ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingPongLimit {
    /// After this many pings.
    Count(u64),
    /// After this time since the first ping.
    Duration(Duration),
}

#[derive(Clone, Copy, Debug)]
enum PingPongState {
    /// Opens the session: the number of messages sent, and when the next is due.
    Opening { sent: u32, next: ClockTime },
    /// Looks for a partner.
    Calling { calls: u32, next: ClockTime },
    /// The next ping may be sent from this time on.
    Ready(ClockTime),
    /// A ping was sent at this time.
    InFlight(ClockTime),
    /// Closes the session: the number of messages sent, and when the next is due.
    Closing { sent: u32, next: ClockTime },
    /// There is nothing more to send.
    Over,
}

/// A ping-pong with the first receiver that answers, with at most one ping in flight. It opens and closes its session.
///
/// ```
/// use mcast_measure::wire::{SessionId, UnixNanos};
/// use mcast_measure::{ClockTime, Inquiry, PingPong, PingPongLimit};
///
/// let mut game = PingPong::new(SessionId(7), 64, 0, PingPongLimit::Count(10), None);
/// let mut now = ClockTime(0);
/// while let Some(next) = game.poll_timeout() {
///     now = now.max(next);
///     while let Some(question) = game.poll_transmit(now, UnixNanos(5)) {
///         // Send it here, and pass what arrives until `poll_timeout` to `handle_datagram`.
///     }
/// }
/// assert_eq!(game.partner(), None);
/// ```
#[derive(Clone, Debug)]
pub struct PingPong {
    header: SessionHeader,
    settings: SessionSettings,
    /// The latest opening, calling or closing message.
    message: Vec<u8>,
    ping: Vec<u8>,
    limit: PingPongLimit,
    pace: Option<PaceSchedule>,
    state: PingPongState,
    partner: Option<IpAddr>,
    /// Whether the partner was found by the latest message.
    is_found: bool,
    /// When the partner was found, and when the last ping was answered or lost.
    start: ClockTime,
    end: Option<ClockTime>,
    sent: u64,
    lost: u64,
    duplicated: u64,
    late: u64,
    times: Histogram,
}

impl PingPong {
    /// Creates a ping-pong with pings of `size` bytes (at least [`PING_LENGTH`]), from a host whose clock has
    /// this id (see [`SessionSettings::clock`]), with a random session id.
    #[must_use]
    pub fn new(
        session: SessionId,
        size: usize,
        clock: u64,
        limit: PingPongLimit,
        rate: Option<Rate>,
    ) -> Self {
        let size = size.max(PING_LENGTH);
        let header = SessionHeader::new(MessageType::Ping, session);
        let settings = SessionSettings {
            size: u32::try_from(size).unwrap_or(u32::MAX),
            clock,
            streams: 1,
            ping_pong: true,
            ..SessionSettings::default()
        };
        Self {
            header,
            settings,
            message: Vec::new(),
            ping: vec![0; size],
            limit,
            pace: rate.map(PaceSchedule::new),
            state: PingPongState::Opening { sent: 0, next: ClockTime(0) },
            partner: None,
            is_found: false,
            start: ClockTime(0),
            end: None,
            sent: 0,
            lost: 0,
            duplicated: 0,
            late: 0,
            times: Histogram::new(),
        }
    }

    fn is_complete(&self, now: ClockTime) -> bool {
        match self.limit {
            PingPongLimit::Count(count) => self.sent >= count,
            PingPongLimit::Duration(duration) => now >= self.start + duration,
        }
    }

    fn ping(&mut self, now: ClockTime, time: UnixNanos) -> Option<Question<'_>> {
        let size = self.ping.len();
        let pace = self.pace.as_mut().map(|pace| pace.allow(now, [size]));
        if let Some(PaceDecision::After(wait)) = pace {
            self.state = PingPongState::Ready(now + wait.min(TIMEOUT));
            return None;
        }
        SessionHeader::renumber(&mut self.ping, self.sent, time);
        self.sent += 1;
        self.state = PingPongState::InFlight(now);
        Some(Question { to: Recipient::Targets, message: &self.ping })
    }

    fn pong(&mut self, sequence: u64, now: ClockTime) {
        if sequence.checked_add(1) != Some(self.sent) {
            self.late += u64::from(sequence < self.sent);
        } else if let PingPongState::InFlight(since) = self.state {
            self.times.record_duration(now.since(since));
            self.state = PingPongState::Ready(now);
        } else {
            self.duplicated += 1;
        }
    }

    /// Returns the receiver that answers; `None` until there is one.
    #[must_use]
    pub const fn partner(&self) -> Option<IpAddr> {
        self.partner
    }

    /// Returns the time from finding the partner to the end.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.end.map_or(Duration::ZERO, |end| end.since(self.start))
    }

    /// Returns the number of pings sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the number of pings without a pong in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the number of duplicate pongs.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Returns the number of pongs that arrived after the next ping was sent.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Returns the round-trip times.
    #[must_use]
    pub const fn times(&self) -> &Histogram {
        &self.times
    }
}

impl Inquiry for PingPong {
    /// The partner, once it is found.
    type Event = IpAddr;

    fn poll_transmit(&mut self, now: ClockTime, time: UnixNanos) -> Option<Question<'_>> {
        if let PingPongState::InFlight(since) = self.state
            && now >= since + TIMEOUT
        {
            self.lost += 1;
            self.state = PingPongState::Ready(now);
        }
        if let PingPongState::Ready(from) = self.state
            && now >= from
            && self.is_complete(now)
        {
            self.close(now);
        }
        match self.state {
            PingPongState::Opening { sent, next } if now >= next => {
                let (sent, next) = (sent + 1, now + BETWEEN_REPEATS);
                self.state = match sent {
                    REPEATS => PingPongState::Calling { calls: 0, next },
                    _ => PingPongState::Opening { sent, next },
                };
                self.message = self.settings.opening(SessionHeader { time, ..self.header });
                Some(Question { to: Recipient::Targets, message: &self.message })
            }
            PingPongState::Calling { calls: CALLS, next } if now >= next => {
                // No receiver answers, so that none has to learn that the session ends.
                self.state = PingPongState::Over;
                None
            }
            PingPongState::Calling { calls, next } if now >= next => {
                self.state = PingPongState::Calling { calls: calls + 1, next: now + BETWEEN_CALLS };
                self.message = self.header.with_kind(MessageType::Call).encode().to_vec();
                self.message.resize(PING_LENGTH, 0);
                Some(Question { to: Recipient::Targets, message: &self.message })
            }
            PingPongState::Ready(from) if now >= from => self.ping(now, time),
            PingPongState::Closing { sent, next } if now >= next => {
                let (sent, next) = (sent + 1, now + BETWEEN_REPEATS);
                self.state = match sent {
                    REPEATS => PingPongState::Over,
                    _ => PingPongState::Closing { sent, next },
                };
                self.message =
                    self.settings.closing(SessionHeader { sequence: self.sent, time, ..self.header });
                Some(Question { to: Recipient::Targets, message: &self.message })
            }
            _ => None,
        }
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        match self.state {
            PingPongState::Opening { next, .. }
            | PingPongState::Calling { next, .. }
            | PingPongState::Closing { next, .. }
            | PingPongState::Ready(next) => Some(next),
            PingPongState::InFlight(since) => Some(since + TIMEOUT),
            PingPongState::Over => None,
        }
    }

    fn poll_event(&mut self) -> Option<IpAddr> {
        if std::mem::take(&mut self.is_found) { self.partner } else { None }
    }

    fn handle_datagram(&mut self, now: ClockTime, message: &[u8], source: SocketAddr, _peer: Option<usize>) {
        match SessionMessage::decode(message) {
            Some((header, _)) if header.session != self.header.session => {}
            Some((_, SessionMessage::Token(token)))
                if matches!(self.state, PingPongState::Calling { .. }) =>
            {
                self.header.write(&mut self.ping);
                if let Some(bytes) = self.ping.get_mut(PING_LENGTH - 8..PING_LENGTH) {
                    bytes.copy_from_slice(&token.to_be_bytes());
                }
                self.partner = Some(source.ip());
                self.is_found = true;
                self.start = now;
                self.state = PingPongState::Ready(now);
            }
            Some((header, SessionMessage::Pong)) => self.pong(header.sequence, now),
            _ => {}
        }
    }

    // A ping in flight counts as lost, and receivers learn that the session ends.
    fn close(&mut self, now: ClockTime) {
        if matches!(self.state, PingPongState::Closing { .. } | PingPongState::Over) {
            return;
        }
        self.lost += u64::from(matches!(self.state, PingPongState::InFlight(_)));
        self.end = Some(now);
        self.state = PingPongState::Closing { sent: 0, next: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageArrival, Replier, ReplierHost, ReplierKind, Sessions, SystemCounters};

    const ID: SessionId = SessionId(7);

    fn micros(number: u64) -> ClockTime {
        ClockTime(number * 1_000)
    }

    fn second(micros: u64) -> ClockTime {
        ClockTime(micros * 1_000) + TIMEOUT
    }

    fn source() -> SocketAddr {
        ([10, 0, 0, 2], 5_000).into()
    }

    /// A receiver that replies to pings.
    struct Partner(Replier);

    impl ReplierHost for () {
        fn counters(&mut self) -> SystemCounters {
            SystemCounters::default()
        }

        fn examine(&mut self, _session: SessionId) -> (Option<u64>, String) {
            (None, String::new())
        }
    }

    impl Partner {
        fn new() -> Self {
            let sessions = Sessions::new(1, 0, TIMEOUT, SystemCounters::default());
            Self(Replier::new(ReplierKind::Perf { pings: true }, 1, 0, sessions))
        }

        fn reply_to(&mut self, message: &[u8]) -> Option<Vec<u8>> {
            let (time, length) = (UnixNanos(1), message.len());
            let arrival = MessageArrival {
                source: source(),
                interface: 1,
                hop_limit: None,
                by_unicast: false,
                time,
                length,
            };
            self.0.handle_datagram(ClockTime(0), message, &arrival, &mut ()).map(<[u8]>::to_vec)
        }
    }

    fn sent(game: &mut PingPong, now: ClockTime) -> Option<Vec<u8>> {
        game.poll_transmit(now, UnixNanos(1)).map(|question| question.message.to_vec())
    }

    fn kinds(messages: &[Vec<u8>]) -> Vec<MessageType> {
        messages.iter().map(|message| SessionHeader::decode(message).unwrap().kind).collect()
    }

    /// Plays until `end` or for five minutes, and returns the messages. Each reaches the partner, if there is one.
    fn play(
        game: &mut PingPong,
        mut partner: Option<&mut Partner>,
        mut now: ClockTime,
        end: impl Fn(&PingPong) -> bool,
    ) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(next) = game.poll_timeout().filter(|next| *next < micros(300_000_000) && !end(game)) {
            now = now.max(next);
            while let Some(message) = sent(game, now) {
                if let Some(reply) = partner.as_mut().and_then(|partner| partner.reply_to(&message)) {
                    game.handle_datagram(now, &reply, source(), None);
                }
                messages.push(message);
            }
        }
        messages
    }

    /// Returns a ping-pong that has found its partner, with the clock back at 0, and that partner.
    fn started(limit: PingPongLimit, rate: Option<Rate>) -> (PingPong, Partner) {
        let (mut game, mut partner) = (PingPong::new(ID, 64, 0, limit, rate), Partner::new());
        let mut calls = play(&mut game, None, micros(0), |game| {
            matches!(game.state, PingPongState::Calling { calls: 1, .. })
        });
        let token = partner.reply_to(&calls.pop().unwrap()).unwrap();
        game.handle_datagram(micros(0), &token, source(), None);
        assert_eq!(game.partner(), Some(source().ip()));
        (game, partner)
    }

    /// Sends the next ping and returns its pong.
    fn pong(game: &mut PingPong, partner: &mut Partner, now: ClockTime) -> Vec<u8> {
        let ping = sent(game, now).unwrap();
        assert_eq!(ping.len(), 64);
        partner.reply_to(&ping).unwrap()
    }

    #[test]
    fn a_session_is_opened_played_and_closed() {
        let (mut game, mut partner) =
            (PingPong::new(ID, 64, 0, PingPongLimit::Count(2), None), Partner::new());
        let messages = play(&mut game, Some(&mut partner), micros(0), |_| false);
        use MessageType::{Call, Closing, Opening, Ping};
        let mut expected = vec![Opening; 5];
        expected.extend([Call, Ping, Ping]);
        expected.extend([Closing; 5]);
        assert_eq!(kinds(&messages), expected);
        assert_eq!(SessionHeader::decode(messages.last().unwrap()).unwrap().sequence, 2);
        assert_eq!((game.times().count(), game.lost(), game.poll_timeout()), (2, 0, None));
    }

    #[test]
    fn each_ping_is_answered_before_the_next_one() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), None);
        for start in [10, 50] {
            let pong = pong(&mut game, &mut partner, micros(start));
            assert_eq!((sent(&mut game, micros(start)), game.poll_timeout()), (None, Some(second(start))));
            game.handle_datagram(micros(start + 7), &pong, source(), None);
            game.handle_datagram(micros(start + 8), &pong, source(), None);
        }
        assert_eq!(kinds(&[sent(&mut game, micros(60)).unwrap()]), [MessageType::Closing]);
        assert_eq!((game.times().count(), game.times().min()), (2, Some(Duration::from_micros(7))));
        assert_eq!((game.sent(), game.lost(), game.duplicated(), game.late()), (2, 0, 2, 0));
        assert_eq!(game.elapsed(), Duration::from_micros(60));
    }

    #[test]
    fn late_pong_counts_as_lost_and_late() {
        let limit = PingPongLimit::Duration(TIMEOUT + Duration::from_micros(5));
        let (mut game, mut partner) = started(limit, None);
        let late = pong(&mut game, &mut partner, micros(0));
        let in_time = pong(&mut game, &mut partner, second(0));
        game.handle_datagram(second(1), &late, source(), None);
        game.handle_datagram(second(5), &in_time, source(), None);
        assert_eq!(kinds(&[sent(&mut game, second(5)).unwrap()]), [MessageType::Closing]);
        assert_eq!((game.sent(), game.lost(), game.late(), game.times().count()), (2, 1, 1, 1));
    }

    #[test]
    fn without_an_answer_calls_end() {
        let mut game = PingPong::new(ID, 64, 0, PingPongLimit::Count(1), None);
        let messages = play(&mut game, None, micros(0), |_| false);
        let calls = kinds(&messages).into_iter().filter(|kind| *kind == MessageType::Call).count();
        assert_eq!((calls, game.partner(), game.poll_timeout()), (CALLS as usize, None, None));
    }

    #[test]
    fn pings_keep_the_pace() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), Some(Rate::Datagrams(100.0)));
        let pong = pong(&mut game, &mut partner, micros(0));
        game.handle_datagram(micros(100), &pong, source(), None);
        assert_eq!((sent(&mut game, micros(100)), game.poll_timeout()), (None, Some(micros(10_000))));
        assert!(sent(&mut game, micros(10_000)).is_some());
    }

    #[test]
    fn messages_of_other_sessions_are_ignored() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), None);
        let mut other = PingPong::new(SessionId(8), 64, 0, PingPongLimit::Count(2), None);
        other.handle_datagram(micros(1), &pong(&mut game, &mut partner, micros(0)), source(), None);
        assert_eq!((other.times().count(), other.late(), other.duplicated()), (0, 0, 0));
    }

    #[test]
    fn the_ping_in_flight_is_lost_when_the_caller_closes() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), None);
        let _ = pong(&mut game, &mut partner, micros(0));
        game.close(micros(1));
        game.close(micros(2));
        assert_eq!((game.lost(), game.elapsed()), (1, Duration::from_micros(1)));
        assert_eq!(play(&mut game, None, micros(1), |_| false).len(), REPEATS as usize);
    }
}
