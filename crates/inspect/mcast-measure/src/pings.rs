//! Pings of a group, and of each host that answers.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use mcast_pace::ClockTime;

use crate::wire::{SessionId, UnixNanos};
use crate::{AcceptedReply, Inquiry, ProbeCase, ProbeSession, Question, Recipient};

/// When [`Pings`] are sent, and when they end.
#[derive(Clone, Copy, Debug)]
pub struct PingSchedule {
    /// The time between two probes. Responders do not answer more than 250 per second.
    pub every: Duration,
    /// How long to wait for an answer.
    pub wait: Duration,
    /// The number of probes; without it there is no limit.
    pub count: Option<u64>,
    /// When to stop; without it, after the last probe.
    pub timeout: Option<Duration>,
    /// The number of responders: once that many have answered all probes, the wait after the last one ends.
    pub expected: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum PingState {
    /// The next probe is due at this time.
    Probing(ClockTime),
    /// Answers to the last probe count until this time.
    Waiting(ClockTime),
    Over,
}

/// Probes to a group, and to each host that answers by unicast, so that both can be compared. Times count from the
/// start.
///
/// ```
/// use std::time::Duration;
///
/// use mcast_measure::wire::{SessionId, UnixNanos};
/// use mcast_measure::{ClockTime, Inquiry, PingSchedule, Pings, ProbeCase};
///
/// let second = Duration::from_secs(1);
/// let schedule = PingSchedule { every: second, wait: second, count: Some(3), timeout: None, expected: None };
/// let mut pings = Pings::new(SessionId(7), ProbeCase { size: 64, hop_limit: 1 }, schedule);
/// let mut now = ClockTime(0);
/// while let Some(next) = pings.poll_timeout() {
///     now = now.max(next);
///     while let Some(question) = pings.poll_transmit(now, UnixNanos(5)) {
///         // Send it here, and pass what arrives until `poll_timeout` to `handle_datagram`.
///     }
/// }
/// assert_eq!((pings.session().sent(0), now), (3, ClockTime(0) + 3 * second));
/// ```
#[derive(Clone, Debug)]
pub struct Pings {
    session: ProbeSession,
    schedule: PingSchedule,
    state: PingState,
    /// The source of each responder's answers, including the scope of its address.
    sources: Vec<SocketAddr>,
    /// The responders that have not been probed in this round.
    left: Range<usize>,
    message: Vec<u8>,
    reply: Option<AcceptedReply>,
}

impl Pings {
    /// Creates pings of one case, whose hop limit is the sender's.
    #[must_use]
    pub fn new(id: SessionId, case: ProbeCase, schedule: PingSchedule) -> Self {
        Self {
            session: ProbeSession::ping(id, case, schedule.wait),
            schedule,
            state: PingState::Probing(ClockTime(0)),
            sources: Vec::new(),
            left: 0..0,
            message: Vec::new(),
            reply: None,
        }
    }

    /// Returns the probes sent and the responders.
    #[must_use]
    pub const fn session(&self) -> &ProbeSession {
        &self.session
    }

    /// Returns the next probe of this round to a responder that answers unicast probes.
    fn unicast_probe(&mut self, now: ClockTime) -> Option<Recipient> {
        let responders = self.session.responders();
        let index =
            self.left.find(|index| responders.get(*index).is_some_and(|host| host.unicast_port != 0))?;
        let mut to = *self.sources.get(index)?;
        to.set_port(responders.get(index)?.unicast_port);
        self.message = self.session.unicast_probe(now, index)?;
        Some(Recipient::Host(to))
    }

    fn group_probe(&mut self, now: ClockTime, due: ClockTime) -> Option<Recipient> {
        self.message = self.session.probe(now, 0)?;
        self.session.handle_sent(now, 0);
        self.left = 0..self.sources.len();
        self.state = match self.is_last() {
            true => PingState::Waiting((now + self.schedule.wait).min(self.end())),
            // After a delay, continue from now instead of sending several probes at once.
            false => PingState::Probing((due + self.schedule.every).max(now)),
        };
        Some(Recipient::Targets)
    }

    fn is_last(&self) -> bool {
        self.schedule.count.is_some_and(|count| self.session.sent(0) >= count)
    }

    fn end(&self) -> ClockTime {
        self.schedule.timeout.map_or(ClockTime::NEVER, |timeout| ClockTime(0) + timeout)
    }

    /// Returns whether all probes are answered, by as many responders as expected.
    fn is_complete(&self) -> bool {
        let is_expected = |expected| self.session.responders().len() >= expected;
        self.schedule.expected.is_some_and(is_expected) && self.session.all_answered()
    }
}

impl Inquiry for Pings {
    type Event = AcceptedReply;

