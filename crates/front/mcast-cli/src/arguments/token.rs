//! What HTTP clients must have: a token, and a name of the server.

use std::path::Path;

use anyhow::Context;
use mcast_terminal::Console;

use super::keys::warn_if_readable;
use crate::exit::Failure;

/// A shorter token is refused: it can be found with the requests that a server answers in a day.
const SHORTEST_TOKEN: usize = 8;
/// A random token of this length cannot be guessed. People have shorter ones in their programs.
const SAFE_TOKEN: usize = 16;

/// Reads the token in the first line of a file, and warns if it may be guessed, or others can read it.
pub(crate) fn read_token(path: &Path, console: &Console) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    let make = "head -c 24 /dev/urandom | base64 | tr '+/' '-_'";
    let remedy = format!("make one: (umask 077; {make} > {})", path.display());
    // A space would end it in a header.
    if token.len() < SHORTEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!(
            "the first line of {} is not a token: at least {SHORTEST_TOKEN} letters, digits or signs of ASCII",
            path.display()
        );
        return Err(Failure::usage(text).remedy(remedy).into());
    }
    if token.len() < SAFE_TOKEN {
        console.warn(format_args!(
            "the token in {} has {} characters: it may be guessed",
            path.display(),
            token.len()
        ));
        console.help(&remedy);
    }
    warn_if_readable(&mcast_stream::KeyFile::new(path), path, console);
    Ok(token.to_owned())
}

/// Parses the name of a host, as it is in the header `Host`.
pub(crate) fn parse_host(text: &str) -> Result<String, &'static str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("write the name of this host without a port: tv.lan"),
    }
}
