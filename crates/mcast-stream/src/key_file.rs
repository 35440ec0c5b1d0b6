//! Key files on disk.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use mcast_sys::{ClassifiedError, FailureClass};

use crate::seal::Keys;

/// The maximum length of a key file, so that a device without an end is not read.
const MAX_LENGTH: u64 = 1 << 20;

/// The head of a new file.
const HEAD: &str = "# The secrets of a group: anyone with this file can read and write its streams.\n";

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
            #[cfg(feature = "seal")]
            Self::Full { .. } => "remove the line of the oldest epoch",
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

    /// Creates the file with a new secret. On Unix only its owner may read it; elsewhere the rights of the folder decide.
    ///
    /// # Errors
    /// [`KeyFileAccessError::Exists`] if there is a file, which stays as it is, and [`KeyFileAccessError::Write`].
    pub fn create(&self) -> Result<(), KeyFileAccessError> {
        let line = self.new_line(1)?;
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeyFileAccessError::Exists(self.path.clone()),
            _ => self.write_error(source),
        })?;
        self.write(file, &format!("{HEAD}{line}"))
    }

    /// Adds a new secret with the next epoch, and returns the epoch. To change the secret of a running stream, give the
    /// file to all subscribers first, then to the publisher.
    ///
    /// # Errors
    /// As for [`Self::read`], [`KeyFileAccessError::Write`], and [`KeyFileAccessError::Full`] or
    /// [`KeyFileAccessError::NoNextEpoch`] if there is no room for another secret.
    pub fn add_next(&self) -> Result<u16, KeyFileAccessError> {
        let text = self.text()?;
        let next = self.parse(&text)?.latest().0.checked_add(1);
        let epoch = next.ok_or_else(|| KeyFileAccessError::NoNextEpoch(self.path.clone()))?;
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let line = format!("{end}{}", self.new_line(epoch)?);
        self.check_room(&format!("{text}{line}"))?;
        let file = File::options().append(true).open(&self.path);
        self.write(file.map_err(|source| self.write_error(source))?, &line)?;
        Ok(epoch)
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

    fn write(&self, mut file: File, text: &str) -> Result<(), KeyFileAccessError> {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|source| self.write_error(source))
    }

    fn write_error(&self, source: io::Error) -> KeyFileAccessError {
        KeyFileAccessError::Write { path: self.path.clone(), source }
    }
}

#[cfg(feature = "seal")]
impl KeyFile {
    fn parse(&self, text: &str) -> Result<Keys, KeyFileAccessError> {
        Keys::read(text).map_err(|source| KeyFileAccessError::Content { path: self.path.clone(), source })
    }

    fn check_room(&self, text: &str) -> Result<(), KeyFileAccessError> {
        let read = Keys::read(text).map(drop);
        read.map_err(|source| KeyFileAccessError::Full { path: self.path.clone(), source })
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

    fn check_room(&self, _: &str) -> Result<(), KeyFileAccessError> {
        Err(KeyFileAccessError::NoCiphers)
    }

    fn new_line(&self, _: u16) -> Result<String, KeyFileAccessError> {
        Err(KeyFileAccessError::NoCiphers)
    }
}

#[cfg(all(test, feature = "seal"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
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
        assert_eq!(file.add_next().unwrap(), 2);

        assert_eq!(file.read().unwrap().latest().0, 2);
    }

    #[test]
    fn a_full_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("group.key"));
        file.create().unwrap();
        let error = std::iter::repeat_with(|| file.add_next()).find_map(Result::err).unwrap();

        assert!(matches!(error, KeyFileAccessError::Full { .. }), "{error}");
        assert!(error.remedy().unwrap().contains("oldest"));
        file.read().unwrap();

        std::fs::write(file.path(), "65535 aes-128-gcm ".to_owned() + &"0".repeat(64)).unwrap();
        assert!(matches!(file.add_next(), Err(KeyFileAccessError::NoNextEpoch(_))));
    }
}
