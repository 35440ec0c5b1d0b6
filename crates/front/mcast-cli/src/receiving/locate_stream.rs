//! Finds a stream by its announced name, or joins the memberships that are given.

use std::time::Duration;

use mcast::{HostAddr, InterfaceSelector, Membership};
use mcast_stream::seal::Keys;
use mcast_stream::{AnnouncedStream, StreamError, SubscriberBuilder, find_stream};
#[cfg(feature = "seal")]
use mcast_stream::{find_signed_stream, sign::PinnedKeys};
use mcast_terminal::Console;

use super::all_hosts;
use crate::arguments::{Admission, BroadcastOption, hosts_on_each, is_stream_name, select_memberships};
use crate::exit::Failure;

/// The default timeout, long enough for several announcements, because some may be lost.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a stream is published, as arguments name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamPlace<'a> {
    /// A membership, a host, or the name that its publisher announces.
    pub(crate) place: &'a str,
    /// Redundant paths.
    pub(crate) paths: &'a [String],
    pub(crate) interface: Option<&'a InterfaceSelector>,
    pub(crate) broadcast: BroadcastOption,
    pub(crate) admission: &'a Admission,
    /// How long to look for a name.
    pub(crate) timeout: Option<Duration>,
    /// The public keys of the publisher: another announcement of the name is ignored.
    #[cfg(feature = "seal")]
    pub(crate) signed_by: Option<&'a PinnedKeys>,
}

/// How a stream is received.
#[derive(Debug)]
pub(crate) struct StreamWays {
    memberships: Vec<Membership>,
    /// Addresses of this host.
    pub(crate) hosts: Vec<HostAddr>,
    broadcast: bool,
}

impl StreamWays {
    /// Adds them to a subscriber.
    pub(crate) fn add_to(&self, builder: SubscriberBuilder) -> SubscriberBuilder {
        let builder = self.memberships.iter().cloned().fold(builder, SubscriberBuilder::join);
        self.hosts.iter().cloned().fold(builder, |builder, host| match self.broadcast {
            true => builder.listen(all_hosts(host)),
            false => builder.listen(host),
        })
    }
}

/// Returns how a stream is received, and what its publisher announces if it is named.
pub(crate) fn locate_stream(
    place: StreamPlace<'_>,
    keys: &Keys,
    console: &Console,
) -> anyhow::Result<(Option<AnnouncedStream>, StreamWays)> {
    if is_stream_name(place.place) {
        return find(place, keys, console).map(|(found, ways)| (Some(found), ways));
    }
    let StreamPlace { place, paths, interface, broadcast, admission, .. } = place;
    let texts: Vec<String> =
        std::iter::once(place).chain(paths.iter().map(String::as_str)).map(str::to_owned).collect();
    let (hosts, texts) = broadcast.split(&texts, admission.families)?;
    if !hosts.is_empty() && !admission.sources.is_empty() {
        return Err(Failure::usage("--source selects the senders to a group, not to a host").into());
    }
    let interfaces = interface.map(std::slice::from_ref).unwrap_or_default();
    let chosen = select_memberships(&texts, interfaces, &admission.sources, admission.families, console)?;
    if chosen.items.len() > 4 {
        return Err(Failure::usage(format!("a stream has at most four paths, not {}", chosen.items.len()))
            .remedy("name single groups, each on one interface")
            .into());
    }
    let hosts = hosts_on_each(hosts, interfaces);
    Ok((None, StreamWays { memberships: chosen.items, hosts, broadcast: broadcast.broadcast }))
}

fn find(
    place: StreamPlace<'_>,
    keys: &Keys,
    console: &Console,
) -> anyhow::Result<(AnnouncedStream, StreamWays)> {
    let StreamPlace { place: name, paths, interface, admission, timeout, broadcast, .. } = place;
    if !paths.is_empty() || !admission.sources.is_empty() {
        return Err(Failure::usage("an announcement already names the groups and sources to join")
            .remedy("remove --path and --source, or give the groups instead of the name")
            .into());
    }
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    console.note(format_args!("looking for \"{name}\""));
    let (family, interface) = (admission.families.only(), interface.cloned());
    #[cfg(feature = "seal")]
    let found = match place.signed_by {
        None => find_stream(name, family, interface, keys, timeout),
        Some(signed_by) => find_signed_stream(name, family, interface, keys, signed_by, timeout),
    };
    #[cfg(not(feature = "seal"))]
    let found = find_stream(name, family, interface, keys, timeout);
    let found = match found {
        Err(StreamError::NoSuchStream(_)) => return Err(not_announced(name, keys, timeout).into()),
        found => found?,
    };
    let hosts = found.hosts.clone();
    let memberships = found.memberships().unwrap_or_default();
    if memberships.is_empty() && hosts.is_empty() {
        return Err(Failure::no(format!("\"{name}\" is announced by {} without a group", found.source.ip()))
            .remedy("give the group, GROUP:PORT, instead of the name")
            .into());
    }
    console.note(format_args!("\"{name}\" is announced by {}: stream {}", found.source.ip(), found.stream));
    let memberships = memberships.into_iter().map(by_name).collect();
    Ok((found, StreamWays { memberships, hosts, broadcast: broadcast.broadcast }))
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
