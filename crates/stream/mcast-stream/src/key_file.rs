//! Key files on disk.

use std::fs::File;
#[cfg(feature = "seal")]
use std::io::Write;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
#[cfg(feature = "seal")]
use std::sync::Arc;

use mcast_sys::{ClassifiedError, FailureClass};

use crate::seal::Keys;
#[cfg(feature = "seal")]
use crate::{
    seal::GroupSecret,
    sign::{PinnedKeys, PublicKey, SigningKey, SigningKeyError},
    wire::KeyEpoch,
};

/// The maximum length of a key file, so that a device without an end is not read.
const MAX_LENGTH: u64 = 1 << 20;

/// The head of a new file.
#[cfg(feature = "seal")]
const HEAD: &str = "# The secrets of a group: anyone with this file can read and write its streams.\n";

/// The head of a new file of signing keys.
#[cfg(feature = "seal")]
const SIGNING_HEAD: &str =
    "# Signing keys of a publisher: anyone with this file can sign as it. The last one signs.\n";

/// A file with the secrets of a group, one per line, which all members share. Without the feature `seal`, every operation
/// fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
}

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileAccessError {
    /// It could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A new file would replace this one.
    #[error("{} already exists and was not changed", _0.display())]
    Exists(PathBuf),
    /// Its content is not that of a key file.
    #[cfg(feature = "seal")]
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: crate::seal::KeyFileError,
    },
    /// It cannot take another secret.
    #[cfg(feature = "seal")]
    #[error("{}: {source}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: crate::seal::KeyFileError,
    },
    /// Its content is not that of a file of signing keys or of public keys.
    #[cfg(feature = "seal")]
    #[error("{}: {source}", path.display())]
    Signing {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: SigningKeyError,
    },
    /// It contains a single key, which is in use.
    #[error("{} contains a single key", _0.display())]
    LastKey(PathBuf),
    /// It contains public keys, of which only the publisher can make more.
    #[error("{} contains public keys, not secrets", _0.display())]
    PublicKeys(PathBuf),
    /// The epochs are used up.
    #[error("{}: there is no epoch after {}", _0.display(), u16::MAX)]
    NoNextEpoch(PathBuf),
    /// This build has no ciphers.
    #[error("this build has no ciphers")]
    NoCiphers,
}

impl ClassifiedError for KeyFileAccessError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Read { .. } | Self::Write { .. } => None,
            Self::Exists(_) | Self::NoCiphers => Some(FailureClass::Environment),
            _ => Some(FailureClass::Usage),
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                "run the command as the owner of the file"
            }
            Self::Write { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                "use a directory in which this user may create files, or run the command as its owner"
            }
            #[cfg(feature = "seal")]
            Self::Full { .. } => "remove the oldest epoch: `mcast keys drop`",
            Self::LastKey(_) => "add the next one first",
            Self::PublicKeys(_) => "name the file of the publisher that has the private keys",
            Self::NoCiphers => "build with the feature `seal`",
            _ => return None,
        };
        Some(remedy.into())
    }
}

impl KeyFile {
    /// Returns the key file at this path, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secrets.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Read`] and [`KeyFileAccessError::Content`].
    pub fn read(&self) -> Result<Keys, KeyFileAccessError> {
        self.parse(&self.text()?)
    }

    /// Returns whether other users of this machine may read the file, as far as the system shows. Only Unix does.
    #[must_use]
    pub fn is_readable_by_others(&self) -> bool {
        #[cfg(unix)]
        let mode = std::fs::metadata(&self.path)
            .map_or(0, |metadata| std::os::unix::fs::MetadataExt::mode(&metadata));
        #[cfg(not(unix))]
        let mode = 0;
        mode & 0o044 != 0
    }

    fn text(&self) -> Result<String, KeyFileAccessError> {
        let read = || {
            let mut text = String::new();
            File::open(&self.path)?.take(MAX_LENGTH + 1).read_to_string(&mut text)?;
            match text.len() as u64 <= MAX_LENGTH {
                true => Ok(text),
                false => Err(io::Error::new(ErrorKind::InvalidData, "it is too long for a key file")),
            }
        };
        read().map_err(|source| KeyFileAccessError::Read { path: self.path.clone(), source })
    }
}

#[cfg(feature = "seal")]
impl KeyFile {
    fn create_with(&self, text: &str) -> Result<(), KeyFileAccessError> {
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeyFileAccessError::Exists(self.path.clone()),
            _ => self.write_error(source),
        })?;
        // An empty file would be in the way of the next attempt.
        self.write(&file, text).inspect_err(|_| drop(std::fs::remove_file(&self.path)))
    }

    fn append(&self, text: &str, line: &str) -> Result<(), KeyFileAccessError> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let file = File::options().append(true).open(&self.path);
        let file = file.map_err(|source| self.write_error(source))?;
        // Half a line would make the whole file invalid.
        self.write(&file, &format!("{end}{line}")).inspect_err(|_| drop(file.set_len(text.len() as u64)))
    }

    fn write(&self, mut file: &File, text: &str) -> Result<(), KeyFileAccessError> {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|source| self.write_error(source))
    }

    fn write_error(&self, source: io::Error) -> KeyFileAccessError {
        KeyFileAccessError::Write { path: self.path.clone(), source }
    }
}

