//! `--from` and `--policy`: where to start, and how gaps are handled.

use std::time::Duration;

use mcast_stream::SubscriberBuilder;
use mcast_stream::history::HistoryStart;
use mcast_stream::subscriber::{OnLoss, Policy, Start};
use mcast_stream::wire::MessageNumber;

use crate::arguments::{parse_duration, parse_moment};

/// The time to wait for reordered datagrams when no repairs are requested.
const REORDERING: Duration = Duration::from_millis(1);

/// The value of `--policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyArgument {
    Reliable,
    Deadline(Duration),
    BestEffort,
    Latest,
}

/// The value of `--on-loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AfterLoss {
    /// Continue with the next message
    Continue,
    /// Fetch a new snapshot, and continue after it
    Snapshot,
    /// Stop
    Stop,
}

impl PolicyArgument {
    /// Returns the policy. By default, a subscriber that started with a snapshot fetches a new one after a loss.
    pub(super) fn policy(self, start: Start, after_loss: Option<AfterLoss>) -> Policy {
        let on_loss = match after_loss {
            Some(AfterLoss::Continue) => OnLoss::Continue,
            Some(AfterLoss::Stop) => OnLoss::Stop,
            Some(AfterLoss::Snapshot) => OnLoss::Snapshot,
            None if start == Start::Snapshot => OnLoss::Snapshot,
            None => OnLoss::Continue,
        };
        match self {
            Self::Reliable => Policy::Reliable(on_loss),
            Self::Deadline(time) => Policy::Deadline(time),
            Self::BestEffort => Policy::BestEffort(REORDERING),
            Self::Latest => Policy::Latest,
        }
    }
}

pub(super) fn parse_policy(text: &str) -> Result<PolicyArgument, String> {
    match text.split_once('=') {
        None if text == "reliable" => Ok(PolicyArgument::Reliable),
        None if text == "best-effort" => Ok(PolicyArgument::BestEffort),
        None if text == "latest" => Ok(PolicyArgument::Latest),
        Some(("deadline", time)) => parse_duration(time).map(PolicyArgument::Deadline),
        _ => Err("write reliable, deadline=TIME (such as deadline=50ms), best-effort or latest".into()),
    }
}

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
pub(super) fn parse_from(text: &str) -> Result<From, String> {
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
    fn policies_are_parsed_and_others_refused() {
        assert_eq!(parse_policy("reliable"), Ok(PolicyArgument::Reliable));
        assert_eq!(parse_policy("deadline=50ms"), Ok(PolicyArgument::Deadline(Duration::from_millis(50))));
        assert_eq!(parse_policy("best-effort"), Ok(PolicyArgument::BestEffort));
        for text in ["", "deadline", "deadline=", "deadline=soon", "reliable=1", "Latest"] {
            parse_policy(text).unwrap_err();
        }
    }

    #[test]
    fn places_numbers_times_and_ages_are_told_apart() {
        assert_eq!(parse_from("now"), Ok(From::Now));
        assert_eq!(parse_from("oldest"), Ok(From::Oldest));
        assert_eq!(parse_from("snapshot"), Ok(From::Snapshot));
        assert_eq!(parse_from("17"), Ok(From::Number(MessageNumber(17))));
        assert_eq!(parse_from("2026-11-22T09:30:00Z"), Ok(From::Time(1_795_339_800_000)));
        assert!(matches!(parse_from("1h"), Ok(From::Time(_))));
        for text in ["", "yesterday", "-5"] {
            parse_from(text).unwrap_err();
        }
    }
}
