//! A receiver of `mcast perf`: its sessions, reports and replies.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::{MessageType, ReceiverReport, SessionHeader, SessionMessage, UnixNanos};
use crate::{PerfResponder, Session, SessionKey, SessionTotals, Sessions, SystemCounters};

/// A sweep whose next step does not start within this time has ended.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// How a datagram arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfArrival {
    /// The source.
    pub source: SocketAddr,
    /// The index of the interface.
    pub interface: u32,
    /// The time of arrival, by the receiver's clock.
    pub time: UnixNanos,
    /// The length of the payload, of which less may have been received.
    pub length: usize,
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
}

/// What a session has received in an interval.
#[derive(Debug)]
pub struct SessionProgress<'a> {
    /// What identifies the session.
    pub key: SessionKey,
    /// Its statistics since it started.
    pub session: &'a Session,
    /// What it has received in the interval.
    pub totals: SessionTotals,
    /// The part of the interval in which it was active.
    pub active: Duration,
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

/// A receiver of `mcast perf`: counts what senders send, and reports it to them.
///
/// ```
/// use mcast_measure::wire::{SessionHeader, MessageType, SessionId, SessionSettings, UnixNanos};
/// use mcast_measure::{PerfArrival, PerfReceiver, SystemCounters};
/// use std::time::Duration;
///
/// let counters = SystemCounters::default;
/// let mut receiver = PerfReceiver::new(1, 0, Duration::from_secs(3), counters());
/// let session = SessionId(7);
/// let header = SessionHeader { kind: MessageType::Data, stream: 0, session, sequence: 0, time: UnixNanos(5) };
/// let arrival =
///     PerfArrival { source: ([10, 0, 0, 1], 9).into(), interface: 2, time: UnixNanos(8), length: 32 };
/// assert_eq!(receiver.record(&header.encode(), &arrival, Duration::ZERO, counters), None);
///
/// // The sender states that it has sent two datagrams, and gets a report.
/// let closing = SessionSettings::default().closing(SessionHeader { sequence: 2, ..header });
/// assert!(receiver.record(&closing, &arrival, Duration::ZERO, counters).is_some());
/// let ended = receiver.take_ended(Duration::from_secs(1), counters);
/// assert_eq!((ended[0].report.received, ended[0].report.lost), (1, 1));
/// ```
#[derive(Debug)]
pub struct PerfReceiver {
    id: u64,
    idle: Duration,
    sessions: Sessions,
    responder: PerfResponder,
    tally: RunTally,
    foreign: u64,
    /// When a step of a sweep ended after which more may follow, and the number of sessions started by then.
    between_steps: Option<(Duration, u64)>,
    /// The time of the last call of `progress`.
    shown: UnixNanos,
}

impl PerfReceiver {
    /// Creates a receiver with a random id and the id of its clock (see
    /// [`SessionSettings::clock`](crate::wire::SessionSettings::clock)), whose system has these counters. A
    /// session without a closing message ends after silence for `idle`.
    #[must_use]
    pub fn new(id: u64, clock: u64, idle: Duration, counters: SystemCounters) -> Self {
        Self {
            id,
            idle,
            sessions: Sessions::new(clock, counters),
            responder: PerfResponder::new(),
            tally: RunTally::default(),
            foreign: 0,
            between_steps: None,
            shown: UnixNanos::default(),
        }
    }

    /// Returns the reply to a call or a ping (see [`PerfResponder::reply_to`]). It is to be sent before the
    /// datagram is recorded, because its sender measures the delay.
    pub fn reply_to(&mut self, message: &[u8], source: SocketAddr, now: Duration) -> Option<&[u8]> {
        self.responder.reply_to(message, source, now)
    }

