//! A time of day or an age, for `--from`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::parse_duration;

/// Parses a time such as `2026-11-22T09:30:00Z`, or an age such as `24h`; returns milliseconds since 1970.
pub(crate) fn parse_moment(text: &str) -> Option<u64> {
    if let Some(time) = parse_time(text) {
        return Some(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    parse_duration(text).ok().map(milliseconds_before)
}

/// Parses a time with an offset, or in UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Result<Timestamp, _> = text.parse();
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    time.ok().or_else(in_utc)
}

fn milliseconds_before(age: Duration) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.saturating_sub(age).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_told_apart() {
        let time = Some(1_795_339_800_000);
        assert_eq!(parse_moment("2026-11-22T09:30:00Z"), time);
        assert_eq!(parse_moment("2026-11-22T09:30"), time);
        assert_eq!(parse_moment("2026-11-22T10:30:00+01:00"), time);
        let hour_ago = parse_moment("1h").expect("an age is a time");
        let now = milliseconds_before(Duration::ZERO);
        assert!(now - hour_ago >= 3_590_000 && now - hour_ago <= 3_610_000);
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }
}
