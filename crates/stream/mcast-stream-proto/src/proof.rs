//! Proof that a subscriber receives what is sent to its address.

use core::fmt;
use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use mcast_pace::TokenBucket;

use crate::random::Random;
use crate::wire::AddressToken;
use crate::{ClockTime, Nanos};

/// The period of a token. A token is valid in its period and in the next one.
const TOKEN_TIME: Nanos = Nanos::from_secs(64);

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
        self.token_of(now.0 / TOKEN_TIME.0, address)
    }

    /// Returns whether the token is valid for the address: its owner has received an echo there.
    pub(crate) fn is_valid(&self, now: ClockTime, address: SocketAddr, token: AddressToken) -> bool {
        let period = now.0 / TOKEN_TIME.0;
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
