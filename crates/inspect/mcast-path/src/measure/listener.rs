//! The receiving end of every measurement: a [`Replier`] with its sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, ErrorKind, Family, Membership, Receiver};
use mcast_measure::wire::{SessionId, SessionMessage, UnixNanos};
use mcast_measure::{
    ClockTime, DropPoint, EndedSession, MessageArrival, Replier, ReplierHost, ReplierKind, RunTally,
    SessionArrivals, SessionProgress, Sessions, SystemCounters,
};

use super::self_examination::{self, SeenRequest, SelfExamination};
use super::{BUFFER, clock_id, serve_unicast, unicast_socket};
use mcast_doctor::{Error, Result, host_drops};

/// Buffers of a batch, each large enough for coalesced datagrams.
const BUFFERS: usize = 32;
/// The time between two checks whether to continue.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of probers that are reported.
const MAX_PROBERS: usize = 64;

/// The port at which a listener of path tests receives unicast probes, if it is free.
pub const UNICAST_PROBE_PORT: u16 = 24_788;

/// The receiving end of a measurement. [`perf`](Self::perf) counts the datagrams of a [`PerfSender`](crate::PerfSender),
/// reports the counts to it, and replies to the pings of a [`PingPong`](mcast_measure::PingPong);
/// [`probes`](Self::probes) and [`path_tests`](Self::path_tests) reply to [`Pings`](mcast_measure::Pings) or a
/// [`PathTest`](crate::PathTest).
///
/// ```no_run
/// use mcast_doctor::Error;
/// use mcast_path::Listener;
///
/// let listener = Listener::probes(vec!["239.255.2.3%eth0:5000".parse()?], None)?;
/// listener.run(None, |_| Ok::<_, Error>(true), |prober| println!("probes from {prober}"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    receiver: Receiver,
    unicast: Option<UdpSocket>,
    unicast_port: u16,
    start: Instant,
    /// Receives many datagrams at once for the highest rate, instead of one at a time for the shortest delay.
    is_batched: bool,
    /// For listeners of path tests.
    examination: Option<SelfExamination>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    replier: Replier,
    probers: BTreeSet<IpAddr>,
    /// Receive calls that returned datagrams.
    calls: u64,
    answered: u64,
    failed: u64,
}

/// What a listener has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Replies that were sent.
    pub answered: u64,
    /// Requests that were not answered, to limit the rate.
    pub refused: u64,
    /// Datagrams that are not for this kind of listener.
    pub foreign: u64,
    /// Datagrams of more senders and streams than are counted at once.
    pub rejected: u64,
    /// Replies that the system refused to send.
    pub failed: u64,
    /// Sessions that [`Listener::arrivals`] no longer contains.
    pub forgotten: u64,
}

/// Where the replier reads what its replies contain.
struct Host<'a> {
    receiver: &'a Receiver,
    calls: u64,
    examination: Option<&'a SelfExamination>,
}

enum ReceiveBuffer {
    Batch(Batch),
    Single(Vec<u8>),
}

impl Listener {
    /// Creates a listener for senders, which reads the system's counters: what is dropped from now on is part of the
    /// reports. A session without a closing message ends after silence for `idle`. A listener that replies to `pings`
    /// receives datagrams one by one, and is slower for others.
    #[must_use]
    pub fn perf(receiver: Receiver, idle: Duration, pings: bool) -> Self {
        Self { is_batched: !pings, ..Self::new(receiver, None, 0, ReplierKind::Perf { pings }, idle) }
    }

    /// Joins groups for pings, and opens a socket for unicast probes if their family is given.
    ///
    /// # Errors
    /// If a group cannot be joined or the socket cannot be opened.
    pub fn probes(memberships: Vec<Membership>, unicast: Option<Family>) -> Result<Self> {
        let unicast = unicast.map(|family| unicast_socket(family, 0)).transpose()?;
        Self::join(memberships, unicast, ReplierKind::Probes { examinations: false })
    }

