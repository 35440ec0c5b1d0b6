//! How long datagrams wait in queues on the way, from the clocks in heartbeats.

/// The least transit time is that of so long, so that clocks may drift.
const PERIOD: u64 = 5_000_000_000;
/// A queue holds nothing for longer; what seems to wait longer is a clock that was corrected.
const LONGEST: u64 = 1_000_000_000;

/// Transit times by two clocks, of which only the differences mean anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Transit {
    /// The least of this period and of the one before.
    least: Option<(i128, i128)>,
    began: u64,
    queueing: u64,
}

impl Transit {
    /// Takes note of a heartbeat that the sender's clock says was sent then.
    pub(super) fn note(&mut self, now: u64, sent: u64) {
        let time = i128::from(now) - i128::from(sent);
        let (before, current) = self.least.unwrap_or((time, time));
        let (before, current) = match now.saturating_sub(self.began) >= PERIOD {
            true => {
                self.began = now;
                (current, time)
            }
            false => (before, current.min(time)),
        };
        self.least = Some((before, current));
        let waited = time - before.min(current);
        self.queueing = u64::try_from(waited).unwrap_or(0).min(LONGEST);
    }

    /// How long the last one waited, in nanoseconds.
    pub(super) const fn queueing(&self) -> u64 {
        self.queueing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_longer_than_the_least_waits_in_a_queue() {
        let mut transit = Transit::default();
        for (now, sent, queueing) in
            [(1_000, 900_000, 0), (2_000, 901_000, 0), (3_500, 902_000, 500), (4_000, 903_000, 0)]
        {
            transit.note(now, sent);
            assert_eq!(transit.queueing(), queueing);
        }
    }

    #[test]
    fn a_clock_that_was_corrected_counts_for_two_periods_at_most() {
        let mut transit = Transit::default();
        transit.note(0, 0);
        for second in 1..20_u64 {
            transit.note(second * 1_000_000_000 + 30_000_000_000, second * 1_000_000_000);
            assert!(transit.queueing() <= LONGEST);
        }
        assert_eq!(transit.queueing(), 0);
    }
}
