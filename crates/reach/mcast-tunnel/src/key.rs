//! Who may be at the other end: key pairs of relays, and the public keys of their peers.

use std::fmt;
use std::str::FromStr;

use crate::MAX_NAME;
use crate::key_error::{MAX_PEERS, TunnelKeyError};
use crate::pair::{random_seed, to_public};

/// What a line of a private key begins with.
const PRIVATE: &str = "tunnel-private";
/// What the text of a public key begins with.
const PUBLIC: &str = "tunnel";
/// What a line with the key of a peer begins with.
const PEER: &str = "peer";

/// The private key of a relay (Ed25519, RFC 8032). It never leaves the relay.
#[derive(Clone, PartialEq, Eq)]
pub struct TunnelKey {
    seed: [u8; 32],
    public: PeerKey,
}

/// The public key of a relay. Text form: `tunnel:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub(crate) [u8; 32]);

/// The key of this relay, and which peers may have which tunnels.
///
/// ```
/// use mcast_tunnel::{TunnelKey, TunnelKeys};
///
/// let (hub, paris) = (TunnelKey::generate()?, TunnelKey::generate()?);
/// let file = format!("{}\npeer paris {}\n", hub.to_line(), paris.public());
/// let keys = TunnelKeys::parse(&file)?;
/// assert!(keys.admits("paris", &paris.public()) && !keys.admits("oslo", &paris.public()));
/// # Ok::<(), mcast_tunnel::TunnelKeyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelKeys {
    own: Option<TunnelKey>,
    peers: Vec<(String, PeerKey)>,
}

impl TunnelKey {
    /// Generates a key pair.
    ///
    /// # Errors
    ///
    /// [`TunnelKeyError::NoRandomness`], [`TunnelKeyError::NoCiphers`].
    pub fn generate() -> Result<Self, TunnelKeyError> {
        Self::from_seed(random_seed()?)
    }

    /// Returns the key of a seed.
    ///
    /// # Errors
    ///
    /// [`TunnelKeyError::NoCiphers`].
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, TunnelKeyError> {
        Ok(Self { seed, public: PeerKey(to_public(&seed)?) })
    }

    /// Returns the public key, which the other ends are given.
    #[must_use]
    pub const fn public(&self) -> PeerKey {
        self.public
    }

    /// Returns the line of a file of keys.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{PRIVATE} {}", Digits(&self.seed))
    }

    #[cfg_attr(not(feature = "quic"), allow(dead_code, reason = "only QUIC signs"))]
    pub(crate) const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl TunnelKeys {
    /// Creates the keys of a relay without peers.
    #[must_use]
    pub const fn new(own: TunnelKey) -> Self {
        Self { own: Some(own), peers: Vec::new() }
    }

    /// Creates no keys: nothing is dialed or accepted with them.
    #[must_use]
    pub const fn none() -> Self {
        Self { own: None, peers: Vec::new() }
    }

    /// Admits a peer to the tunnel with this name.
    #[must_use]
    pub fn with_peer(mut self, name: &str, key: PeerKey) -> Self {
        self.peers.push((name.to_owned(), key));
        self
    }

    /// Reads a file of keys: a line `tunnel-private KEY`, and a line `peer NAME tunnel:KEY` for each peer. A tunnel may have
    /// several peers, such as the relays of a site of which one is a standby. Empty lines and those that begin with # are
    /// comments.
    ///
    /// # Errors
    ///
    /// The first line that is not valid.
    pub fn parse(text: &str) -> Result<Self, TunnelKeyError> {
        let mut keys = Self::none();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [PRIVATE, digits] => {
                    let seed = parse_digits(digits).ok_or(TunnelKeyError::Line(number))?;
                    if keys.own.replace(TunnelKey::from_seed(seed)?).is_some() {
                        return Err(TunnelKeyError::SecondPrivateKey(number));
                    }
                }
                [PEER, name, key] if name.len() <= MAX_NAME => {
                    let key = key.parse().map_err(|_| TunnelKeyError::Line(number))?;
                    keys.peers.push((name.to_owned(), key));
                }
                _ => return Err(TunnelKeyError::Line(number)),
            }
        }
        match keys {
            Self { own: None, .. } => Err(TunnelKeyError::NoPrivateKey),
            Self { peers, .. } if peers.len() > MAX_PEERS => Err(TunnelKeyError::TooManyPeers),
            keys => Ok(keys),
        }
    }

    /// Returns the key of this relay.
    #[must_use]
    pub const fn own(&self) -> Option<&TunnelKey> {
        self.own.as_ref()
    }

    /// Returns the peers, each with a tunnel that it may have.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &PeerKey)> {
        self.peers.iter().map(|(name, key)| (name.as_str(), key))
    }

    /// Returns whether a peer may have the tunnel with this name.
    #[must_use]
    pub fn admits(&self, name: &str, key: &PeerKey) -> bool {
        self.peers().any(|(known, peer)| known == name && peer == key)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}:{}", Digits(&self.0))
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerKey {
    type Err = TunnelKeyError;

    fn from_str(text: &str) -> Result<Self, TunnelKeyError> {
        let digits = text.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix(':'));
        digits.and_then(parse_digits).map(Self).ok_or(TunnelKeyError::PublicKey)
    }
}

/// Hexadecimal digits.
struct Digits<'a>(&'a [u8]);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn parse_digits(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    // The parser of numbers accepts a sign.
    (!text.contains('+')).then_some(bytes)
}

#[cfg(all(test, feature = "quic"))]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = parse_digits("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let public = "tunnel:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(TunnelKey::from_seed(seed).unwrap().public().to_string(), public);
        assert_eq!(public.parse::<PeerKey>().unwrap().to_string(), public);
    }

    #[test]
    fn a_file_has_one_private_key_and_says_which_peer_has_which_tunnel() {
        let [own, one, other] = [1, 2, 3].map(|seed| TunnelKey::from_seed([seed; 32]).unwrap());
        let text =
            format!("# hub\n{}\n\n peer paris {}\npeer oslo {}", own.to_line(), one.public(), other.public());
        let keys = TunnelKeys::parse(&text).unwrap();
        assert_eq!(keys.own(), Some(&own));
        assert_eq!(keys.peers().collect::<Vec<_>>(), [("paris", &one.public()), ("oslo", &other.public())]);
        assert!(keys.admits("oslo", &other.public()) && !keys.admits("oslo", &one.public()));
        for (text, expected) in [
            (String::new(), TunnelKeyError::NoPrivateKey),
            ([own.to_line(), one.to_line()].join("\n"), TunnelKeyError::SecondPrivateKey(2)),
            (format!("{}\npeer paris", own.to_line()), TunnelKeyError::Line(2)),
            (format!("{}\npeer paris tunnel:12", own.to_line()), TunnelKeyError::Line(2)),
            (format!("tunnel-private {}", "+1".repeat(32)), TunnelKeyError::Line(1)),
            ("1:aes-128-gcm:00".into(), TunnelKeyError::Line(1)),
        ] {
            assert_eq!(TunnelKeys::parse(&text), Err(expected), "{text}");
        }
        assert!(!format!("{keys:?}").contains(&"01".repeat(32)), "a private key is not printed");
    }
}
