//! Finds a stream by its announced name.

use std::time::Duration;

use mcast::{InterfaceSelector, Membership};
use mcast_stream::seal::Keys;
use mcast_stream::{AnnouncedStream, StreamError, find_stream};

use super::Arguments;
use crate::console::Console;
use crate::exit::Failure;

/// The default timeout, long enough for several announcements, because some may be lost.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds a stream, and returns it with its memberships.
pub(super) fn find(
    arguments: &Arguments,
    keys: &Keys,
    console: &Console,
) -> anyhow::Result<(AnnouncedStream, Vec<Membership>)> {
    let Arguments { place: name, paths, admission, interface, limits, .. } = arguments;
    if !paths.is_empty() || !admission.sources.is_empty() {
        return Err(Failure::usage("an announcement already names the groups and sources to join")
            .remedy("remove --path and --source, or give the groups instead of the name")
            .into());
    }
    let timeout = limits.timeout.unwrap_or(DEFAULT_TIMEOUT);
    console.note(format_args!("looking for \"{name}\""));
    let found = match find_stream(name, admission.families.only(), interface.clone(), keys, timeout) {
        Err(StreamError::NoSuchStream(_)) => return Err(not_announced(name, keys, timeout).into()),
        found => found?,
    };
    let Ok(memberships) = found.memberships() else {
        return Err(Failure::no(format!("\"{name}\" is announced by {} without a group", found.source.ip()))
            .remedy("name the group: mcast subscribe GROUP:PORT")
            .into());
    };
    console.note(format_args!("\"{name}\" is announced by {}: stream {}", found.source.ip(), found.stream));
    Ok((found, memberships.into_iter().map(by_name).collect()))
}

/// Replaces the index of the interface with its name.
fn by_name(membership: Membership) -> Membership {
    match membership.interface.as_ref().map(mcast::find) {
        Some(Ok(interface)) => membership.on(InterfaceSelector::Name(interface.name)),
        _ => membership,
    }
}

fn not_announced(name: &str, keys: &Keys, timeout: Duration) -> Failure {
    let remedy = match keys.is_empty() {
        true => {
            "check that `mcast publish --announce` runs, and add its --key if the stream is sealed; -i \
             selects the interface"
        }
        false => "check that `mcast publish --announce` runs with the same --key; -i selects the interface",
    };
    let seconds = timeout.as_secs_f64();
    Failure::no(format!("no publisher announced a stream \"{name}\" within {seconds} s")).remedy(remedy)
}
