//! `--policy`: what to do about gaps.

use std::time::Duration;

use mcast_stream::receiver::{OnLoss, Policy, Start};

use crate::arguments::parse_duration;

/// How long what comes out of order is waited for where nothing is asked for.
const REORDERING: Duration = Duration::from_millis(1);

/// A policy as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Reliable,
    Deadline(Duration),
    BestEffort,
    Latest,
}

impl Wanted {
    /// Who began with a snapshot takes another one where messages cannot be had.
    pub(super) fn policy(self, start: Start) -> Policy {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match self {
            Self::Reliable if start == Start::Snapshot => Policy::Reliable(OnLoss::Snapshot),
            Self::Reliable => Policy::Reliable(OnLoss::Continue),
            Self::Deadline(time) => Policy::Deadline(nanoseconds(time)),
            Self::BestEffort => Policy::BestEffort(nanoseconds(REORDERING)),
            Self::Latest => Policy::Latest,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Wanted, String> {
    match text.split_once('=') {
        None if text == "reliable" => Ok(Wanted::Reliable),
        None if text == "best-effort" => Ok(Wanted::BestEffort),
        None if text == "latest" => Ok(Wanted::Latest),
        Some(("deadline", time)) => parse_duration(time).map(Wanted::Deadline),
        _ => Err("write reliable, deadline=TIME (such as deadline=50ms), best-effort or latest".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_others_refused() {
        assert_eq!(parse("reliable"), Ok(Wanted::Reliable));
        assert_eq!(parse("deadline=50ms"), Ok(Wanted::Deadline(Duration::from_millis(50))));
        assert_eq!(parse("best-effort"), Ok(Wanted::BestEffort));
        for text in ["", "deadline", "deadline=", "deadline=soon", "reliable=1", "Latest"] {
            parse(text).unwrap_err();
        }
    }
}
