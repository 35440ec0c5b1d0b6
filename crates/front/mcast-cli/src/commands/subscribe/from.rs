//! `--from`: where to start.

use mcast_stream::SubscriberBuilder;
use mcast_stream::history::HistoryStart;
use mcast_stream::subscriber::Start;
use mcast_stream::wire::MessageNumber;

use super::policy::PolicyArgument;
use crate::arguments::parse_moment;

/// The value of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Now,
    Oldest,
    Snapshot,
    Number(MessageNumber),
    /// In milliseconds since 1970.
    Time(u64),
}

impl From {
    pub(super) const fn start(self) -> Start {
        match self {
            Self::Now => Start::Now,
            Self::Snapshot => Start::Snapshot,
            Self::Oldest | Self::Number(_) | Self::Time(_) => Start::Oldest,
        }
    }

    /// Whether it starts with a history.
    pub(super) fn uses_history(self, policy: PolicyArgument, is_verifying: bool) -> bool {
        match self {
            Self::Now | Self::Snapshot => false,
            // The latest message of each key needs no history, and a history is not signed.
            Self::Oldest => policy != PolicyArgument::Latest && !is_verifying,
            Self::Number(_) | Self::Time(_) => true,
        }
    }

    /// Sets where the subscriber starts.
    pub(super) fn apply(
        self,
        builder: SubscriberBuilder,
        policy: PolicyArgument,
        is_verifying: bool,
    ) -> SubscriberBuilder {
        let builder = builder.start(self.start());
        match self {
            _ if !self.uses_history(policy, is_verifying) => builder,
            Self::Oldest => builder.from(HistoryStart::Oldest),
            Self::Number(number) => builder.from(HistoryStart::Number(number)),
            Self::Time(time) => builder.from(HistoryStart::Time(time)),
            Self::Now | Self::Snapshot => builder,
        }
    }
}

/// Parses `now`, `oldest`, `snapshot`, a message number, a time or an age.
pub(super) fn parse(text: &str) -> Result<From, String> {
    match text {
        "now" => Ok(From::Now),
        "oldest" => Ok(From::Oldest),
        "snapshot" => Ok(From::Snapshot),
        _ => match (text.parse(), parse_moment(text)) {
            (Ok(number), _) => Ok(From::Number(MessageNumber(number))),
            (Err(_), Some(time)) => Ok(From::Time(time)),
            (Err(_), None) => Err("write now, oldest, snapshot, a message number, a time such as \
                                   2026-11-22T09:30:00Z, or an age such as 24h"
                .into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_numbers_times_and_ages_are_told_apart() {
        assert_eq!(parse("now"), Ok(From::Now));
        assert_eq!(parse("oldest"), Ok(From::Oldest));
        assert_eq!(parse("snapshot"), Ok(From::Snapshot));
        assert_eq!(parse("17"), Ok(From::Number(MessageNumber(17))));
        assert_eq!(parse("2026-11-22T09:30:00Z"), Ok(From::Time(1_795_339_800_000)));
        assert!(matches!(parse("1h"), Ok(From::Time(_))));
        for text in ["", "yesterday", "-5"] {
            parse(text).unwrap_err();
        }
    }
}