/// What a key file contains.
#[cfg(feature = "seal")]
#[derive(Clone, Debug)]
pub enum KeyFileContent {
    /// Secrets of a group, in the order of the file.
    Secrets(Vec<(KeyEpoch, Arc<GroupSecret>)>),
    /// Signing keys of a publisher, of which the last one signs.
    Signing(Vec<Arc<SigningKey>>),
    /// Public keys of a publisher.
    Public(Vec<PublicKey>),
}

#[cfg(feature = "seal")]
impl KeyFile {
    /// Creates the file with a new secret. On Unix only its owner may read it; elsewhere the rights of the folder decide.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Exists`] if there is a file, which stays as it is, and [`KeyFileAccessError::Write`].
    pub fn create(&self) -> Result<(), KeyFileAccessError> {
        let line = self.new_line(1)?;
        self.create_with(&format!("{HEAD}{line}"))
    }

    /// Creates the file with a new signing key, like [`create`](Self::create), and returns its public key.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_signing(&self) -> Result<PublicKey, KeyFileAccessError> {
        let line = SigningKey::new_line().map_err(|source| self.signing_error(source))?;
        self.create_with(&format!("{SIGNING_HEAD}{line}"))?;
        Ok(self.read_signing()?.public_key())
    }

    /// Reads the signing key: the last one, if there are several.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Read`] and [`KeyFileAccessError::Signing`].
    pub fn read_signing(&self) -> Result<Arc<SigningKey>, KeyFileAccessError> {
        SigningKey::read(&self.text()?).map_err(|source| self.signing_error(source))
    }

    /// Reads public keys.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Read`] and [`KeyFileAccessError::Signing`].
    pub fn read_public(&self) -> Result<PinnedKeys, KeyFileAccessError> {
        PinnedKeys::read(&self.text()?).map_err(|source| self.signing_error(source))
    }

    /// Reads all keys, of whichever kind they are.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Read`], [`KeyFileAccessError::Content`] and [`KeyFileAccessError::Signing`].
    pub fn content(&self) -> Result<KeyFileContent, KeyFileAccessError> {
        self.content_of(&self.text()?)
    }

    fn content_of(&self, text: &str) -> Result<KeyFileContent, KeyFileAccessError> {
        let lines = || text.lines().map(str::trim).filter(|line| is_key(line));
        let has = |start: &str| lines().any(|line| line.starts_with(start));
        if has("ed25519-private") {
            let keys = SigningKey::read_all(text).map_err(|source| self.signing_error(source))?;
            return Ok(KeyFileContent::Signing(keys));
        }
        if has("ed25519") {
            self.read_public()?;
            let keys = lines().map(|line| line.parse().map_err(|source| self.signing_error(source)));
            return keys.collect::<Result<_, _>>().map(KeyFileContent::Public);
        }
        let secrets = Keys::read_secrets(text);
        let secrets =
            secrets.map_err(|source| KeyFileAccessError::Content { path: self.path.clone(), source })?;
        Ok(KeyFileContent::Secrets(secrets))
    }

    /// Adds a new key of the kind that the file has: a secret with the next epoch, or a signing key. A publisher uses it from
    /// the next time on that it reads the file: give it, or the public key, to all subscribers first. Returns what the file
    /// contains then.
    ///
    /// # Errors
    /// As for [`content`](Self::content), [`KeyFileAccessError::Write`], [`KeyFileAccessError::PublicKeys`], and
    /// [`KeyFileAccessError::Full`], [`KeyFileAccessError::NoNextEpoch`] or [`KeyFileAccessError::Signing`] if there is no
    /// room for another key.
    pub fn rotate(&self) -> Result<KeyFileContent, KeyFileAccessError> {
        let text = self.text()?;
        match self.content_of(&text)? {
            KeyFileContent::Secrets(_) => self.add_epoch(&text)?,
            KeyFileContent::Signing(keys) if keys.len() >= PinnedKeys::MOST => {
                return Err(self.signing_error(SigningKeyError::TooMany));
            }
            KeyFileContent::Signing(_) => {
                let line = SigningKey::new_line().map_err(|source| self.signing_error(source))?;
                self.append(&text, &line)?;
            }
            KeyFileContent::Public(_) => return Err(KeyFileAccessError::PublicKeys(self.path.clone())),
        }
        self.content()
    }

    /// Removes the oldest key: the secret with the lowest epoch, or the first signing key or public key. Returns what the
    /// file contains then.
    ///
    /// # Errors
    /// [`KeyFileAccessError::LastKey`] if there is a single one, and any error of reading and writing.
    pub fn drop_oldest(&self) -> Result<KeyFileContent, KeyFileAccessError> {
        let text = self.text()?;
        let (count, oldest) = match self.content_of(&text)? {
            KeyFileContent::Secrets(secrets) => {
                let oldest = secrets.iter().enumerate().min_by_key(|(_, (epoch, _))| *epoch);
                (secrets.len(), oldest.map_or(0, |(place, _)| place))
            }
            KeyFileContent::Signing(keys) => (keys.len(), 0),
            KeyFileContent::Public(keys) => (keys.len(), 0),
        };
        if count < 2 {
            return Err(KeyFileAccessError::LastKey(self.path.clone()));
        }
        let mut place = 0;
        let kept = text.lines().filter(|line| {
            let is_oldest = is_key(line.trim()) && place == oldest;
            place += usize::from(is_key(line.trim()));
            !is_oldest
        });
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        self.replace(&kept)?;
        self.content()
    }

    /// Replaces the file atomically by one that only its owner may read.
    fn replace(&self, text: &str) -> Result<(), KeyFileAccessError> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let new = Self::new(name);
        // What an interrupted replacement has left.
        if let Err(error) = std::fs::remove_file(&new.path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(new.write_error(error));
        }
        new.create_with(text)?;
        let renamed = std::fs::rename(&new.path, &self.path);
        renamed.map_err(|source| {
            let _ = std::fs::remove_file(&new.path);
            self.write_error(source)
        })
    }

    fn signing_error(&self, source: SigningKeyError) -> KeyFileAccessError {
        KeyFileAccessError::Signing { path: self.path.clone(), source }
    }
}

