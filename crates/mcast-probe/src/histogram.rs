//! Times in bounded memory.

use std::time::Duration;

/// Buckets for each doubling: a value is known to 1 part in 128 or better.
const BITS: u32 = 7;
const BUCKETS: u64 = 1 << BITS;
/// What is longer than this (18 minutes) is counted there.
const LONGEST: u64 = (1 << 40) - 1;

/// Counts times by their length: exact to a nanosecond up to 256 ns, above it to less than 1 %, up
/// to 18 minutes. It takes 35 kB at most; minimum, maximum and mean are exact.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

/// The percentiles that are told everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: Duration,
    /// 90 % took no longer.
    pub p90: Duration,
    /// 99 % took no longer.
    pub p99: Duration,
    /// 99.9 % took no longer.
    pub p999: Duration,
    /// None took longer.
    pub max: Duration,
}

/// How many took from `from` to below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The shortest.
    pub from: Duration,
    /// What the longest is below.
    pub to: Duration,
    /// How many.
    pub count: u64,
}

impl Histogram {
    /// An empty one, which takes no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new(), count: 0, sum: 0, min: 0, max: 0 }
    }

    /// Counts a time in nanoseconds.
    pub fn record(&mut self, nanoseconds: u64) {
        let index = bucket_of(nanoseconds.min(LONGEST));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.min = if self.count == 0 { nanoseconds } else { self.min.min(nanoseconds) };
        self.max = self.max.max(nanoseconds);
        self.count += 1;
        self.sum += u128::from(nanoseconds);
    }

    /// How many were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The shortest; `None` where nothing was counted.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min))
    }

    /// The mean; `None` where nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The time that this share (from 0 to 1) took no longer than; `None` where nothing was
    /// counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = (share * self.count as f64).ceil().clamp(1.0, self.count as f64) as u64;
        let mut below = 0;
        let index = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        let value = index.map_or(self.max, |index| range_of(index).1 - 1);
        Some(Duration::from_nanos(value.clamp(self.min, self.max)))
    }

    /// The usual percentiles; `None` where nothing was counted.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        Some(Percentiles {
            p50: self.quantile(0.5)?,
            p90: self.quantile(0.9)?,
            p99: self.quantile(0.99)?,
            p999: self.quantile(0.999)?,
            max: Duration::from_nanos(self.max),
        })
    }

    /// The counts in at most so many bars, from the shortest to the longest, each as long as the
    /// last one times the same factor.
    #[must_use]
    pub fn bars(&self, most: usize) -> Vec<Bar> {
        let first = self.counts.iter().position(|count| *count > 0);
        let last = self.counts.iter().rposition(|count| *count > 0);
        let (Some(first), Some(last)) = (first, last) else {
            return Vec::new();
        };
        let width = (last + 1 - first).div_ceil(most.max(1));
        let starts = (first..=last).step_by(width);
        starts
            .map(|start| {
                let end = (start + width).min(last + 1);
                let count = self.counts[start..end].iter().sum();
                let (from, to) = (range_of(start).0, range_of(end - 1).1);
                Bar { from: Duration::from_nanos(from), to: Duration::from_nanos(to), count }
            })
            .collect()
    }
}

/// Values below 128 have a bucket each; above, each doubling has 128.
fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    (u64::from(shift) * BUCKETS + (value >> shift)) as usize
}

/// The values of a bucket: from the first to below the second.
fn range_of(index: usize) -> (u64, u64) {
    let index = index as u64;
    let shift = (index / BUCKETS).saturating_sub(1);
    let start = (index - shift * BUCKETS) << shift;
    (start, start + (1 << shift))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(value in 0..=LONGEST) {
            let (from, to) = range_of(bucket_of(value));
            prop_assert!(from <= value && value < to);
            prop_assert!(to - from <= (value >> BITS).max(1));
        }

        #[test]
        fn buckets_follow_each_other(value in 1..=LONGEST) {
            prop_assert!(bucket_of(value) - bucket_of(value - 1) <= 1);
        }

        #[test]
        fn quantiles_are_right_to_one_percent(
            mut values in proptest::collection::vec(0_u64..10_000_000_000, 1..200), share in 0.0..=1.0,
        ) {
            let told = histogram(&values).quantile(share).unwrap().as_nanos() as f64;
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            prop_assert!(told >= exact && told <= exact * 1.01 + 1.0, "{told} for {exact}");
        }

        #[test]
        fn any_time_is_counted(values in proptest::collection::vec(any::<u64>(), 0..50), most in 0_usize..40) {
            let histogram = histogram(&values);
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert!(histogram.counts.len() <= bucket_of(LONGEST) + 1);
            let bars = histogram.bars(most);
            prop_assert!(bars.len() <= most.max(1));
            prop_assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(histogram.percentiles().map(|all| all.max.as_nanos() as u64), values.into_iter().max());
        }
    }

    #[test]
    fn extremes_and_mean_are_exact() {
        let histogram = histogram(&[1_000_003, 3, 2_000_000]);
        assert_eq!(histogram.min(), Some(Duration::from_nanos(3)));
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(1_000_002)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(2_000_000)));
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert_eq!(Histogram::new().percentiles(), None);
        assert_eq!(Histogram::new().mean(), None);
        assert!(Histogram::new().bars(10).is_empty());
    }
}
