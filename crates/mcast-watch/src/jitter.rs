//! How unevenly a stream comes.

use std::time::Duration;

use mcast_probe::Jitter;

use crate::time::Time;

/// How unevenly a stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JitterValue {
    /// The smoothed difference, as RFC 3550 section 6.4.1 smooths it.
    pub jitter: Duration,
    /// The difference of what.
    pub basis: JitterBasis,
}

/// What jitter is the difference of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitterBasis {
    /// Of the transit times of a datagram and the one before, as RFC 3550 has it: the payload says when it
    /// was sent.
    Transit,
    /// Of a gap between two datagrams and the gap before: the payload does not say when it was sent, so an
    /// uneven sender counts too.
    Gap,
}

/// When a datagram says it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nanoseconds of the sender's clock, of any beginning.
    Nanoseconds(u64),
    /// Ticks of a clock that starts again behind 32 bits, and how many of them make a second.
    Ticks { ticks: u32, per_second: u32 },
}

/// Measures the jitter of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitterMeter {
    jitter: Jitter,
    basis: Option<JitterBasis>,
    last: Option<Time>,
    /// The clock of the sender without its wraps.
    ticks: i64,
    last_ticks: Option<u32>,
    samples: u32,
}

impl JitterMeter {
    /// Takes note of a datagram that came now.
    pub(crate) fn observe(&mut self, now: Time, sent: Option<Sent>) {
        let basis = if sent.is_some() { JitterBasis::Transit } else { JitterBasis::Gap };
        let last = self.last.replace(now);
        if self.basis != Some(basis) {
            *self = Self { basis: Some(basis), last: Some(now), ..Self::default() };
        }
        let measured = match (sent, last) {
            (Some(Sent::Nanoseconds(sent)), _) => now.as_nanos().wrapping_sub(sent).cast_signed(),
            (Some(Sent::Ticks { ticks, per_second }), _) => self.transit(now, ticks, per_second),
            (None, Some(last)) => now.as_nanos().wrapping_sub(last.as_nanos()).cast_signed(),
            (None, None) => return,
        };
        self.jitter.record(measured);
        self.samples = self.samples.saturating_add(1);
    }

    /// Forgets what it knows of the sender's clock: another sender's begins elsewhere.
    pub(crate) fn start_again(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// The jitter, once there are two differences to be told.
    pub(crate) fn value(&self) -> Option<JitterValue> {
        let basis = self.basis.filter(|_| self.samples >= 2)?;
        Some(JitterValue { jitter: self.jitter.value(), basis })
    }

    fn transit(&mut self, now: Time, ticks: u32, per_second: u32) -> i64 {
        let step = self.last_ticks.replace(ticks).map_or(0, |last| ticks.wrapping_sub(last).cast_signed());
        self.ticks = self.ticks.saturating_add(i64::from(step));
        let sent = i128::from(self.ticks) * 1_000_000_000 / i128::from(per_second.max(1));
        // What does not fit is somebody's joke; the meter takes any number.
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
    fn even_gaps_have_no_jitter_and_uneven_ones_have() {
        let mut meter = JitterMeter::default();
        (0..100).for_each(|n| meter.observe(at(n * 20), None));
        assert_eq!(meter.value(), Some(JitterValue { jitter: Duration::ZERO, basis: JitterBasis::Gap }));
        (100..400).for_each(|n| meter.observe(at(n * 20 + n % 2), None));
        // Gaps of 19 and 21 ms in turn.
        let jitter = meter.value().unwrap().jitter.as_secs_f64();
        assert!((0.0019..=0.0020).contains(&jitter), "{jitter}");
    }

    #[test]
    fn what_the_sender_held_back_itself_is_no_jitter_if_it_says_when() {
        let mut meter = JitterMeter::default();
        for n in [0_u64, 3, 4, 50, 51, 90] {
            let ticks = (u32::MAX - 1_000).wrapping_add((n * 90) as u32);
            meter.observe(at(n), Some(Sent::Ticks { ticks, per_second: 90_000 }));
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
