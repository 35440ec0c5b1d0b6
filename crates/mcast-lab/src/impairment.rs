//! How bad a link is, and what that means for each datagram.

use std::time::Duration;

use crate::{LabError, LabErrorKind};

/// What a bad link does to what crosses it. The default does nothing.
///
/// The fate of a datagram depends on the seed, the direction, and how many datagrams went that way before it, and
/// on nothing else: the same seed loses the same datagrams in each run, whatever the timing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    /// The share of datagrams that is lost, from 0 to 1.
    pub loss: f64,
    /// The share of datagrams that arrives twice, from 0 to 1.
    pub duplicate: f64,
    /// The share of datagrams that is overtaken by the next one, from 0 to 1. A datagram that nothing follows
    /// within 100 ms goes on in its place.
    pub reorder: f64,
    /// How long each datagram is under way.
    pub delay: Duration,
    /// How much longer than `delay` it may be under way: anything up to this, equally likely. It never makes one
    /// datagram overtake another; that is what `reorder` is for.
    pub jitter: Duration,
    /// How many bits per second the link carries, counted from the Ethernet header on; without limit if `None`.
    pub rate: Option<u64>,
    /// How many bytes wait for their turn when there is a `rate`; what is more is dropped.
    pub queue: usize,
    /// What all chance comes from.
    pub seed: u64,
    /// What is impaired.
    pub scope: Scope,
}

/// What a bad link impairs; the rest passes untouched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// UDP over IPv4 and IPv6, so that ARP, neighbour discovery, IGMP and MLD work as ever. Each fragment of a
    /// datagram counts as one.
    #[default]
    Udp,
    /// Every frame.
    All,
}

/// A direction of a bad link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the end that was named first to the other.
    Forth,
    /// From the end that was named last to the first.
    Back,
}

/// What happens to one datagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// It does not arrive; then nothing else matters.
    pub lost: bool,
    /// It arrives twice.
    pub duplicated: bool,
    /// The next one overtakes it.
    pub reordered: bool,
    /// How long it is under way, apart from waiting for its turn.
    pub delay: Duration,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: 1 << 20,
            seed: 1,
            scope: Scope::Udp,
        }
    }
}

impl Impairment {
    /// What happens to a datagram, `n` being how many went that way before it.
    #[must_use]
    pub fn fate(&self, direction: Direction, n: u64) -> Fate {
        let chance = |purpose| uniform(self.seed, direction, n, purpose);
        Fate {
            lost: chance(Purpose::Loss) < self.loss,
            duplicated: chance(Purpose::Duplicate) < self.duplicate,
            reordered: chance(Purpose::Reorder) < self.reorder,
            delay: self.delay + self.jitter.mul_f64(chance(Purpose::Jitter)),
        }
    }

    pub(crate) fn checked(self) -> Result<Self, LabError> {
        let shares = [("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder)];
        let wrong = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share));
        let problem = match (wrong, self.rate) {
            (Some((name, share)), _) => format!("{name} is {share}, but must be from 0 to 1"),
            (None, Some(0)) => {
                "the rate is 0 bits per second, which nothing passes; cut the link instead".to_owned()
            }
            (None, _) => return Ok(self),
        };
        Err(LabError::new("make a link bad", LabErrorKind::Invalid(problem)))
    }
}

/// What chance is asked for; each gets numbers of its own.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Loss = 1,
    Duplicate,
    Reorder,
    Jitter,
}

/// A number from 0 to below 1 that looks random and depends on nothing but the arguments.
fn uniform(seed: u64, direction: Direction, n: u64, purpose: Purpose) -> f64 {
    let way = match direction {
        Direction::Forth => 0,
        Direction::Back => 8,
    };
    let bits = mix(mix(mix(seed) ^ (purpose as u64 + way)) ^ n);
    // The 53 bits that a double holds.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finisher of SplitMix64: every bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSSY: Impairment = Impairment {
        loss: 0.05,
        duplicate: 0.02,
        reorder: 0.1,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(4),
        rate: None,
        queue: 0,
        seed: 7,
        scope: Scope::Udp,
    };

    fn fates(impairment: Impairment, direction: Direction) -> Vec<Fate> {
        (0..100_000).map(|n| impairment.fate(direction, n)).collect()
    }

    fn share(fates: &[Fate], holds: fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| holds(fate)).count() as f64 / fates.len() as f64
    }

    #[test]
    fn shares_are_what_was_asked_for() {
        let fates = fates(LOSSY, Direction::Forth);
        assert!((share(&fates, |fate| fate.lost) - 0.05).abs() < 0.003);
        assert!((share(&fates, |fate| fate.duplicated) - 0.02).abs() < 0.002);
        assert!((share(&fates, |fate| fate.reordered) - 0.1).abs() < 0.004);
        assert!((share(&fates, |fate| fate.delay > Duration::from_millis(12)) - 0.5).abs() < 0.01);
        assert!(
            fates.iter().all(|fate| fate.delay >= LOSSY.delay && fate.delay <= LOSSY.delay + LOSSY.jitter)
        );
    }

    #[test]
    fn fates_differ_by_seed_and_direction_only() {
        let forth = fates(LOSSY, Direction::Forth);
        assert_eq!(forth, fates(LOSSY, Direction::Forth));
        assert_ne!(forth, fates(LOSSY, Direction::Back));
        assert_ne!(forth, fates(Impairment { seed: 8, ..LOSSY }, Direction::Forth));
    }

    #[test]
    fn all_or_nothing_is_exact() {
        let none = Impairment { loss: 0.0, ..LOSSY };
        assert!(!fates(none, Direction::Back).iter().any(|fate| fate.lost));
        let all = Impairment { loss: 1.0, ..LOSSY };
        assert!(fates(all, Direction::Back).iter().all(|fate| fate.lost));
    }

    #[test]
    fn impossible_values_are_refused() {
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Impairment { loss: wrong, ..Impairment::default() }.checked().is_err(), "{wrong}");
        }
        assert!(Impairment { rate: Some(0), ..Impairment::default() }.checked().is_err());
        assert!(LOSSY.checked().is_ok());
    }
}
