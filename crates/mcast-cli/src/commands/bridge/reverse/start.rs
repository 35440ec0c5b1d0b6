//! Where in the engine to start.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mcast_bridge::StartAt;
use mcast_stream::wire::MessageNumber;

use super::super::engine::record_id;
use crate::arguments::parse_duration;

/// Parses `oldest`, `now`, a message number, an id as the engine shows it, a time of day or an age. The position of an id
/// has the number in the id.
pub(super) fn parse(text: &str) -> Result<StartAt, String> {
    match text {
        "oldest" => return Ok(StartAt::Oldest),
        "now" | "new" => return Ok(StartAt::New),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Ok(StartAt::Number(MessageNumber(number)));
    }
    if let Some(position) = record_id(text) {
        return Ok(StartAt::Position(position));
    }
    if let Some(time) = parse_time(text) {
        return Ok(StartAt::Time(u64::try_from(time.as_millisecond()).unwrap_or(0)));
    }
    match parse_duration(text) {
        Ok(age) => Ok(StartAt::Time(milliseconds_before(age))),
        Err(_) => Err("write oldest, now, a message number, an id of the engine, a time such as \
                       2026-11-22T09:30:00Z, or an age such as 24h"
            .into()),
    }
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
    use mcast_bridge::Position;
    use mcast_stream::wire::Incarnation;

    use super::*;

    #[test]
    fn places_numbers_ids_times_and_ages_are_told_apart() {
        assert_eq!(parse("oldest"), Ok(StartAt::Oldest));
        assert_eq!(parse("new"), Ok(StartAt::New));
        assert_eq!(parse("17"), Ok(StartAt::Number(MessageNumber(17))));
        let position = Position { incarnation: Incarnation(5), number: MessageNumber(7) };
        assert_eq!(parse("5-7"), Ok(StartAt::Position(position)));
        let time = StartAt::Time(1_795_339_800_000);
        assert_eq!(parse("2026-11-22T09:30:00Z"), Ok(time));
        assert_eq!(parse("2026-11-22T09:30"), Ok(time));
        assert_eq!(parse("2026-11-22T10:30:00+01:00"), Ok(time));
        let Ok(StartAt::Time(hour_ago)) = parse("1h") else { panic!("an age is a time") };
        let now = milliseconds_before(Duration::ZERO);
        assert!(now - hour_ago >= 3_590_000 && now - hour_ago <= 3_610_000);
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
