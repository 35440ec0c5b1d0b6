//! Announcements: what relays send each other on every leg, about once per second.
//!
//! All numbers are big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `MCRL` |
//! | 1 | version, 1 |
//! | 1 | flags: 1 goodbye, 2 authenticated, 4 copies with the sources of other networks are sent on this leg |
//! | 1 | priority |
//! | 1 | the leg that it is sent on |
//! | 8 | id of the relay, another one after each start |
//! | 8 | nonce |
//! | 2, 2 | first port and number of ports that copies are sent from |
//! | 1, 1 | number of this chunk of the pairs, and of chunks |
//! | 1, 1, 1 | number of addresses, of relays received, of pairs |
//! | 5 or 17 each | address: 4 or 6, then the octets |
//! | 16 each | relay received on this leg: id, its latest nonce |
//! | 11 each | pair: digest of the rule, leg it comes from, leg it goes to (255: unicast), state |
//! | 32 | tag over everything before, if authenticated |

use std::fmt;
use std::net::IpAddr;

use mcast_packet::payload::RelayGreeting;

// What `mcast discover` reads, too, is defined with its parser.
const MAGIC: [u8; 4] = RelayGreeting::MAGIC;
const VERSION: u8 = RelayGreeting::VERSION;
const GOODBYE: u8 = RelayGreeting::GOODBYE;
const AUTHENTICATED: u8 = RelayGreeting::AUTHENTICATED;
const KEEPS_SOURCES: u8 = 4;
/// The number of the leg of a pair that goes to a unicast target.
pub(crate) const UNICAST: u8 = 255;
/// With 32 addresses and 16 relays, an announcement of this many pairs fits into the smallest MTU of IPv6, 1,280 bytes.
pub(crate) const PAIRS_PER_CHUNK: usize = 32;
pub(crate) const MAX_ADDRESSES: usize = 32;
pub(crate) const MAX_RECEIVED: usize = 16;

/// The identifier of a running relay. It is random, and another one after each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u64);

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The ports that a relay sends its copies from. Other relays do not forward datagrams from these, so they must not be
/// in the range from which the operating system takes ports for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortBlock {
    /// The first port.
    pub first: u16,
    /// The number of ports.
    pub count: u16,
}

impl Default for PortBlock {
    /// Behind the range that Linux takes ports from, which ends with 60999.
    fn default() -> Self {
        Self { first: 61_440, count: 1_024 }
    }
}

impl PortBlock {
    /// Returns whether the port is in the block.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        port >= self.first && port - self.first < self.count
    }
}

/// Why a datagram is not a valid announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// It is not an announcement of this version.
    #[error("not an announcement of version {VERSION}")]
    Version,
    /// It ends too early, or contains a value that is not valid.
    #[error("truncated or malformed")]
    Malformed,
    /// It is not authenticated with the key, although a key is given.
    #[error("not authenticated with the key")]
    Tag,
}

/// What a relay does for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AnnouncedState {
    /// It has just started, or was just able to, and waits for announcements of others.
    Listening,
    Standby,
    Forwarding,
}

/// A rule between two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnnouncedPair {
    pub(crate) digest: u64,
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) state: AnnouncedState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) goodbye: bool,
    /// Whether copies with the sources of other networks are sent on this leg.
    pub(crate) keeps_sources: bool,
    pub(crate) priority: u8,
    pub(crate) leg: u8,
    pub(crate) relay: RelayId,
    pub(crate) nonce: u64,
    pub(crate) ports: PortBlock,
    pub(crate) chunk: u8,
    pub(crate) chunks: u8,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) received: Vec<(RelayId, u64)>,
    pub(crate) pairs: Vec<AnnouncedPair>,
}

