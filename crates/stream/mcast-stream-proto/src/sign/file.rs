//! Files of signing keys and of public keys: one key per line, as an algorithm and hexadecimal digits.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use super::ed25519::{PublicKey, SigningKey};
use super::{PinnedKeys, Verifier};
use crate::seal::hexadecimal;

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
