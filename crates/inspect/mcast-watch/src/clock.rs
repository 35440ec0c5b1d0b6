//! The table's clock, which does not follow large steps back, the intervals it is divided into, and the counts of a stream over
//! the most recent of them.

use std::time::{Duration, SystemTime};

use mcast_measure::Jitter;

/// Maps packet timestamps to table time, which never falls far behind the latest time seen.
///
/// The system clock can be set back, and capture files can be concatenated. Steps back of up to 5 s, as when
/// several interfaces deliver out of order, are kept; after a larger one, table time continues from the
/// latest time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Option<Time>,
    latest: Time,
    /// Nanoseconds added to each incoming timestamp.
    offset: u64,
    interval: u64,
}

impl Clock {
    /// Packets from several interfaces are assumed to be out of order by at most this, in nanoseconds.
    const DISORDER: u64 = 5_000_000_000;

    pub(crate) fn new(interval: Duration) -> Self {
        Self { start: None, latest: Time::default(), offset: 0, interval: nanoseconds(interval).max(1) }
    }

    /// Converts a system time to table time and advances the clock to it.
    pub(crate) fn advance(&mut self, time: Time) -> Time {
        let mut adjusted = self.adjusted(time).as_nanos();
        let latest = self.latest.as_nanos();
        if adjusted.saturating_add(Self::DISORDER) < latest {
            self.offset = self.offset.saturating_add(latest - adjusted);
            adjusted = latest;
        }
        let adjusted = Time::from_nanos(adjusted);
        self.start.get_or_insert(adjusted);
        self.latest = self.latest.max(adjusted);
        adjusted
    }

    /// Converts a system time to table time without advancing the clock.
    pub(crate) fn adjusted(&self, time: Time) -> Time {
        Time::from_nanos(time.as_nanos().saturating_add(self.offset))
    }

    /// Returns the start of the first interval.
    pub(crate) fn start(&self) -> Time {
        self.start.unwrap_or(self.latest)
    }

    pub(crate) fn latest(&self) -> Time {
        self.latest
    }

    /// Returns the number of the interval that contains `time`; the first is 0.
    pub(crate) fn interval_of(&self, time: Time) -> u64 {
        nanoseconds(time.since(self.start())) / self.interval
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }
}

/// A point in time: nanoseconds since 1970-01-01 UTC. Times out of range saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Returns the time that many nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the time that many seconds after the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Returns nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time elapsed since `earlier`; zero if `self` is before it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(span)))
    }
}

/// Returns the span in nanoseconds, saturating.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanoseconds))
    }
}

/// Counts of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntervalCounts {
    /// Datagrams.
    pub datagrams: u32,
    /// Bytes of payload.
    pub bytes: u64,
    /// Newly missing sequence numbers, in the unit of its sequence numbers ([`Unit`](crate::Unit)).
    pub lost: u32,
}

/// A ring buffer of the most recent intervals.
#[derive(Clone, Debug)]
pub(crate) struct History {
    slots: [IntervalCounts; Self::LENGTH],
    /// The latest interval written to.
    newest: u64,
}

impl History {
    /// Number of intervals retained.
    pub(crate) const LENGTH: usize = 60;

    pub(crate) const fn starting_at(interval: u64) -> Self {
        const EMPTY: IntervalCounts = IntervalCounts { datagrams: 0, bytes: 0, lost: 0 };
        Self { slots: [EMPTY; Self::LENGTH], newest: interval }
    }

    /// Returns the counts of `interval` for writing, or those of the newest interval if it is too old to be
    /// retained.
    pub(crate) fn slot_mut(&mut self, interval: u64) -> &mut IntervalCounts {
        let ahead = interval.saturating_sub(self.newest).min(Self::LENGTH as u64);
        for skipped in interval - ahead..interval {
            self.slots[index_of(skipped + 1)] = IntervalCounts::default();
        }
        self.newest = self.newest.max(interval);
        let interval = if self.retains(interval) { interval } else { self.newest };
        &mut self.slots[index_of(interval)]
    }

    /// Returns the counts of `interval`; zero if it is not retained.
    pub(crate) fn slot(&self, interval: u64) -> IntervalCounts {
        if self.retains(interval) { self.slots[index_of(interval)] } else { IntervalCounts::default() }
    }

    /// Returns the counts of the retained intervals before `interval`, from `first` at the earliest, oldest
    /// first.
    pub(crate) fn before(&self, interval: u64, first: u64) -> Vec<IntervalCounts> {
        let start = interval.saturating_sub(Self::LENGTH as u64 - 1).max(first);
        (start..interval).map(|interval| self.slot(interval)).collect()
    }

    const fn retains(&self, interval: u64) -> bool {
        interval <= self.newest && self.newest - interval < Self::LENGTH as u64
    }
}

const fn index_of(interval: u64) -> usize {
    (interval % History::LENGTH as u64) as usize
}

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

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_continues_after_the_clock_is_set_back() {
        let mut clock = Clock::new(SECOND);
        clock.advance(Time::from_secs(1_000));
        clock.advance(Time::from_secs(1_010));
        assert_eq!(clock.advance(Time::from_secs(100)), Time::from_secs(1_010));
        assert_eq!(clock.advance(Time::from_secs(103)), Time::from_secs(1_013));
        assert_eq!(clock.interval_of(clock.latest()), 13);
    }

    #[test]
    fn small_steps_back_are_kept() {
        let mut clock = Clock::new(SECOND);
        clock.advance(Time::from_secs(1_000));
        assert_eq!(clock.advance(Time::from_secs(997)), Time::from_secs(997));
        assert_eq!(clock.interval_of(Time::from_secs(997)), 0);
        assert_eq!(clock.latest(), Time::from_secs(1_000));
    }

    #[test]
    fn late_datagrams_count_in_their_own_interval() {
        let mut history = History::starting_at(5);
        history.slot_mut(5).datagrams += 1;
        history.slot_mut(7).datagrams += 1;
        history.slot_mut(6).datagrams += 4;
        let counts: Vec<_> = history.before(8, 5).iter().map(|slot| slot.datagrams).collect();
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(history.slot(8), IntervalCounts::default());
    }

    #[test]
    fn silence_clears_only_expired_intervals() {
        let mut history = History::starting_at(0);
        for interval in 0..60 {
            history.slot_mut(interval).datagrams = 1;
        }
        history.slot_mut(62).datagrams = 1;
        let sum = |history: &History, until| {
            history.before(until, 0).iter().map(|slot| slot.datagrams).sum::<u32>()
        };
        // Of the first sixty, intervals 4 to 59 remain; 62 is new.
        assert_eq!(
            (sum(&history, 63), history.slot(2), history.slot(61)),
            (57, IntervalCounts::default(), IntervalCounts::default())
        );
        history.slot_mut(10_000).datagrams = 1;
        assert_eq!(sum(&history, 10_001), 1);
    }

    #[test]
    fn datagrams_older_than_the_history_count_in_the_newest_interval() {
        let mut history = History::starting_at(100);
        history.slot_mut(1).datagrams += 1;
        assert_eq!(history.slot(100).datagrams, 1);
    }

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
