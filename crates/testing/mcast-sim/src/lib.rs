//! What simulations share: random numbers from a seed, a queue of events, and runs that name the seed that fails.
//!
//! ```
//! use mcast_sim::{Dice, for_seeds};
//!
//! for_seeds(100, |seed| {
//!     let mut dice = Dice::new(seed);
//!     assert!((2..=12).contains(&(dice.between(1, 6) + dice.between(1, 6))));
//! });
//! ```
#![forbid(unsafe_code)]

mod queue;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use queue::EventQueue;

/// Random numbers from a seed: the same ones on every machine (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Returns the numbers of a seed. Seeds that follow each other have nothing in common.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Returns the next number.
    #[expect(clippy::should_implement_trait, reason = "the numbers never end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number less than `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Returns a number from `first` to `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// Returns a number from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns one of these.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

/// Returns a number in which each bit depends on all bits of `value`.
#[must_use]
#[inline]
pub fn mix(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns a number that depends on all bits of `seed` and `bytes`. It protects against nothing.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed ^ bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = mix(state ^ u64::from_le_bytes(word));
    }
    state
}

/// Returns the number in an environment variable.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Returns the seeds to try: `default` of them, from 0 on. `MCAST_SEEDS` sets another number of seeds, and `MCAST_FIRST_SEED`
/// the first one. Of these, [`chosen`] ones are tried.
#[must_use]
pub fn seeds(default: u64) -> Range<u64> {
    let first = number("MCAST_FIRST_SEED").unwrap_or(0);
    chosen(first..first + number("MCAST_SEEDS").unwrap_or(default))
}

/// Returns the first half of these seeds with `MCAST_HALF=1`, the second half with `MCAST_HALF=2`, and otherwise all.
#[must_use]
pub fn chosen(seeds: Range<u64>) -> Range<u64> {
    half(seeds, number("MCAST_HALF"))
}

fn half(seeds: Range<u64>, which: Option<u64>) -> Range<u64> {
    let middle = seeds.end - (seeds.end - seeds.start) / 2;
    match which {
        Some(1) => seeds.start..middle,
        Some(2) => middle..seeds.end,
        _ => seeds,
    }
}

/// Calls `check` for [`seeds`], and prints the first one for which it panics. `MCAST_SEED` sets a single one. With `MCAST_SURVEY=1`, the other seeds run even if
/// one fails, and those that failed are printed at the end.
///
/// # Panics
///
/// If `check` does.
pub fn for_seeds(default: u64, check: impl Fn(u64)) {
    if let Some(seed) = number("MCAST_SEED") {
        return check(seed);
    }
    let is_survey = number("MCAST_SURVEY").is_some();
    let mut failed = Vec::new();
    for seed in seeds(default) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
            eprintln!("seed {seed} failed: run it with MCAST_SEED={seed}");
            if !is_survey {
                resume_unwind(panic);
            }
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}", failed.len());
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn two_halves_are_all_seeds() {
        for all in [0..0, 3..4, 0..7, 100..200] {
            let (first, second) = (half(all.clone(), Some(1)), half(all.clone(), Some(2)));

            assert_eq!(half(all.clone(), None), all);
            assert_eq!((first.start, first.end, second.end), (all.start, second.start, all.end));
            assert!(first.clone().count().abs_diff(second.clone().count()) <= 1, "{first:?}, {second:?}");
        }
    }
}