/// Whether a line contains a key.
#[cfg(feature = "seal")]
fn is_key(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

#[cfg(feature = "seal")]
impl KeyFile {
    fn parse(&self, text: &str) -> Result<Keys, KeyFileAccessError> {
        Keys::read(text).map_err(|source| KeyFileAccessError::Content { path: self.path.clone(), source })
    }

    fn add_epoch(&self, text: &str) -> Result<(), KeyFileAccessError> {
        let next = self.parse(text)?.latest().0.checked_add(1);
        let line = self.new_line(next.ok_or_else(|| KeyFileAccessError::NoNextEpoch(self.path.clone()))?)?;
        let extended = Keys::read(&format!("{text}\n{line}"));
        extended.map_err(|source| KeyFileAccessError::Full { path: self.path.clone(), source })?;
        self.append(text, &line)
    }

    fn new_line(&self, epoch: u16) -> Result<String, KeyFileAccessError> {
        let line = Keys::new_line(epoch, crate::seal::Algorithm::default());
        line.map_err(|source| KeyFileAccessError::Content { path: self.path.clone(), source })
    }
}

#[cfg(not(feature = "seal"))]
impl KeyFile {
    fn parse(&self, _: &str) -> Result<Keys, KeyFileAccessError> {
        Err(KeyFileAccessError::NoCiphers)
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_read_extended_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("group.key"));
        assert!(matches!(file.read(), Err(KeyFileAccessError::Read { .. })));

        file.create().unwrap();
        assert!(!file.is_readable_by_others());
        assert!(matches!(file.create(), Err(KeyFileAccessError::Exists(_))));
        file.rotate().unwrap();

        assert_eq!(file.read().unwrap().latest().0, 2);
    }

    #[test]
    fn signing_keys_are_rotated_and_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("publisher.key"));
        let first = file.create_signing().unwrap();
        assert!(!file.is_readable_by_others());
        assert!(matches!(file.drop_oldest(), Err(KeyFileAccessError::LastKey(_))));

        let KeyFileContent::Signing(keys) = file.rotate().unwrap() else { panic!("not signing keys") };
        assert_eq!((keys.len(), keys[0].public_key()), (2, first));
        let second = file.read_signing().unwrap().public_key();
        assert_ne!(first, second);

        let public = KeyFile::new(folder.path().join("publisher.pub"));
        std::fs::write(public.path(), format!("{first}\n{second}\n")).unwrap();
        assert!(public.read_public().unwrap().contains(&second.bytes()));
        assert!(matches!(public.rotate(), Err(KeyFileAccessError::PublicKeys(_))));
        assert!(matches!(file.read_public(), Err(KeyFileAccessError::Signing { .. })));

        file.drop_oldest().unwrap();
        assert!(!file.is_readable_by_others());
        assert_eq!(file.read_signing().unwrap().public_key(), second);
    }

    #[test]
    fn the_lowest_epoch_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("group.key"));
        file.create().unwrap();
        file.rotate().unwrap();
        let KeyFileContent::Secrets(secrets) = file.drop_oldest().unwrap() else { panic!("not secrets") };
        assert_eq!(secrets.iter().map(|(epoch, _)| epoch.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_full_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("group.key"));
        file.create().unwrap();
        let error = std::iter::repeat_with(|| file.rotate()).find_map(Result::err).unwrap();

        assert!(matches!(error, KeyFileAccessError::Full { .. }), "{error}");
        assert!(error.remedy().unwrap().contains("oldest"));
        file.read().unwrap();

        std::fs::write(file.path(), "65535 aes-128-gcm ".to_owned() + &"0".repeat(64)).unwrap();
        assert!(matches!(file.rotate(), Err(KeyFileAccessError::NoNextEpoch(_))));
    }
}
