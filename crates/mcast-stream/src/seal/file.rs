//! Secrets in a file: a line each, `EPOCH ALGORITHM SECRET`, the secret as 64 hexadecimal digits.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::{Algorithm, GroupSecret, Keys};
use crate::wire::KeyEpoch;

/// Why a file of secrets cannot be read. It never shows a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A line is not what it must be.
    #[error("line {0} is not `EPOCH ALGORITHM SECRET`")]
    Line(usize),
    /// An epoch must be a number.
    #[error("line {0}: an epoch is a number of 1 to 65535, and no two lines have the same")]
    Epoch(usize),
    /// The algorithm is not known.
    #[error("line {0}: the algorithm is aes-128-gcm or chacha20-poly1305")]
    Algorithm(usize),
    /// A secret has 32 bytes.
    #[error("line {0}: a secret is 64 hexadecimal digits")]
    Secret(usize),
    /// Nothing in it.
    #[error("there is no secret in it")]
    Empty,
    /// More are not kept.
    #[error("there are more than {most} secrets in it: take out the oldest", most = Keys::MOST)]
    TooMany,
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl Algorithm {
    /// What files call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// The one that files call so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Aes128Gcm, Self::ChaCha20Poly1305].into_iter().find(|known| known.name() == name)
    }
}

impl Keys {
    /// Reads the secrets of a file; the greatest epoch seals, all open. Empty lines, and those that begin with
    /// `#`, say nothing. To change secrets without a gap: give everybody a file with the new line beside the
    /// old one, the publisher last; take the old line away once nothing sealed with it is on its way.
    ///
    /// # Errors
    /// [`KeyFileError`], with the number of the line.
    ///
    /// ```
    /// use mcast_stream::seal::{Algorithm, Keys};
    ///
    /// let file = format!("# prices\n{}", Keys::new_line(1, Algorithm::Aes128Gcm)?);
    /// let keys = Keys::read(&file)?;
    /// assert_eq!(keys.latest().0, 1);
    /// # Ok::<(), mcast_stream::seal::KeyFileError>(())
    /// ```
    pub fn read(file: &str) -> Result<Self, KeyFileError> {
        let mut keys = Self::none();
        let lines = file.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let (Some(epoch), Some(algorithm), Some(secret), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(KeyFileError::Line(number));
            };
            let epoch = epoch.parse().map(KeyEpoch).map_err(|_| KeyFileError::Epoch(number))?;
            if epoch == KeyEpoch::CLEAR || keys.has(epoch) {
                return Err(KeyFileError::Epoch(number));
            }
            if keys.secrets.len() == Self::MOST {
                return Err(KeyFileError::TooMany);
            }
            let algorithm = Algorithm::named(algorithm).ok_or(KeyFileError::Algorithm(number))?;
            let secret = bytes(secret).ok_or(KeyFileError::Secret(number))?;
            keys.add(epoch, GroupSecret::new(&secret, algorithm) as Arc<_>);
        }
        if keys.is_empty() { Err(KeyFileError::Empty) } else { Ok(keys) }
    }

    /// A line for a file, with a new secret of the system's randomness.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new_line(epoch: u16, algorithm: Algorithm) -> Result<String, KeyFileError> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| KeyFileError::NoRandomness)?;
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{epoch} {} {digits}\n", algorithm.name()))
    }
}

fn bytes(digits: &str) -> Option<[u8; 32]> {
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
    fn what_is_written_is_read() {
        let lines = [Keys::new_line(7, Algorithm::Aes128Gcm), Keys::new_line(9, Algorithm::ChaCha20Poly1305)];
        let file: String = lines.into_iter().map(Result::unwrap).collect();

        let keys = Keys::read(&format!("# mine\n\n{file}")).unwrap();

        assert_eq!(keys.latest(), KeyEpoch(9));
        assert!(keys.has(KeyEpoch(7)));
        assert_ne!(file.lines().next().unwrap()[14..], file.lines().nth(1).unwrap()[20..]);
    }

    #[test]
    fn mistakes_are_told_by_line_and_without_the_secret() {
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
