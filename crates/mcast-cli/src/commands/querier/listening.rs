//! Listens for queries.

use std::time::{Duration, Instant, SystemTime};

use mcast::{Bridge, InterfaceIndex};
use mcast_capture::{Capture, CaptureOptions, ErrorKind, Filter};

use super::Arguments;
use super::event::{Event, Teller};
use super::interfaces::QuerierInterface;
use super::kernel;
use super::provoke::Provocation;
use super::queriers::{QuerierTable, Question, question};
use super::table;
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::rights;

/// Longer than the time between two queries of a querier with the usual settings.
const LONG_ENOUGH: Duration = Duration::from_secs(130);
/// How often a wait looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(
    arguments: &Arguments,
    places: &[QuerierInterface],
    console: &Console,
) -> anyhow::Result<Outcome> {
    let mut teller = Teller::new(arguments.json, console);
    let bridges = kernel::bridges(console);
    let mut heard = QuerierTable::default();
    let mut capture = match open(places) {
        Ok(capture) => capture,
        Err(error) => {
            // The state of the bridges is shown in any case.
            table::tell(places, &heard, &bridges, None, &mut teller)?;
            return Err(error.into());
        }
    };
    rights::keep(&[])?;
    let interrupt = Interrupt::catch(|| {})?;
    let start = Instant::now();
    let mut provocation = arguments.ask.then(|| Provocation::begin(places)).transpose()?;
    let end = match (arguments.follow, arguments.timeout) {
        (true, _) => None,
        (_, timeout) => start.checked_add(timeout.unwrap_or(LONG_ENOUGH)),
    };
    let ends_when_known = !arguments.follow && arguments.timeout.is_none();
    match end.map(|end| end.saturating_duration_since(start)) {
        Some(most) => {
            console.note(format_args!("listening for queries, for at most {} s", most.as_secs_f64().ceil()));
        }
        None => console.note("listening for queries until Ctrl-C"),
    }
    while !interrupt.has_come() {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) || ends_when_known && is_known(places, &heard, &bridges) {
            break;
        }
        if provocation.as_ref().is_some_and(|provocation| provocation.is_over(now)) {
            provocation = None;
        }
        let wait = end.map_or(GLANCE, |end| end.saturating_duration_since(now).min(GLANCE));
        let frame = match capture.next(Some(wait)) {
            Ok(Some(frame)) if !frame.direction.is_outgoing() => frame,
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::InterfaceDown => {
                console.warn(&error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let (interface, time) = (frame.interface, frame.time);
        let Some(question) = question(&frame.packet()) else { continue };
        tell_heard(places, interface, &question, time, &mut teller)?;
        heard.add(interface, question, now);
    }
    // Bridges may have learnt something meanwhile.
    let bridges = kernel::bridges(console);
    let is_known = table::tell(places, &heard, &bridges, Some(start.elapsed()), &mut teller)?;
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(is_known)))
}

/// A capture of control traffic where a querier is looked for.
pub(super) fn open(places: &[QuerierInterface]) -> mcast_capture::Result<Capture> {
    let mut names = places.iter().map(|place| place.name.as_str()).collect::<Vec<_>>();
    names.dedup();
    let mut names = names.into_iter();
    let first = names.next().unwrap_or_default();
    let options = names.fold(CaptureOptions::on_name(first), CaptureOptions::and_on_name);
    // Reports go to groups of routers, which this host need not have joined.
    Capture::open(options.filter(Filter::Control).all_multicast(true))
}

/// Whether a querier is known wherever one is needed.
fn is_known(places: &[QuerierInterface], heard: &QuerierTable, bridges: &[Bridge]) -> bool {
    places.iter().filter(|place| place.is_used).all(|place| {
        let bridge = kernel::bridge_of(bridges, place);
        !heard.at(place.interface, place.family).is_empty()
            || bridge.is_some_and(|bridge| kernel::querier(bridge, place.family).is_some())
    })
}

/// Tells a query, if its family was asked for.
pub(super) fn tell_heard(
    places: &[QuerierInterface],
    interface: InterfaceIndex,
    question: &Question,
    time: SystemTime,
    teller: &mut Teller<'_>,
) -> anyhow::Result<()> {
    let family = mcast::Family::of(question.source);
    let place = places.iter().find(|place| place.interface == interface && place.family == family);
    let Some(place) = place else { return Ok(()) };
    let words = format!("{} {}", question.source, question.text);
    teller.tell(&Event::heard(place, question, time), time, &words)
}