    /// Joins groups for path tests: also replies to unicast probes of both families, at [`UNICAST_PROBE_PORT`] if that
    /// is free, and examines itself when a prober asks.
    ///
    /// # Errors
    /// If a group cannot be joined or no socket can be opened.
    pub fn path_tests(memberships: Vec<Membership>) -> Result<Self> {
        // On most systems, a socket of IPv6 receives IPv4 as well.
        let open = |port| unicast_socket(Family::V6, port).or_else(|_| unicast_socket(Family::V4, port));
        let unicast = open(UNICAST_PROBE_PORT).or_else(|_| open(0))?;
        let listener = Self::join(memberships, Some(unicast), ReplierKind::Probes { examinations: true })?;
        Ok(Self { examination: Some(SelfExamination::default()), ..listener })
    }

    fn join(memberships: Vec<Membership>, unicast: Option<UdpSocket>, kind: ReplierKind) -> Result<Self> {
        let address = unicast.as_ref().map(UdpSocket::local_addr).transpose();
        let address =
            address.map_err(|source| Error::Open { what: "a socket for unicast probes", source })?;
        let port = address.map_or(0, |address| address.port());
        let receiver = Receiver::builder().join_all(memberships).gro(false).build()?;
        Ok(Self::new(receiver, unicast, port, kind, Duration::ZERO))
    }

    fn new(
        receiver: Receiver,
        unicast: Option<UdpSocket>,
        unicast_port: u16,
        kind: ReplierKind,
        idle: Duration,
    ) -> Self {
        let id = SessionId::random().0;
        let sessions = Sessions::new(id, clock_id(), idle, system_counters(&receiver, 0));
        let replier = Replier::new(kind, id, unicast_port, sessions);
        let state = State { replier, probers: BTreeSet::new(), calls: 0, answered: 0, failed: 0 };
        Self {
            receiver,
            unicast,
            unicast_port,
            start: Instant::now(),
            is_batched: false,
            examination: None,
            state: Mutex::new(state),
        }
    }

    /// Returns the receiver, whose [waker](Receiver::waker) lets [`Self::run`] check whether to continue.
    #[must_use]
    pub const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Returns the port of unicast probes; `None` if there is none.
    #[must_use]
    pub fn unicast_port(&self) -> Option<u16> {
        self.unicast.as_ref().map(|_| self.unicast_port)
    }

    /// Counts and replies for `timeout`, or until `keep_going` returns `false`. It is called every 100 ms and when the
    /// receiver is woken, with the time since the listener was created. `on_prober` is called with each new address
    /// that got a reply, for the first 64.
    ///
    /// # Errors
    /// Those of `keep_going`; if the system cannot receive, or cannot start a thread.
    pub fn run<E: From<Error>>(
        &self,
        timeout: Option<Duration>,
        keep_going: impl FnMut(Duration) -> std::result::Result<bool, E>,
        on_prober: impl FnMut(IpAddr),
    ) -> std::result::Result<(), E> {
        let is_stopped = &AtomicBool::new(false);
        thread::scope(|scope| {
            if let Some(socket) = &self.unicast {
                let answer = |message: &[u8], source| self.answer_unicast(socket, message, source);
                start(scope, "unicast", move || serve_unicast(socket, is_stopped, answer))?;
            }
            if let (Some(examination), Some(socket)) = (&self.examination, &self.unicast) {
                let ports = self.ports();
                start(scope, "examine", move || examination.serve(&ports, is_stopped))?;
                let on_request = |request| self.answer_unheard(socket, &request);
                start(scope, "tap", move || examination.tap(&self.receiver, is_stopped, on_request))?;
            }
            let result = self.serve_groups(timeout, keep_going, on_prober);
            is_stopped.store(true, Ordering::Relaxed);
            result
        })
    }

    fn ports(&self) -> BTreeSet<u16> {
        self.receiver.memberships().iter().map(|status| status.membership.address.port).collect()
    }

    fn serve_groups<E: From<Error>>(
        &self,
        timeout: Option<Duration>,
        mut keep_going: impl FnMut(Duration) -> std::result::Result<bool, E>,
        mut on_prober: impl FnMut(IpAddr),
    ) -> std::result::Result<(), E> {
        let mut buffer = match self.is_batched {
            true => ReceiveBuffer::Batch(Batch::new(BUFFERS, BUFFER)),
            false => ReceiveBuffer::Single(vec![0; BUFFER]),
        };
        let end = timeout.unwrap_or(Duration::MAX);
        let mut next_check = CHECK_INTERVAL.min(end);
        loop {
            let wait = next_check.saturating_sub(self.start.elapsed());
            let is_woken = match self.receive(&mut buffer, wait, &mut on_prober) {
                Err(error) if error.kind() != ErrorKind::Woken => return Err(Error::from(error).into()),
                received => received.is_err(),
            };
            let now = self.start.elapsed();
            if is_woken || now >= next_check {
                if !keep_going(now)? || now >= end {
                    return Ok(());
                }
                next_check = (now + CHECK_INTERVAL).min(end);
            }
        }
    }

