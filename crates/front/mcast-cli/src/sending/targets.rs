//! The destinations: the group or host, and the interface, of each datagram.

use mcast::interface_towards;
use mcast_terminal::Console;
pub(crate) use mcast_traffic::{resolve_targets as resolve, resolve_targets_with_hosts as resolve_all};

use super::Target;

/// Notes the targets, and how far datagrams reach.
pub(crate) fn print(targets: &[Target], hop_limit: u8, is_default: bool, console: &Console) {
    const MAX_LISTED: usize = 8;

    if console.is_quiet() {
        return;
    }
    let reach = match (hop_limit, is_default) {
        (0, _) => "hop limit 0: stays on this host".to_owned(),
        (1, true) => "hop limit 1: stays in this network (-t for more)".to_owned(),
        (hops, _) => format!("hop limit {hops}"),
    };
    for target in targets.iter().take(MAX_LISTED) {
        let (address, route) = (target.address(), route_text(target));
        match is_default && !address.ip().is_multicast() {
            true => console.note(format_args!("to {address} {route}")),
            false => console.note(format_args!("to {address} {route}, {reach}")),
        }
    }
    if targets.len() > MAX_LISTED {
        console.note(format_args!("and {} more", targets.len() - MAX_LISTED));
    }
}

fn route_text(target: &Target) -> String {
    let address = target.address().ip();
    let what = if address.is_multicast() { "group" } else { "host" };
    match target.interface_name() {
        Some(name) => format!("on {name}"),
        None => match interface_towards(address) {
            Ok(Some(interface)) => format!("on {} (the route to the {what})", interface.name),
            // Sending reports the error.
            Ok(None) | Err(_) => format!("by the route to the {what}"),
        },
    }
}
