//! Groups as clients and playlists name them, which is how the relay serves them: without an interface, and without sources that
//! are left out.

use std::borrow::Cow;

use mcast_group::{Membership, ParseError, SourceFilter};

/// The largest number of sources of a request. The kernel admits ten per membership by default.
const MAX_SOURCES: usize = 16;

/// Parses `[SOURCE@]GROUP:PORT`.
///
/// # Errors
/// What is wrong, in one line.
pub(super) fn parse(text: &str) -> Result<Membership, String> {
    // Programs that replace `udp://` by the address of a server leave the sign in front of the group.
    let text = with_colon(text.strip_prefix('@').unwrap_or(text));
    // It becomes a line of a response or of a log.
    let line = |error: ParseError| error.to_string().replace(char::is_control, " ");
    let membership: Membership = text.parse().map_err(line)?;
    if membership.interface.is_some() {
        return Err("the interface is that of the relay's rule: write GROUP:PORT without one".into());
    }
    match &membership.sources {
        SourceFilter::Exclude(sources) if !sources.is_empty() => {
            Err("sources cannot be excluded here: name those to receive, as SOURCE@GROUP:PORT".into())
        }
        sources if sources.sources().len() > MAX_SOURCES => {
            Err(format!("at most {MAX_SOURCES} sources can be received"))
        }
        _ => Ok(membership),
    }
}

/// udpxy accepts other signs before the port of an IPv4 group as well, because some programs cannot send a colon.
fn with_colon(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(['~', '+', '-', '^']) {
        Some((group, port)) if !text.contains(':') => format!("{group}:{port}").into(),
        _ => text.into(),
    }
}
