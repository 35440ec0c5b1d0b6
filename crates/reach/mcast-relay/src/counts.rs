//! What is kept for a rule: counters, events about refused datagrams, and limits.

use std::net::IpAddr;
use std::time::Duration;

use mcast_pace::{ClockTime, Limiter, Rate, TokenBucket};

use crate::event::{RefusalReason, RelayEvent};
use crate::rule::{DiscoveryProtocol, Rule};

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

/// Tokens per datagram, so that rates below one datagram per second can be expressed.
const DATAGRAM: u64 = 1_000;
/// The smallest bursts that pass.
const MIN_BURST_DATAGRAMS: u64 = 32 * DATAGRAM;
const MIN_BURST_BITS: u64 = 65_536 * 8;

#[derive(Debug)]
pub(crate) struct Limits {
    sources: Option<Limiter>,
    rate: Option<(Rate, TokenBucket)>,
}

impl Limits {
    pub(crate) fn new(rule: &Rule) -> Self {
        let limiter = |_| Limiter::new(DiscoveryProtocol::EACH_SOURCE, DiscoveryProtocol::ALL_SOURCES);
        let bucket = |rate: Rate| {
            let (tokens, smallest) = match rate {
                Rate::Datagrams(rate) => (rate * DATAGRAM as f64, MIN_BURST_DATAGRAMS),
                Rate::Bits(rate) => (rate, MIN_BURST_BITS),
            };
            let tokens = tokens as u64;
            // A tenth of a second.
            (rate, TokenBucket::new(tokens, (tokens / 10).max(smallest), 0))
        };
        Self { sources: rule.traffic.protocol.map(limiter), rate: rule.rate.map(bucket) }
    }

    /// Returns whether a datagram of this length passes.
    pub(crate) fn allow(&mut self, now: Duration, source: IpAddr, length: usize) -> bool {
        if let Some(limiter) = &mut self.sources
            && !limiter.allows(ClockTime::START + now, source)
        {
            return false;
        }
        let Some((rate, bucket)) = &mut self.rate else { return true };
        bucket.refill(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        bucket.take(match rate {
            Rate::Datagrams(_) => DATAGRAM,
            Rate::Bits(_) => (length as u64).saturating_mul(8),
        })
    }
}
