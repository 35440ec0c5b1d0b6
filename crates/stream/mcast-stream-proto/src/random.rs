//! Pseudo-random numbers from a seed: the core has no randomness of its own.

use core::hash::Hasher;

use crate::Nanos;
use crate::wire::IncarnationSalt;

/// SplitMix64: small, fast, good enough for timers and identifiers, and not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// Returns a salt derived from the seed that does not reveal it, unlike numbers of [`Random`]: it is sent in clear.
#[expect(deprecated, reason = "core has no other keyed hash")]
pub(crate) fn salt(seed: u64) -> IncarnationSalt {
    let mut hasher = core::hash::SipHasher::new_with_keys(seed, 0x6d63_6173_7420_7361);
    hasher.write(b"the salt of a life");
    IncarnationSalt(hasher.finish())
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to 1, excluding 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number from 0 to `count`, excluding `count`; 0 if `count` is 0.
    pub(crate) const fn index(&mut self, count: usize) -> usize {
        ((self.next() as u128 * count as u128) >> 64) as usize
    }

    /// Returns a time from 0 to `end`, excluding `end`; 0 if `end` is 0.
    pub(crate) const fn below(&mut self, end: Nanos) -> Nanos {
        Nanos(((self.next() as u128 * end.0 as u128) >> 64) as u64)
    }
}
