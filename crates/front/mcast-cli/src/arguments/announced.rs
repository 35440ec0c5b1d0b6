//! Sessions and streams by the names under which they are announced.

use std::time::{Duration, Instant};

use mcast::group::Expand;
use mcast::{Family, InterfaceSelector, Membership};
use mcast_terminal::Console;
use mcast_watch::Discovery;
use mcast_watch::discovery::DiscoveryProtocol;
use mcast_watch::live::DiscoveryOptions;

use super::selected::{Families, is_description};
use crate::exit::Failure;
use crate::output::seconds;
use crate::words;

/// How long to wait for an announcement: programs repeat theirs every few seconds, and a publisher each second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns whether this is the name of a stream, and not a membership or a misspelled one.
pub(crate) fn is_stream_name(text: &str) -> bool {
    let is_reserved = |character: char| character.is_control() || ":@%/".contains(character);
    !text.contains(is_reserved)
        && text.contains(char::is_alphabetic)
        && !is_description(text)
        && Expand::default().memberships(text).is_err()
}

/// Returns whether a text is the name of a session or stream, and not a misspelled name of a group.
pub(super) fn is_announced_name(text: &str) -> bool {
    is_stream_name(text) && words::group(text).is_none()
}

/// Prints that a name is looked for, which may take long, so it must not be that of an interface.
pub(crate) fn look_for(name: &str, console: &Console) -> Result<(), Failure> {
    if let Some(interface) = words::interface(name) {
        return Err(Failure::usage(format!("\"{name}\" is not a group")).remedy(interface));
    }
    console.note(format_args!("looking for \"{name}\""));
    Ok(())
}

/// Waits for the announcement of a session (SAP) or a stream, and returns its memberships.
pub(super) fn announced_memberships(
    name: &str,
    interfaces: &[InterfaceSelector],
    families: Families,
    console: &Console,
) -> anyhow::Result<Vec<Membership>> {
    look_for(name, console)?;
    let discovery = Discovery::open(&DiscoveryOptions {
        interfaces: interfaces.to_vec(),
        capture: false,
        protocols: vec![DiscoveryProtocol::Sap, DiscoveryProtocol::Mcast],
        ..DiscoveryOptions::default()
    })?;
    let is_selected = |membership: &Membership| {
        families.only().is_none_or(|only| only == Family::of(membership.address.group.addr()))
    };
    let start = Instant::now();
    while let Some(event) = discovery.next_event(Some(PATIENCE.saturating_sub(start.elapsed()))) {
        let Some(entry) = event.entry().filter(|entry| entry.is_named(name)) else { continue };
        let mut memberships = entry.memberships();
        memberships.retain(is_selected);
        if !memberships.is_empty() {
            memberships.iter().for_each(|membership| console.detail(format_args!("{name}: {membership}")));
            return Ok(memberships);
        }
    }
    if let Some(error) = discovery.failure() {
        return Err(error.into());
    }
    let problem = format!("no session or stream is announced as \"{name}\" within {}", seconds(PATIENCE));
    Err(Failure::no(problem).remedy("`mcast discover session stream` shows what is announced").into())
}
