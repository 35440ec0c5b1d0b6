//! `--key FILE`: the secrets of a group.

use std::path::Path;

use mcast_stream::seal::Keys;

use crate::console::Console;
use crate::exit::Failure;

/// Reads the secrets; warns where others may read them, too.
#[cfg(feature = "seal")]
pub(crate) fn read_keys(path: &Path, console: &Console) -> anyhow::Result<Keys> {
    let text = read_some(path).map_err(|error| unread(path, &error))?;
    if crate::sys::others_may_read(path) {
        console.warn(format_args!(
            "others on this machine may read {}: `chmod 600 {}`",
            path.display(),
            path.display()
        ));
    }
    Keys::read(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .remedy("`mcast publish --new-key FILE` writes a file with a new secret")
            .into()
    })
}

#[cfg(feature = "seal")]
fn unread(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{NotFound, PermissionDenied};

    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        NotFound => Failure::environment(message).remedy(
            "name the file that everybody in the group has; `mcast publish --new-key FILE` writes one",
        ),
        PermissionDenied => Failure::permission(message).remedy("run it as the user whose file it is"),
        _ => Failure::environment(message)
            .remedy("--key takes a file that `mcast publish --new-key FILE` has written"),
    }
}

/// A file of secrets, which is none that never ends.
#[cfg(feature = "seal")]
fn read_some(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};

    const LONGEST: u64 = 1 << 20;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= LONGEST {
        true => Ok(text),
        false => Err(Error::new(ErrorKind::InvalidData, "it is longer than any file of secrets")),
    }
}

/// Writes a file with a new secret, for its owner alone; never over another.
#[cfg(feature = "seal")]
pub(crate) fn write_new_key(path: &Path) -> anyhow::Result<()> {
    use std::io::Write;

    use anyhow::Context;
    use mcast_stream::seal::Algorithm;

    let line = Keys::new_line(1, Algorithm::default())?;
    let mut file = match crate::sys::create_private(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::environment(format!(
                "{} is there already, and is left as it is",
                path.display()
            ))
            .remedy("name another file, or use this one with --key")
            .into());
        }
        file => file.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let head = "# The secrets of a group: who has this file can read and write its streams.\n";
    file.write_all(format!("{head}{line}").as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
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
