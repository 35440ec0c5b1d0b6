//! Ping-pong: round-trip times with one ping in flight at a time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::wire::{
    MessageType, PING_LENGTH, SessionHeader, SessionId, SessionMessage, SessionSettings, UnixNanos,
};
use mcast_pace::{PaceDecision, PaceSchedule, Rate};

use crate::Histogram;

/// The number of calls without an answer after which there is no receiver.
const CALLS: u32 = 30;
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// A pong that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What to do next in a ping-pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingPongStep<'a> {
    /// Send this message to the group.
    Send(&'a [u8]),
    /// Wait at most this long for a message, and record it.
    Receive(Duration),
    /// The ping-pong has ended. Without a [partner](PingPong::partner), no receiver answered.
    End,
}

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
    /// Looking for a partner.
    Calling { calls: u32, next: Duration },
    /// The next ping may be sent.
    Ready,
    /// A ping was sent at this time.
    InFlight(Duration),
}

/// A ping-pong with the first receiver that answers, with at most one ping in flight.
///
/// ```
/// use mcast_measure::wire::{SessionId, UnixNanos};
/// use mcast_measure::{PingPong, PingPongLimit, PingPongStep};
/// use std::time::Duration;
///
/// let mut game = PingPong::new(SessionId(7), 64, 0, PingPongLimit::Count(10), None);
/// // First, it calls for a receiver.
/// assert!(matches!(game.poll_step(Duration::ZERO, UnixNanos(5)), PingPongStep::Send(_)));
/// assert!(matches!(game.poll_step(Duration::ZERO, UnixNanos(5)), PingPongStep::Receive(_)));
/// ```
#[derive(Clone, Debug)]
pub struct PingPong {
    header: SessionHeader,
    settings: SessionSettings,
    call: Vec<u8>,
    ping: Vec<u8>,
    limit: PingPongLimit,
    pace: Option<PaceSchedule>,
    state: PingPongState,
    partner: Option<IpAddr>,
    start: Duration,
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
        let mut call = header.with_kind(MessageType::Call).encode().to_vec();
        call.resize(PING_LENGTH, 0);
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
            call,
            ping: vec![0; size],
            limit,
            pace: rate.map(PaceSchedule::new),
            state: PingPongState::Calling { calls: 0, next: Duration::ZERO },
            partner: None,
            start: Duration::ZERO,
            sent: 0,
            lost: 0,
            duplicated: 0,
            late: 0,
            times: Histogram::new(),
        }
    }

    /// Returns the message that opens the session, to be sent a few times before the first step.
    #[must_use]
    pub fn opening(&self, time: UnixNanos) -> Vec<u8> {
        self.settings.opening(SessionHeader { time, ..self.header })
    }

    /// Returns the message that closes the session, to be sent a few times at the end.
    #[must_use]
    pub fn closing(&self, time: UnixNanos) -> Vec<u8> {
        self.settings.closing(SessionHeader { sequence: self.sent, time, ..self.header })
    }

    /// Returns what to do next. `now` counts from any fixed moment; `time` is the time of this host's clock.
    pub fn poll_step(&mut self, now: Duration, time: UnixNanos) -> PingPongStep<'_> {
        match self.state {
            PingPongState::Calling { next, .. } if now < next => PingPongStep::Receive(next - now),
            PingPongState::Calling { calls: CALLS, .. } => PingPongStep::End,
            PingPongState::Calling { calls, .. } => {
                self.state = PingPongState::Calling { calls: calls + 1, next: now + BETWEEN_CALLS };
                PingPongStep::Send(&self.call)
            }
            PingPongState::InFlight(since) if now < since + TIMEOUT => {
                PingPongStep::Receive(since + TIMEOUT - now)
            }
            PingPongState::Ready | PingPongState::InFlight(_) => {
                self.give_up();
                self.ping(now, time)
            }
        }
    }

    fn ping(&mut self, now: Duration, time: UnixNanos) -> PingPongStep<'_> {
        let is_over = match self.limit {
            PingPongLimit::Count(count) => self.sent >= count,
            PingPongLimit::Duration(duration) => now.saturating_sub(self.start) >= duration,
        };
        if is_over {
            return PingPongStep::End;
        }
        let size = self.ping.len();
        if let Some(PaceDecision::After(time)) = self.pace.as_mut().map(|pace| pace.allow(now, [size])) {
            return PingPongStep::Receive(time.min(TIMEOUT));
        }
        SessionHeader::renumber(&mut self.ping, self.sent, time);
        self.sent += 1;
        self.state = PingPongState::InFlight(now);
        PingPongStep::Send(&self.ping)
    }

    /// Records a message from a receiver.
    pub fn record(&mut self, message: &[u8], source: SocketAddr, now: Duration) {
        match SessionMessage::decode(message) {
            Some((header, _)) if header.session != self.header.session => {}
            Some((_, SessionMessage::Token(token))) if self.partner.is_none() => {
                self.header.write(&mut self.ping);
                if let Some(bytes) = self.ping.get_mut(PING_LENGTH - 8..PING_LENGTH) {
                    bytes.copy_from_slice(&token.to_be_bytes());
                }
                self.partner = Some(source.ip());
                self.start = now;
                self.state = PingPongState::Ready;
            }
            Some((header, SessionMessage::Pong)) => self.pong(header.sequence, now),
            _ => {}
        }
    }

    fn pong(&mut self, sequence: u64, now: Duration) {
        if sequence.checked_add(1) != Some(self.sent) {
            self.late += u64::from(sequence < self.sent);
        } else if let PingPongState::InFlight(since) = self.state {
            self.times.record_duration(now.saturating_sub(since));
            self.state = PingPongState::Ready;
        } else {
            self.duplicated += 1;
        }
    }

    /// Counts the ping in flight, if any, as lost.
    pub const fn give_up(&mut self) {
        if let PingPongState::InFlight(_) = self.state {
            self.lost += 1;
            self.state = PingPongState::Ready;
        }
    }

    /// Returns the receiver that answers; `None` until there is one.
    #[must_use]
    pub const fn partner(&self) -> Option<IpAddr> {
        self.partner
    }

    /// Returns the time since the partner was found.
    #[must_use]
    pub const fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.start)
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

