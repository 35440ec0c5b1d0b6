//! Answering probes, which arrive by multicast and by unicast.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use mcast::{Datagram, ErrorKind, Family, Membership, Receiver};
use mcast_measure::wire::{SessionId, SessionMessage};
use mcast_measure::{ProbeArrival, ProbeResponder, SessionArrivals};

use super::self_examination::{self, SeenRequest, SelfExamination};
use super::{BUFFER, serve_unicast, unicast_socket};
use crate::{Error, Result};

/// The longest wait without a deadline.
const LONG: Duration = Duration::from_secs(3_600);
/// The maximum number of probers that are reported.
const MAX_PROBERS: usize = 64;

/// The port at which a listener of path tests receives unicast probes, if it is free.
pub const UNICAST_PROBE_PORT: u16 = 24_788;

/// Answers the probes of a [`Pinger`](crate::Pinger) or a [`PathTest`](crate::PathTest).
///
/// ```no_run
/// use mcast_doctor::ProbeListener;
///
/// let listener = ProbeListener::join(vec!["239.1.2.3%eth0:5000".parse()?], None)?;
/// listener.run(None, || true, |prober| println!("probes from {prober}"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProbeListener {
    receiver: Receiver,
    unicast: Option<UdpSocket>,
    unicast_port: u16,
    joined: Instant,
    /// For listeners of path tests.
    examination: Option<SelfExamination>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    responder: ProbeResponder,
    probers: BTreeSet<IpAddr>,
    answered: u64,
    failed: u64,
}

/// What a listener has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeListenerCounts {
    /// Probes that were answered.
    pub answered: u64,
    /// Probes that were not answered, to limit the rate.
    pub refused: u64,
    /// Datagrams that are not probes.
    pub foreign: u64,
    /// Answers that the system refused to send.
    pub failed: u64,
    /// Sessions that [`ProbeListener::arrivals`] no longer contains.
    pub forgotten: u64,
}

impl ProbeListener {
    /// Joins groups, and opens a socket for unicast probes if their family is given.
    ///
    /// # Errors
    /// If a group cannot be joined or the socket cannot be opened.
    pub fn join(memberships: Vec<Membership>, unicast: Option<Family>) -> Result<Self> {
        let unicast = unicast.map(|family| unicast_socket(family, 0)).transpose()?;
        Self::with(memberships, unicast)
    }

    /// Joins groups for path tests: also answers unicast probes of both families, at [`UNICAST_PROBE_PORT`] if that is
    /// free, and examines itself when a prober asks.
    ///
    /// # Errors
    /// If a group cannot be joined or no socket can be opened.
    pub fn for_path_tests(memberships: Vec<Membership>) -> Result<Self> {
        // On most systems, a socket of IPv6 receives IPv4 as well.
        let open = |port| unicast_socket(Family::V6, port).or_else(|_| unicast_socket(Family::V4, port));
        let unicast = open(UNICAST_PROBE_PORT).or_else(|_| open(0))?;
        Ok(Self { examination: Some(SelfExamination::default()), ..Self::with(memberships, Some(unicast))? })
    }

