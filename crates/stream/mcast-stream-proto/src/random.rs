//! Pseudo-random numbers from a seed, because the core has no randomness of its own, and the random back-off before a
//! NAK, so that few of many subscribers send one (RFC 5401, section 3.2.3).

use core::f64::consts::{LN_2, LOG2_E};
use core::hash::Hasher;
use core::time::Duration;

use crate::span::nanos;
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
    pub(crate) const fn below(&mut self, end: Duration) -> Duration {
        Duration::from_nanos(((self.next() as u128 * nanos(end) as u128) >> 64) as u64)
    }
}

/// The largest group without a back-off: the publisher can handle a NAK of each subscriber, and repairs for all after
/// the second.
pub(crate) const SMALL_GROUP: u32 = 8;

/// Returns a time of at most `longest` from the truncated exponential distribution: late times are likelier, the more
/// so the larger the group is. Returns 0 in a small group, where waiting would cost more than it saves.
pub(crate) fn backoff(longest: Duration, group_size: u32, random: &mut Random) -> Duration {
    if group_size <= SMALL_GROUP || longest == Duration::ZERO {
        return Duration::ZERO;
    }
    let lambda = ln(f64::from(group_size)) + 1.0;
    let grown = exp(lambda) - 1.0;
    let share = ln(1.0 + random.unit() * grown) / lambda;
    Duration::from_nanos((share * nanos(longest) as f64) as u64)
}

/// Returns the natural logarithm of a number of at least 1; `core` has none.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // ln m = 2 artanh((m - 1) / (m + 1)), whose series converges as (1/3)^2n.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = (0..14).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    exponent as f64 * LN_2 + 2.0 * t * series
}

/// Returns e to the power of a number from 0 to 700.
fn exp(x: f64) -> f64 {
    let doublings = (x * LOG2_E) as u32;
    let rest = x - f64::from(doublings) * LN_2;
    let series = (1..20).rev().fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    (0..doublings).fold(series, |value, _| value * 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_power_are_those_of_the_standard_library() {
        for n in 1..2000_u32 {
            let x = f64::from(n) * 1.37;
            assert!((ln(x) - x.ln()).abs() < 1e-9, "ln {x}");
            let y = f64::from(n) * 0.02;
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-9, "exp {y}");
        }
    }

    #[test]
    fn few_subscribers_of_a_large_group_send_early() {
        let mut random = Random::new(1);
        for (group, most) in [(10, 4.0), (100, 6.0), (1000, 8.0), (10_000, 12.0)] {
            let rounds = 20;
            let mut early = 0;
            for _ in 0..rounds {
                let times: std::vec::Vec<Duration> =
                    (0..group).map(|_| backoff(Duration::from_nanos(6_000), group, &mut random)).collect();
                let first = times.iter().min().unwrap();
                assert!(times.iter().all(|time| *time <= Duration::from_nanos(6_000)));
                early += times.iter().filter(|time| **time < *first + Duration::from_nanos(1_000)).count();
            }
            let naks = early as f64 / f64::from(rounds);
            assert!(naks < most, "{naks} of {group} subscribers send a NAK before one of them is answered");
        }
    }

    #[test]
    fn a_small_group_does_not_wait() {
        let mut random = Random::new(3);
        assert!(
            (0..=SMALL_GROUP)
                .all(|size| backoff(Duration::from_millis(1), size, &mut random) == Duration::ZERO)
        );
        assert_ne!(backoff(Duration::from_millis(1), SMALL_GROUP + 1, &mut random), Duration::ZERO);
    }
}
