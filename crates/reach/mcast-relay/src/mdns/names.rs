//! The names that hosts on each leg claim as theirs alone.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use mcast_packet::payload::{Dns, DnsSection, Name};

use crate::LegId;

const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// The longest time that a claim is remembered. Hosts repeat the claims of addresses within 2 minutes (RFC 6762 section
/// 10).
const LONGEST: Duration = Duration::from_secs(150);

/// Names of hosts and services, each with the leg on which it was claimed and until when.
#[derive(Debug)]
pub(crate) struct ClaimedNames {
    names: LruCache<(LegId, u64), Duration>,
    hasher: RandomState,
}

impl ClaimedNames {
    pub(crate) fn new() -> Self {
        Self { names: LruCache::new(MAX_NAMES), hasher: RandomState::new() }
    }

    /// Learns the names that a message of a host on this leg claims: those of unique records, and those it probes for.
    pub(crate) fn learn(&mut self, now: Duration, leg: LegId, message: &[u8]) {
        let Some(dns) = Dns::parse(message) else { return };
        for (section, record) in dns.records() {
            let is_proposed = section == DnsSection::Authority && !dns.is_response;
            if !record.cache_flush && !is_proposed {
                continue;
            }
            let key = (leg, self.hash(record.name));
            match record.time_to_live {
                0 => {
                    self.names.pop(&key);
                }
                seconds => {
                    self.names.put(key, now + Duration::from_secs(seconds.into()).min(LONGEST));
                }
            }
        }
    }

    /// Returns whether a host on the leg claims the name.
    pub(crate) fn is_claimed(&self, now: Duration, leg: LegId, name: Name<'_>) -> bool {
        self.names.peek(&(leg, self.hash(name))).is_some_and(|until| *until > now)
    }

    fn hash(&self, name: Name<'_>) -> u64 {
        let labels: Vec<_> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
        self.hasher.hash_one(labels)
    }
}
