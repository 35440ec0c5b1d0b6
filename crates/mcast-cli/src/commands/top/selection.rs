//! The selection of streams.

use std::net::IpAddr;

use mcast::{Family, Group, InterfaceSelector, Membership, SourceFilter};

use super::Arguments;
use crate::arguments::{Families, Pattern, filter_of_sources, select_memberships};
use crate::console::Console;
use crate::exit::Failure;

/// The selection of streams.
#[derive(Debug)]
pub(super) struct Selection {
    /// Any of these; empty means all.
    selectors: Vec<StreamSelector>,
    sources: SourceFilter,
    family: Option<Family>,
    /// The names of interfaces in a file; empty means all.
    interfaces: Vec<String>,
}

#[derive(Debug)]
enum StreamSelector {
    Groups(Pattern),
    Membership { membership: Membership, interface: Option<String> },
}

impl Selection {
    pub(super) fn new(arguments: &Arguments, console: &Console) -> anyhow::Result<Self> {
        arguments.check()?;
        let is_file = arguments.input.read.is_some();
        let mut selectors = Vec::new();
        for text in &arguments.memberships {
            match text.parse() {
                Ok(pattern) => selectors.push(StreamSelector::Groups(pattern)),
                Err(_) => selectors.extend(memberships(text, arguments.input.families, is_file, console)?),
            }
        }
        let interfaces = match is_file {
            true => {
                arguments.interfaces.iter().map(|selector| name(selector, true)).collect::<Result<_, _>>()?
            }
            false => Vec::new(),
        };
        Ok(Self {
            selectors,
            sources: filter_of_sources(&arguments.input.sources)?,
            family: arguments.input.families.only(),
            interfaces,
        })
    }

    /// Returns whether streams are named, so that their absence fails the command.
    pub(super) fn names_streams(&self) -> bool {
        !self.selectors.is_empty()
    }

    /// Returns whether an interface is watched.
    pub(super) fn watches(&self, interface: &str) -> bool {
        self.interfaces.is_empty() || self.interfaces.iter().any(|name| name == interface)
    }

    pub(super) fn admits(&self, interface: &str, group: Group, port: u16, source: IpAddr) -> bool {
        self.family.is_none_or(|family| family == group.family())
            && self.sources.admits(source)
            && (self.selectors.is_empty()
                || self.selectors.iter().any(|selectors| selectors.admits(interface, group, port, source)))
    }
}

impl StreamSelector {
    fn admits(&self, on: &str, group: Group, port: u16, source: IpAddr) -> bool {
        match self {
            Self::Groups(pattern) => pattern.contains(group),
            Self::Membership { membership, interface } => {
                let address = membership.address;
                address.group == group
                    && address.port == port
                    && membership.sources.admits(source)
                    && interface.as_ref().is_none_or(|name| name == on)
            }
        }
    }
}

fn memberships(
    text: &str,
    families: Families,
    is_file: bool,
    console: &Console,
) -> anyhow::Result<Vec<StreamSelector>> {
    let chosen = select_memberships(&[text.to_owned()], &[], &[], families, console)?;
    let selectors = |membership: Membership| {
        let selector = membership.interface.as_ref();
        let interface = selector.map(|selector| name(selector, is_file)).transpose()?;
        Ok(StreamSelector::Membership { membership, interface })
    };
    chosen.items.into_iter().map(selectors).collect()
}

/// Returns the name of an interface, on this machine or in a file.
fn name(selector: &InterfaceSelector, is_file: bool) -> anyhow::Result<String> {
    match selector {
        InterfaceSelector::Name(name) if is_file => Ok(name.clone()),
        InterfaceSelector::Index(index) if is_file => Ok(index.to_string()),
        _ if is_file => {
            let refused = Failure::usage(format!("\"{selector}\" is not an interface of the capture file"));
            Err(refused.remedy("name it as the file does, or by its number there, from 1").into())
        }
        _ => Ok(mcast::find(selector)?.name),
    }
}
