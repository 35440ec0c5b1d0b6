//! Times on the clock of a state machine.

use core::ops::{Add, Sub};

/// A time on the monotonic clock of a state machine: nanoseconds since a moment that the caller chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClockTime(pub u64);

impl ClockTime {
    /// Later than every time: what is due then never happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the nanoseconds since another time; 0 if that is later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for ClockTime {
    type Output = Self;

    #[inline]
    fn add(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl Sub<u64> for ClockTime {
    type Output = Self;

    #[inline]
    fn sub(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_sub(nanoseconds))
    }
}