#[cfg(test)]
mod tests {
    use mcast_pace::ClockTime;

    use super::*;
    use crate::{MessageArrival, Replier, ReplierHost, ReplierKind, Sessions, SystemCounters};

    const ID: SessionId = SessionId(7);

    fn micros(number: u64) -> Duration {
        Duration::from_micros(number)
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

        fn reply_to(&mut self, message: &[u8]) -> Vec<u8> {
            let (time, length) = (UnixNanos(1), message.len());
            let arrival = MessageArrival {
                source: source(),
                interface: 1,
                hop_limit: None,
                by_unicast: false,
                time,
                length,
            };
            self.0.handle_datagram(ClockTime(0), message, &arrival, &mut ()).unwrap().to_vec()
        }
    }

    /// Returns the next message to send, and `None` for anything else.
    fn sent(game: &mut PingPong, now: Duration) -> Option<Vec<u8>> {
        match game.poll_step(now, UnixNanos(1)) {
            PingPongStep::Send(message) => Some(message.to_vec()),
            _ => None,
        }
    }

    /// Returns a ping-pong that has found its partner, and that partner.
    fn started(limit: PingPongLimit, rate: Option<Rate>) -> (PingPong, Partner) {
        let (mut game, mut partner) = (PingPong::new(ID, 64, 0, limit, rate), Partner::new());
        let call = sent(&mut game, Duration::ZERO).unwrap();
        game.record(&partner.reply_to(&call), source(), Duration::ZERO);
        assert_eq!(game.partner(), Some(source().ip()));
        (game, partner)
    }

    /// Sends the next ping and returns its pong.
    fn pong(game: &mut PingPong, partner: &mut Partner, now: Duration) -> Vec<u8> {
        let ping = sent(game, now).unwrap();
        assert_eq!(ping.len(), 64);
        partner.reply_to(&ping)
    }

    #[test]
    fn each_ping_is_answered_before_the_next_one() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), None);
        for start in [10, 50] {
            let pong = pong(&mut game, &mut partner, micros(start));
            assert_eq!(game.poll_step(micros(start), UnixNanos(0)), PingPongStep::Receive(TIMEOUT));
            game.record(&pong, source(), micros(start + 7));
            game.record(&pong, source(), micros(start + 8));
        }
        assert_eq!(game.poll_step(micros(60), UnixNanos(0)), PingPongStep::End);
        assert_eq!((game.times().count(), game.times().min()), (2, Some(micros(7))));
        assert_eq!((game.sent(), game.lost(), game.duplicated(), game.late()), (2, 0, 2, 0));
    }

    #[test]
    fn late_pong_counts_as_lost_and_late() {
        let (mut game, mut partner) = started(PingPongLimit::Duration(TIMEOUT + micros(5)), None);
        let late = pong(&mut game, &mut partner, micros(0));
        let second = pong(&mut game, &mut partner, TIMEOUT);
        game.record(&late, source(), TIMEOUT + micros(1));
        game.record(&second, source(), TIMEOUT + micros(5));
        assert_eq!(game.poll_step(TIMEOUT + micros(5), UnixNanos(0)), PingPongStep::End);
        assert_eq!((game.sent(), game.lost(), game.late(), game.times().count()), (2, 1, 1, 1));
    }

    #[test]
    fn without_an_answer_calls_end() {
        let mut game = PingPong::new(ID, 64, 0, PingPongLimit::Count(1), None);
        let calls = (0..100).filter(|step| sent(&mut game, *step * BETWEEN_CALLS).is_some()).count();
        assert_eq!((calls, game.partner()), (CALLS as usize, None));
        assert_eq!(game.poll_step(100 * BETWEEN_CALLS, UnixNanos(0)), PingPongStep::End);
    }

    #[test]
    fn pings_keep_the_pace() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), Some(Rate::Datagrams(100.0)));
        let pong = pong(&mut game, &mut partner, micros(0));
        game.record(&pong, source(), micros(100));
        assert_eq!(game.poll_step(micros(100), UnixNanos(0)), PingPongStep::Receive(micros(9_900)));
        assert!(sent(&mut game, micros(10_000)).is_some());
    }

    #[test]
    fn messages_of_other_sessions_are_ignored() {
        let (mut game, mut partner) = started(PingPongLimit::Count(2), None);
        let mut other = PingPong::new(SessionId(8), 64, 0, PingPongLimit::Count(2), None);
        other.record(&pong(&mut game, &mut partner, micros(0)), source(), micros(1));
        assert_eq!((other.times().count(), other.late(), other.duplicated()), (0, 0, 0));
        game.give_up();
        assert_eq!(game.lost(), 1);
    }
}
