//! Memberships from a session description (`.sdp` file).

use std::fs::File;
use std::io::Read;

use anyhow::Context;
use mcast::group::SessionDescription;
use mcast::{Family, Membership};
use mcast_terminal::Console;

use super::Families;
use crate::exit::Failure;
use crate::output::count_of;

/// The maximum length of a session description.
const MAX_LENGTH: u64 = 1 << 20;

/// Returns the memberships of a session description; `None` if the text does not name such a file.
pub(crate) fn read_description(
    text: &str,
    families: Families,
    console: &Console,
) -> anyhow::Result<Option<Vec<Membership>>> {
    if !is_description(text) {
        return Ok(None);
    }
    let description = open(text)?;
    for line in &description.skipped_media {
        console.note(format_args!("{text}: ignoring \"{line}\": nothing to join"));
    }
    let is_selected = |family| families.only().is_none_or(|only| only == family);
    let memberships: Vec<Membership> = description
        .streams
        .into_iter()
        .map(|stream| stream.membership)
        .filter(|membership| is_selected(Family::of(membership.address.group.addr())))
        .collect();
    if memberships.is_empty() {
        let failure = Failure::usage(format!("{text} has no stream of that address family"));
        return Err(failure.remedy("remove the option -4 or -6").into());
    }
    console.detail(format_args!("{text}: {}", count_of(memberships.len() as u64, "stream")));
    Ok(Some(memberships))
}

/// Returns whether the text is the name of a session description.
pub(super) fn is_description(text: &str) -> bool {
    let has_extension = text.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("sdp"));
    has_extension && !text.contains("://")
}

/// Reads a session description.
pub(crate) fn open(path: &str) -> anyhow::Result<SessionDescription> {
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {path}"))?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(Failure::usage(format!("{path} is too long for a session description")).into());
    }
    String::from_utf8_lossy(&bytes).parse().with_context(|| path.to_owned())
}
