//! Numbers that count along a stream, as types that cannot be mixed up.

use core::fmt;
use core::ops::{Add, AddAssign, Range, Sub};

/// Implements a number of a stream.
macro_rules! stream_number {
    ($name:ident) => {
        impl $name {
            /// Greater than every number that a stream reaches.
            pub const MAX: Self = Self(u64::MAX);

            /// Returns how far this number is ahead of another one; 0 if it is not.
            #[inline]
            #[must_use]
            pub const fn ahead_of(self, other: Self) -> u64 {
                self.0.saturating_sub(other.0)
            }

            /// Returns the distance from `start`; `None` if this number is before it.
            #[inline]
            #[must_use]
            pub const fn offset_from(self, start: Self) -> Option<u64> {
                self.0.checked_sub(start.0)
            }

            /// Returns the numbers of a range.
            #[inline]
            pub fn each(range: Range<Self>) -> impl Iterator<Item = Self> {
                (range.start.0..range.end.0).map(Self)
            }
        }

        impl Add<u64> for $name {
            type Output = Self;

            #[inline]
            fn add(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }
        }

        impl AddAssign<u64> for $name {
            #[inline]
            fn add_assign(&mut self, count: u64) {
                *self = *self + count;
            }
        }

        /// The distance from a number that is not greater.
        impl Sub for $name {
            type Output = u64;

            #[inline]
            fn sub(self, earlier: Self) -> u64 {
                self.0 - earlier.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// The sequence of a datagram of data: 1 for the first one of an incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Sequence(pub u64);

stream_number!(Sequence);
