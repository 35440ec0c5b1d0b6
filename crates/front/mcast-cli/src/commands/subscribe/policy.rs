//! `--policy`: how gaps are handled.

use std::time::Duration;

use mcast_stream::subscriber::{OnLoss, Policy, Start};

use crate::arguments::parse_duration;

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

pub(super) fn parse(text: &str) -> Result<PolicyArgument, String> {
    match text.split_once('=') {
        None if text == "reliable" => Ok(PolicyArgument::Reliable),
        None if text == "best-effort" => Ok(PolicyArgument::BestEffort),
        None if text == "latest" => Ok(PolicyArgument::Latest),
        Some(("deadline", time)) => parse_duration(time).map(PolicyArgument::Deadline),
        _ => Err("write reliable, deadline=TIME (such as deadline=50ms), best-effort or latest".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_parsed_and_others_refused() {
        assert_eq!(parse("reliable"), Ok(PolicyArgument::Reliable));
        assert_eq!(parse("deadline=50ms"), Ok(PolicyArgument::Deadline(Duration::from_millis(50))));
        assert_eq!(parse("best-effort"), Ok(PolicyArgument::BestEffort));
        for text in ["", "deadline", "deadline=", "deadline=soon", "reliable=1", "Latest"] {
            parse(text).unwrap_err();
        }
    }
}
