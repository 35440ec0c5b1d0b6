//! The source of packets: interfaces, or a file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mcast::{Family, Group, InterfaceIndex, InterfaceSelector};
use mcast_capture::{
    Capture, CaptureFile, CaptureOptions, Filter, Frame, FrameSource, PacketContext, SourceError,
};
use mcast_stream::wire::MAGIC;

use super::Arguments;
use crate::arguments::Target;
use crate::console::Console;
use crate::exit::Failure;
use crate::output::{SafeText, bytes, count_of};

/// Room for 0.2 s of a fully used gigabit link, because a writer may have to wait for the disk.
const BUFFER: usize = 32 << 20;

/// The source of packets.
#[derive(Debug)]
pub(super) enum Source {
    Live(Live),
    File(Box<CaptureFile>),
}

/// A capture, and which of its interfaces are loopback interfaces.
#[derive(Debug)]
pub(super) struct Live {
    capture: Capture,
    loopback: Vec<InterfaceIndex>,
}

impl Source {
    pub(super) fn open(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Self> {
        match &arguments.input.read {
            Some(path) => {
                arguments.interfaces.iter().try_for_each(refuse_addresses)?;
                Ok(Self::File(Box::new(open_file(path)?)))
            }
            None => Live::open(arguments, targets, console).map(Self::Live),
        }
    }

    pub(super) fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>, SourceError> {
        match self {
            Self::Live(live) => live.capture.next_frame(timeout),
            Self::File(file) => file.next_frame(timeout),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        match self {
            Self::Live(_) => false,
            Self::File(file) => FrameSource::is_at_end(&**file),
        }
    }

    /// Returns whether an interface is a loopback interface of this machine.
    pub(super) fn is_loopback(&self, interface: InterfaceIndex) -> bool {
        match self {
            Self::Live(live) => live.loopback.contains(&interface),
            Self::File(_) => false,
        }
    }

    /// Returns the name of an interface, or its index if it has none.
    pub(super) fn name(&self, interface: InterfaceIndex) -> String {
        let name = match self {
            Self::Live(live) => live.capture.interface_name(interface),
            Self::File(file) => file.interface_name(interface),
        };
        // The names in a file are untrusted, so they are escaped.
        name.map_or_else(|| format!("#{interface}"), |name| SafeText::new(name.as_bytes()).to_string())
    }

    /// Returns the number of lost packets; `None` if it is unknown.
    pub(super) fn lost(&mut self) -> Result<Option<u64>, SourceError> {
        match self {
            Self::Live(live) => live.capture.lost(),
            Self::File(file) => file.lost(),
        }
    }

    /// Notes the skipped frames of a file.
    pub(super) fn print_note(&self, console: &Console) {
        if let Self::File(file) = self
            && file.statistics().skipped > 0
        {
            let frames = count_of(file.statistics().skipped, "frame");
            console.warn(format_args!("skipped {frames}: cannot decode their link type"));
        }
    }

    /// Notes that the capture has started.
    pub(super) fn print_start(&self, console: &Console) {
        if let Self::Live(live) = self {
            let names: Vec<&str> = live.capture.interfaces().map(|interface| interface.name).collect();
            console.note(format_args!("capturing on {}", names.join(", ")));
        }
    }

    /// Returns how long a packet may wait in the kernel before it is delivered; `None` if packets do not wait.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        match self {
            Self::Live(live) => live.capture.is_in_blocks().then_some(CaptureOptions::MAX_BLOCK_DELAY),
            Self::File(_) => None,
        }
    }

    pub(super) const fn capture(&mut self) -> Option<&mut Capture> {
        match self {
            Self::Live(live) => Some(&mut live.capture),
            Self::File(_) => None,
        }
    }

    /// Returns the interfaces, by name or index, that a selector means for a group; an empty list means all.
    pub(super) fn resolve(
        &self,
        selector: &InterfaceSelector,
        group: Group,
    ) -> anyhow::Result<Vec<InterfaceSelector>> {
        match self {
            Self::File(_) => {
                refuse_addresses(selector)?;
                let is_one = matches!(selector, InterfaceSelector::Name(_) | InterfaceSelector::Index(_));
                Ok(if is_one { vec![selector.clone()] } else { Vec::new() })
            }
            Self::Live(_) => {
                let indexes = resolve_selector(selector, Some(group))?;
                Ok(indexes.into_keys().map(InterfaceSelector::Index).collect())
            }
        }
    }
}

/// Returns whether a packet's interface is among those selected; an empty list selects all.
pub(super) fn is_among(interfaces: &[InterfaceSelector], context: &PacketContext<'_>) -> bool {
    let anywhere = |selector: &InterfaceSelector| {
        matches!(selector, InterfaceSelector::All | InterfaceSelector::Default)
    };
    context.is_on(interfaces) || interfaces.iter().any(anywhere)
}

