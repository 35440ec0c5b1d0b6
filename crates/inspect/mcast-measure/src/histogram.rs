//! A histogram of durations in bounded memory.

use std::time::Duration;

use hdrhistogram::Histogram as Counts;
use hdrhistogram::iterators::IterationValue;

use crate::Percentiles;
use crate::wire::nanoseconds;

/// Two significant figures: a value is known to 1 part in 128 or better.
const SIGNIFICANT_FIGURES: u8 = 2;
/// Longer durations (above 18 minutes) are counted as this one.
const MAX_VALUE: u64 = (1 << 40) - 1;

/// A histogram of durations: exact to 1 ns up to 256 ns, and to better than 1 % above that, up to 18 minutes.
/// It uses at most 35 kB. Minimum, maximum and mean are exact.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// `None` before the first duration. It grows with the largest one.
    counts: Option<Counts<u64>>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
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
        Self { counts: None, count: 0, sum: 0, min: 0, max: 0 }
    }

    /// Records a duration in nanoseconds.
    pub fn record(&mut self, nanoseconds: u64) {
        if self.counts.is_none() {
            // Fails only for more than five significant figures.
            self.counts = Counts::new(SIGNIFICANT_FIGURES).ok();
        }
        if let Some(counts) = &mut self.counts {
            // Without a maximum given, the counts grow with the largest value, so that this cannot fail.
            let _ = counts.record(nanoseconds.min(MAX_VALUE));
        }
        self.min = if self.count == 0 { nanoseconds } else { self.min.min(nanoseconds) };
        self.max = self.max.max(nanoseconds);
        self.count += 1;
        self.sum += u128::from(nanoseconds);
    }

    /// Records a duration.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(nanoseconds(duration));
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
        let value = self.counts.as_ref().filter(|_| self.count > 0)?.value_at_quantile(share);
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
        let Some(counts) = &self.counts else { return Vec::new() };
        let (first, last) = (counts.min(), counts.max());
        let buckets: Vec<_> = counts
            .iter_all()
            .skip_while(|bucket| bucket.value_iterated_to() < first)
            .take_while(|bucket| counts.lowest_equivalent(bucket.value_iterated_to()) <= last)
            .collect();
        let width = buckets.len().div_ceil(limit.max(1)).max(1);
        let bar = |chunk: &[IterationValue<u64>]| {
            let (first, last) = (chunk.first()?.value_iterated_to(), chunk.last()?.value_iterated_to());
            Some(HistogramBar {
                from: Duration::from_nanos(counts.lowest_equivalent(first)),
                to: Duration::from_nanos(last + 1),
                count: chunk.iter().map(IterationValue::count_since_last_iteration).sum(),
            })
        };
        buckets.chunks(width).filter_map(bar).collect()
    }
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
            prop_assert!(histogram.counts.as_ref().is_none_or(|counts| counts.distinct_values() <= 35 * 128));
            let bars = histogram.bars(limit);
            prop_assert!(bars.len() <= limit.max(1));
            prop_assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from));
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
