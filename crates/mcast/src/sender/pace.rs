//! An even pace: datagrams spread over time, not sent in bursts.

use std::thread;
use std::time::{Duration, Instant};

/// Datagrams that are due within so long go together: what is sent in a train or one call must
/// not be a burst to the network.
const GRAIN: Duration = Duration::from_micros(200);
/// Who is later than this does not catch up: what is missed by then is not sent in a burst.
const MOST_LATE: Duration = Duration::from_millis(10);
/// A sleep may last longer than it should by about so much; the rest is waited for awake.
const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many datagrams a second.
    Datagrams(f64),
    /// So many bits of payload a second.
    Bits(f64),
}

impl Rate {
    /// The time that a datagram of so many bytes takes at this rate. A rate that is not positive
    /// never sends.
    #[must_use]
    pub fn time_for(self, bytes: usize) -> Duration {
        let seconds = match self {
            Self::Datagrams(rate) => 1.0 / rate,
            Self::Bits(rate) => bytes as f64 * 8.0 / rate,
        };
        if seconds.is_nan() || seconds < 0.0 {
            return Duration::MAX;
        }
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// What a [`Pacer`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many, at least one, may go now.
    Now(usize),
    /// The next is due after so long.
    After(Duration),
}

/// Says when datagrams are due at an even pace. It reads no clock: it is told the time.
///
/// At up to some 5,000 datagrams a second each has a time of its own; faster, those of 200 µs
/// go together, so that they can leave in one call, or one train. A sender that is late catches
/// up for no more than 10 ms.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mcast::{Allowance, Pacer, Rate};
///
/// let mut pacer = Pacer::new(Rate::Datagrams(1_000.0));
/// let start = Instant::now();
/// assert_eq!(pacer.allow(start, [100, 100]), Allowance::Now(1));
/// assert_eq!(pacer.allow(start, [100]), Allowance::After(Duration::from_millis(1)));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    rate: Rate,
    due: Option<Instant>,
}

impl Pacer {
    /// A pacer at this rate, whose first datagram is due at once.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// How many of the datagrams of these sizes, in bytes, may go now. Those it allows are taken
    /// as sent.
    pub fn allow(&mut self, now: Instant, sizes: impl IntoIterator<Item = usize>) -> Allowance {
        let earliest = now.checked_sub(MOST_LATE).unwrap_or(now);
        let start = self.due.unwrap_or(now);
        if start > now {
            return Allowance::After(start - now);
        }
        let (mut due, until) = (start.max(earliest), now + GRAIN);
        let mut count = 0;
        for size in sizes {
            if count > 0 && due >= until {
                break;
            }
            // A time too far to be told is never reached; a day is as good.
            due = due.checked_add(self.rate.time_for(size)).unwrap_or(now + Duration::from_secs(86_400));
            count += 1;
        }
        self.due = Some(due);
        Allowance::Now(count)
    }
}

/// Waits until a moment, to within microseconds.
pub(crate) fn sleep_until(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SLEEP_ERROR {
            thread::sleep(left - SLEEP_ERROR);
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slow_datagrams_go_one_by_one_and_fast_ones_in_small_trains() {
        let start = Instant::now();
        let mut slow = Pacer::new(Rate::Datagrams(2_000.0));
        assert_eq!(slow.allow(start, [10; 8]), Allowance::Now(1));
        assert_eq!(slow.allow(start, [10; 8]), Allowance::After(Duration::from_micros(500)));

        let mut fast = Pacer::new(Rate::Datagrams(200_000.0));
        assert_eq!(fast.allow(start, [10; 1000]), Allowance::Now(40));
        assert_eq!(fast.allow(start, [10; 1000]), Allowance::After(Duration::from_micros(200)));
    }

    #[test]
    fn bits_are_counted_by_size() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Rate::Bits(8_000_000.0));
        assert_eq!(pacer.allow(start, [1_000]), Allowance::Now(1));
        assert_eq!(pacer.allow(start, [1]), Allowance::After(Duration::from_millis(1)));
    }

    #[test]
    fn a_rate_that_is_no_rate_never_sends_a_second() {
        for rate in [Rate::Datagrams(0.0), Rate::Datagrams(-1.0), Rate::Bits(f64::NAN)] {
            let start = Instant::now();
            let mut pacer = Pacer::new(rate);
            assert_eq!(pacer.allow(start, [1, 1]), Allowance::Now(1));
            assert!(
                matches!(pacer.allow(start + Duration::from_secs(3600), [1]), Allowance::After(_)),
                "{rate:?}"
            );
        }
    }

    proptest! {
        /// However late the sender comes, no more goes out in a time than the rate allows, but
        /// for the grain and what may be caught up with.
        #[test]
        fn no_more_is_sent_than_the_rate_allows(rate in 10.0..1_000_000.0_f64, pauses in prop::collection::vec(0_u64..5_000, 1..200)) {
            let start = Instant::now();
            let mut pacer = Pacer::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            for pause in pauses {
                now += Duration::from_micros(pause);
                while let Allowance::Now(count) = pacer.allow(now, [100; 64]) {
                    sent += count;
                }
            }
            let most = ((now - start) + GRAIN + MOST_LATE).as_secs_f64() * rate + 2.0;
            prop_assert!(sent as f64 <= most, "{sent} of at most {most}");
        }

        /// A sender that is always in time sends what the rate says.
        #[test]
        fn an_attentive_sender_keeps_the_rate(rate in 100.0..500_000.0_f64) {
            let start = Instant::now();
            let mut pacer = Pacer::new(Rate::Datagrams(rate));
            let (mut now, mut sent) = (start, 0);
            while now - start < Duration::from_millis(200) {
                match pacer.allow(now, [100; 256]) {
                    Allowance::Now(count) => sent += count,
                    Allowance::After(wait) => now += wait,
                }
            }
            let expected = (now - start).as_secs_f64() * rate;
            prop_assert!((sent as f64 - expected).abs() <= expected * 0.01 + GRAIN.as_secs_f64() * rate + 1.0, "{sent} of {expected}");
        }
    }
}
