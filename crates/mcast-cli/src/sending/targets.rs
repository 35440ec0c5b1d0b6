//! The destinations: the group and the interface of each datagram.

use std::collections::HashSet;

use anyhow::Context;
use mcast::{
    Destination, Family, GroupAddr, Interface, InterfaceIndex, InterfaceSelector, Outgoing, default_interface,
};

use crate::console::Console;
use crate::exit::Failure;

/// A group and the interface to send on.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: GroupAddr,
    by: Option<(InterfaceIndex, String)>,
}

impl Target {
    pub(crate) fn address(&self) -> GroupAddr {
        self.address
    }

    /// Returns the interface to send on; `None` means that the route decides.
    pub(crate) fn interface(&self) -> Option<InterfaceIndex> {
        self.by.as_ref().map(|(index, _)| *index)
    }

    /// Returns the name of the interface with this index, if it is this target's.
    pub(crate) fn name_of(&self, number: &str) -> Option<&str> {
        let (index, name) = self.by.as_ref()?;
        (index.to_string() == number).then_some(name.as_str())
    }

    /// Returns the name of the interface to send on; `None` means that the route decides.
    pub(crate) fn interface_name(&self) -> Option<&str> {
        self.by.as_ref().map(|(_, name)| name.as_str())
    }

    /// Returns a datagram to this target without payload.
    pub(crate) fn template(&self) -> Outgoing<'static> {
        self.outgoing(&[])
    }

    pub(crate) fn outgoing<'a>(&self, payload: &'a [u8]) -> Outgoing<'a> {
        let outgoing = Outgoing::new(payload).to(self.address);
        match self.by {
            Some((index, _)) => outgoing.by(index),
            None => outgoing,
        }
    }
}

/// Returns a target for each destination and each of its interfaces, without duplicates.
pub(crate) fn resolve(
    destinations: &[Destination],
    interfaces: &[InterfaceSelector],
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for destination in destinations {
        let own = destination.interface.as_slice();
        let chosen = if own.is_empty() { interfaces } else { own };
        let address = destination.address;
        if chosen.is_empty() {
            targets.push(Target { address, by: None });
        }
        for selector in chosen {
            targets.extend(targets_by(address, selector)?);
        }
    }
    let mut seen = HashSet::new();
    targets.retain(|target| seen.insert((target.address, target.by.as_ref().map(|(index, _)| *index))));
    Ok(targets)
}

fn targets_by(address: GroupAddr, selector: &InterfaceSelector) -> anyhow::Result<Vec<Target>> {
    let family = address.group.family();
    let by = |interface: &Interface| Target {
        address,
        by: Some((interface.index_for(family), interface.name.clone())),
    };
    Ok(match selector {
        InterfaceSelector::Default => vec![Target { address, by: None }],
        InterfaceSelector::All => all_for(family)?.iter().map(by).collect(),
        named => {
            let found = mcast::find(named).with_context(|| format!("cannot send to {address}"))?;
            vec![by(&found)]
        }
    })
}

/// Returns all interfaces on which datagrams of this family can be sent.
fn all_for(family: Family) -> anyhow::Result<Vec<Interface>> {
    let usable = |interface: &Interface| {
        interface.is_joined_by_default() && interface.addresses_of(family).next().is_some()
    };
    let interfaces: Vec<_> = mcast::interfaces()?.into_iter().filter(usable).collect();
    if interfaces.is_empty() {
        return Err(Failure::environment(format!(
            "no interface is up, can multicast and has an {family} address"
        ))
        .remedy("`mcast interfaces` shows what each of them lacks")
        .into());
    }
    Ok(interfaces)
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
        console.note(format_args!("to {} {}, {reach}", target.address, route_text(target)));
    }
    if targets.len() > MAX_LISTED {
        console.note(format_args!("and {} more", targets.len() - MAX_LISTED));
    }
}

fn route_text(target: &Target) -> String {
    match &target.by {
        Some((_, name)) => format!("on {name}"),
        None => match default_interface(target.address.group) {
            Ok(Some(interface)) => format!("on {} (the route to the group)", interface.name),
            // Sending reports the error.
            Ok(None) | Err(_) => "by the route to the group".into(),
        },
    }
}
