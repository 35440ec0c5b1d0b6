//! Interarrival jitter of a stream.

use std::time::Duration;

use mcast_measure::Jitter;

use crate::time::Time;

/// Interarrival jitter of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JitterValue {
    /// The mean difference, smoothed as in RFC 3550 section 6.4.1.
    pub jitter: Duration,
    /// The quantity whose differences are measured.
    pub basis: JitterBasis,
}

/// The quantity whose differences make up the jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitterBasis {
    /// Transit times of consecutive datagrams, as in RFC 3550; the payload carries a send time.
    Transit,
    /// Intervals between consecutive datagrams; the payload carries no send time, so irregular sending counts
    /// as jitter too.
    Gap,
}

/// The send time that a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendTime {
    /// Nanoseconds of the sender's clock, with an arbitrary origin.
    Nanoseconds(u64),
    /// Ticks of a 32-bit clock that wraps, and its rate.
    Ticks { ticks: u32, per_second: u32 },
}

/// Measures the jitter of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitterMeter {
    jitter: Jitter,
    basis: Option<JitterBasis>,
    last: Option<Time>,
    /// The sender's clock, unwrapped.
    ticks: i64,
    last_ticks: Option<u32>,
    samples: u32,
}

impl JitterMeter {
    /// Records a datagram that arrived at `now`.
    pub(crate) fn observe(&mut self, now: Time, sent: Option<SendTime>) {
        let basis = if sent.is_some() { JitterBasis::Transit } else { JitterBasis::Gap };
        let last = self.last.replace(now);
        if self.basis != Some(basis) {
            *self = Self { basis: Some(basis), last: Some(now), ..Self::default() };
        }
        let measured = match (sent, last) {
            (Some(SendTime::Nanoseconds(sent)), _) => now.as_nanos().wrapping_sub(sent).cast_signed(),
            (Some(SendTime::Ticks { ticks, per_second }), _) => self.transit(now, ticks, per_second),
            (None, Some(last)) => now.as_nanos().wrapping_sub(last.as_nanos()).cast_signed(),
            (None, None) => return,
        };
        self.jitter.record(measured);
        self.samples = self.samples.saturating_add(1);
    }

    /// Resets the measurement, because a new sender's clock has a different origin.
    pub(crate) fn start_again(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Returns the jitter once there are at least two samples.
    pub(crate) fn value(&self) -> Option<JitterValue> {
        let basis = self.basis.filter(|_| self.samples >= 2)?;
        Some(JitterValue { jitter: self.jitter.value(), basis })
    }

    fn transit(&mut self, now: Time, ticks: u32, per_second: u32) -> i64 {
        let step = self.last_ticks.replace(ticks).map_or(0, |last| ticks.wrapping_sub(last).cast_signed());
        self.ticks = self.ticks.saturating_add(i64::from(step));
        let sent = i128::from(self.ticks) * 1_000_000_000 / i128::from(per_second.max(1));
        // Truncation affects forged timestamps only; the meter accepts any number.
        (i128::from(now.as_nanos()) - sent) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn jitter_without_send_times_measures_uneven_gaps() {
        let mut meter = JitterMeter::default();
        (0..100).for_each(|n| meter.observe(at(n * 20), None));
        assert_eq!(meter.value(), Some(JitterValue { jitter: Duration::ZERO, basis: JitterBasis::Gap }));
        (100..400).for_each(|n| meter.observe(at(n * 20 + n % 2), None));
        // Gaps alternate between 19 and 21 ms.
        let jitter = meter.value().unwrap().jitter.as_secs_f64();
        assert!((0.0019..=0.0020).contains(&jitter), "{jitter}");
    }

    #[test]
    fn jitter_with_send_times_ignores_irregular_sending() {
        let mut meter = JitterMeter::default();
        for n in [0_u64, 3, 4, 50, 51, 90] {
            let ticks = (u32::MAX - 1_000).wrapping_add((n * 90) as u32);
            meter.observe(at(n), Some(SendTime::Ticks { ticks, per_second: 90_000 }));
        }
        assert_eq!(meter.value(), Some(JitterValue { jitter: Duration::ZERO, basis: JitterBasis::Transit }));
    }

    #[test]
    fn one_datagram_has_no_jitter() {
        let mut meter = JitterMeter::default();
        meter.observe(at(0), None);
        assert_eq!(meter.value(), None);
    }
}
