//! Counters of a rule, and events about refused datagrams.

use std::time::Duration;

use crate::event::{RefusalReason, RelayEvent};

/// Time between two events about the same rule and reason.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// What a rule has forwarded and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Datagrams that arrived.
    pub arrived: u64,
    /// Copies sent.
    pub copies: u64,
    /// Bytes of payload in these copies.
    pub bytes: u64,
    /// Replies sent to senders, and answers of senders to these.
    pub replies: u64,
    refused: [u64; RefusalReason::COUNT],
    reported: [Option<(Duration, u64)>; RefusalReason::COUNT],
}

impl RuleCounts {
    /// Returns the number of datagrams that were not forwarded for this reason.
    #[must_use]
    pub fn refused(&self, reason: RefusalReason) -> u64 {
        self.refused[reason as usize]
    }

    /// Returns every reason for which datagrams were refused, with their number.
    pub fn refusals(&self) -> impl Iterator<Item = (RefusalReason, u64)> {
        RefusalReason::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }

    /// Counts a refused datagram. Returns an event if one is due.
    pub(crate) fn refuse(&mut self, now: Duration, rule: usize, reason: RefusalReason) -> Option<RelayEvent> {
        self.refused[reason as usize] += 1;
        if !reason.is_reported() {
            return None;
        }
        let total = self.refused(reason);
        let reported = &mut self.reported[reason as usize];
        let before = match *reported {
            Some((last, _)) if now < last + REPORT_INTERVAL => return None,
            Some((_, count)) => count,
            None => 0,
        };
        *reported = Some((now, total));
        Some(RelayEvent::NotForwarded { rule, reason, count: total - before, culprit: None })
    }
}
