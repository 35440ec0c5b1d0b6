//! Where in the engine to start.

use mcast_bridge::StartAt;
use mcast_stream::wire::MessageNumber;

use super::super::engine::Target;
use crate::arguments::parse_moment;

/// Where to start, as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartOption {
    At(StartAt),
    /// With the record of this id, which each engine numbers in its own way.
    Id(String),
}

impl StartOption {
    /// Returns where that is in this engine.
    pub(super) fn resolve(&self, target: &Target) -> anyhow::Result<StartAt> {
        match self {
            Self::At(start) => Ok(*start),
            Self::Id(id) => target.record_position(id).map(StartAt::Position),
        }
    }
}

/// Parses `oldest`, `now`, a message number, an id as the engine shows it, a time of day or an age.
pub(super) fn parse(text: &str) -> Result<StartOption, String> {
    match text {
        "oldest" => return Ok(StartOption::At(StartAt::Oldest)),
        "now" | "new" => return Ok(StartOption::At(StartAt::New)),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Ok(StartOption::At(StartAt::Number(MessageNumber(number))));
    }
    if let Some((incarnation, number)) = text.split_once('-')
        && incarnation.parse::<u32>().is_ok()
        && number.parse::<u64>().is_ok()
    {
        return Ok(StartOption::Id(text.to_owned()));
    }
    match parse_moment(text) {
        Some(time) => Ok(StartOption::At(StartAt::Time(time))),
        None => Err("write oldest, now, a message number, an id of the engine, a time such as \
                     2026-11-22T09:30:00Z, or an age such as 24h"
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_numbers_ids_times_and_ages_are_told_apart() {
        assert_eq!(parse("oldest"), Ok(StartOption::At(StartAt::Oldest)));
        assert_eq!(parse("new"), Ok(StartOption::At(StartAt::New)));
        assert_eq!(parse("17"), Ok(StartOption::At(StartAt::Number(MessageNumber(17)))));
        assert_eq!(parse("5-7"), Ok(StartOption::Id("5-7".to_owned())));
        let time = StartOption::At(StartAt::Time(1_795_339_800_000));
        assert_eq!(parse("2026-11-22T09:30:00Z"), Ok(time));
        assert!(matches!(parse("1h"), Ok(StartOption::At(StartAt::Time(_)))));
        for text in ["", "yesterday", "5-", "-5", "12:00x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