impl Live {
    fn open(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Self> {
        let mut named = BTreeMap::new();
        for selector in &arguments.interfaces {
            named.extend(resolve_selector(selector, None)?);
        }
        for target in targets {
            if let Target::Membership(membership) = target
                && let Some(selector) = &membership.interface
            {
                named.extend(resolve_selector(selector, Some(membership.address.group))?);
            }
        }
        let is_default = named.is_empty();
        if is_default {
            named = resolve_selector(&InterfaceSelector::All, None)?;
        }
        let capture = open_on(named, is_default, arguments, console)?;
        let asked = arguments.buffer.unwrap_or(BUFFER);
        let granted = capture.buffer_size()?;
        if granted < asked && arguments.buffer.is_some() {
            console
                .warn(format_args!("the system granted {} of buffer per interface", bytes(granted as u64)));
        }
        if let Some(refusal) = capture.block_error() {
            console.note(format_args!("{refusal}; using a system call per packet instead"));
        }
        let all = mcast::interfaces()?;
        let loopback = all.iter().filter(|each| each.loopback).map(|each| each.index).collect();
        Ok(Self { capture, loopback })
    }
}

/// Opens the capture. If `may_omit`, interfaces with an unsupported link type are omitted with a note.
fn open_on(
    mut interfaces: BTreeMap<InterfaceIndex, String>,
    may_omit: bool,
    arguments: &Arguments,
    console: &Console,
) -> anyhow::Result<Capture> {
    loop {
        // By name, so that errors contain names.
        let mut names = interfaces.values();
        let first = names.next().ok_or_else(|| Failure::environment("cannot capture on any interface"))?;
        let options = names.fold(CaptureOptions::on_name(first), CaptureOptions::and_on_name);
        let options = options
            .filter(filter(arguments))
            .promiscuous(!arguments.no_promiscuous)
            .all_multicast(!arguments.no_promiscuous)
            .buffer_size(arguments.buffer.unwrap_or(BUFFER));
        // In blocks, frames of several interfaces would not be in order.
        let is_one = interfaces.len() == 1;
        match Capture::open(options.in_blocks(is_one && arguments.show.only_writes())) {
            Err(error)
                if may_omit
                    && interfaces.len() > 1
                    && matches!(error.kind(), mcast_capture::ErrorKind::LinkType(_)) =>
            {
                console.warn(format_args!("omitted: {error}"));
                interfaces.retain(|_, name| *name != error.interface());
            }
            opened => return Ok(opened?),
        }
    }
}

const fn filter(arguments: &Arguments) -> Filter {
    match arguments {
        Arguments { control: true, .. } => Filter::Control,
        Arguments { messages: true, .. } => Filter::UdpBeginsWith(MAGIC),
        _ => Filter::GroupAddressed,
    }
}

/// Returns the interfaces that a selector means, with their names.
fn resolve_selector(
    selector: &InterfaceSelector,
    group: Option<Group>,
) -> anyhow::Result<BTreeMap<InterfaceIndex, String>> {
    let one = |interface: mcast::Interface| BTreeMap::from([(interface.index, interface.name)]);
    match (selector, group) {
        (InterfaceSelector::All, _) => {
            let all = mcast::interfaces()?.into_iter().filter(mcast::Interface::is_joined_by_default);
            let all: BTreeMap<_, _> = all.map(|interface| (interface.index, interface.name)).collect();
            if all.is_empty() {
                let failure = Failure::environment("no interface is up and can multicast, except loopback");
                return Err(failure.remedy("name one: `-i lo`; `mcast interfaces` lists them").into());
            }
            Ok(all)
        }
        (InterfaceSelector::Default, group) => {
            let found = match group {
                Some(group) => mcast::default_interface(group)?,
                None => mcast::default_interface_of(Family::V4)?
                    .map_or_else(|| mcast::default_interface_of(Family::V6), |found| Ok(Some(found)))?,
            };
            let missing = || {
                let failure =
                    Failure::environment("there is no route for multicast, so no default interface");
                failure.remedy("name an interface: `mcast interfaces` lists them")
            };
            Ok(one(found.ok_or_else(missing)?))
        }
        (named, _) => Ok(one(mcast::find(named)?)),
    }
}

fn open_file(path: &Path) -> anyhow::Result<CaptureFile> {
    if path.as_os_str() == "-" {
        return CaptureFile::from_reader(io::stdin(), "standard input").context("cannot read packets");
    }
    Ok(CaptureFile::open(path)?)
}

fn refuse_addresses(selector: &InterfaceSelector) -> anyhow::Result<()> {
    match selector {
        InterfaceSelector::Address(_) => {
            let failure = Failure::usage(format!(
                "a capture file does not record which interface had \
                {selector}"
            ));
            Err(failure.remedy("name the interface as the file does, or by its number in it").into())
        }
        _ => Ok(()),
    }
}
