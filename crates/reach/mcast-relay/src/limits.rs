//! The limits of a rule: a rate if it has one, and for discovery protocols those per source and in total.

use std::net::IpAddr;
use std::time::Duration;

use mcast_pace::{Limiter, Rate, TokenBucket};

use crate::rule::{DiscoveryProtocol, Rule};

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
            && !limiter.allows(source, now)
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
