//! Spans of time as numbers: rates, amounts and fields of datagrams are computed from them. Nothing here overflows, because
//! counts and spans come from the network, too.

use core::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns the nanoseconds of a span; a span of more than 584 years counts as that.
#[inline]
pub(crate) const fn nanos(span: Duration) -> u64 {
    span.as_secs().saturating_mul(NANOS_PER_SECOND).saturating_add(span.subsec_nanos() as u64)
}

/// Returns the whole microseconds, at most `u32::MAX`: the unit of spans in datagrams.
pub(crate) fn wire_micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// Returns the rate per second at which this amount passes in this time.
pub(crate) fn per_second(amount: u64, time: Duration) -> u64 {
    scaled(amount, NANOS_PER_SECOND, nanos(time))
}

/// Returns the amount that passes in this time at this rate per second.
pub(crate) fn amount(per_second: u64, time: Duration) -> u64 {
    scaled(per_second, nanos(time), NANOS_PER_SECOND)
}

/// Returns the time in which this amount passes at this rate per second.
pub(crate) fn time_for(amount: u64, per_second: u64) -> Duration {
    Duration::from_nanos(scaled(amount, NANOS_PER_SECOND, per_second))
}

/// Returns how often a span fits into this one.
pub(crate) const fn count(span: Duration, of: Duration) -> u64 {
    match nanos(span).checked_div(nanos(of)) {
        Some(count) => count,
        None => 0,
    }
}

pub(crate) const fn times(count: u64, span: Duration) -> Duration {
    Duration::from_nanos(nanos(span).saturating_mul(count))
}

/// Returns the part of a span that `part` is of `whole`.
pub(crate) fn share(span: Duration, part: u64, whole: u64) -> Duration {
    Duration::from_nanos(scaled(nanos(span), part, whole))
}

/// Returns `number * by / of`.
pub(crate) fn scaled(number: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(number) * u128::from(by) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overflows() {
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!((nanos(Duration::MAX), wire_micros(Duration::MAX)), (u64::MAX, u32::MAX));
        assert_eq!(
            (per_second(u64::MAX, Duration::ZERO), amount(u64::MAX, Duration::MAX)),
            (u64::MAX, u64::MAX)
        );
        assert_eq!((time_for(u64::MAX, 0), times(u64::MAX, Duration::MAX)), (longest, longest));
        assert_eq!((share(Duration::MAX, u64::MAX, 0), count(longest, Duration::ZERO)), (longest, 0));
    }

    #[test]
    fn rates_amounts_and_times_fit_together() {
        let time = Duration::from_millis(250);
        assert_eq!((per_second(500, time), amount(2_000, time), time_for(500, 2_000)), (2_000, 500, time));
        assert_eq!(
            (count(time, Duration::from_millis(100)), times(3, time)),
            (2, Duration::from_millis(750))
        );
        assert_eq!(share(time, 1, 5), Duration::from_millis(50));
    }
}