    fn poll_transmit(&mut self, now: ClockTime, _time: UnixNanos) -> Option<Question<'_>> {
        let is_over = match self.state {
            PingState::Probing(_) => now >= self.end(),
            PingState::Waiting(until) => now >= until || (self.left.is_empty() && self.is_complete()),
            PingState::Over => true,
        };
        if is_over {
            self.close(now);
        }
        let to = match (self.unicast_probe(now), self.state) {
            (Some(to), _) => to,
            (None, PingState::Probing(due)) if now >= due => self.group_probe(now, due)?,
            _ => return None,
        };
        Some(Question { to, message: &self.message })
    }

    fn poll_timeout(&self) -> Option<ClockTime> {
        match self.state {
            PingState::Probing(due) => Some(due.min(self.end())),
            PingState::Waiting(until) => Some(until),
            PingState::Over => None,
        }
    }

    fn poll_event(&mut self) -> Option<AcceptedReply> {
        self.reply.take()
    }

    fn handle_datagram(&mut self, now: ClockTime, message: &[u8], source: SocketAddr, _peer: Option<usize>) {
        self.reply = self.session.handle_datagram(now, message, source.ip());
        if self.reply.is_some_and(|reply| reply.is_new) {
            self.sources.push(source);
        }
    }

    fn close(&mut self, _now: ClockTime) {
        (self.state, self.left) = (PingState::Over, 0..0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ProbeReply, SessionMessage};

    const SECOND: Duration = Duration::from_secs(1);

    fn pings(count: Option<u64>, timeout: Option<Duration>, expected: Option<usize>) -> Pings {
        let schedule = PingSchedule { every: SECOND, wait: 5 * SECOND, count, timeout, expected };
        Pings::new(SessionId(7), ProbeCase { size: 64, hop_limit: 1 }, schedule)
    }

    /// Runs to the end, while hosts answer after a millisecond; returns when each message was sent and where it went.
    /// The unicast port of each host is its number.
    fn run(pings: &mut Pings, hosts: u16) -> (Vec<(u64, Recipient)>, ClockTime) {
        let (mut now, mut sent) = (ClockTime(0), Vec::new());
        while let Some(next) = pings.poll_timeout() {
            now = now.max(next);
            while let Some(question) = pings.poll_transmit(now, UnixNanos(1)) {
                sent.push((now.0 / 1_000_000_000, question.to));
                let (header, _) = SessionMessage::decode(question.message).unwrap();
                let answering = match question.to {
                    Recipient::Host(to) => to.port()..to.port() + 1,
                    _ => 0..hosts,
                };
                let by_unicast = matches!(question.to, Recipient::Host(_));
                for host in answering {
                    let reply = ProbeReply {
                        responder: host.into(),
                        interface: 1,
                        length: 64,
                        hop_limit: 1,
                        arrival_hop_limit: None,
                        by_unicast,
                        unicast_port: host,
                        joined: SECOND * 1_000,
                    };
                    let source = SocketAddr::from(([10, 0, 0, 1], 5_000));
                    let arrival = now + Duration::from_millis(1);
                    pings.handle_datagram(arrival, &reply.encode(header, 64), source, None);
                    let answer = pings.poll_event().unwrap();
                    assert_eq!(answer.round_trip, Duration::from_millis(1));
                }
            }
        }
        (sent, now)
    }

    #[test]
    fn each_round_probes_the_group_and_the_hosts_that_answered_before() {
        let mut pings = pings(Some(3), None, Some(2));
        let (sent, end) = run(&mut pings, 2);
        // Host 0 has no port for unicast.
        let host = Recipient::Host(([10, 0, 0, 1], 1).into());
        let group = Recipient::Targets;
        assert_eq!(sent, [(0, group), (1, group), (1, host), (2, group), (2, host)]);
        assert_eq!(end, ClockTime(0) + 2 * SECOND, "all answered: nothing to wait for");
        assert!(pings.session().all_answered());
    }

    #[test]
    fn pings_end_after_the_wait_for_the_last_answer_or_at_the_timeout() {
        let end = |count, timeout| run(&mut pings(count, timeout, Some(1)), 0).1;
        assert_eq!(end(Some(3), None), ClockTime(0) + 7 * SECOND);
        assert_eq!(end(Some(3), Some(4 * SECOND)), ClockTime(0) + 4 * SECOND);
        assert_eq!(end(None, Some(9 * SECOND)), ClockTime(0) + 9 * SECOND);
    }

    #[test]
    fn delayed_probes_are_not_sent_at_once() {
        let mut pings = pings(None, None, None);
        let late = ClockTime(0) + 10 * SECOND;
        assert!(pings.poll_transmit(ClockTime(0), UnixNanos(1)).is_some());
        assert!(pings.poll_transmit(late, UnixNanos(1)).is_some());
        assert!(pings.poll_transmit(late, UnixNanos(1)).is_some(), "the one that is due now");
        assert!(pings.poll_transmit(late, UnixNanos(1)).is_none());
        pings.close(late);
        assert!(pings.poll_timeout().is_none() && pings.poll_transmit(late, UnixNanos(1)).is_none());
    }
}