    fn with(memberships: Vec<Membership>, unicast: Option<UdpSocket>) -> Result<Self> {
        let address = unicast.as_ref().map(UdpSocket::local_addr).transpose();
        let address =
            address.map_err(|source| Error::Open { what: "a socket for unicast probes", source })?;
        let unicast_port = address.map_or(0, |address| address.port());
        let receiver = Receiver::builder().join_all(memberships).gro(false).build()?;
        let responder = ProbeResponder::new(SessionId::random().0, unicast_port);
        let state = State { responder, probers: BTreeSet::new(), answered: 0, failed: 0 };
        let (joined, state) = (Instant::now(), Mutex::new(state));
        Ok(Self { receiver, unicast, unicast_port, joined, examination: None, state })
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

    /// Answers probes for `timeout`, or until `keep_going` returns `false` when the receiver is woken. `on_prober` is
    /// called with each new address that sends probes to a group, for the first 64.
    ///
    /// # Errors
    /// If the system cannot receive, or cannot start a thread.
    pub fn run(
        &self,
        timeout: Option<Duration>,
        keep_going: impl Fn() -> bool,
        on_prober: impl FnMut(IpAddr),
    ) -> Result<()> {
        let end = timeout.and_then(|timeout| self.joined.checked_add(timeout));
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
            let result = self.answer_groups(end, keep_going, on_prober);
            is_stopped.store(true, Ordering::Relaxed);
            result
        })
    }

    fn ports(&self) -> BTreeSet<u16> {
        self.receiver.memberships().iter().map(|status| status.membership.address.port).collect()
    }

    fn answer_groups(
        &self,
        end: Option<Instant>,
        keep_going: impl Fn() -> bool,
        mut on_prober: impl FnMut(IpAddr),
    ) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        while keep_going() {
            let left = end.map_or(LONG, |end| end.saturating_duration_since(Instant::now()));
            match self.receiver.recv_timeout(&mut buffer, left) {
                Ok(Some(datagram)) => {
                    if let Some(prober) = self.answer(&datagram) {
                        on_prober(prober);
                    }
                }
                Ok(None) if end.is_some_and(|end| Instant::now() >= end) => return Ok(()),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Woken => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Answers a datagram if it is a probe, and returns its source if that is new.
    fn answer(&self, datagram: &Datagram<'_>) -> Option<IpAddr> {
        let arrival = datagram.arrival();
        let probe = ProbeArrival {
            source: arrival.source.ip(),
            interface: arrival.interface.number(),
            hop_limit: arrival.hop_limit,
            by_unicast: false,
        };
        let reply = self.reply_to(datagram.payload(), &probe)?;
        let is_sent = self.receiver.reply(arrival, &reply).is_ok();
        let mut state = self.state();
        state.count(is_sent);
        let is_new = state.probers.len() < MAX_PROBERS && state.probers.insert(probe.source);
        is_new.then_some(probe.source)
    }

    fn answer_unicast(&self, socket: &UdpSocket, message: &[u8], source: SocketAddr) {
        let probe = ProbeArrival {
            source: source.ip().to_canonical(),
            interface: 0,
            hop_limit: None,
            by_unicast: true,
        };
        if let Some(reply) = self.reply_to(message, &probe) {
            let is_sent = socket.send_to(&reply, source).is_ok();
            self.state().count(is_sent);
        }
    }

    /// Answers a request that was captured, if nothing of its session reaches the socket. The answer goes by the
    /// unicast socket.
    fn answer_unheard(&self, socket: &UdpSocket, request: &SeenRequest) {
        let session = session_of_request(&request.message);
        let is_heard = self
            .state()
            .responder
            .arrivals()
            .any(|arrivals| Some(arrivals.session) == session && arrivals.to_group() > 0);
        if is_heard {
            return;
        }
        let arrival =
            ProbeArrival { source: request.source.ip(), interface: 0, hop_limit: None, by_unicast: false };
        if let Some(reply) = self.examined(&request.message, &arrival) {
            // If the prober cannot be reached, it learns nothing.
            let _ = socket.send_to(&reply, as_sent_by(socket, request.source));
        }
    }

    /// Returns the answer to a request for what this listener found out about itself.
    fn examined(&self, message: &[u8], arrival: &ProbeArrival) -> Option<Vec<u8>> {
        let examination = self.examination.as_ref()?;
        let mut state = self.state();
        state
            .responder
            .reply_to_request(message, arrival, self.joined.elapsed(), |session| examination.request(session))
    }

    fn reply_to(&self, message: &[u8], probe: &ProbeArrival) -> Option<Vec<u8>> {
        if self.examination.is_some() && session_of_request(message).is_some() {
            return self.examined(message, probe);
        }
        self.state().responder.reply_to(message, probe, self.joined.elapsed())
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn counts(&self) -> ProbeListenerCounts {
        let state = self.state();
        ProbeListenerCounts {
            answered: state.answered,
            refused: state.responder.refused(),
            foreign: state.responder.foreign(),
            failed: state.failed,
            forgotten: state.responder.forgotten(),
        }
    }

    /// Returns the random id of this listener, which its replies carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.state().responder.id()
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

    /// Returns what has arrived of the latest sessions so far, oldest first.
    #[must_use]
    pub fn arrivals(&self) -> Vec<SessionArrivals> {
        self.state().responder.arrivals().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

impl State {
    fn count(&mut self, is_sent: bool) {
        self.answered += u64::from(is_sent);
        self.failed += u64::from(!is_sent);
    }
}