    /// Receives and handles what arrives at once, after waiting at most this long.
    fn receive(
        &self,
        buffer: &mut ReceiveBuffer,
        wait: Duration,
        on_prober: &mut impl FnMut(IpAddr),
    ) -> mcast::Result<()> {
        match buffer {
            ReceiveBuffer::Batch(batch) => {
                self.receiver.recv_batch(batch, Some(wait))?;
                let (now, mut state) = (self.now(), self.state());
                state.calls += u64::from(!batch.is_empty());
                for datagram in batch.iter() {
                    self.handle(&mut state, now, &datagram);
                }
                batch.clear();
            }
            ReceiveBuffer::Single(buffer) => {
                let Some(datagram) = self.receiver.recv_timeout(buffer, wait)? else { return Ok(()) };
                let (now, mut state) = (self.now(), self.state());
                state.calls += 1;
                let new = self.handle(&mut state, now, &datagram);
                drop(state);
                new.into_iter().for_each(on_prober);
            }
        }
        Ok(())
    }

    /// Handles a datagram to a group. Returns its source if that got a reply, and is new.
    fn handle(&self, state: &mut State, now: ClockTime, datagram: &Datagram<'_>) -> Option<IpAddr> {
        let to = datagram.arrival();
        let arrival = MessageArrival {
            source: to.source,
            interface: to.interface.number(),
            hop_limit: to.hop_limit,
            by_unicast: false,
            time: datagram.time.map_or_else(UnixNanos::now, UnixNanos::from),
            length: datagram.length,
        };
        let mut host = self.host(state.calls);
        let reply = state.replier.handle_datagram(now, datagram.payload(), &arrival, &mut host)?;
        // A sender that a report does not reach asks again.
        let is_sent = self.receiver.reply(to, reply).is_ok();
        state.count(is_sent);
        state.replier.count_latest_ping();
        let source = to.source.ip();
        let is_new = state.probers.len() < MAX_PROBERS && state.probers.insert(source);
        is_new.then_some(source)
    }

    fn answer_unicast(&self, socket: &UdpSocket, message: &[u8], source: SocketAddr) {
        let mut state = self.state();
        if let Some(reply) = self.reply_beside_groups(&mut state, message, source, true) {
            let is_sent = socket.send_to(reply, source).is_ok();
            state.count(is_sent);
        }
    }

    /// Answers a request that was captured, if nothing of its session reaches the socket. The answer goes by the
    /// unicast socket.
    fn answer_unheard(&self, socket: &UdpSocket, request: &SeenRequest) {
        let mut state = self.state();
        let session = session_of_request(&request.message);
        let mut sessions = state.replier.arrivals();
        if sessions.any(|arrivals| Some(arrivals.session) == session && arrivals.to_group() > 0) {
            return;
        }
        drop(sessions);
        if let Some(reply) = self.reply_beside_groups(&mut state, &request.message, request.source, false) {
            // If the prober cannot be reached, it learns nothing.
            let _ = socket.send_to(reply, as_sent_by(socket, request.source));
        }
    }