    /// Records a datagram. Returns the report to its sender if the datagram asks for one, for which the
    /// system's counters are read.
    pub fn record(
        &mut self,
        payload: &[u8],
        arrival: &PerfArrival,
        now: Duration,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Option<Vec<u8>> {
        let Some(header) = SessionHeader::decode(payload) else {
            self.foreign += 1;
            return None;
        };
        let PerfArrival { source, interface, time, length } = *arrival;
        let key = SessionKey { source: source.ip(), interface, session: header.session };
        if header.kind == MessageType::Data {
            self.sessions.data(key, &header, length, time, now);
            return None;
        }
        match SessionMessage::decode(payload) {
            Some((_, SessionMessage::Opening(settings))) => self.sessions.open(key, &header, &settings, now),
            Some((_, SessionMessage::Closing(settings))) => {
                let session = self.sessions.close(key, &header, &settings, now)?;
                let may_report = self.responder.may_report(key.source, now);
                return may_report.then(|| session.report(self.id, &counters()).encode(header));
            }
            Some((_, SessionMessage::Ping(_))) => self.sessions.data(key, &header, length, time, now),
            Some((_, SessionMessage::Probe(_) | SessionMessage::Reply(_))) | None => self.foreign += 1,
            // A message for senders, or a call.
            Some(_) => {}
        }
        None
    }

    /// Returns what each session has received since the last call. `counters` is called if there is none.
    pub fn progress(
        &mut self,
        time: UnixNanos,
        counters: impl FnOnce() -> SystemCounters,
    ) -> impl Iterator<Item = SessionProgress<'_>> {
        if self.sessions.is_empty() {
            self.sessions.set_idle_counters(counters());
        }
        let before = std::mem::replace(&mut self.shown, time);
        self.sessions.iter_mut().map(move |(key, session)| {
            let totals = session.progress();
            SessionProgress { key: *key, active: session.active(before, time), session, totals }
        })
    }

    /// Removes and returns the sessions that have ended (see [`Sessions::take_ended`]). `counters` is called
    /// if there are any.
    pub fn take_ended(
        &mut self,
        now: Duration,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        let ended = self.sessions.take_ended(now, self.idle);
        let ended = self.end(ended, now, counters);
        let sweep = self.between_steps.filter(|(_, started)| *started == self.sessions.started());
        if sweep.is_some_and(|(since, _)| now >= since + BETWEEN_STEPS.max(self.idle)) {
            self.between_steps = None;
            self.tally.runs += 1;
        }
        ended
    }

    /// Removes and returns all sessions, ended or not. `counters` is called if there are any.
    pub fn take_all(
        &mut self,
        now: Duration,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        let all = self.sessions.take_all();
        self.end(all, now, counters)
    }

    fn end(
        &mut self,
        ended: Vec<(SessionKey, Session)>,
        now: Duration,
        counters: impl FnOnce() -> SystemCounters,
    ) -> Vec<EndedSession> {
        if ended.is_empty() {
            return Vec::new();
        }
        let counters = counters();
        self.sessions.set_idle_counters(counters);
        let report = |(key, mut session): (SessionKey, Session)| {
            let report = session.report(self.id, &counters);
            let has_successor = session.settings().is_some_and(|settings| settings.more_follows);
            self.between_steps = has_successor.then(|| (now, self.sessions.started()));
            self.tally.runs += u64::from(!has_successor);
            self.tally.datagrams += report.received;
            self.tally.worst_loss = self.tally.worst_loss.max(report.lost_percent());
            EndedSession { key, session, report }
        };
        ended.into_iter().map(report).collect()
    }

    /// Returns the results of the runs that have ended.
    #[must_use]
    pub const fn tally(&self) -> &RunTally {
        &self.tally
    }

