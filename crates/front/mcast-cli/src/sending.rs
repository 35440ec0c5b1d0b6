//! Sending datagrams and messages: what the command prints about targets, and about datagrams that the system refuses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::group::Scope;
use mcast::interface::{AddressState, Interface, InterfaceAddress, Warning};
use mcast::{Error, Family, Group, InterfaceSelector, Outgoing, Sender};
use mcast_terminal::Console;
use mcast_traffic::vanished_interface;

use crate::exit::explained;

pub(crate) use mcast_traffic::{
    DispatchCounts as Count, MessagePacer, Pace, SendTarget as Target, resolve_targets as resolve,
    resolve_targets_with_hosts as resolve_all,
};

/// Sends datagrams, and warns of each reason for which the system refuses some.
pub(crate) struct Dispatch<'a> {
    dispatch: mcast_traffic::Dispatch<'a>,
    console: &'a Console,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(sender: &'a Sender, console: &'a Console) -> Self {
        Self { dispatch: mcast_traffic::Dispatch::new(sender), console }
    }

    pub(crate) fn send<'t>(
        &mut self,
        outgoing: &[Outgoing<'_>],
        targets: impl Iterator<Item = &'t Target> + Clone,
    ) -> anyhow::Result<()> {
        let warn = |error: &Error| {
            warn_of_refusal(error, vanished_interface(error, targets.clone()), self.console);
        };
        Ok(self.dispatch.send(outgoing, warn)?)
    }

    pub(crate) fn count(&self) -> Count {
        self.dispatch.counts()
    }
}

/// Returns the longest payload of a UDP datagram; the system reports errors for smaller limits.
pub(crate) const fn longest_payload(family: Family) -> usize {
    match family {
        Family::V4 => 65_507,
        Family::V6 => 65_527,
    }
}

/// Warns that the system refuses datagrams, because an interface has vanished or for another reason.
pub(crate) fn warn_of_refusal(error: &Error, vanished: Option<&str>, console: &Console) {
    match vanished {
        // The error contains only the index of the interface.
        Some(name) => console.warn(format_args!("{name} is gone: {error}")),
        None => console.warn(error),
    }
    match explained(error) {
        Some((cause, remedies)) => {
            console.note(cause);
            remedies.into_iter().for_each(|remedy| console.advise(remedy));
        }
        None => error.remedy().into_iter().for_each(|remedy| console.advise(remedy)),
    }
}

/// How long an IPv6 address may take until it is ready. The system waits for at most a second before it asks whether another
/// host has the address, and for another second for an answer (RFC 4862, section 5.4).
const ADDRESS_TIME: Duration = Duration::from_secs(5);
const ADDRESS_INTERVAL: Duration = Duration::from_millis(20);

/// After this failure to send: waits until `works` if the interface has an IPv6 address that is not ready yet, as in the second
/// after its link came up. Returns whether it works. Nothing shows that an IPv4 address is about to be there, so that none is
/// waited for.
pub(crate) fn wait_for_address(failure: &Error, console: &Console, works: impl Fn() -> bool) -> bool {
    let is_tentative = |entry: &InterfaceAddress| {
        entry.state == AddressState::Tentative && Family::of(entry.address) == Family::V6
    };
    let is_of = |interface: &Interface| failure.interface().is_none_or(|name| name == interface.name);
    let is_v6 = failure.address().is_some_and(|to| Family::of(to.ip()) == Family::V6);
    let interfaces = if is_v6 { mcast::interface::list().unwrap_or_default() } else { Vec::new() };
    let mut awaited = interfaces.iter().filter(|each| is_of(each) && each.addresses.iter().any(is_tentative));
    let Some(interface) = awaited.next() else { return works() };
    console.note(format_args!(
        "waiting for the IPv6 address of {}: the system checks that no other host has it",
        interface.name
    ));
    let until = Instant::now() + ADDRESS_TIME;
    while !works() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(ADDRESS_INTERVAL);
    }
    true
}

