//! `--sign FILE` and `--signed-by FILE|KEY`: the key of a publisher.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use mcast_stream::KeyFileAccessError;
use mcast_stream::sign::{PinnedKeys, PublicKey, SigningKey, SigningKeyError};
use mcast_terminal::Console;

use super::keys::read_secret;
use crate::interrupt::Hangup;

/// A public key, or a file of public keys.
#[derive(Clone, Debug)]
pub(crate) enum SignedBy {
    Key(PublicKey),
    File(PathBuf),
}

impl FromStr for SignedBy {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        match text.starts_with("ed25519:") {
            true => text.parse().map(Self::Key),
            false => Ok(Self::File(text.into())),
        }
    }
}

impl SignedBy {
    /// Reads the keys.
    pub(crate) fn read(&self) -> Result<PinnedKeys, KeyFileAccessError> {
        match self {
            Self::Key(key) => Ok(key.pinned()),
            Self::File(path) => mcast_stream::KeyFile::new(path).read_public(),
        }
    }
}

/// The public keys of a running subscriber, which SIGHUP rereads.
#[derive(Debug)]
pub(crate) struct PublicKeys<'a> {
    from: &'a SignedBy,
    hangup: Hangup,
}

impl<'a> PublicKeys<'a> {
    /// Handles SIGHUP from now on, instead of ending the process.
    pub(crate) fn watch(from: &'a SignedBy) -> anyhow::Result<Self> {
        Ok(Self { from, hangup: Hangup::catch()? })
    }

    /// Returns the keys if SIGHUP has arrived since the last call. An invalid file is reported, and the current keys stay in
    /// use.
    pub(crate) fn reread(&self, console: &Console) -> Option<PinnedKeys> {
        let keys = self.hangup.has_arrived().then(|| self.from.read())?;
        keys.inspect_err(|error| console.warn(format_args!("keeping the current public keys: {error}"))).ok()
    }
}

/// The signing key of a running publisher, which SIGHUP rereads.
#[derive(Debug)]
pub(crate) struct SigningFile<'a> {
    path: &'a Path,
    hangup: Hangup,
}

impl<'a> SigningFile<'a> {
    /// Handles SIGHUP from now on, instead of ending the process.
    pub(crate) fn watch(path: &'a Path) -> anyhow::Result<Self> {
        Ok(Self { path, hangup: Hangup::catch()? })
    }

    /// Reads the key, and warns if other users can read the file.
    pub(crate) fn read(path: &Path, console: &Console) -> Result<Arc<SigningKey>, KeyFileAccessError> {
        read_secret(path, console, mcast_stream::KeyFile::read_signing)
    }

    /// Returns the key if SIGHUP has arrived since the last call. An invalid file is reported, and the current key stays in
    /// use.
    pub(crate) fn reread(&self, console: &Console) -> Option<Arc<SigningKey>> {
        let key = self.hangup.has_arrived().then(|| Self::read(self.path, console))?;
        key.inspect_err(|error| console.warn(format_args!("keeping the current signing key: {error}"))).ok()
    }
}
