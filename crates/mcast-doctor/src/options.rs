//! How long to listen, and who watches meanwhile.

use std::ops::ControlFlow;
use std::time::Duration;

/// How to examine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to listen. Default: 5 s.
    pub listen: Duration,
    /// How often a querier is expected to ask: the query interval of RFC 9776 section 8.2. Default:
    /// 125 s. Silence of queriers is judged after this and the time for an answer, 10 s.
    pub query_interval: Duration,
    /// How long a membership lasts without being reported again. Default: 260 s. With
    /// [`Self::soaking`], listening goes on beyond it.
    pub membership_interval: Duration,
    /// Whether to listen across the membership interval.
    pub soak: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Duration::from_secs(5),
            query_interval: Duration::from_secs(125),
            membership_interval: Duration::from_secs(260),
            soak: false,
        }
    }
}

impl Options {
    /// To listen this long.
    #[must_use]
    pub fn listening(self, listen: Duration) -> Self {
        Self { listen, ..self }
    }

    /// To listen until memberships that nobody asks for have run out, and 15 s longer.
    #[must_use]
    pub fn soaking(self) -> Self {
        Self { soak: true, ..self }
    }

    /// How long listening takes in all.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.soak {
            true => self.listen.max(self.membership_interval + Duration::from_secs(15)),
            false => self.listen,
        }
    }
}

/// How far listening has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How long it has been listened.
    pub elapsed: Duration,
    /// How long it will be listened in all.
    pub of: Duration,
    /// Datagrams of what is examined that the taps have seen.
    pub on_wire: u64,
    /// Datagrams that the doctor's own socket received.
    pub at_socket: u64,
}

/// Who watches: called several times a second while it is listened; `Break` ends it early.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;
