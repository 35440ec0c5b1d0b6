//! Times on the clock of a state machine, and the spans between them.

use core::ops::{Add, AddAssign, Div, Mul, Sub};
use core::time::Duration;

/// A time on the monotonic clock of a state machine: nanoseconds since a moment that the caller chooses.
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
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Nanos> for ClockTime {
    type Output = Self;

    #[inline]
    fn add(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Nanos> for ClockTime {
    type Output = Self;

    #[inline]
    fn sub(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add<Duration> for ClockTime {
    type Output = Self;

    #[inline]
    fn add(self, span: Duration) -> Self {
        self + Nanos::from(span)
    }
}

impl Sub<Duration> for ClockTime {
    type Output = Self;

    #[inline]
    fn sub(self, span: Duration) -> Self {
        self - Nanos::from(span)
    }
}

/// The time from the other one to this one; 0 if that is later.
impl Sub for ClockTime {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in nanoseconds, at most 584 years. Its arithmetic saturates, unlike that of [`Duration`], which
/// panics: a span may come from the configuration or from the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// A second.
    pub const SECOND: Self = Self(1_000_000_000);
    /// The longest span.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns a span of this many microseconds.
    #[must_use]
    pub const fn from_micros(count: u64) -> Self {
        Self(count.saturating_mul(1_000))
    }

    /// Returns a span of this many milliseconds.
    #[must_use]
    pub const fn from_millis(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    /// Returns a span of this many seconds.
    #[must_use]
    pub const fn from_secs(count: u64) -> Self {
        Self(count.saturating_mul(Self::SECOND.0))
    }

    /// Returns the difference to another span.
    #[must_use]
    pub const fn abs_diff(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0))
    }

    /// Returns the whole microseconds, at most `u32::MAX`: the unit of spans in datagrams.
    #[must_use]
    pub fn as_wire_micros(self) -> u32 {
        u32::try_from(self.0 / 1_000).unwrap_or(u32::MAX)
    }
}

impl From<Duration> for Nanos {
    #[inline]
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(span: Nanos) -> Self {
        Self::from_nanos(span.0)
    }
}

impl Add for Nanos {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The difference; 0 if the other span is longer.
impl Sub for Nanos {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<Nanos> for u64 {
    type Output = Nanos;

    #[inline]
    fn mul(self, span: Nanos) -> Nanos {
        Nanos(span.0.saturating_mul(self))
    }
}

impl Div<u64> for Nanos {
    type Output = Self;

    #[inline]
    fn div(self, divisor: u64) -> Self {
        Self(self.0 / divisor)
    }
}

/// How often the other span fits into this one.
impl Div for Nanos {
    type Output = u64;

    #[inline]
    fn div(self, other: Self) -> u64 {
        self.0 / other.0
    }
}
