//! The memberships of subcommands that receive: typed, from a session description, or found by the name of a stream; and
//! the options for how they are joined.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;

use anyhow::Context;
use mcast::group::{Expand, SessionDescription};
use mcast::{Family, HostAddr, InterfaceSelector, Membership, Receiver, Wire, WireStatus};
use mcast_terminal::Console;

use super::hosts::{BroadcastOption, hosts_on_each};
use super::selected::{Admission, Selected, select_memberships};
use super::{Families, read_targets};
use crate::exit::Failure;
use crate::output::count_of;

/// The memberships of `recv`, `record` and `perf recv`.
#[derive(Debug, clap::Args)]
pub(crate) struct MembershipArguments {
    /// What to join: `[SOURCE[,SOURCE…]@]GROUP[%INTERFACE]:PORT`, a range (`239.1.2.0/28:5000`,
    /// `239.1.2.3+10:5000`, `…:5000-5003`), a name (`mdns`, `ssdp`, `ptp`), a URL
    /// (`udp://@GROUP:PORT`), or a session description (`FILE.sdp`)
    #[arg(required = true, value_name = "MEMBERSHIP")]
    pub(crate) memberships: Vec<String>,

    /// Join on this interface: a name, index or address, `default` or `all`; repeatable
    /// [default: all that are up and can multicast, but not loopback]
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<InterfaceSelector>,

    #[command(flatten)]
    admission: Admission,

    /// Join a source-specific group (232.0.0.0/8, ff3x::/32) without a source
    #[arg(long)]
    pub(crate) any_source: bool,
}

impl MembershipArguments {
    pub(crate) fn selected(&self, console: &Console) -> anyhow::Result<Selected<Membership>> {
        self.select(&self.memberships, console)
    }

    /// Returns the hosts or broadcasts among the arguments, and the memberships.
    pub(crate) fn selected_with_hosts(
        &self,
        broadcast: BroadcastOption,
        console: &Console,
    ) -> anyhow::Result<(Vec<HostAddr>, Selected<Membership>)> {
        let (hosts, groups) = broadcast.split(&self.memberships, self.admission.families)?;
        if !hosts.is_empty() && !self.admission.sources.is_empty() {
            return Err(Failure::usage("--source selects the senders to a group, not to a host").into());
        }
        Ok((hosts_on_each(hosts, &self.interfaces), self.select(&groups, console)?))
    }

    fn select(&self, texts: &[String], console: &Console) -> anyhow::Result<Selected<Membership>> {
        select_memberships(texts, &self.interfaces, &self.admission.sources, self.admission.families, console)
    }
}

/// Groups to join while capturing.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinOption {
    /// Also join the given groups, or with --join=MEMBERSHIP that one, so that switches forward them; repeatable
    #[arg(
        long,
        value_name = "MEMBERSHIP",
        value_parser = parse,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with = "read"
    )]
    join: Vec<JoinTarget>,
}

#[derive(Clone, Debug)]
enum JoinTarget {
    /// `--join` alone: the groups that the command shows.
    Shown,
    Membership(String),
}

fn parse(text: &str) -> Result<JoinTarget, Infallible> {
    Ok(if text.is_empty() { JoinTarget::Shown } else { JoinTarget::Membership(text.into()) })
}

impl JoinOption {
    pub(crate) fn is_given(&self) -> bool {
        !self.join.is_empty()
    }

    /// Returns what to join, without duplicates. `shown` are the groups that the command shows.
    pub(crate) fn memberships(
        &self,
        shown: &[String],
        families: Families,
        console: &Console,
    ) -> anyhow::Result<Vec<Membership>> {
        let mut texts = Vec::new();
        for target in &self.join {
            match target {
                JoinTarget::Shown if shown.is_empty() => {
                    return Err(Failure::usage("--join needs a group to join")
                        .remedy("name groups or memberships, or write --join=MEMBERSHIP")
                        .into());
                }
                JoinTarget::Shown => texts.extend_from_slice(shown),
                JoinTarget::Membership(text) => texts.push(text.clone()),
            }
        }
        let mut memberships: Vec<Membership> = Vec::new();
        for target in read_targets(&texts, families, console)? {
            for membership in target.memberships()? {
                // Ports do not matter: switches do not know them.
                let key =
                    |each: &Membership| (each.address.group, each.interface.clone(), each.sources.clone());
                if !memberships.iter().any(|known| key(known) == key(&membership)) {
                    memberships.push(membership);
                }
            }
        }
        Ok(memberships)
    }
}

