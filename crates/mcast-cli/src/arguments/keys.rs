//! `--key FILE`: the secrets of a group.

use std::path::Path;

use mcast_stream::seal::Keys;

use crate::console::Console;
use crate::exit::Failure;
use crate::interrupt::Hangup;

/// Reads the secrets, and warns if other users can read the file.
#[cfg(feature = "seal")]
pub(crate) fn read_keys(path: &Path, console: &Console) -> anyhow::Result<Keys> {
    let text = read_text(path).map_err(|error| read_failure(path, &error))?;
    if crate::sys::others_may_read(path) {
        console.warn(format_args!(
            "other users of this machine can read {}: run `chmod 600 {}`",
            path.display(),
            path.display()
        ));
    }
    Keys::read(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .remedy("`mcast publish --new-key FILE` creates a file with a new secret")
            .into()
    })
}

#[cfg(feature = "seal")]
fn read_failure(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{NotFound, PermissionDenied};

    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        NotFound => Failure::environment(message).remedy(
            "name the key file that all members of the group share; `mcast publish --new-key FILE` creates \
             one",
        ),
        PermissionDenied => Failure::permission(message).remedy("run the command as the owner of the file"),
        _ => Failure::environment(message)
            .remedy("--key needs a file that `mcast publish --new-key FILE` created"),
    }
}

/// Reads a key file, up to the maximum length.
#[cfg(feature = "seal")]
fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};

    const MAX_LENGTH: u64 = 1 << 20;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= MAX_LENGTH {
        true => Ok(text),
        false => Err(Error::new(ErrorKind::InvalidData, "it is too long for a key file")),
    }
}

/// Writes a new file with a new secret, readable only by its owner. Never overwrites a file.
#[cfg(feature = "seal")]
pub(crate) fn write_new_key(path: &Path) -> anyhow::Result<()> {
    use std::io::Write;

    use anyhow::Context;
    use mcast_stream::seal::Algorithm;

    let line = Keys::new_line(1, Algorithm::default())?;
    let mut file = match crate::sys::create_private(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::environment(format!(
                "{} already exists and was not changed",
                path.display()
            ))
            .remedy("name another file, or use this one with --key")
            .into());
        }
        file => file.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let head = "# The secrets of a group: anyone with this file can read and write its streams.\n";
    file.write_all(format!("{head}{line}").as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Adds a new secret with the next epoch to a key file, and returns the epoch. Fails if the result would not be a
/// valid key file.
#[cfg(feature = "seal")]
pub(crate) fn add_next_key(path: &Path, console: &Console) -> anyhow::Result<u16> {
    use std::io::Write;

    use anyhow::Context;
    use mcast_stream::seal::Algorithm;

    let latest = read_keys(path, console)?.latest().0;
    let full = || Failure::usage(format!("{}: there is no epoch after {latest}", path.display()));
    let epoch = latest.checked_add(1).ok_or_else(full)?;
    let text = read_text(path).map_err(|error| read_failure(path, &error))?;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let line = format!("{end}{}", Keys::new_line(epoch, Algorithm::default())?);
    Keys::read(&format!("{text}{line}")).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display())).remedy("remove the line of the oldest epoch")
    })?;
    std::fs::File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(epoch)
}

#[cfg(not(feature = "seal"))]
pub(crate) fn add_next_key(_: &Path, _: &Console) -> anyhow::Result<u16> {
    Err(without_ciphers().into())
}

#[cfg(not(feature = "seal"))]
pub(crate) fn read_keys(_: &Path, _: &Console) -> anyhow::Result<Keys> {
    Err(without_ciphers().into())
}

#[cfg(not(feature = "seal"))]
pub(crate) fn write_new_key(_: &Path) -> anyhow::Result<()> {
    Err(without_ciphers().into())
}

#[cfg(not(feature = "seal"))]
fn without_ciphers() -> Failure {
    Failure::environment("this build has no ciphers").remedy("build with the feature `seal`")
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

    /// Reads the file, and returns its keys.
    pub(crate) fn read(&self, console: &Console) -> anyhow::Result<Keys> {
        read_keys(self.path, console)
    }

    /// Returns the keys in the file if SIGHUP has arrived since the last call. An invalid file is reported, and the
    /// current keys stay in use.
    pub(crate) fn reread(&self, console: &Console) -> Option<Keys> {
        if !self.hangup.has_arrived() {
            return None;
        }
        let keys = self.read(console);
        keys.inspect_err(|error| console.warn(format_args!("keeping the current keys: {error:#}"))).ok()
    }
}