impl Announcement {
    /// Writes it. Lists are cut at their greatest lengths.
    pub(crate) fn emit(&self, authenticator: Option<&dyn Authenticator>) -> Vec<u8> {
        let addresses = &self.addresses[..self.addresses.len().min(MAX_ADDRESSES)];
        let received = &self.received[..self.received.len().min(MAX_RECEIVED)];
        let pairs = &self.pairs[..self.pairs.len().min(PAIRS_PER_CHUNK)];
        let mut bytes = Vec::with_capacity(1_232);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.goodbye, GOODBYE)
            | flag(authenticator.is_some(), AUTHENTICATED)
            | flag(self.keeps_sources, KEEPS_SOURCES);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, flags, self.priority, self.leg]);
        bytes.extend(self.relay.0.to_be_bytes());
        bytes.extend(self.nonce.to_be_bytes());
        bytes.extend(self.ports.first.to_be_bytes());
        bytes.extend(self.ports.count.to_be_bytes());
        bytes.extend([self.chunk, self.chunks]);
        bytes.extend([addresses.len() as u8, received.len() as u8, pairs.len() as u8]);
        for address in addresses {
            match address {
                IpAddr::V4(address) => bytes.extend([4].iter().chain(&address.octets())),
                IpAddr::V6(address) => bytes.extend([6].iter().chain(&address.octets())),
            }
        }
        for (relay, nonce) in received {
            bytes.extend(relay.0.to_be_bytes());
            bytes.extend(nonce.to_be_bytes());
        }
        for pair in pairs {
            bytes.extend(pair.digest.to_be_bytes());
            bytes.extend([pair.from, pair.to, pair.state as u8]);
        }
        if let Some(authenticator) = authenticator {
            let tag = authenticator.tag(&bytes);
            bytes.extend(tag);
        }
        bytes
    }

    /// Parses a datagram. With an authenticator, its tag must be valid; without one, a tag is ignored.
    pub(crate) fn parse(
        bytes: &[u8],
        authenticator: Option<&dyn Authenticator>,
    ) -> Result<Self, AnnouncementError> {
        let mut reader = Reader(bytes);
        if reader.take::<4>()? != MAGIC || reader.byte()? != VERSION {
            return Err(AnnouncementError::Version);
        }
        let [flags, priority, leg] = reader.take()?;
        if let Some(authenticator) = authenticator {
            let split = bytes.len().checked_sub(TAG_LENGTH).filter(|_| flags & AUTHENTICATED != 0);
            let (body, tag) = bytes.split_at(split.ok_or(AnnouncementError::Tag)?);
            if !authenticator.verify(body, tag) {
                return Err(AnnouncementError::Tag);
            }
        }
        let relay = RelayId(reader.number()?);
        let nonce = reader.number()?;
        let ports = PortBlock {
            first: u16::from_be_bytes(reader.take()?),
            count: u16::from_be_bytes(reader.take()?),
        };
        let [chunk, chunks, addresses, received, pairs] = reader.take()?;
        if chunk >= chunks {
            return Err(AnnouncementError::Malformed);
        }
        let (goodbye, keeps_sources) = (flags & GOODBYE != 0, flags & KEEPS_SOURCES != 0);
        Ok(Self {
            goodbye,
            keeps_sources,
            priority,
            leg,
            relay,
            nonce,
            ports,
            chunk,
            chunks,
            addresses: (0..addresses).map(|_| reader.address()).collect::<Result<_, _>>()?,
            received: (0..received)
                .map(|_| Ok((RelayId(reader.number()?), reader.number()?)))
                .collect::<Result<_, _>>()?,
            pairs: (0..pairs).map(|_| reader.pair()).collect::<Result<_, _>>()?,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], AnnouncementError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(AnnouncementError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, AnnouncementError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, AnnouncementError> {
        self.take().map(u64::from_be_bytes)
    }

    fn address(&mut self) -> Result<IpAddr, AnnouncementError> {
        match self.byte()? {
            4 => Ok(IpAddr::from(self.take::<4>()?)),
            6 => Ok(IpAddr::from(self.take::<16>()?)),
            _ => Err(AnnouncementError::Malformed),
        }
    }

    fn pair(&mut self) -> Result<AnnouncedPair, AnnouncementError> {
        let digest = self.number()?;
        let [from, to, state] = self.take()?;
        let state = match state {
            0 => AnnouncedState::Listening,
            1 => AnnouncedState::Standby,
            2 => AnnouncedState::Forwarding,
            _ => return Err(AnnouncementError::Malformed),
        };
        Ok(AnnouncedPair { digest, from, to, state })
    }
}

/// The length of the tag at the end of an authenticated announcement.
pub(crate) const TAG_LENGTH: usize = 32;

/// Authenticates announcements with a key that the relays share.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// Returns the tag of these bytes.
    fn tag(&self, bytes: &[u8]) -> [u8; TAG_LENGTH];

    /// Returns whether this is the tag of these bytes, in constant time.
    fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool;
}

#[cfg(feature = "seal")]
pub use key::AnnouncementKey;

#[cfg(feature = "seal")]
mod key {
    use std::fmt;

    use ring::hmac::{HMAC_SHA256, Key, sign, verify};

    use super::{Authenticator, TAG_LENGTH};

    /// A key of at least 16 random bytes, with HMAC-SHA256.
    pub struct AnnouncementKey(Key);

    impl AnnouncementKey {
        /// Creates a key from these bytes. `None` if there are fewer than 16.
        #[must_use]
        pub fn new(secret: &[u8]) -> Option<Self> {
            (secret.len() >= 16).then(|| Self(Key::new(HMAC_SHA256, secret)))
        }
    }

    impl fmt::Debug for AnnouncementKey {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("AnnouncementKey")
        }
    }

    impl Authenticator for AnnouncementKey {
        fn tag(&self, bytes: &[u8]) -> [u8; TAG_LENGTH] {
            let mut tag = [0; TAG_LENGTH];
            tag.iter_mut().zip(sign(&self.0, bytes).as_ref()).for_each(|(to, from)| *to = *from);
            tag
        }

        fn verify(&self, bytes: &[u8], tag: &[u8]) -> bool {
            verify(&self.0, bytes, tag).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announcements() -> impl Strategy<Value = Announcement> {
        let pair = (any::<u64>(), any::<u8>(), any::<u8>(), 0_u8..3).prop_map(|(digest, from, to, state)| {
            let states = [AnnouncedState::Listening, AnnouncedState::Standby, AnnouncedState::Forwarding];
            AnnouncedPair { digest, from, to, state: states[usize::from(state)] }
        });
        let head =
            (any::<(bool, bool)>(), any::<u8>(), any::<u8>(), any::<u64>(), any::<u64>(), any::<u16>());
        let lists = (
            prop::collection::vec(any::<IpAddr>(), 0..=MAX_ADDRESSES),
            prop::collection::vec((any::<u64>().prop_map(RelayId), any::<u64>()), 0..=MAX_RECEIVED),
            prop::collection::vec(pair, 0..=PAIRS_PER_CHUNK),
        );
        (head, lists).prop_map(
            |(
                ((goodbye, keeps_sources), priority, leg, relay, nonce, first),
                (addresses, received, pairs),
            )| {
                let (relay, ports) = (RelayId(relay), PortBlock { first, count: 7 });
                let (chunk, chunks) = (priority / 2, priority / 2 + 1);
                Announcement {
                    goodbye,
                    keeps_sources,
                    priority,
                    leg,
                    relay,
                    nonce,
                    ports,
                    chunk,
                    chunks,
                    addresses,
                    received,
                    pairs,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn announcements_round_trip_and_fit_into_the_smallest_mtu(announcement in announcements()) {
            let bytes = announcement.emit(None);
            // IPv6 and UDP have 48 bytes of headers.
            prop_assert!(bytes.len() + TAG_LENGTH <= 1_280 - 48);
            let greeting = RelayGreeting::parse(&bytes).unwrap();
            prop_assert_eq!(greeting.addresses().collect::<Vec<_>>(), &announcement.addresses[..]);
            prop_assert_eq!((greeting.relay, greeting.leg), (announcement.relay.0, announcement.leg));
            prop_assert_eq!((greeting.is_goodbye, greeting.priority), (announcement.goodbye, announcement.priority));
            prop_assert_eq!(Announcement::parse(&bytes, None), Ok(announcement));
            for length in 0..bytes.len() {
                prop_assert!(Announcement::parse(&bytes[..length], None).is_err());
            }
        }

        #[test]
        fn parsing_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), valid: bool) {
            let mut bytes = bytes;
            if valid && bytes.len() > 5 {
                bytes[..5].copy_from_slice(b"MCRL\x01");
            }
            let _ = Announcement::parse(&bytes, None);
        }
    }

    #[cfg(feature = "seal")]
    mod with_key {
        use super::*;
        use crate::AnnouncementKey;

        proptest! {
            #[test]
            fn a_changed_announcement_is_refused(announcement in announcements(), at: prop::sample::Index) {
                let key = AnnouncementKey::new(&[7; 16]).unwrap();
                let bytes = announcement.emit(Some(&key));
                prop_assert_eq!(Announcement::parse(&bytes, Some(&key)), Ok(announcement.clone()));
                prop_assert_eq!(Announcement::parse(&bytes, None), Ok(announcement.clone()));
                let mut changed = bytes.clone();
                changed[at.index(bytes.len())] ^= 1;
                prop_assert!(Announcement::parse(&changed, Some(&key)).is_err());
                let clear = announcement.emit(None);
                prop_assert_eq!(Announcement::parse(&clear, Some(&key)), Err(AnnouncementError::Tag));
                let other = AnnouncementKey::new(&[8; 16]).unwrap();
                prop_assert_eq!(Announcement::parse(&bytes, Some(&other)), Err(AnnouncementError::Tag));
            }
        }
    }
}
