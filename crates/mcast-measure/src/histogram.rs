//! A histogram of durations in bounded memory.

use std::time::Duration;

/// log2 of the number of buckets per power of two; a value is known to 1 part in 128 or better.
const BITS: u32 = 7;
const BUCKETS: u64 = 1 << BITS;
/// Longer durations (above 18 minutes) are counted in the last bucket.
const MAX_VALUE: u64 = (1 << 40) - 1;

/// A histogram of durations: exact to 1 ns up to 256 ns, and to better than 1 % above that, up to 18 minutes.
/// It uses at most 35 kB. Minimum, maximum and mean are exact.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

/// The percentiles that all reports use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Median.
    pub p50: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// 99.9th percentile.
    pub p999: Duration,
    /// Maximum.
    pub max: Duration,
}

/// The number of durations from `from` up to, but not including, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramBar {
    /// Lower bound, inclusive.
    pub from: Duration,
    /// Upper bound, exclusive.
    pub to: Duration,
    /// Number of durations.
    pub count: u64,
}

impl Histogram {
    /// Creates an empty histogram, which allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new(), count: 0, sum: 0, min: 0, max: 0 }
    }

    /// Records a duration in nanoseconds.
    pub fn record(&mut self, nanoseconds: u64) {
        let index = bucket_of(nanoseconds.min(MAX_VALUE));
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.min = if self.count == 0 { nanoseconds } else { self.min.min(nanoseconds) };
        self.max = self.max.max(nanoseconds);
        self.count += 1;
        self.sum += u128::from(nanoseconds);
    }

    /// Records a duration.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the number of recorded durations.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the minimum; `None` if the histogram is empty.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min))
    }

    /// Returns the mean; `None` if the histogram is empty.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// Returns the duration that the given share (0 to 1) of durations does not exceed; `None` if the
    /// histogram is empty.
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

    /// Returns the usual percentiles; `None` if the histogram is empty.
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

    /// Returns the counts in at most `limit` bars, in ascending order. Each bar covers the same number of
    /// buckets.
    #[must_use]
    pub fn bars(&self, limit: usize) -> Vec<HistogramBar> {
        let first = self.counts.iter().position(|count| *count > 0);
        let last = self.counts.iter().rposition(|count| *count > 0);
        let (Some(first), Some(last)) = (first, last) else {
            return Vec::new();
        };
        let width = (last + 1 - first).div_ceil(limit.max(1));
        let starts = (first..=last).step_by(width);
        starts
            .map(|start| {
                let end = (start + width).min(last + 1);
                let count = self.counts[start..end].iter().sum();
                let (from, to) = (range_of(start).0, range_of(end - 1).1);
                HistogramBar { from: Duration::from_nanos(from), to: Duration::from_nanos(to), count }
            })
            .collect()
    }
}

/// Returns the index of the bucket for a value. Values below 128 have a bucket each; above that, each power
/// of two has 128 buckets.
fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    (u64::from(shift) * BUCKETS + (value >> shift)) as usize
}

/// Returns the range of values of a bucket, the upper bound excluded.
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
        fn value_lies_in_its_bucket(value in 0..=MAX_VALUE) {
            let (from, to) = range_of(bucket_of(value));
            prop_assert!(from <= value && value < to);
            prop_assert!(to - from <= (value >> BITS).max(1));
        }

        #[test]
        fn buckets_are_contiguous(value in 1..=MAX_VALUE) {
            prop_assert!(bucket_of(value) - bucket_of(value - 1) <= 1);
        }

        #[test]
        fn quantiles_are_accurate_to_one_percent(
            mut values in proptest::collection::vec(0_u64..10_000_000_000, 1..200), share in 0.0..=1.0,
        ) {
            let quantile = histogram(&values).quantile(share).unwrap().as_nanos() as f64;
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            prop_assert!(quantile >= exact && quantile <= exact * 1.01 + 1.0, "{quantile} for {exact}");
        }

        #[test]
        fn any_duration_is_counted(values in proptest::collection::vec(any::<u64>(), 0..50), limit in 0_usize..40) {
            let histogram = histogram(&values);
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert!(histogram.counts.len() <= bucket_of(MAX_VALUE) + 1);
            let bars = histogram.bars(limit);
            prop_assert!(bars.len() <= limit.max(1));
            prop_assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(histogram.percentiles().map(|all| all.max.as_nanos() as u64), values.into_iter().max());
        }
    }

    #[test]
    fn minimum_maximum_and_mean_are_exact() {
        let histogram = histogram(&[1_000_003, 3, 2_000_000]);
        assert_eq!(histogram.min(), Some(Duration::from_nanos(3)));
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(1_000_002)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_nanos(2_000_000)));
    }

    #[test]
    fn empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::new().percentiles(), None);
        assert_eq!(Histogram::new().mean(), None);
        assert!(Histogram::new().bars(10).is_empty());
    }
}