/// Whether to receive past the kernel's network stack.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct WireOption {
    /// Take datagrams off the interface before the kernel's network stack (AF_XDP): `auto` where it is possible and no
    /// other program would miss them, or `require`
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "off",
        hide_possible_values = true,
        hide_default_value = true
    )]
    wire: When,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum When {
    Auto,
    Require,
    Off,
}

impl WireOption {
    pub(crate) const fn policy(self) -> Wire {
        match self.wire {
            When::Auto => Wire::Auto,
            When::Require => Wire::Require,
            When::Off => Wire::Off,
        }
    }
}

/// Prints how the datagrams of each group are received, if `--wire` was given: of many groups, those that are not taken off
/// their interface for a reason of their own.
pub(crate) fn print_wire(receiver: &Receiver, console: &Console) -> Vec<WireStatus> {
    const MAX_LISTED: usize = 8;

    let statuses = receiver.wire_status();
    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        statuses.iter().for_each(|status| console.note(status));
        return statuses;
    }
    let taken = statuses.iter().filter(|status| status.is_taken()).count();
    console.note(format_args!("taken off the interface (AF_XDP): {taken} of {} groups", statuses.len()));
    let mut reasons: Vec<_> = statuses.iter().map(|status| (&status.name, &status.reason)).collect();
    reasons.sort();
    reasons.dedup();
    for (name, reason) in reasons {
        reason.iter().for_each(|reason| console.note(format_args!("by the socket on {name}: {reason}")));
    }
    statuses
}

/// Prints which groups have returned to the sockets since the beginning.
pub(crate) fn print_wire_changes(before: &[WireStatus], receiver: &Receiver, console: &Console) {
    for now in receiver.wire_status().iter().filter(|now| !now.is_taken()) {
        let is_same = |old: &&WireStatus| (old.address, old.interface) == (now.address, now.interface);
        if before.iter().find(is_same).is_some_and(WireStatus::is_taken) {
            console.warn(now);
        }
    }
}

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

/// The maximum length that fits into an announcement.
const MAX_NAME_LENGTH: usize = 255;

/// Parses a name that is distinguishable from a membership.
pub(crate) fn parse_stream_name(text: &str) -> Result<String, String> {
    match text.len() <= MAX_NAME_LENGTH && is_stream_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a name must contain a letter and none of \":@%/\", have at most {MAX_NAME_LENGTH} bytes, and not be the \
             name of a protocol (such as mdns)"
        )),
    }
}

/// Returns whether this is the name of a stream, and not a membership or a misspelled one.
pub(crate) fn is_stream_name(text: &str) -> bool {
    let is_reserved = |character: char| character.is_control() || ":@%/".contains(character);
    !text.contains(is_reserved)
        && text.contains(char::is_alphabetic)
        && !is_description(text)
        && Expand::default().memberships(text).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_even_misspelled_ones_are_not_stream_names() {
        for name in ["prices", "eth0 prices", "a.b-c_d+1", "Größe"] {
            assert_eq!(parse_stream_name(name).as_deref(), Ok(name));
        }
        let memberships =
            ["239.1.2.3:7000", "239.1.2.3", "239.1.2", "239.1.2.0/28:1", "[ff15::1]:1", "ff15::1"];
        let others = ["mdns", "mdns%eth0", "udp://239.1.2.3:1", "day.sdp", "", "7000", "a\nb"];
        for text in memberships.iter().chain(&others) {
            assert!(!is_stream_name(text), "{text}");
        }
        parse_stream_name(&"x".repeat(256)).unwrap_err();
    }
}
