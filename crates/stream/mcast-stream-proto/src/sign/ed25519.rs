//! Ed25519 (RFC 8032) and SHA-256, and files of keys: one key per line, as an algorithm and hexadecimal digits.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{PinnedKeys, SIGNATURE_LENGTH, Signer, Verifier};
use crate::seal::hexadecimal;
use crate::wire::{Digest, SignerId};

/// An Ed25519 key pair.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Creates a key from its seed (RFC 8032: the private key), which must be random.
    ///
    /// # Errors
    /// [`SigningKeyError::Key`] when there is no such key.
    pub fn new(seed: &[u8; 32]) -> Result<Arc<Self>, SigningKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningKeyError::Key)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| SigningKeyError::Key)?;
        Ok(Arc::new(Self { pair, public: PublicKey::new(bytes) }))
    }

    /// Returns a random seed.
    ///
    /// # Errors
    /// [`SigningKeyError::NoRandomness`] when the system has no random numbers.
    pub fn new_seed() -> Result<[u8; 32], SigningKeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| SigningKeyError::NoRandomness)?;
        Ok(seed)
    }

    /// Returns the public key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer for SigningKey {
    fn id(&self) -> SignerId {
        self.public.signer_id()
    }

    fn public(&self) -> [u8; 32] {
        self.public.bytes
    }

    fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        // Ed25519 signatures always have 64 bytes.
        self.pair.sign(text).as_ref().try_into().unwrap_or([0; SIGNATURE_LENGTH])
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        sha_256(parts)
    }
}

/// The public key of a [`SigningKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey {
    bytes: [u8; 32],
    id: SignerId,
}

impl PublicKey {
    /// Returns the key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let Digest([first, second, ..]) = sha_256([&bytes, &[], &[]]);
        Self { bytes, id: SignerId(u16::from_be_bytes([first, second])) }
    }

    /// Returns its bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.bytes
    }

    /// Returns its id in datagrams.
    #[must_use]
    pub const fn signer_id(&self) -> SignerId {
        self.id
    }

    /// Returns this key as the only one that is trusted.
    #[must_use]
    pub fn pinned(self) -> PinnedKeys {
        let mut keys = PinnedKeys::none();
        let _ = keys.add(Arc::new(self));
        keys
    }
}

impl Verifier for PublicKey {
    fn id(&self) -> SignerId {
        self.id
    }

    fn public(&self) -> [u8; 32] {
        self.bytes
    }

    fn verify(&self, text: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.bytes).verify(text, signature).is_ok()
    }

    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        sha_256(parts)
    }
}

fn sha_256(parts: [&[u8]; 3]) -> Digest {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut digest = Digest::default();
    digest.0.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    digest
}

/// The names of the algorithm before the digits of a private and of a public key.
const PRIVATE: &str = "ed25519-private";
const PUBLIC: &str = "ed25519";

/// The reason why a signing key or a public key cannot be used. It never contains a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// A line is not a private key.
    #[error("line {0} is not `ed25519-private` and 64 hexadecimal digits")]
    PrivateLine(usize),
    /// A line is not a public key.
    #[error("line {0} is not `ed25519` and 64 hexadecimal digits")]
    PublicLine(usize),
    /// A text is not a public key.
    #[error("a public key is `ed25519:` and 64 hexadecimal digits")]
    Public,
    /// A file of public keys contains a private key.
    #[error("line {0} is a private key: give subscribers the public key only")]
    IsPrivate(usize),
    /// The file contains no key.
    #[error("the file contains no key")]
    Empty,
    /// The file contains too many keys.
    #[error("the file contains more than {most} keys: remove the oldest", most = PinnedKeys::MOST)]
    TooMany,
    /// There is no such key.
    #[error("the key is not valid")]
    Key,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl SigningKey {
    /// Reads the signing key from the text of a key file: the last of the private keys in it. Empty lines, and lines that
    /// begin with `#`, are ignored.
    ///
    /// # Errors
    /// [`SigningKeyError`], with the number of the line.
    pub fn read(file: &str) -> Result<Arc<Self>, SigningKeyError> {
        Self::read_all(file)?.pop().ok_or(SigningKeyError::Empty)
    }

    /// Reads all private keys from the text of a key file, the one that signs last.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all(file: &str) -> Result<alloc::vec::Vec<Arc<Self>>, SigningKeyError> {
        let read = |(number, line): (usize, &str)| {
            let seed = key(line, PRIVATE).ok_or(SigningKeyError::PrivateLine(number))?;
            Self::new(&seed)
        };
        lines(file).map(read).collect()
    }

    /// Returns a line for a key file, with a new random key.
    ///
    /// # Errors
    /// [`SigningKeyError::NoRandomness`] when the system has no random numbers.
    pub fn new_line() -> Result<String, SigningKeyError> {
        let digits: String = Self::new_seed()?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{PRIVATE} {digits}\n"))
    }
}