    /// Returns the reply to a message that did not arrive at the receiver.
    fn reply_beside_groups<'s>(
        &self,
        state: &'s mut State,
        message: &[u8],
        source: SocketAddr,
        by_unicast: bool,
    ) -> Option<&'s [u8]> {
        let (time, length) = (UnixNanos::now(), message.len());
        let arrival = MessageArrival { source, interface: 0, hop_limit: None, by_unicast, time, length };
        let mut host = self.host(state.calls);
        state.replier.handle_datagram(self.now(), message, &arrival, &mut host)
    }

    const fn host(&self, calls: u64) -> Host<'_> {
        Host { receiver: &self.receiver, calls, examination: self.examination.as_ref() }
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        let mut state = self.state();
        ListenerCounts {
            answered: state.answered,
            refused: state.replier.refused(),
            foreign: state.replier.foreign(),
            rejected: state.replier.sessions().rejected(),
            failed: state.failed,
            forgotten: state.replier.forgotten(),
        }
    }

    /// Returns the random id of this listener, which its replies carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.state().replier.id()
    }

    /// Returns the sessions of senders that have ended since the last call.
    pub fn take_ended(&self) -> Vec<EndedSession> {
        let mut state = self.state();
        let calls = state.calls;
        state.replier.sessions().take_ended(self.now(), || system_counters(&self.receiver, calls))
    }

    /// Ends all sessions of senders, and returns them.
    pub fn take_all(&self) -> Vec<EndedSession> {
        let mut state = self.state();
        let calls = state.calls;
        state.replier.sessions().take_all(self.now(), || system_counters(&self.receiver, calls))
    }

    /// Calls `show` with the intervals of sessions of senders, whose ends are multiples of `length`, until it fails.
    ///
    /// # Errors
    /// Those of `show`.
    pub fn progress<E>(
        &self,
        length: Duration,
        show: impl FnMut(SessionProgress<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut state = self.state();
        let calls = state.calls;
        let counters = || system_counters(&self.receiver, calls);
        state.replier.sessions().progress(UnixNanos::now(), length, counters).try_for_each(show)
    }

    /// Returns the results of the runs of senders that have ended.
    #[must_use]
    pub fn tally(&self) -> RunTally {
        *self.state().replier.sessions().tally()
    }

    /// Returns whether there is no session of a sender.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state().replier.sessions().is_empty()
    }

    /// Returns what this listener found when it last examined itself, one finding per line; `None` if it did not.
    #[must_use]
    pub fn own_findings(&self) -> Option<String> {
        self.examination.as_ref()?.findings()
    }

    /// Returns whether this listener captures the probes on its wire, which it needs to see those that it loses.
    #[must_use]
    pub fn can_capture(&self) -> bool {
        self.examination.is_some() && self_examination::open(&self.receiver).is_some()
    }

    /// Returns what has arrived of the latest sessions of probes so far, oldest first.
    #[must_use]
    pub fn arrivals(&self) -> Vec<SessionArrivals> {
        self.state().replier.arrivals().cloned().collect()
    }

    fn now(&self) -> ClockTime {
        ClockTime(0) + self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, is_sent: bool) {
        self.answered += u64::from(is_sent);
        self.failed += u64::from(!is_sent);
    }
}

impl ReplierHost for Host<'_> {
    fn counters(&mut self) -> SystemCounters {
        system_counters(self.receiver, self.calls)
    }

    fn examine(&mut self, session: SessionId) -> (Option<u64>, String) {
        self.examination.map_or_else(|| (None, String::new()), |examination| examination.request(session))
    }
}

/// Reads the system's counters, for this number of receive calls that returned datagrams.
fn system_counters(receiver: &Receiver, receive_calls: u64) -> SystemCounters {
    // In this order: what a ring drops between the two readings is still taken for drops of the interface, and not the reverse.
    let statistics = receiver.statistics();
    let (host, rings) = (host_drops(), statistics.dropped_by_rings);
    // Drivers count what a ring drops as drops of the interface.
    let others = |count: Option<u64>| count.map(|count| count.saturating_sub(rings));
    let drops = host
        .with(DropPoint::InterfaceIn, others(host.at(DropPoint::InterfaceIn)))
        .with(DropPoint::Socket, others(statistics.dropped.count()))
        .with(DropPoint::Ring, Some(rings));
    SystemCounters { drops, receive_calls, coalesced: statistics.merged }
}

/// Returns the session of a request for a self-examination.
fn session_of_request(message: &[u8]) -> Option<SessionId> {
    match SessionMessage::decode(message) {
        Some((header, SessionMessage::Examine)) => Some(header.session),
        _ => None,
    }
}

/// Starts a thread with this name.
fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Result<()> {
    let started = thread::Builder::new().name(name.into()).spawn_scoped(scope, work);
    started.map(drop).map_err(|source| Error::Start { program: format!("the thread \"{name}\""), source })
}

/// Returns an address in the form that a socket of IPv6 can send to.
fn as_sent_by(socket: &UdpSocket, to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(v4) if socket.local_addr().is_ok_and(|local| local.is_ipv6()) => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        to => to,
    }
}
