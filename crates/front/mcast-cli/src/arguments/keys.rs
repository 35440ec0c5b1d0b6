//! `--key FILE`: the secrets of a group. `--tunnel-key FILE`: the keys of tunnels.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use mcast_stream::KeyFileAccessError;
use mcast_stream::seal::Keys;
use mcast_terminal::Console;
use mcast_tunnel::{PeerKey, TunnelKey, TunnelKeyError, TunnelKeys};

use crate::exit::Failure;
use crate::interrupt::{Hangup, Service};

/// Reads the secrets, and warns if other users can read the file.
pub(crate) fn read_keys(path: &Path, console: &Console) -> Result<Keys, KeyFileAccessError> {
    read_secret(path, console, mcast_stream::KeyFile::read)
}

/// Reads a key file, and warns if other users can read it, unless it is not a key file at all.
fn read_secret<T>(
    path: &Path,
    console: &Console,
    read: impl FnOnce(&mcast_stream::KeyFile) -> Result<T, KeyFileAccessError>,
) -> Result<T, KeyFileAccessError> {
    let file = mcast_stream::KeyFile::new(path);
    let content = read(&file)?;
    warn_if_readable(&file, path, console);
    Ok(content)
}

/// Warns if other users can read a file that contains secrets.
pub(crate) fn warn_if_readable(file: &mcast_stream::KeyFile, path: &Path, console: &Console) {
    if file.is_readable_by_others() {
        let path = path.display();
        console.warn(format_args!("other users of this machine can read {path}: run `chmod 600 {path}`"));
    }
}

/// The maximum length of a file of keys of tunnels, so that a device without an end is not read.
const MAX_LENGTH: u64 = 1 << 20;

/// Reads the keys of tunnels, and warns if other users can read the file.
pub(crate) fn read_tunnel_keys(path: &Path, console: &Console) -> anyhow::Result<TunnelKeys> {
    let failed =
        |error: io::Error| anyhow::Error::new(error).context(format!("cannot read {}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_LENGTH).read_to_string(&mut text).map_err(failed)?;
    let keys = TunnelKeys::parse(&text).map_err(|error| {
        let failure = Failure::usage(format!("{}: {error}", path.display()));
        match error {
            TunnelKeyError::NoCiphers => failure.remedy("build with the feature `seal`"),
            _ => failure.remedy("`mcast keys make --tunnel FILE` creates a file of keys of tunnels"),
        }
    })?;
    warn_if_readable(&mcast_stream::KeyFile::new(path), path, console);
    Ok(keys)
}

/// Returns whether a file contains the key of tunnels, not secrets or signing keys.
pub(crate) fn is_tunnel_key(path: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LENGTH).read_to_string(&mut text));
    read.is_ok() && text.lines().any(|line| line.trim_start().starts_with("tunnel-private"))
}

/// Creates a file with a new key of tunnels, which on Unix only its owner can read. Returns its public key.
pub(crate) fn create_tunnel_key(path: &Path) -> anyhow::Result<PeerKey> {
    let key = TunnelKey::generate()?;
    let text = format!(
        "# The key of a relay for tunnels: anyone with this file can be this relay. Its public key, for the other ends:\n\
         # {}\n{}\n# One line for each other end: peer TUNNEL KEY\n",
        key.public(),
        key.to_line()
    );
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow::Error::from(Failure::environment(format!(
            "{} already exists and was not changed",
            path.display()
        ))),
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
    })?;
    // An empty file would be in the way of the next attempt.
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(key.public())
}

/// A key file that is read again on SIGHUP.
#[derive(Debug)]
pub(crate) struct KeyFile<'a> {
    path: &'a Path,
    hangup: Hangup,
}

impl<'a> KeyFile<'a> {
    /// Handles SIGHUP from now on, instead of ending the process.
    pub(crate) fn watch(path: &'a Path) -> anyhow::Result<Self> {
        Ok(Self { path, hangup: Hangup::catch()? })
    }

    pub(crate) fn read(&self, console: &Console) -> Result<Keys, KeyFileAccessError> {
        read_keys(self.path, console)
    }

    /// Returns the keys in the file if SIGHUP has arrived since the last call. An invalid file is reported, and the
    /// current keys stay in use.
    pub(crate) fn reread(&self, console: &Console) -> Option<Keys> {
        self.has_hangup_arrived().then(|| self.read_again(console))?
    }

    /// Returns whether SIGHUP has arrived since the last call.
    pub(crate) fn has_hangup_arrived(&self) -> bool {
        self.hangup.has_arrived()
    }

    /// Returns the keys in the file. If it is invalid, this is reported, and the current keys stay in use.
    pub(crate) fn read_again(&self, console: &Console) -> Option<Keys> {
        let keys = self.read(console);
        keys.inspect_err(|error| console.warn(format_args!("keeping the current keys: {error}"))).ok()
    }
}

/// Reloads of a service whose only file is that of its keys, which it may do without.
pub(crate) struct KeyReload<'a> {
    key_file: Option<KeyFile<'a>>,
    /// Catches hang-ups where there is no key file.
    hangup: Option<Hangup>,
}

impl<'a> KeyReload<'a> {
    pub(crate) fn new(key_file: Option<KeyFile<'a>>, service: &Service) -> anyhow::Result<Self> {
        let hangup = if key_file.is_none() { service.hangups()? } else { None };
        Ok(Self { key_file, hangup })
    }

    /// If a reload was requested, passes the keys of the file to `set`, and reports with this status that the service is
    /// ready again. An invalid file is reported.
    pub(crate) fn poll(&self, service: &Service, status: &str, console: &Console, set: impl FnOnce(Keys)) {
        let is_due = match &self.key_file {
            Some(file) => file.has_hangup_arrived(),
            None => self.hangup.as_ref().is_some_and(Hangup::has_arrived),
        };
        if !is_due {
            return;
        }
        service.reloading();
        if let Some(keys) = self.key_file.as_ref().and_then(|file| file.read_again(console)) {
            console.note(format_args!("read the key file again: its latest epoch is {}", keys.latest()));
            set(keys);
        }
        service.ready(status);
    }
}

#[cfg(feature = "seal")]
pub(super) mod signatures {
    //! `--sign FILE` and `--signed-by FILE|KEY`: the key of a publisher.

    use std::path::{Path, PathBuf};
    use std::str::FromStr;
    use std::sync::Arc;

    use mcast_stream::KeyFileAccessError;
    use mcast_stream::sign::{PinnedKeys, PublicKey, SigningKey, SigningKeyError};
    use mcast_terminal::Console;

    use super::read_secret;
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
            keys.inspect_err(|error| console.warn(format_args!("keeping the current public keys: {error}")))
                .ok()
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
            key.inspect_err(|error| console.warn(format_args!("keeping the current signing key: {error}")))
                .ok()
        }
    }
}
