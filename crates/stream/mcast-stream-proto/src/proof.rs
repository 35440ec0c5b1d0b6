//! What a publisher or a repairer admits of an address: proof that it receives, a limited number of NAKs, and each count once.

use core::fmt;
use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use mcast_pace::TokenBucket;

use crate::ClockTime;
use crate::random::Random;
use crate::span::{count, nanos, times};
use crate::wire::{AddressToken, NAK_INTERVAL};

/// The period of a token. A token is valid in its period and in the next one.
const TOKEN_TIME: Duration = Duration::from_secs(64);

/// Issues a token for each address, which its owner returns, so that no state is needed before the address is proven.
#[derive(Clone, Copy)]
pub(crate) struct AddressProof {
    key: (u64, u64),
}

impl AddressProof {
    pub(crate) const fn new(random: &mut Random) -> Self {
        Self { key: (random.next(), random.next()) }
    }

    /// Returns the present token of an address.
    pub(crate) fn token(&self, now: ClockTime, address: SocketAddr) -> AddressToken {
        self.token_of(now.0 / nanos(TOKEN_TIME), address)
    }

    /// Returns whether the token is valid for the address: its owner has received an echo there.
    pub(crate) fn is_valid(&self, now: ClockTime, address: SocketAddr, token: AddressToken) -> bool {
        let period = now.0 / nanos(TOKEN_TIME);
        let is_of = |period| token == self.token_of(period, address);
        token != AddressToken::NONE && (is_of(period) || is_of(period.saturating_sub(1)))
    }

    /// Returns a keyed hash of the address and the period.
    #[expect(deprecated, reason = "core has no other keyed hash")]
    fn token_of(&self, period: u64, address: SocketAddr) -> AddressToken {
        let mut hasher = core::hash::SipHasher::new_with_keys(self.key.0, self.key.1);
        match address.ip() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(&address.port().to_be_bytes());
        hasher.write(&period.to_be_bytes());
        AddressToken(hasher.finish().max(1))
    }
}

/// The limit of the echoes to unproven addresses. Each may make the system look for a host that does not exist.
#[derive(Debug)]
pub(crate) struct EchoLimit(TokenBucket);

impl EchoLimit {
    /// Creates a limit of this many echoes at once, and then this many per second.
    pub(crate) const fn new(at_once: u64, per_second: u64, now: ClockTime) -> Self {
        Self(TokenBucket::new(per_second, at_once, now.0))
    }

    /// Takes an echo from the limit, and returns whether it was within.
    pub(crate) fn admits(&mut self, now: ClockTime) -> bool {
        self.0.refill(now.0);
        self.0.take(1)
    }
}

impl fmt::Debug for AddressProof {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressProof").finish_non_exhaustive()
    }
}

/// NAKs that one subscriber may send at once.
const NAK_BURST: u32 = 64;

/// A burst of NAKs, and then one in `NAK_INTERVAL`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NakLimit {
    left: u32,
    filled: ClockTime,
}

impl NakLimit {
    pub(crate) const fn new(now: ClockTime) -> Self {
        Self { left: NAK_BURST, filled: now }
    }

    /// Takes a NAK from the limit, and returns whether it was within.
    pub(crate) fn admits(&mut self, now: ClockTime) -> bool {
        let gained: u64 = count(now.since(self.filled), NAK_INTERVAL);
        let left = self.left.saturating_add(u32::try_from(gained).unwrap_or(NAK_BURST)).min(NAK_BURST);
        *self = Self { left: left.saturating_sub(1), filled: self.filled + times(gained, NAK_INTERVAL) };
        debug_assert!(self.left <= NAK_BURST, "more NAKs than a burst");
        left > 0
    }
}

/// The greatest count received, and a bitmap of the 64 counts up to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    greatest: u64,
    received: u64,
}

impl Counts {
    pub(crate) const fn is_new(&self, count: u64) -> bool {
        if count > self.greatest {
            return true;
        }
        let back = self.greatest - count;
        count > 0 && back < 64 && self.received >> back & 1 == 0
    }

    /// Records a count.
    pub(crate) const fn note(&mut self, count: u64) {
        if count > self.greatest {
            let forward = count - self.greatest;
            self.received = if forward < 64 { self.received << forward } else { 0 } | 1;
            self.greatest = count;
        } else if self.greatest - count < 64 {
            self.received |= 1 << (self.greatest - count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_burst_is_admitted_and_then_one_in_each_interval() {
        let mut limit = NakLimit::new(ClockTime(0));
        let at = |interval: u32| ClockTime(0) + interval * NAK_INTERVAL;
        let admitted =
            |limit: &mut NakLimit, interval| (0..100).filter(|_| limit.admits(at(interval))).count();
        assert_eq!(admitted(&mut limit, 0), NAK_BURST as usize);
        assert_eq!(admitted(&mut limit, 1), 1);
        assert_eq!(admitted(&mut limit, 11), 10);
        assert_eq!(admitted(&mut limit, 1_000_000), NAK_BURST as usize);
        assert!(!limit.admits(at(1_000_000) + (NAK_INTERVAL - Duration::from_nanos(1))));
    }
}

#[cfg(test)]
mod replay_tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_count_is_new_twice(counts in prop::collection::vec(0_u64..200, 1..200)) {
            let (mut window, mut seen, mut greatest) = (Counts::default(), BTreeSet::new(), 0);
            for count in counts {
                let expected = count > 0 && !seen.contains(&count) && count + 64 > greatest;
                prop_assert_eq!(window.is_new(count), expected, "{} after {:?}", count, seen);
                if expected {
                    window.note(count);
                    seen.insert(count);
                    greatest = greatest.max(count);
                }
            }
        }
    }
}
