//! Receiving datagrams: what arrived and what was dropped, and where nothing can arrive.

mod locate_stream;
mod stream_event;
mod tally;

use std::collections::BTreeSet;
use std::hash::Hash;

use mcast::{Error, ErrorKind, Family, HostAddr, Interface, MembershipStatus, ReceiverBuilder};
use mcast_terminal::Console;
use mcast_watch::FlowVolumes;

use crate::arguments::BroadcastOption;
use crate::output::{Cell, Palette, Table, bytes, count, count_of};
pub(crate) use locate_stream::{StreamPlace, locate_stream};
pub(crate) use stream_event::{EventRecord, Importance, describe};
pub(crate) use tally::{FlowSummary, Tally, drops_text};

/// Prints what was joined where: all of a few memberships, and of many those that were not joined.
pub(crate) fn print_memberships(statuses: &[MembershipStatus], console: &Console) {
    const MAX_LISTED: usize = 8;

    if statuses.len() <= MAX_LISTED || console.is_verbose() {
        return statuses.iter().for_each(|status| console.note(status));
    }
    let joined = statuses.iter().filter(|status| status.is_joined()).count();
    let all = count_of(statuses.len() as u64, "membership");
    console.note(format_args!("joined {} of {all} (-v names them)", count(joined as u64)));
    statuses.iter().filter(|status| !status.is_joined()).for_each(|status| console.warn(status));
}

/// Adds the addresses of this host, or with `--broadcast` the broadcasts, to what is received.
pub(crate) fn listen_at(
    hosts: &[HostAddr],
    broadcast: BroadcastOption,
    builder: ReceiverBuilder,
) -> ReceiverBuilder {
    hosts.iter().cloned().fold(builder, |builder, host| match broadcast.broadcast {
        true => builder.listen(all_hosts(host)),
        false => builder.listen(host),
    })
}

/// Returns the broadcast address with the port and the interface of another one.
fn all_hosts(host: HostAddr) -> HostAddr {
    host.interface.into_iter().fold(HostAddr::broadcast(host.port), HostAddr::on)
}

/// Prints the addresses of this host at which datagrams are received.
pub(crate) fn print_hosts(hosts: &[HostAddr], console: &Console) {
    hosts.iter().for_each(|host| console.note(format_args!("listening at {host}")));
}

/// Prints the size of the receive buffer, as a warning if it is smaller than requested. `of_what` follows the size.
pub(crate) fn print_buffer(granted: usize, requested: Option<usize>, of_what: &str, console: &Console) {
    match requested {
        Some(requested) if granted < requested => console.warn(format_args!(
            "the system granted {} of the {} of receive buffer (Linux: raise net.core.rmem_max)",
            count(granted as u64),
            bytes(requested as u64)
        )),
        _ => console.detail(format_args!("receive buffer: {}{of_what}", bytes(granted as u64))),
    }
}

/// Flows shown in a summary without `-v`.
const SHOWN: usize = 20;

/// Returns the busiest flows as a table. `unit` is what is counted, such as "packet"; `name` returns the group,
/// interface and source of a flow.
pub(crate) fn flow_table<F: Copy + Eq + Hash + Ord>(
    flows: &FlowVolumes<F>,
    unit: &str,
    console: &Console,
    mut name: impl FnMut(&F) -> [String; 3],
) -> String {
    let Palette { heading, group, interface, address, .. } = *console.palette_for_notes();
    let units = format!("{unit}s");
    let mut table = Table::new(&["  group", "interface", "source", &units, "bytes"], heading);
    let busiest = flows.busiest_first();
    let shown = if console.is_verbose() { busiest.len() } else { SHOWN };
    for (flow, volume) in busiest.iter().take(shown) {
        let [group_text, interface_text, source] = name(flow);
        table.row([
            Cell::new(format!("  {group_text}")).style(group),
            Cell::new(interface_text).style(interface),
            Cell::new(source).style(address),
            Cell::new(count(volume.count)).right(),
            Cell::new(count(volume.bytes)).right(),
        ]);
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = table.write(&mut text);
    let mut text = String::from_utf8_lossy(&text).trim_end().to_owned();
    if busiest.len() > shown {
        text += &format!("\n  and {} more (-v shows them)", count((busiest.len() - shown) as u64));
    }
    if flows.others().count > 0 {
        text += &format!("\n  and {} from further sources", count_of(flows.others().count, unit));
    }
    text
}

// Warnings about interfaces on which nothing can arrive, although a group was joined there: Linux allows joining on
// an interface that is down or has no IPv6, and does not report when one vanishes.

/// Warns of each reason once.
#[derive(Debug, Default)]
pub(crate) struct UnreachableInterfaces {
    warned: BTreeSet<String>,
}

impl UnreachableInterfaces {
    pub(crate) fn warn(&mut self, statuses: &[MembershipStatus], console: &Console) {
        if console.is_quiet() {
            return;
        }
        // If interfaces cannot be listed, no problem with them is known.
        let Ok(interfaces) = mcast::interfaces() else { return };
        let joined: BTreeSet<(&str, bool)> = statuses.iter().flat_map(joined_by).collect();
        for (name, is_v6) in joined {
            let found = interfaces.iter().find(|interface| interface.name == name);
            let reason = found.map_or_else(|| Some(format!("{name} is gone")), |found| why(found, is_v6));
            if let Some(reason) = reason.filter(|reason| self.warned.insert(reason.clone())) {
                console.warn(reason);
            }
        }
    }
}

/// Returns the interfaces on which a group was joined, including those deleted since, and whether it is an IPv6 group.
fn joined_by(status: &MembershipStatus) -> impl Iterator<Item = (&str, bool)> {
    let is_v6 = status.membership.address.group.family() == Family::V6;
    let was_joined = |failure: &Error| failure.kind() == ErrorKind::NoSuchInterface;
    let joined = status.interfaces.iter().filter(move |each| each.failure.as_ref().is_none_or(was_joined));
    joined.map(move |interface| (interface.name.as_str(), is_v6))
}

fn why(interface: &Interface, is_v6: bool) -> Option<String> {
    let name = &interface.name;
    if !interface.up {
        return Some(format!("{name} is down: nothing arrives on it until it is up"));
    }
    let has_none = is_v6 && interface.addresses_of(Family::V6).next().is_none();
    has_none.then(|| format!("{name} has no IPv6 address: if IPv6 is disabled, nothing arrives"))
}
