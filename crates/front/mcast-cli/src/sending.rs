//! Sending datagrams and messages: what the command prints about targets, and about datagrams that the system refuses.

use mcast::{Error, Outgoing, Sender, interface_towards};
use mcast_terminal::Console;
use mcast_traffic::vanished_interface;

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

    /// Sends all of these datagrams.
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

/// Warns that the system refuses datagrams, because an interface has vanished or for another reason.
pub(crate) fn warn_of_refusal(error: &Error, vanished: Option<&str>, console: &Console) {
    match vanished {
        // The error contains only the index of the interface.
        Some(name) => console.warn(format_args!("{name} is gone: {error}")),
        None => console.warn(error),
    }
    if let Some(remedy) = error.remedy() {
        console.advise(remedy);
    }
}

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
