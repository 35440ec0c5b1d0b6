//! What to examine, for how long, and the callback for the progress.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

/// Options of an examination.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long to listen. Default: 5 s.
    pub listen: Duration,
    /// The query interval of the network's querier (RFC 9776 section 8.2). Default: 125 s. The doctor
    /// reports a missing querier after this interval plus 8 %, which is the 10 s response interval of the
    /// default.
    pub query_interval: Duration,
    /// How long a switch keeps a membership that is not reported again. Default: 260 s. With
    /// [`Self::soaking`], the doctor listens beyond it.
    pub membership_interval: Duration,
    /// Whether to listen beyond the membership interval.
    pub soak: bool,
    /// Whether to make experiments: temporary nftables rules that count packets as long as the examination runs, and
    /// another report for a group that is silent or has stopped. Default: true. The report lists them.
    pub experiments: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Duration::from_secs(5),
            query_interval: Duration::from_secs(125),
            membership_interval: Duration::from_secs(260),
            soak: false,
            experiments: true,
        }
    }
}

impl Options {
    /// Returns these options with changes: `Options::default().with(|options| options.experiments = false)`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Sets how long to listen.
    #[must_use]
    pub fn listening(self, listen: Duration) -> Self {
        Self { listen, ..self }
    }

    /// Listens until memberships that no querier refreshes have expired, plus 15 s.
    #[must_use]
    pub fn soaking(self) -> Self {
        Self { soak: true, ..self }
    }

    /// Returns how long to listen before the absence of queries is conclusive.
    pub(crate) fn querier_timeout(&self) -> Duration {
        self.query_interval.mul_f64(1.08)
    }

    /// Returns how long the examination listens in total.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.soak {
            true => self.listen.max(self.membership_interval + Duration::from_secs(15)),
            false => self.listen,
        }
    }
}

/// How to select the program to examine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramSelector {
    /// The process with this id, and its descendants.
    Process(u32),
    /// Every program that has this UDP port open.
    Port(u16),
}

/// Writes `process ID` or `port PORT`.
impl fmt::Display for ProgramSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(id) => write!(f, "process {id}"),
            Self::Port(port) => write!(f, "port {port}"),
        }
    }
}

/// The progress of an examination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How long the doctor has listened so far.
    pub elapsed: Duration,
    /// How long the doctor listens in total.
    pub of: Duration,
    /// Datagrams of the examined group captured on the wire.
    pub on_wire: u64,
    /// Datagrams received by the doctor's own socket.
    pub at_socket: u64,
    /// How long no datagram of the examined group has arrived.
    pub silence: Duration,
    /// Whether the doctor listens at a socket of its own.
    pub has_socket: bool,
}

impl Progress {
    /// Returns whether enough has arrived for a verdict: 50 datagrams, and whatever else arrives within 3 s. A stream that is
    /// silent then may have stopped, which takes longer to see. A fault is proven after 2 s if 20 datagrams are on the wire and
    /// none is at the socket of the doctor.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        const PAUSE: Duration = Duration::from_millis(300);
        let has_arrived = self.on_wire.max(self.at_socket) >= 50;
        let is_proven = self.has_socket && self.at_socket == 0 && self.on_wire >= 20;
        (self.elapsed >= Duration::from_secs(3) && has_arrived && self.silence < PAUSE)
            || (self.elapsed >= Duration::from_secs(2) && is_proven)
    }
}

/// A callback that is called several times per second while the doctor listens. `Break` stops it early.
pub type ProgressCallback<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_examined_for_longer() {
        let (elapsed, of) = (Duration::from_secs(3), Duration::from_secs(5));
        let progress = Progress { elapsed, of, on_wire: 50, ..Progress::default() };
        assert!(progress.is_enough());
        let early = Progress { elapsed: Duration::from_secs(2), on_wire: 20, ..progress };
        assert!(Progress { has_socket: true, ..early }.is_enough() && !early.is_enough());
        assert!(!Progress { has_socket: true, at_socket: 1, ..early }.is_enough());
        assert!(!Progress { has_socket: true, on_wire: 19, ..early }.is_enough());
        assert!(!Progress { on_wire: 49, ..progress }.is_enough());
        assert!(!Progress { elapsed: Duration::from_millis(2900), ..progress }.is_enough());
        assert!(!Progress { silence: Duration::from_millis(300), ..progress }.is_enough());
    }
}