    /// Returns whether there is no session.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Returns the number of datagrams that are not messages to receivers of `mcast perf`.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the number of datagrams of sessions and streams beyond the maximum.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.sessions.rejected()
    }

    /// Returns the number of requests over the rate limit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.responder.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{SessionId, SessionSettings};
    use crate::{DropCounts, DropPoint};

    const IDLE: Duration = Duration::from_secs(3);
    const SECOND: Duration = Duration::from_secs(1);

    fn counters(drops: u64) -> SystemCounters {
        let drops = DropCounts::default().with(DropPoint::Socket, Some(drops));
        SystemCounters { drops, receive_calls: 7, coalesced: 0 }
    }

    fn receiver() -> PerfReceiver {
        PerfReceiver::new(1, 0, IDLE, counters(100))
    }

    fn header(kind: MessageType, session: u64, sequence: u64) -> SessionHeader {
        SessionHeader { kind, stream: 0, session: SessionId(session), sequence, time: UnixNanos(0) }
    }

    fn receive(receiver: &mut PerfReceiver, message: &[u8], now: Duration) -> Option<ReceiverReport> {
        let arrival = PerfArrival {
            source: ([10, 0, 0, 1], 5_000).into(),
            interface: 2,
            time: UnixNanos(now.as_nanos() as u64),
            length: message.len(),
        };
        let reply = receiver.record(message, &arrival, now, || counters(105))?;
        match SessionMessage::decode(&reply) {
            Some((_, SessionMessage::Report(report))) => Some(*report),
            other => panic!("{other:?}"),
        }
    }

    /// Delivers one of two datagrams of a session, and its closing message.
    fn run(receiver: &mut PerfReceiver, session: u64, more_follows: bool, now: Duration) -> ReceiverReport {
        let settings = SessionSettings { more_follows, ..SessionSettings::default() };
        assert_eq!(receive(receiver, &settings.opening(header(MessageType::Opening, session, 0)), now), None);
        assert_eq!(receive(receiver, &header(MessageType::Data, session, 1).encode(), now), None);
        receive(receiver, &settings.closing(header(MessageType::Closing, session, 2)), now).unwrap()
    }

    #[test]
    fn a_report_has_the_drops_since_the_start_of_the_session() {
        let mut receiver = receiver();
        let report = run(&mut receiver, 1, false, Duration::ZERO);
        assert_eq!((report.sent, report.received, report.lost, report.number), (2, 1, 1, 1));
        assert_eq!((report.drops.at(DropPoint::Socket), report.receive_calls), (Some(5), 0));
        let [ended] = &receiver.take_ended(SECOND, || counters(109))[..] else { panic!("no end") };
        assert_eq!(ended.report.drops.at(DropPoint::Socket), Some(9));
        // What was dropped before the next session is not its loss.
        let _ = receiver.progress(UnixNanos(0), || counters(103)).count();
        assert_eq!(run(&mut receiver, 2, false, SECOND).drops.at(DropPoint::Socket), Some(2));
    }

    #[test]
    fn progress_is_what_was_received_since_the_last_call() {
        let mut receiver = receiver();
        run(&mut receiver, 1, false, SECOND);
        let mut progress = |time| {
            receiver.progress(UnixNanos(time), || counters(0)).map(|one| one.totals.lost).collect::<Vec<_>>()
        };
        assert_eq!((progress(2_000_000_000), progress(3_000_000_000)), (vec![1], vec![0]));
    }

    #[test]
    fn the_sessions_of_a_sweep_are_one_run() {
        let mut receiver = receiver();
        let mut runs = Vec::new();
        for (step, more_follows) in [(0, true), (5, true), (9, false)] {
            let now = step * SECOND;
            run(&mut receiver, step.into(), more_follows, now);
            assert_eq!(receiver.take_ended(now + SECOND, || counters(0)).len(), 1);
            runs.push(receiver.tally().runs);
        }
        assert_eq!(runs, [0, 0, 1]);
        assert_eq!(*receiver.tally(), RunTally { runs: 1, datagrams: 3, worst_loss: 50.0 });
    }

    #[test]
    fn a_sweep_without_a_next_step_ends_after_a_while() {
        let mut receiver = receiver();
        run(&mut receiver, 1, true, Duration::ZERO);
        assert_eq!(receiver.take_ended(SECOND, || counters(0)).len(), 1);
        let mut runs_at = |now| {
            assert!(receiver.take_ended(now, || counters(0)).is_empty());
            receiver.tally().runs
        };
        assert_eq!([10 * SECOND, SECOND + BETWEEN_STEPS, 60 * SECOND].map(&mut runs_at), [0, 1, 1]);
    }

    #[test]
    fn no_report_is_longer_than_the_message_that_asks_for_it() {
        let mut receiver = receiver();
        let closing = SessionSettings::default().closing(header(MessageType::Closing, 1, 2));
        let arrival = PerfArrival {
            source: ([10, 0, 0, 1], 5_000).into(),
            interface: 2,
            time: UnixNanos(0),
            length: 0,
        };
        receiver.record(&header(MessageType::Data, 1, 0).encode(), &arrival, Duration::ZERO, || counters(0));
        for length in 0..=closing.len() {
            let now = SECOND * length as u32;
            let report = receiver.record(&closing[..length], &arrival, now, || counters(0));
            assert!(report.is_none_or(|report| report.len() <= length), "a report to {length} bytes");
        }
    }

    #[test]
    fn foreign_messages_are_counted_and_start_no_session() {
        let mut receiver = receiver();
        for message in [
            &b"hello"[..],
            &header(MessageType::Probe, 1, 0).encode(),
            &header(MessageType::Opening, 1, 0).encode(),
        ] {
            assert_eq!(receive(&mut receiver, message, Duration::ZERO), None);
        }
        assert_eq!((receiver.foreign(), receiver.is_idle()), (3, true));
        receive(&mut receiver, &header(MessageType::Pong, 1, 0).encode(), Duration::ZERO);
        assert_eq!(receiver.foreign(), 3);
    }
}
