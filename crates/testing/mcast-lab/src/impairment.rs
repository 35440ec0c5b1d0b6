//! The impairment of a bad link, and the fate of each datagram.

use std::time::Duration;

use crate::{LabError, LabErrorKind};

/// The impairment of a bad link. The default impairs nothing.
///
/// The fate of a datagram depends only on the seed, the direction, and the number of datagrams before it in that
/// direction. The same seed therefore loses the same datagrams in each run, whatever the timing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    /// The fraction of datagrams that are lost, from 0 to 1.
    pub loss: f64,
    /// The fraction of datagrams that arrive twice, from 0 to 1.
    pub duplicate: f64,
    /// The fraction of datagrams that are overtaken by the next one, from 0 to 1. A datagram that no other follows
    /// within 100 ms is forwarded in order.
    pub reorder: f64,
    /// The delay of each datagram.
    pub delay: Duration,
    /// The maximum of an additional delay, which is distributed uniformly. It never makes one datagram overtake
    /// another; use `reorder` for that.
    pub jitter: Duration,
    /// The capacity in bits per second, Ethernet headers included; unlimited if `None`.
    pub rate: Option<u64>,
    /// The size in bytes of the queue in front of a link with a `rate`. What does not fit is dropped.
    pub queue: usize,
    /// The seed of all random decisions.
    pub seed: u64,
    /// The frames that are impaired.
    pub scope: ImpairmentScope,
}

/// The frames that a bad link impairs. All others pass unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImpairmentScope {
    /// UDP over IPv4 and IPv6. ARP, neighbour discovery, IGMP and MLD are not impaired. Each fragment counts as a
    /// datagram.
    #[default]
    Udp,
    /// Every frame.
    All,
}

/// A direction of a bad link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkDirection {
    /// From the end that was named first to the other.
    Forward,
    /// From the end that was named last to the first.
    Reverse,
}

/// The fate of one datagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// It does not arrive; the other fields have no effect then.
    pub lost: bool,
    /// It arrives twice.
    pub duplicated: bool,
    /// The next one overtakes it.
    pub reordered: bool,
    /// Its delay, without the time in the queue.
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
            scope: ImpairmentScope::Udp,
        }
    }
}

impl Impairment {
    /// Returns the fate of a datagram that follows `n` others in its direction.
    #[must_use]
    pub fn fate(&self, direction: LinkDirection, n: u64) -> Fate {
        let chance = |purpose| uniform(self.seed, direction, n, purpose);
        Fate {
            lost: chance(Purpose::Loss) < self.loss,
            duplicated: chance(Purpose::Duplicate) < self.duplicate,
            reordered: chance(Purpose::Reorder) < self.reorder,
            delay: self.delay + self.jitter.mul_f64(chance(Purpose::Jitter)),
        }
    }

    /// Checks that the fractions are from 0 to 1 and the rate is not 0.
    pub(crate) fn validated(self) -> Result<Self, LabError> {
        let fractions = [("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder)];
        let invalid = fractions.into_iter().find(|(_, fraction)| !(0.0..=1.0).contains(fraction));
        let problem = match (invalid, self.rate) {
            (Some((name, fraction)), _) => format!("{name} is {fraction}, but must be from 0 to 1"),
            (None, Some(0)) => {
                "the rate is 0 bits per second, so that nothing would pass; cut the link instead".to_owned()
            }
            (None, _) => return Ok(self),
        };
        Err(LabError::new("impair a link", LabErrorKind::Invalid(problem)))
    }
}

/// The purpose of a random number. Each has its own sequence of numbers.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Loss = 1,
    Duplicate,
    Reorder,
    Jitter,
}

/// Returns a pseudorandom number from 0 to below 1 that depends only on the arguments.
fn uniform(seed: u64, direction: LinkDirection, n: u64, purpose: Purpose) -> f64 {
    let direction = match direction {
        LinkDirection::Forward => 0,
        LinkDirection::Reverse => 8,
    };
    let bits = mix(mix(mix(seed) ^ (purpose as u64 + direction)) ^ n);
    // An `f64` has 53 significant bits.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Mixes the bits of a number with the finalizer of SplitMix64: each input bit changes half of the output bits on
/// average.
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
        scope: ImpairmentScope::Udp,
    };

    fn fates(impairment: Impairment, direction: LinkDirection) -> Vec<Fate> {
        (0..100_000).map(|n| impairment.fate(direction, n)).collect()
    }

    fn fraction(fates: &[Fate], matches: fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| matches(fate)).count() as f64 / fates.len() as f64
    }

    #[test]
    fn fractions_are_as_configured() {
        let fates = fates(LOSSY, LinkDirection::Forward);
        assert!((fraction(&fates, |fate| fate.lost) - 0.05).abs() < 0.003);
        assert!((fraction(&fates, |fate| fate.duplicated) - 0.02).abs() < 0.002);
        assert!((fraction(&fates, |fate| fate.reordered) - 0.1).abs() < 0.004);
        assert!((fraction(&fates, |fate| fate.delay > Duration::from_millis(12)) - 0.5).abs() < 0.01);
        assert!(
            fates.iter().all(|fate| fate.delay >= LOSSY.delay && fate.delay <= LOSSY.delay + LOSSY.jitter)
        );
    }

    #[test]
    fn fates_depend_only_on_seed_and_direction() {
        let forward = fates(LOSSY, LinkDirection::Forward);
        assert_eq!(forward, fates(LOSSY, LinkDirection::Forward));
        assert_ne!(forward, fates(LOSSY, LinkDirection::Reverse));
        assert_ne!(forward, fates(Impairment { seed: 8, ..LOSSY }, LinkDirection::Forward));
    }

    #[test]
    fn a_loss_of_0_or_1_is_exact() {
        let none = Impairment { loss: 0.0, ..LOSSY };
        assert!(!fates(none, LinkDirection::Reverse).iter().any(|fate| fate.lost));
        let all = Impairment { loss: 1.0, ..LOSSY };
        assert!(fates(all, LinkDirection::Reverse).iter().all(|fate| fate.lost));
    }

    #[test]
    fn invalid_values_are_rejected() {
        for loss in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Impairment { loss, ..Impairment::default() }.validated().is_err(), "{loss}");
        }
        assert!(Impairment { rate: Some(0), ..Impairment::default() }.validated().is_err());
        assert!(LOSSY.validated().is_ok());
    }
}
