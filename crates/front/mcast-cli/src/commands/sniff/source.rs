//! The source of packets: interfaces, or a file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mcast::{Group, InterfaceIndex, InterfaceSelector, InterfaceStatus, Membership, MembershipStatus};
use mcast_capture::{Capture, CaptureFile, CaptureOptions, ErrorKind, Filter, FrameSource};
use mcast_stream::wire::MAGIC;
use mcast_terminal::Console;
use mcast_watch::live::{HeldMemberships, LiveError, TrafficMonitor, selected_interfaces};

use super::Arguments;
use crate::arguments::Target;
use crate::capturing::open_file;
use crate::exit::Failure;
use crate::output::{bytes, count_of, seconds};

/// Room for 0.2 s of a fully used gigabit link, because a writer may have to wait for the disk.
const BUFFER: usize = 32 << 20;

/// The source of packets.
#[derive(Debug)]
pub(super) enum Source {
    Live(Capture),
    File(Box<CaptureFile>),
}

impl Source {
    pub(super) fn open(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Self> {
        match &arguments.input.read {
            Some(path) => {
                arguments.interfaces.iter().try_for_each(refuse_address)?;
                Ok(Self::File(Box::new(open_file(path)?)))
            }
            None => open_interfaces(arguments, targets, console).map(Self::Live),
        }
    }

    pub(super) fn frames(&mut self) -> &mut dyn FrameSource {
        match self {
            Self::Live(capture) => capture,
            Self::File(file) => &mut **file,
        }
    }

    /// Notes the skipped frames of a file.
    pub(super) fn print_note(&self, console: &Console) {
        if let Self::File(file) = self
            && file.statistics().skipped > 0
        {
            let frames = count_of(file.statistics().skipped, "frame");
            console.warn(format_args!("skipped {frames}: cannot decode their link layer"));
        }
    }

    /// Notes that the capture has started.
    pub(super) fn print_start(&self, console: &Console) {
        if let Self::Live(capture) = self {
            let names: Vec<&str> = capture.interfaces().map(|interface| interface.name).collect();
            console.note(format_args!("capturing on {}", names.join(", ")));
        }
    }

    /// Returns how long a packet may wait in the kernel before it is delivered; `None` if packets do not wait.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        match self {
            Self::Live(capture) => capture.is_in_blocks().then_some(CaptureOptions::MAX_BLOCK_DELAY),
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
                refuse_address(selector)?;
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

/// Opens the capture on the interfaces that options and memberships name, by default on all that can multicast.
fn open_interfaces(arguments: &Arguments, targets: &[Target], console: &Console) -> anyhow::Result<Capture> {
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
    let granted = capture.buffer_size()?;
    if arguments.buffer.is_some_and(|requested| granted < requested) {
        console.warn(format_args!("the system granted {} of buffer per interface", bytes(granted as u64)));
    }
    if let Some(refusal) = capture.block_error() {
        console.note(format_args!("{refusal}; using a system call per packet instead"));
    }
    Ok(capture)
}

/// Opens the capture. If `may_omit`, interfaces with an unsupported link type are omitted with a note.
fn open_on(
    mut interfaces: BTreeMap<InterfaceIndex, String>,
    may_omit: bool,
    arguments: &Arguments,
    console: &Console,
) -> anyhow::Result<Capture> {
    let filter = match arguments {
        Arguments { control: true, .. } => Filter::Control,
        Arguments { messages: true, .. } => Filter::UdpBeginsWith(MAGIC),
        _ => Filter::GroupAddressed,
    };
    loop {
        // In blocks, frames of several interfaces would not be in order.
        let is_one = interfaces.len() == 1;
        // By name, so that errors contain names.
        let options = CaptureOptions::on_names(interfaces.values())
            .filter(filter)
            .loopback_once(true)
            .promiscuous(!arguments.no_promiscuous)
            .all_multicast(!arguments.no_promiscuous)
            .buffer_size(arguments.buffer.unwrap_or(BUFFER))
            .in_blocks(is_one && arguments.show.only_writes());
        match Capture::open(options) {
            Err(error) if may_omit && !is_one && matches!(error.kind(), ErrorKind::LinkType(_)) => {
                console.warn(format_args!("omitted: {error}"));
                interfaces.retain(|_, name| *name != error.interface());
            }
            opened => return Ok(opened?),
        }
    }
}

/// Returns the interfaces that a selector means, with their names.
fn resolve_selector(
    selector: &InterfaceSelector,
    group: Option<Group>,
) -> Result<BTreeMap<InterfaceIndex, String>, LiveError> {
    let found = selected_interfaces(selector, group)?;
    Ok(found.into_iter().map(|interface| (interface.index, interface.name)).collect())
}

fn refuse_address(selector: &InterfaceSelector) -> Result<(), Failure> {
    match selector {
        InterfaceSelector::Address(_) => {
            let failure = Failure::usage(format!(
                "a capture file does not record which interface had \
                {selector}"
            ));
            Err(failure.remedy("name the interface as the file does, or by its number in it"))
        }
        _ => Ok(()),
    }
}

/// How long to wait for traffic before warning; routers and switches need less.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of groups in a warning.
const MAX_LISTED: usize = 8;

/// Memberships, and whether their traffic has arrived.
#[derive(Debug)]
pub(super) struct JoinMonitor {
    _held: HeldMemberships,
    since: Instant,
    pub(super) traffic: TrafficMonitor,
    has_warned: bool,
}

impl JoinMonitor {
    pub(super) fn join(memberships: &[Membership], console: &Console) -> Result<Self, LiveError> {
        // Routers may ignore the report of a source-specific group without a source, but a switch in between does not.
        let held = HeldMemberships::join(memberships, true, false)?;
        let statuses = held.statuses();
        statuses.iter().take(MAX_LISTED).for_each(|status| console.note(describe(status)));
        let traffic = TrafficMonitor::new(&statuses);
        Ok(Self { _held: held, since: Instant::now(), traffic, has_warned: false })
    }

    /// Returns the time until the warning is due; `None` if none is due.
    pub(super) fn time_to_warning(&self) -> Option<Duration> {
        let is_due = !self.has_warned && !self.traffic.is_complete();
        is_due.then(|| WARN_AFTER.saturating_sub(self.since.elapsed()))
    }

    /// Warns about joined groups without traffic: once when the warning is due, and at the end.
    pub(super) fn warn(&mut self, is_end: bool, console: &Console) {
        if self.traffic.is_complete() || (self.has_warned && !is_end) {
            return;
        }
        self.has_warned = true;
        let time = seconds(self.since.elapsed());
        let missing = self.traffic.missing();
        for (group, interface) in missing.iter().take(MAX_LISTED) {
            console.warn(format_args!(
                "{group} is joined on {interface}, but nothing has arrived for it in {time}"
            ));
        }
        if missing.len() > MAX_LISTED {
            console.warn(format_args!("and {} more without traffic", missing.len() - MAX_LISTED));
        }
        console.advise(
            "check that a sender is active with a sufficient TTL, and that a switch on the path has a \
             querier: `mcast doctor` finds the cause",
        );
    }
}

/// Describes a membership without its port, which does not matter.
fn describe(status: &MembershipStatus) -> String {
    let joined = |each: &&InterfaceStatus| each.failure.is_none();
    let names: Vec<&str> = status.interfaces.iter().filter(joined).map(|each| &*each.name).collect();
    match names.as_slice() {
        [] => status.to_string(),
        names => format!("{}: joined on {}", status.membership.address.group, names.join(", ")),
    }
}
