//! Where in the engine to start.

use mcast_bridge::StartAt;
use mcast_stream::wire::MessageNumber;

use super::super::engine::record_position;
use crate::arguments::parse_moment;

/// Parses `oldest`, `now`, a message number, an id as the engine shows it, a time of day or an age.
pub(super) fn parse(text: &str) -> Result<StartAt, String> {
    match text {
        "oldest" => return Ok(StartAt::Oldest),
        "now" | "new" => return Ok(StartAt::New),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Ok(StartAt::Number(MessageNumber(number)));
    }
    if let Some(position) = record_position(text) {
        return Ok(StartAt::Position(position));
    }
    parse_moment(text).map(StartAt::Time).ok_or_else(|| {
        "write oldest, now, a message number, an id of the engine, a time such as \
         2026-11-22T09:30:00Z, or an age such as 24h"
            .into()
    })
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
        let position = Position { incarnation: Incarnation(5), number: MessageNumber(6) };
        assert_eq!(parse("5-7"), Ok(StartAt::Position(position)));
        assert_eq!(parse("2026-11-22T09:30:00Z"), Ok(StartAt::Time(1_795_339_800_000)));
        assert!(matches!(parse("1h"), Ok(StartAt::Time(_))));
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
