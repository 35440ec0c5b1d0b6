//! Identifiers, and numbers that count along a stream, as types that cannot be mixed up.

use core::fmt;
use core::ops::{Add, AddAssign, Range, Sub};

/// The identifier of a stream: 64 bits, chosen at random by its publisher or derived from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// The incarnation of a publisher: greater after each restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u32);

/// The identifier of a subscriber: 64 random bits, new at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(pub u64);

/// The key of a message, of which subscribers may keep only the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MessageKey(pub u64);

/// Proves the address of a subscriber: the publisher sends it to that address in an echo, and the subscriber returns it
/// in NAKs and statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressToken(pub u64);

/// The salt of a publisher's incarnation: random, so that no two incarnations share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IncarnationSalt(pub u64);

/// The number of the group secret that sealed a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyEpoch(pub u16);

/// The first two bytes of the SHA-256 hash of a public key, which select the key that a signature is checked with. They
/// prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignerId(pub u16);

impl KeyEpoch {
    /// Not sealed.
    pub const CLEAR: Self = Self(0);
}

impl AddressToken {
    /// No token: the address is not proven.
    pub const NONE: Self = Self(0);
}

impl IncarnationSalt {
    /// No salt: the publisher does not seal.
    pub const NONE: Self = Self(0);
}

impl MessageKey {
    /// The length of a key in bytes, in front of the message.
    pub const LENGTH: usize = 8;

    /// Returns the key of what these bytes identify: their 64-bit FNV-1a hash.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self(fnv_1a(bytes))
    }
}

impl StreamId {
    /// Returns the identifier of the stream with this name, so that a restarted publisher continues its stream. It is
    /// the 64-bit FNV-1a hash of the name, which is not a proof of identity.
    #[must_use]
    pub const fn named(name: &str) -> Self {
        Self(fnv_1a(name.as_bytes()))
    }
}

const fn fnv_1a(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    hash
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}

impl fmt::Display for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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

/// A place in a stream. Positions only grow: incarnations do, and message numbers within an incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The incarnation of the publisher.
    pub incarnation: Incarnation,
    /// The number of the message.
    pub number: MessageNumber,
}

impl Position {
    /// Before every other position.
    pub const START: Self = Self { incarnation: Incarnation(0), number: MessageNumber(0) };

    /// Returns the position of a message.
    #[must_use]
    pub const fn new(incarnation: Incarnation, number: MessageNumber) -> Self {
        Self { incarnation, number }
    }

    /// Returns the next position of the incarnation.
    #[must_use]
    pub fn following(self) -> Self {
        Self { number: MessageNumber(self.number.0.saturating_add(1)), ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of incarnation {}", self.number, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hashed_with_fnv_1a() {
        // Test vectors of the authors of FNV.
        assert_eq!(StreamId::named(""), StreamId(0xcbf2_9ce4_8422_2325));
        assert_eq!(StreamId::named("foobar"), StreamId(0x8594_4171_f739_67e8));
    }
}

#[cfg(test)]
mod number_tests {
    use super::*;

    #[test]
    fn a_distance_never_wraps() {
        let distance = || Sequence(3) - Sequence(4);
        let expected = (!cfg!(debug_assertions)).then_some(0);
        assert_eq!(std::panic::catch_unwind(distance).ok(), expected);
        assert_eq!(Sequence(4) - Sequence(4), 0);
    }
}