/// Notes the targets, and how far datagrams reach.
pub(crate) fn print(targets: &[Target], hop_limit: u8, is_default: bool, console: &Console) {
    const MAX_LISTED: usize = 8;

    if console.is_quiet() {
        return;
    }
    for target in targets.iter().take(MAX_LISTED) {
        let (address, interface) = (target.address(), interface_of(target));
        let route = route_text(target, interface.as_ref());
        let is_loopback = interface.is_some_and(|interface| interface.loopback);
        match is_default && !address.ip().is_multicast() {
            true => console.note(format_args!("to {address} {route}")),
            false => {
                let reach = reach(address.ip(), is_loopback, hop_limit, is_default);
                console.note(format_args!("to {address} {route}, {reach}"));
            }
        }
    }
    if targets.len() > MAX_LISTED {
        console.note(format_args!("and {} more", targets.len() - MAX_LISTED));
    }
    let groups = targets.iter().take(MAX_LISTED).filter(|target| target.address().ip().is_multicast());
    warn_of_interfaces(groups.filter_map(interface_of), console);
}

/// Warns of interfaces on which the system accepts datagrams, but from which they may not get far.
fn warn_of_interfaces(interfaces: impl Iterator<Item = Interface>, console: &Console) {
    let mut known = BTreeSet::new();
    for interface in interfaces.filter(|interface| known.insert(interface.index)) {
        let name = &interface.name;
        for warning in interface.warnings() {
            match warning {
                Warning::NoCarrier => {
                    console
                        .warn(format_args!("{name} has no carrier: the system discards what is sent there"));
                }
                Warning::NotMulticast => {
                    console.warn(format_args!("{name} lacks the flag MULTICAST: groups may not get through"));
                }
                _ => {}
            }
        }
    }
}

/// Returns how far datagrams reach, which the hop limit decides only within the scope of the group.
fn reach(to: IpAddr, is_loopback: bool, hop_limit: u8, is_default: bool) -> String {
    match (Group::new(to).map(Group::scope), hop_limit) {
        (Ok(Scope::InterfaceLocal), _) => NEVER_LEAVES.to_owned(),
        _ if is_loopback => "stays on this host".to_owned(),
        (_, 0) => "hop limit 0: stays on this host".to_owned(),
        (Ok(Scope::LinkLocal), hops) => {
            format!("hop limit {hops}: stays in this network (link-local group)")
        }
        (_, 1) if is_default => "hop limit 1: stays in this network (-t for more)".to_owned(),
        (_, hops) => format!("hop limit {hops}"),
    }
}

/// What holds for groups of the scope of an interface (`ff01::/16`), on every interface.
const NEVER_LEAVES: &str = "never leaves this host: its scope is interface-local";

/// Notes which of the groups of a stream never leaves this host, if one does not.
pub(crate) fn print_scope(groups: impl IntoIterator<Item = Group>, console: &Console) {
    let local = groups.into_iter().find(|group| group.scope() == Scope::InterfaceLocal);
    local.into_iter().for_each(|group| console.note(format_args!("{group} {NEVER_LEAVES}")));
}

/// Returns the interface to send on, if it exists; sending reports the error.
fn interface_of(target: &Target) -> Option<Interface> {
    match target.interface_name() {
        Some(name) => mcast::interface::find(&InterfaceSelector::Name(name.to_owned())).ok(),
        None => mcast::interface::towards(target.address().ip()).ok().flatten(),
    }
}

fn route_text(target: &Target, interface: Option<&Interface>) -> String {
    let what = if target.address().ip().is_multicast() { "group" } else { "host" };
    match (target.interface_name(), interface) {
        (Some(name), _) => format!("on {name}"),
        (None, Some(interface)) => format!("on {} (the route to the {what})", interface.name),
        (None, None) => format!("by the route to the {what}"),
    }
}
