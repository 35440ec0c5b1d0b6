//! Key files: one secret per line, `EPOCH ALGORITHM SECRET`, with the secret as 64 hexadecimal digits.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ring::rand::{SecureRandom, SystemRandom};

use super::{Algorithm, GroupSecret, Keys};
use crate::wire::KeyEpoch;

/// The reason why a key file cannot be read. It never contains a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A line does not have three fields.
    #[error("line {0} is not `EPOCH ALGORITHM SECRET`")]
    Line(usize),
    /// An epoch is invalid, or used twice.
    #[error("line {0}: the epoch must be a number from 1 to 65535 that no other line has")]
    Epoch(usize),
    /// The algorithm is unknown.
    #[error("line {0}: the algorithm must be aes-128-gcm or chacha20-poly1305")]
    Algorithm(usize),
    /// A secret does not have 32 bytes.
    #[error("line {0}: the secret must be 64 hexadecimal digits")]
    Secret(usize),
    /// The file contains no secret.
    #[error("the file contains no secret")]
    Empty,
    /// The file contains too many secrets.
    #[error("the file contains more than {most} secrets: remove the oldest", most = Keys::MOST)]
    TooMany,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
}

impl Algorithm {
    /// Returns the name of the algorithm in key files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// Returns the algorithm with this name in key files.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Aes128Gcm, Self::ChaCha20Poly1305].into_iter().find(|known| known.name() == name)
    }
}

impl Keys {
    /// Reads the secrets from the text of a key file. Empty lines, and lines that begin with `#`, are ignored.
    ///
    /// To change the secret of a running stream, give all members a file with the new line in addition to the old one,
    /// the publisher last. Remove the old line when the repairs of datagrams sealed with it are over.
    ///
    /// # Errors
    /// [`KeyFileError`], with the number of the line.
    ///
    /// ```
    /// use mcast_stream_proto::seal::{Algorithm, Keys};
    ///
    /// let file = format!("# prices\n{}", Keys::new_line(1, Algorithm::Aes128Gcm)?);
    /// let keys = Keys::read(&file)?;
    /// assert_eq!(keys.latest().0, 1);
    /// # Ok::<(), mcast_stream_proto::seal::KeyFileError>(())
    /// ```
    pub fn read(file: &str) -> Result<Self, KeyFileError> {
        let mut keys = Self::none();
        for (epoch, secret) in Self::read_secrets(file)? {
            keys.add(epoch, secret as Arc<_>);
        }
        Ok(keys)
    }

    /// Reads the secrets like [`read`](Self::read), and returns them in the order of the file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_secrets(file: &str) -> Result<Vec<(KeyEpoch, Arc<GroupSecret>)>, KeyFileError> {
        let mut secrets: Vec<(KeyEpoch, Arc<GroupSecret>)> = Vec::new();
        let lines = file.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let (Some(epoch), Some(algorithm), Some(secret), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(KeyFileError::Line(number));
            };
            let epoch = epoch.parse().map(KeyEpoch).map_err(|_| KeyFileError::Epoch(number))?;
            if epoch == KeyEpoch::CLEAR || secrets.iter().any(|(known, _)| *known == epoch) {
                return Err(KeyFileError::Epoch(number));
            }
            if secrets.len() == Self::MOST {
                return Err(KeyFileError::TooMany);
            }
            let algorithm = Algorithm::named(algorithm).ok_or(KeyFileError::Algorithm(number))?;
            let secret = hexadecimal(secret).ok_or(KeyFileError::Secret(number))?;
            secrets.push((epoch, GroupSecret::new(&secret, algorithm)));
        }
        if secrets.is_empty() { Err(KeyFileError::Empty) } else { Ok(secrets) }
    }

    /// Returns a line for a key file, with a new random secret.
    ///
    /// # Errors
    /// [`KeyFileError::NoRandomness`] when the system has no random numbers.
    pub fn new_line(epoch: u16, algorithm: Algorithm) -> Result<String, KeyFileError> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| KeyFileError::NoRandomness)?;
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{epoch} {} {digits}\n", algorithm.name()))
    }
}

/// Returns the bytes of 64 hexadecimal digits.
pub(crate) fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn new_lines_are_read() {
        let lines = [Keys::new_line(7, Algorithm::Aes128Gcm), Keys::new_line(9, Algorithm::ChaCha20Poly1305)];
        let file: String = lines.into_iter().map(Result::unwrap).collect();

        let keys = Keys::read(&format!("# mine\n\n{file}")).unwrap();

        assert_eq!(keys.latest(), KeyEpoch(9));
        assert!(keys.has(KeyEpoch(7)));
        assert_ne!(file.lines().next().unwrap()[14..], file.lines().nth(1).unwrap()[20..]);
    }

    #[test]
    fn errors_name_the_line_and_not_the_secret() {
        let cases = [
            ("# nothing\n".to_owned(), KeyFileError::Empty),
            (format!("\n1 aes-128-gcm {SECRET} x"), KeyFileError::Line(2)),
            (format!("0 aes-128-gcm {SECRET}"), KeyFileError::Epoch(1)),
            (format!("one aes-128-gcm {SECRET}"), KeyFileError::Epoch(1)),
            (format!("1 aes-128-gcm {SECRET}\n1 aes-128-gcm {SECRET}"), KeyFileError::Epoch(2)),
            (format!("1 rot13 {SECRET}"), KeyFileError::Algorithm(1)),
            (format!("1 aes-128-gcm {}", &SECRET[1..]), KeyFileError::Secret(1)),
            (format!("1 aes-128-gcm +{}", &SECRET[1..]), KeyFileError::Secret(1)),
            ((1..=5).map(|epoch| format!("{epoch} aes-128-gcm {SECRET}\n")).collect(), KeyFileError::TooMany),
        ];
        for (file, expected) in cases {
            let error = Keys::read(&file).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(&SECRET[1..]));
        }
    }
}
