//! Numbers that count along a stream, as types that cannot be mixed up.

use core::fmt;
use core::ops::{Add, AddAssign, Range, Sub};

/// Declares a number that counts along a stream.
macro_rules! stream_number {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        pub struct $name(pub u64);

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

        /// The distance from a number that is not greater; 0 if it is, which is a mistake of the caller.
        impl Sub for $name {
            type Output = u64;

            #[inline]
            fn sub(self, earlier: Self) -> u64 {
                debug_assert!(self >= earlier, "{self} is before {earlier}");
                self.ahead_of(earlier)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

stream_number! {
    /// The sequence of a datagram of data: 1 for the first one of an incarnation.
    Sequence
}

stream_number! {
    /// The number of a message: 0 for the first one of an incarnation.
    MessageNumber
}

impl MessageNumber {
    /// Returns the lower half, which headers have.
    #[must_use]
    pub const fn low(self) -> u32 {
        self.0 as u32
    }

    /// Returns the number with this lower half that is nearest to this number.
    #[must_use]
    pub const fn nearest(self, low: u32) -> Self {
        let ahead = low.wrapping_sub(self.low()) as i32;
        Self(self.0.saturating_add_signed(ahead as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_never_wraps() {
        let distance = || Sequence(3) - Sequence(4);
        let expected = (!cfg!(debug_assertions)).then_some(0);
        assert_eq!(std::panic::catch_unwind(distance).ok(), expected);
        assert_eq!(Sequence(4) - Sequence(4), 0);
    }
}
