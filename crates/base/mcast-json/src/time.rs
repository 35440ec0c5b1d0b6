//! Times: always UTC.

use std::time::SystemTime;

use jiff::Timestamp;

/// RFC 3339 in UTC with nanoseconds: `2024-05-01T12:34:56.123456789Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.9}", timestamp(time))
}

/// The time of day in UTC with microseconds: `12:34:56.123456`.
#[must_use]
pub fn clock_time(time: SystemTime) -> String {
    const DAY: i128 = 86_400 * 1_000_000;
    let micros = timestamp(time).as_nanosecond().div_euclid(1_000).rem_euclid(DAY);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Converts a time. A clock outside the range of years that can be written shows the end of that range.
fn timestamp(time: SystemTime) -> Timestamp {
    let is_past = time < SystemTime::UNIX_EPOCH;
    Timestamp::try_from(time).unwrap_or(if is_past { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_have_their_full_precision() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 12_345_678);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.012345678Z");
        assert_eq!(clock_time(time), "22:13:20.012345");
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn times_before_1970_are_written() {
        let time = UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(rfc3339(time), "1969-12-31T23:59:59.999999000Z");
        assert_eq!(clock_time(time), "23:59:59.999999");
    }
}
