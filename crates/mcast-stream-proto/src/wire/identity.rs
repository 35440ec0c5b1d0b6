//! Identifiers, as types that cannot be mixed up.

use core::fmt;

/// The identifier of a stream: 64 bits, chosen at random by its publisher or derived from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// The incarnation of a publisher: greater after each restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u32);

/// The identifier of a subscriber: 64 random bits, new at each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(pub u64);

/// The number of the group secret that sealed a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyEpoch(pub u16);

impl KeyEpoch {
    /// Not sealed.
    pub const CLEAR: Self = Self(0);
}

impl StreamId {
    /// Returns the identifier of the stream with this name, so that a restarted publisher continues its stream. It is
    /// the 64-bit FNV-1a hash of the name, which is not a proof of identity.
    #[must_use]
    pub const fn named(name: &str) -> Self {
        Self(key_of(name.as_bytes()))
    }
}

/// Returns the 64-bit FNV-1a hash of these bytes: the id of a stream from its name, or the key of a message from what
/// identifies it.
#[must_use]
pub const fn key_of(bytes: &[u8]) -> u64 {
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

impl fmt::Display for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
