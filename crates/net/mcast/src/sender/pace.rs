//! Sending many datagrams: evenly rather than in bursts, in runs that one system call can send, and while the system is busy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{io, thread};

use mcast_group::{Family, InterfaceIndex};
use mcast_pace::PaceSchedule;
use mcast_sys::SendRequest;
use mcast_sys::poller::wait_writable;
use mcast_sys::socket::Socket;

use super::Sender;
use super::expand::{is_stale, transmit};
use crate::error::{Error, Operation, Result};
use crate::outgoing::Outgoing;

pub use mcast_pace::{PaceDecision, ParseRateError, Rate};

/// How much longer than requested a sleep may last; this part of a wait is spent spinning.
const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };

/// Computes when datagrams are due at an even pace. It does not read a clock; callers pass the
/// time.
///
/// Up to about 5,000 datagrams per second, each has its own time. At higher rates, those within 200
/// µs are due together, so that they can be sent in one call or one segmented buffer. A late sender
/// catches up by at most 10 ms or four datagrams.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mcast::{PaceDecision, Pacer, Rate};
///
/// let mut pacer = Pacer::new(Rate::Datagrams(1_000.0));
/// let start = Instant::now();
/// assert_eq!(pacer.allow(start, [100, 100]), PaceDecision::Now(1));
/// assert_eq!(pacer.allow(start, [100]), PaceDecision::After(Duration::from_millis(1)));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    schedule: PaceSchedule,
    start: Option<Instant>,
}

impl Pacer {
    /// Creates a pacer at this rate, whose first datagram is due at once.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { schedule: PaceSchedule::new(rate), start: None }
    }

    /// Returns how many datagrams of these sizes, in bytes, are due. The pacer assumes that they
    /// are sent.
    pub fn allow(&mut self, now: Instant, sizes: impl IntoIterator<Item = usize>) -> PaceDecision {
        let start = *self.start.get_or_insert(now);
        self.schedule.allow(now.saturating_duration_since(start), sizes)
    }
}

/// The longest wait before checking whether it was cancelled.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// Waits for a part of `time`: sleeps for as long as a sleep is precise enough, or spins for a moment. A caller
/// that repeats this until a moment is reached waits with a precision of microseconds.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let due = Instant::now() + Duration::from_millis(1);
/// while let Some(left) = due.checked_duration_since(Instant::now()) {
///     mcast::pause(left);
/// }
/// ```
pub fn pause(time: Duration) {
    if time > SLEEP_ERROR {
        thread::sleep(time - SLEEP_ERROR);
    } else {
        std::hint::spin_loop();
    }
}

/// Waits until an instant, precise to microseconds.
pub(crate) fn sleep_until(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        pause(left);
    }
}

/// Sends a datagram, waiting while the socket's buffer is full. Calls `on_report` for errors that hosts have reported
/// about earlier datagrams.
pub(crate) fn send_patiently(
    socket: &Socket,
    transmit: &SendRequest<'_>,
    on_report: impl Fn(),
) -> io::Result<()> {
    loop {
        match socket.send(transmit) {
            Err(error) if is_busy(&error) => wait(socket)?,
            // An error about an earlier datagram; this one has not been sent yet.
            Err(_) if socket.forget_errors() => on_report(),
            result => return result,
        }
    }
}

pub(super) fn wait(socket: &Socket) -> io::Result<()> {
    socket.forget_errors();
    match wait_writable(socket, None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The result of sending a sequence of datagrams.
pub(crate) enum RunOutcome {
    /// This many were sent.
    Sent(usize),
    /// The buffer of this family's socket is full.
    Full(Family),
    /// The first has several destinations, which one call cannot serve.
    Several,
}

impl Sender {
    /// Sends the longest prefix of `outgoing` that one system call can take.
    pub(super) fn send_run<'a>(&self, outgoing: &[Outgoing<'a>]) -> Result<usize> {
        loop {
            match self.try_send_run(outgoing)? {
                RunOutcome::Sent(count) => return Ok(count),
                // Several destinations: send to one after the other.
                RunOutcome::Several => return self.send_everywhere(&outgoing[0]).map(|()| 1),
                RunOutcome::Full(family) => {
                    let socket = self.socket(family)?;
                    self.forget_errors(socket);
                    wait(socket).map_err(|error| Error::os(Operation::Send, error))?;
                }
            }
        }
    }

    /// Like [`send_run`](Self::send_run), but without waiting.
    pub(crate) fn try_send_run(&self, outgoing: &[Outgoing<'_>]) -> Result<RunOutcome> {
        let Some((to, interface)) = self.single_destination(&outgoing[0]) else {
            return Ok(RunOutcome::Several);
        };
        match self.try_send_simple(outgoing, to, interface) {
            // The interface may have been created again under another index.
            Err(error) if is_stale(&error) && self.refresh_egress(&outgoing[0])? => {
                self.single_destination(&outgoing[0]).map_or(Ok(RunOutcome::Several), |(to, interface)| {
                    self.try_send_simple(outgoing, to, interface)
                })
            }
            result => result,
        }
    }

    fn try_send_simple<'a>(
        &self,
        outgoing: &[Outgoing<'a>],
        first: SocketAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<RunOutcome> {
        self.check_launch(&outgoing[0])?;
        let family = Family::of(first.ip());
        let socket = self.socket(family)?;
        self.source(first, interface)?;
        // A datagram that does not fit starts the next call, or fails there.
        let transmit = |each: &Outgoing<'a>| {
            let (to, interface) = self.single_destination(each)?;
            let fits = Family::of(to.ip()) == family && self.check_launch(each).is_ok();
            let source = if fits { self.known_source(family, interface) } else { None };
            source.map(|source| transmit(each, to, interface, source))
        };
        match socket.send_run(outgoing, &transmit) {
            Ok(sent) => {
                self.counters.sent(sent);
                Ok(RunOutcome::Sent(sent.datagrams))
            }
            Err(error) if is_busy(&error) => Ok(RunOutcome::Full(family)),
            // An error about an earlier datagram; none of these has been sent yet.
            Err(_) if self.forget_errors(socket) => Ok(RunOutcome::Sent(0)),
            Err(error) => Err(self.failed(error, &outgoing[0], first, interface)),
        }
    }
}
