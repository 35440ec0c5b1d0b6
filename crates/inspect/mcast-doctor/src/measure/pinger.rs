//! Pings of a group, and of each host that answers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, Outgoing, Sender};
use mcast_measure::wire::SessionId;
use mcast_measure::{AcceptedReply, ProbeCase, ProbeSession, RespondingHost};

use super::{BUFFER, serve_unicast, unicast_socket};
use crate::{Error, Result};

/// When a [`Pinger`] sends probes, and when it stops.
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

/// Sends probes to a group, and to each host that answers by unicast, so that both can be compared. A
/// [`Listener`](crate::Listener) answers.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast::{Family, Outgoing, Sender};
/// use mcast_doctor::{PingSchedule, Pinger};
/// use mcast_measure::ProbeCase;
///
/// let second = Duration::from_secs(1);
/// let schedule =
///     PingSchedule { every: second, wait: second, count: Some(3), timeout: None, expected: None };
/// let targets = vec![Outgoing::new(&[]).to("239.1.2.3:5000".parse()?)];
/// let case = ProbeCase { size: 64, hop_limit: 1 };
/// let pinger = Pinger::new(Sender::builder().build()?, targets, Family::V4, case, schedule)?;
/// pinger.run(|| true, |responder, reply| println!("{}: {:?}", responder.address, reply.round_trip))?;
/// println!("{} hosts answered", pinger.session().responders().len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pinger {
    sender: Sender,
    targets: Vec<Outgoing<'static>>,
    family: Family,
    unicast: UdpSocket,
    schedule: PingSchedule,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: ProbeSession,
    /// The source of each responder's answers, including the scope of its address.
    sources: Vec<SocketAddr>,
}

impl Pinger {
    /// Creates a pinger. Each probe is sent to every target, whose payload is ignored; all are of one family. The hop
    /// limit of the case must be the sender's.
    ///
    /// # Errors
    /// If the socket for unicast probes cannot be opened.
    pub fn new(
        sender: Sender,
        targets: Vec<Outgoing<'static>>,
        family: Family,
        case: ProbeCase,
        schedule: PingSchedule,
    ) -> Result<Self> {
        let session = ProbeSession::ping(SessionId::random(), case, schedule.wait);
        let state = Mutex::new(State { session, sources: Vec::new() });
        let unicast = unicast_socket(family, 0)?;
        Ok(Self { sender, targets, family, unicast, schedule, start: Instant::now(), state })
    }

    /// Sends probes and receives answers until the schedule ends, or `keep_going`, which is called at least every 20 ms,
    /// returns `false`. `on_reply` is called with each answer and its responder, also from another thread.
    ///
    /// # Errors
    /// If the system cannot send to a target or cannot receive, or cannot start a thread.
    pub fn run(
        &self,
        keep_going: impl Fn() -> bool,
        on_reply: impl Fn(&RespondingHost, &AcceptedReply) + Sync,
    ) -> Result<()> {
        let (is_stopped, on_reply) = (&AtomicBool::new(false), &on_reply);
        thread::scope(|scope| {
            let record = |message: &[u8], source| self.record(message, source, true, on_reply);
            let serve = move || serve_unicast(&self.unicast, is_stopped, record);
            let started = thread::Builder::new().name("unicast".into()).spawn_scoped(scope, serve);
            started
                .map_err(|source| Error::Start { program: "a thread for unicast probes".into(), source })?;
            let result = self.probe(keep_going, on_reply);
            is_stopped.store(true, Ordering::Relaxed);
            result
        })
    }

    fn probe(
        &self,
        keep_going: impl Fn() -> bool,
        on_reply: &impl Fn(&RespondingHost, &AcceptedReply),
    ) -> Result<()> {
        let PingSchedule { every, wait, count, timeout, .. } = self.schedule;
        let end = timeout.unwrap_or(Duration::MAX);
        let mut next = Duration::ZERO;
        let mut sent = 0;
        while count.is_none_or(|count| sent < count) {
            self.listen_until(next.min(end), &keep_going, on_reply)?;
            if !keep_going() || self.now() >= end {
                return Ok(());
            }
            self.send_probes()?;
            sent += 1;
            // After a delay, continue from now instead of sending several probes at once.
            next = (next + every).max(self.now());
        }
        let last = self.now().saturating_add(wait);
        self.listen_until(last.min(end), || keep_going() && !self.is_complete(), on_reply)
    }

    /// Sends a probe to each target, and one to each responder by unicast.
    fn send_probes(&self) -> Result<()> {
        let now = self.now();
        let Some(message) = self.next_group_probe(now) else { return Ok(()) };
        for target in &self.targets {
            self.sender.send_one(&target.with_payload(&message))?;
        }
        for (message, to) in self.unicast_probes() {
            // The first error may belong to an earlier probe; if the second try fails, this one counts as lost.
            if self.unicast.send_to(&message, to).is_err() {
                let _ = self.unicast.send_to(&message, to);
            }
        }
        Ok(())
    }

    /// Returns the next probe to the group, which counts as sent.
    fn next_group_probe(&self, now: Duration) -> Option<Vec<u8>> {
        let session = &mut self.state().session;
        let message = session.probe(0, now)?;
        session.record_probe(0, now);
        Some(message)
    }

    /// Returns a probe to each responder that answers unicast probes.
    fn unicast_probes(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut state = self.state();
        let State { session, sources } = &mut *state;
        let ports: Vec<_> = session.responders().iter().map(|responder| responder.unicast_port).collect();
        let addresses = ports.into_iter().zip(sources.iter().copied()).enumerate();
        addresses
            .filter(|(_, (port, _))| *port != 0)
            .filter_map(|(index, (port, mut to))| {
                to.set_port(port);
                Some((session.unicast_probe(index, self.now())?, to))
            })
            .collect()
    }

    /// Receives answers until `until`, counted from the start, or while `keep_going` returns `true`.
    fn listen_until(
        &self,
        until: Duration,
        keep_going: impl Fn() -> bool,
        on_reply: &impl Fn(&RespondingHost, &AcceptedReply),
    ) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        while keep_going() && self.now() < until {
            let left = until.saturating_sub(self.now());
            if let Some(reply) = self.sender.recv_answer_while(self.family, &mut buffer, left, &keep_going)? {
                self.record(reply.payload, reply.source, false, on_reply);
            }
        }
        Ok(())
    }

    fn record(
        &self,
        message: &[u8],
        source: SocketAddr,
        by_unicast: bool,
        on_reply: &impl Fn(&RespondingHost, &AcceptedReply),
    ) {
        let now = self.now();
        let mut state = self.state();
        let Some(accepted) = state.session.record(message, source.ip(), by_unicast, now) else { return };
        if accepted.is_new {
            state.sources.push(source);
        }
        if let Some(responder) = state.session.responders().get(accepted.responder) {
            on_reply(responder, &accepted);
        }
    }

    /// Returns whether all probes are answered, by as many responders as expected.
    fn is_complete(&self) -> bool {
        let session = &self.state().session;
        let is_expected = |expected| session.responders().len() >= expected;
        self.schedule.expected.is_some_and(is_expected) && session.all_answered()
    }

    /// Returns the time since the pinger was created, from which the session counts.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the probes sent and the responders; that is, a clone of them as they are now.
    #[must_use]
    pub fn session(&self) -> ProbeSession {
        self.state().session.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