impl PinnedKeys {
    /// Reads public keys from the text of a file: one per line, as [`PublicKey`] displays it, or with a space in place of
    /// the colon. Empty lines, and lines that begin with `#`, are ignored.
    ///
    /// # Errors
    /// [`SigningKeyError`], with the number of the line.
    ///
    /// ```
    /// use mcast_stream_proto::sign::{PinnedKeys, SigningKey};
    ///
    /// let key = SigningKey::read(&SigningKey::new_line()?)?;
    /// let pinned = PinnedKeys::read(&format!("# prices\n{}\n", key.public_key()))?;
    /// assert!(pinned.has(key.public_key().signer_id()));
    /// # Ok::<(), mcast_stream_proto::sign::SigningKeyError>(())
    /// ```
    pub fn read(file: &str) -> Result<Self, SigningKeyError> {
        let mut pinned = Self::none();
        for (number, line) in lines(file) {
            if key(line, PRIVATE).is_some() {
                return Err(SigningKeyError::IsPrivate(number));
            }
            let public = key(line, PUBLIC).ok_or(SigningKeyError::PublicLine(number))?;
            if !pinned.add(Arc::new(PublicKey::new(public)) as Arc<dyn Verifier>) {
                return Err(SigningKeyError::TooMany);
            }
        }
        if pinned.is_empty() { Err(SigningKeyError::Empty) } else { Ok(pinned) }
    }
}

impl FromStr for PublicKey {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        key(text, PUBLIC).map(Self::new).ok_or(SigningKeyError::Public)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}:")?;
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the lines that are neither empty nor comments, with their numbers.
fn lines(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Returns the 32 bytes of a key of this algorithm.
fn key(line: &str, algorithm: &str) -> Option<[u8; 32]> {
    let (name, digits) = line.split_once([':', ' ', '\t'])?;
    hexadecimal(digits.trim()).filter(|_| name == algorithm)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::sign::Signer;
    use alloc::string::ToString;

    #[test]
    fn the_last_private_key_of_a_file_signs() {
        let lines = [SigningKey::new_line().unwrap(), SigningKey::new_line().unwrap()];
        let file = format!("# mine\n\n{}{}", lines[0], lines[1]);

        let key = SigningKey::read(&file).unwrap();

        let pinned = PinnedKeys::read(&key.public_key().to_string()).unwrap();
        assert!(pinned.is_signed(key.id(), b"text", &key.sign(b"text")));
        assert!(!pinned.is_signed(key.id(), b"next", &key.sign(b"text")));
        assert_ne!(SigningKey::read(&lines[0]).unwrap().public_key(), key.public_key());
    }

    #[test]
    fn errors_name_the_line_and_not_the_key() {
        let line = SigningKey::new_line().unwrap();
        let digits = line.split_once(' ').unwrap().1.trim();
        let cases = [
            (SigningKey::read("# nothing").unwrap_err(), SigningKeyError::Empty),
            (SigningKey::read(&format!("\n{line} x")).unwrap_err(), SigningKeyError::PrivateLine(3)),
            (SigningKey::read(&format!("rot13 {digits}")).unwrap_err(), SigningKeyError::PrivateLine(1)),
            (PinnedKeys::read("").unwrap_err(), SigningKeyError::Empty),
            (PinnedKeys::read(&line).unwrap_err(), SigningKeyError::IsPrivate(1)),
            (PinnedKeys::read("ed25519:12").unwrap_err(), SigningKeyError::PublicLine(1)),
            (
                PinnedKeys::read(&format!("ed25519 {digits}\n").repeat(17)).unwrap_err(),
                SigningKeyError::TooMany,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(digits));
        }
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_vector_of_the_rfc() {
        let seed = hexadecimal("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SigningKey::new(&seed).unwrap();
        let public = "ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key.public_key().to_string(), public);
        assert_eq!(key.sign(&[0x72])[..4], [0x92, 0xa0, 0x09, 0xa9]);
    }
}
