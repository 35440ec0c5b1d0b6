//! Times on the clock of a state machine.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A time on the monotonic clock of a state machine: nanoseconds since a moment that the caller chooses. Its arithmetic
/// saturates, because a span may come from the configuration or from the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClockTime(pub u64);

impl ClockTime {
    /// The moment from which the clock counts.
    pub const START: Self = Self(0);
    /// Later than every time: what is due then never happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns `None` for [`NEVER`](Self::NEVER): what a machine returns from `poll_timeout`.
    #[inline]
    #[must_use]
    pub const fn unless_never(self) -> Option<Self> {
        if self.0 == Self::NEVER.0 { None } else { Some(self) }
    }

    /// Returns the time since another one; 0 if that is later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for ClockTime {
    type Output = Self;

    #[inline]
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

impl Sub<Duration> for ClockTime {
    type Output = Self;

    #[inline]
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }
}

/// The time from the other one to this one; 0 if that is later.
impl Sub for ClockTime {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Returns the nanoseconds of a span, at most `u64::MAX`.
#[inline]
const fn nanos(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000_000).saturating_add(span.subsec_nanos() as u64)
}
