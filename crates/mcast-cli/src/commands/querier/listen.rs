//! Listens for queries.

use std::time::{Duration, Instant};

use mcast::{Bridge, Family, GroupAddr, InterfaceSelector, Membership, Receiver};
use mcast_capture::{Capture, CaptureOptions, ErrorKind, Filter, Frame};
use mcast_packet::Transport;
use mcast_watch::{ObservedQuerier, ObservedQuery, QuerierTable, Time};

use super::Arguments;
use super::event::{Event, EventPrinter};
use super::interfaces::{QuerierInterface, bridges};
use super::table;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::rights;

/// Longer than the time between two queries of a querier with default settings.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(130);
/// The maximum number of queriers, because addresses can be forged.
const MAX_QUERIERS: usize = 256;
/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(
    arguments: &Arguments,
    targets: &[QuerierInterface],
    console: &Console,
) -> anyhow::Result<Outcome> {
    let mut printer = EventPrinter::new(arguments.json, console);
    let known_bridges = bridges(console);
    let mut queriers = QuerierTable::new(MAX_QUERIERS);
    let mut capture = match open(targets) {
        Ok(capture) => capture,
        Err(error) => {
            // The state of the bridges is shown in any case.
            table::print(targets, &[], &known_bridges, None, &mut printer)?;
            return Err(error.into());
        }
    };
    rights::keep(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    let start = Instant::now();
    let mut provocation = arguments.provoke.then(|| provoke(targets)).transpose()?;
    let provoked = Instant::now();
    let end = match (arguments.watch, arguments.timeout) {
        (true, _) => None,
        (_, timeout) => start.checked_add(timeout.unwrap_or(DEFAULT_TIMEOUT)),
    };
    let ends_when_known = !arguments.watch && arguments.timeout.is_none();
    match end.map(|end| end.saturating_duration_since(start)) {
        Some(most) => {
            console.note(format_args!("listening for queries, for at most {} s", most.as_secs_f64().ceil()));
        }
        None => console.note("listening for queries until Ctrl-C"),
    }
    while !interrupt.has_arrived() {
        let now = Instant::now();
        let observed = || queriers.report(Time::default().after(now - start));
        if end.is_some_and(|end| now >= end)
            || ends_when_known && is_known(targets, &observed(), &known_bridges)
        {
            break;
        }
        provocation = provocation.filter(|_| now.saturating_duration_since(provoked) < HOLD_TIME);
        let wait = end.map_or(POLL_INTERVAL, |end| end.saturating_duration_since(now).min(POLL_INTERVAL));
        let frame = match capture.next(Some(wait)) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::InterfaceDown => {
                console.warn(&error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(query) = ObservedQuery::in_packet(&frame.packet()) else { continue };
        print_query(targets.iter(), &frame, &query, &mut printer)?;
        queriers.add(frame.interface, query, Time::default().after(now - start));
    }
    // Bridges may have learned of queriers meanwhile.
    let (bridges, listened) = (bridges(console), start.elapsed());
    let observed = queriers.report(Time::default().after(listened));
    let is_known = table::print(targets, &observed, &bridges, Some(listened), &mut printer)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(is_known)))
}

/// Captures control traffic on these interfaces.
pub(super) fn open<'a>(
    targets: impl IntoIterator<Item = &'a QuerierInterface>,
) -> mcast_capture::Result<Capture> {
    let mut names: Vec<&str> = Vec::new();
    for target in targets {
        if !names.contains(&target.name.as_str()) {
            names.push(&target.name);
        }
    }
    // Reports are sent to groups of routers, which this host need not have joined.
    Capture::open(CaptureOptions::on_names(names).filter(Filter::Control).all_multicast(true))
}

/// Returns whether a querier is known wherever one is needed.
fn is_known(targets: &[QuerierInterface], observed: &[ObservedQuerier], bridges: &[Bridge]) -> bool {
    targets
        .iter()
        .filter(|target| target.is_used)
        .all(|target| !target.queriers(observed).is_empty() || target.bridge_with_querier(bridges).is_some())
}

/// Prints a query, if its interface and family are selected.
pub(super) fn print_query<'a>(
    mut targets: impl Iterator<Item = &'a QuerierInterface>,
    frame: &Frame<'_>,
    query: &ObservedQuery,
    printer: &mut EventPrinter<'_>,
) -> anyhow::Result<()> {
    let family = Family::of(query.source);
    let target = targets.find(|target| target.interface == frame.interface && target.family == family);
    let Some(target) = target else { return Ok(()) };
    let text = match frame.packet().transport {
        Some(Transport::Igmp(control)) => control.message.to_string(),
        Some(Transport::Mld(control)) => control.message.to_string(),
        _ => String::new(),
    };
    let words = format!("{} {text}", query.source);
    printer.print(&Event::query(target, query, frame.time), frame.time, &words)
}

/// Unused groups: they are reserved for documentation (RFC 6676).
const UNUSED_GROUPS: [&str; 2] = ["233.252.0.251", "ff05::db8:0:fb"];
/// A port to which nothing is sent.
const UNUSED_PORT: u16 = 9_009;
/// How long the memberships are held, so that all routers and switches learn of them.
const HOLD_TIME: Duration = Duration::from_millis(300);

/// Provokes a query: joins groups, and leaves them when the returned receiver is dropped. A querier sends a
/// group-specific query when a host leaves a group.
fn provoke(targets: &[QuerierInterface]) -> anyhow::Result<Receiver> {
    let mut builder = Receiver::builder();
    for target in targets.iter().filter(|target| target.is_used) {
        let group = UNUSED_GROUPS[usize::from(target.family == Family::V6)];
        let membership = Membership::new(GroupAddr::new(group.parse()?, UNUSED_PORT));
        builder = builder.join(membership.on(InterfaceSelector::Index(target.interface)));
    }
    Ok(builder.build()?)
}
