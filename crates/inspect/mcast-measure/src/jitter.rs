//! Interarrival jitter.

use core::time::Duration;

/// Interarrival jitter as RTP defines it (RFC 3550 section 6.4.1 and appendix A.8): the smoothed difference
/// between the transit times of consecutive datagrams. It needs no synchronized clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    /// The jitter in nanoseconds times 16, as in appendix A.8.
    sixteenfold: u64,
    transit: Option<i64>,
}

impl Jitter {
    /// Records the transit time of the next datagram in nanoseconds: arrival time by one clock minus send
    /// time by another.
    pub fn record(&mut self, transit: i64) {
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.abs_diff(before);
            let decay = self.sixteenfold.saturating_add(8) >> 4;
            self.sixteenfold = (self.sixteenfold - decay.min(self.sixteenfold)).saturating_add(difference);
        }
    }

    /// Returns the current jitter.
    #[must_use]
    pub const fn value(&self) -> Duration {
        Duration::from_nanos(self.sixteenfold >> 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_have_no_jitter_despite_clock_offset() {
        let mut jitter = Jitter::default();
        (0..100).for_each(|_| jitter.record(-3_600_000_000_000));
        assert_eq!(jitter.value(), Duration::ZERO);
    }

    #[test]
    fn jitter_converges_to_the_mean_difference() {
        let mut jitter = Jitter::default();
        (0..1_000).for_each(|n| jitter.record((n % 2) * 1_000));
        let settled = jitter.value().as_nanos();
        assert!((990..=1_000).contains(&settled), "{settled}");
        (0..1_000).for_each(|_| jitter.record(0));
        assert!(jitter.value().as_nanos() <= 1);
    }

    #[test]
    fn one_difference_counts_a_sixteenth() {
        let mut jitter = Jitter::default();
        [0, 1_600].into_iter().for_each(|transit| jitter.record(transit));
        assert_eq!(jitter.value(), Duration::from_nanos(100));
    }

    #[test]
    fn forged_times_do_not_overflow() {
        let mut jitter = Jitter::default();
        [i64::MIN, i64::MAX, i64::MIN, i64::MAX, 0].into_iter().for_each(|transit| jitter.record(transit));
        assert!(jitter.value() > Duration::ZERO);
    }
}
