//! The ciphers AES-128-GCM and ChaCha20-Poly1305, with keys derived by HKDF with SHA-256, and key files: one secret per
//! line, `EPOCH ALGORITHM SECRET`, with the secret as 64 hexadecimal digits.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ring::aead::{AES_128_GCM, Aad, Algorithm as Aead, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Cipher, Keys, Purpose, Secret};
use crate::wire::{KeyEpoch, TAG_LENGTH};

/// The cipher of a group secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// AES-128-GCM: the faster one on processors with AES instructions.
    #[default]
    Aes128Gcm,
    /// ChaCha20-Poly1305: the faster one on all others.
    ChaCha20Poly1305,
}

impl Algorithm {
    fn aead(self) -> &'static Aead {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// A secret of 32 bytes that a group shares.
pub struct GroupSecret {
    root: Prk,
    algorithm: Algorithm,
}

impl GroupSecret {
    /// Creates a secret from these bytes, which must be random.
    #[must_use]
    pub fn new(secret: &[u8; 32], algorithm: Algorithm) -> Arc<Self> {
        Arc::new(Self { root: Salt::new(HKDF_SHA256, b"mcast stream").extract(secret), algorithm })
    }

    /// Returns a number by which people can compare secrets. It does not reveal the secret.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.expand(&[b"mcast fingerprint"]).map_or(0, u64::from_be_bytes)
    }

    /// Returns the cipher.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn derive<const N: usize>(&self, purpose: &Purpose, what: &[u8]) -> Option<[u8; N]> {
        self.expand(&[&purpose.bytes(), what])
    }

    fn expand<const N: usize>(&self, info: &[&[u8]]) -> Option<[u8; N]> {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut bytes = [0; N];
        self.root.expand(info, Length(N)).ok()?.fill(&mut bytes).ok()?;
        Some(bytes)
    }

    fn key(&self, purpose: &Purpose) -> Option<AeadCipher> {
        let aead = self.algorithm.aead();
        let bytes: [u8; 32] = self.derive(purpose, b"key")?;
        let key = UnboundKey::new(aead, bytes.get(..aead.key_len())?).ok()?;
        Some(AeadCipher { key: LessSafeKey::new(key), mask: self.derive(purpose, b"nonce")? })
    }
}

impl Secret for GroupSecret {
    fn cipher(&self, purpose: &Purpose) -> Box<dyn Cipher> {
        match self.key(purpose) {
            Some(cipher) => Box::new(cipher),
            None => Box::new(NoCipher),
        }
    }
}

impl fmt::Debug for GroupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSecret").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

struct AeadCipher {
    key: LessSafeKey,
    mask: [u8; 12],
}

impl AeadCipher {
    /// Returns the nonce: the mask with the count XORed onto its last eight bytes.
    fn nonce(&self, count: u64) -> Nonce {
        let mut nonce = self.mask;
        nonce[4..].iter_mut().zip(count.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Cipher for AeadCipher {
    fn seal(&self, count: u64, head: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(count), Aad::from(head), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    fn open(&self, count: u64, head: &[u8], text_and_tag: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(count), Aad::from(head), text_and_tag).is_ok()
    }
}

/// The cipher in place of a key that could not be derived: it seals and opens nothing.
struct NoCipher;

impl Cipher for NoCipher {
    fn seal(&self, _: u64, _: &[u8], _: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        None
    }

    fn open(&self, _: u64, _: &[u8], _: &mut [u8]) -> bool {
        false
    }
}

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
    use crate::seal::Sealed;
    use crate::wire::{Incarnation, IncarnationSalt, KeyEpoch, StreamId, SubscriberId};

    const PURPOSE: Purpose = Purpose {
        stream: StreamId(1),
        incarnation: Incarnation(2),
        epoch: KeyEpoch(3),
        sealed: Sealed::Data(IncarnationSalt::NONE),
        block: 0,
    };

    fn opens(by: &Purpose, algorithm: Algorithm, count: u64, head: &[u8], change: usize) -> bool {
        let secret = GroupSecret::new(&[7; 32], algorithm);
        let mut sealed = *b"a message in clear, and the tag.";
        let (text, room) = sealed.split_at_mut(16);
        let tag = secret.cipher(&PURPOSE).seal(5, b"head", text).unwrap();
        assert_ne!(text, b"a message in clea");
        room.copy_from_slice(&tag);
        if let Some(byte) = sealed.get_mut(change) {
            *byte ^= 1;
        }
        let opened = secret.cipher(by).open(count, head, &mut sealed);
        assert!(!opened || sealed.starts_with(b"a message in cle"));
        opened
    }

    #[test]
    fn a_sealed_datagram_opens_only_unchanged_and_for_its_purpose() {
        for algorithm in [Algorithm::Aes128Gcm, Algorithm::ChaCha20Poly1305] {
            assert!(opens(&PURPOSE, algorithm, 5, b"head", usize::MAX));
            assert!(!opens(&PURPOSE, algorithm, 6, b"head", usize::MAX), "another count");
            assert!(!opens(&PURPOSE, algorithm, 5, b"heat", usize::MAX), "another head");
            for change in 0..32 {
                assert!(!opens(&PURPOSE, algorithm, 5, b"head", change), "byte {change} changed");
            }
            let others = [
                Purpose { stream: StreamId(2), ..PURPOSE },
                Purpose { incarnation: Incarnation(3), ..PURPOSE },
                Purpose { epoch: KeyEpoch(4), ..PURPOSE },
                Purpose { sealed: Sealed::Control(IncarnationSalt::NONE), ..PURPOSE },
                Purpose { sealed: Sealed::Data(IncarnationSalt(1)), ..PURPOSE },
                Purpose { sealed: Sealed::Subscriber(SubscriberId(0)), ..PURPOSE },
                Purpose { block: 1, ..PURPOSE },
            ];
            for other in others {
                assert!(!opens(&other, algorithm, 5, b"head", usize::MAX), "{other:?}");
            }
        }
    }

    /// Computed with another implementation of HKDF and AES-GCM: see docs/protocol.md.
    #[test]
    fn the_sealed_golden_vector() {
        let secret = GroupSecret::new(&core::array::from_fn(|at| at as u8), Algorithm::Aes128Gcm);
        let mut text = *b"hello";
        let tag = secret.cipher(&PURPOSE).seal(5, b"head", &mut text).unwrap();
        let hex: std::string::String =
            text.iter().chain(&tag).map(|byte| std::format!("{byte:02x}")).collect();
        let page = include_str!("../../../../../docs/protocol.md");
        assert!(page.contains(&hex), "docs/protocol.md does not show {hex}");
    }
}

#[cfg(test)]
mod file_tests {
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
