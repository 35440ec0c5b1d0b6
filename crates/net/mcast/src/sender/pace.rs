//! Pacing: sending datagrams evenly rather than in bursts; and sending while the system is busy.

use std::io;
use std::time::{Duration, Instant};

use mcast_pace::{ClockTime, PaceSchedule};
use mcast_sys::poller::wait_writable;
use mcast_sys::socket::Socket;
use mcast_sys::{SendRequest, pause};

pub use mcast_pace::{PaceDecision, ParseRateError, Rate};

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
        self.schedule.allow(ClockTime::START + now.saturating_duration_since(start), sizes)
    }
}

/// The longest wait before checking whether it was cancelled.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

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
#[inline]
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
