//! The selection of streams.

use mcast::InterfaceSelector;
use mcast_capture::{PacketContext, PacketFilter};

use super::Arguments;
use crate::arguments::{Pattern, filter_of_sources, select_memberships};
use crate::console::Console;
use crate::exit::Failure;

/// The selection of streams.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) filter: PacketFilter,
    /// Interfaces of a file; empty means all.
    interfaces: Vec<InterfaceSelector>,
}

impl Selection {
    pub(super) fn new(arguments: &Arguments, console: &Console) -> anyhow::Result<Self> {
        arguments.check()?;
        let families = arguments.input.families;
        let resolve = match arguments.input.read {
            Some(_) => in_file,
            None => by_name,
        };
        let mut filter = PacketFilter::default()
            .sources(filter_of_sources(&arguments.input.sources)?)
            .family(families.only());
        for text in &arguments.memberships {
            if let Ok(pattern) = text.parse::<Pattern>() {
                filter = filter.groups(pattern.ranges());
                continue;
            }
            for membership in
                select_memberships(std::slice::from_ref(text), &[], &[], families, console)?.items
            {
                let interface = membership.interface.as_ref().map(resolve).transpose()?;
                filter = filter.membership(&membership, interface.as_slice());
            }
        }
        // A live capture is opened on the selected interfaces.
        let selectors = if arguments.input.read.is_some() { &arguments.interfaces[..] } else { &[] };
        Ok(Self { filter, interfaces: selectors.iter().map(resolve).collect::<Result<_, _>>()? })
    }

    /// Returns whether the interface of a packet is watched.
    pub(super) fn watches(&self, context: &PacketContext<'_>) -> bool {
        context.is_on(&self.interfaces)
    }
}

/// Returns the name of an interface of this machine: one that is created again has another index.
fn by_name(selector: &InterfaceSelector) -> anyhow::Result<InterfaceSelector> {
    Ok(InterfaceSelector::Name(mcast::find(selector)?.name))
}

/// Returns a selector of an interface in a file.
fn in_file(selector: &InterfaceSelector) -> anyhow::Result<InterfaceSelector> {
    match selector {
        InterfaceSelector::Name(_) | InterfaceSelector::Index(_) => Ok(selector.clone()),
        _ => Err(Failure::usage(format!("\"{selector}\" is not an interface of the capture file"))
            .remedy("name it as the file does, or by its number there, from 1")
            .into()),
    }
}
