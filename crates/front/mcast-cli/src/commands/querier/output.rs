//! Events and queriers as text and as JSON.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::{Bridge, BridgeQuerier, Family};
use mcast_capture::QuerierState;
use mcast_packet::gmp::querier::Role;
use mcast_terminal::{Console, Output};
use mcast_watch::live::{ActiveQuerierEvent, CapturedQuery, QuerierInterface, QuerierTrouble};
use mcast_watch::{ObservedQuerier, ObservedQuery};
use serde::Serialize;

use crate::output::{Cell, Table, clock_time, rfc3339, seconds, write_json};

/// Prints events, as lines of text or as JSON.
pub(super) struct EventPrinter<'a> {
    console: &'a Console,
    json: bool,
    out: Output,
}

impl<'a> EventPrinter<'a> {
    pub(super) fn new(json: bool, console: &'a Console) -> Self {
        Self { console, json, out: console.output() }
    }

    /// Prints a received query.
    pub(super) fn query(&mut self, captured: &CapturedQuery<'_>) -> anyhow::Result<()> {
        let words = format!("{} {}", captured.query.source, captured.text);
        self.print(&Event::query(captured), captured.time, &words)
    }

    /// Prints what happened to a querier of this machine.
    pub(super) fn active(
        &mut self,
        target: &QuerierInterface,
        event: ActiveQuerierEvent,
    ) -> anyhow::Result<()> {
        let protocol = target.protocol();
        let of = |event, address| Event { address: Some(address), ..Event::new(event, target) };
        let (event, words) = match event {
            ActiveQuerierEvent::Started { address, version } => {
                (of("started", address), format!("sends queries from {address} ({protocol}v{version})"))
            }
            ActiveQuerierEvent::Sent { address, version, group, text } => {
                let event = Event { version: Some(version), group, ..of("query-sent", address) };
                (event, format!("sent {text}"))
            }
            ActiveQuerierEvent::YieldedTo(other) => {
                let words = format!("{protocol} stops sending queries: {other} has a lower address");
                (of("yielded", other), words)
            }
            ActiveQuerierEvent::TookOverFrom(other) => {
                let words = format!("{protocol} sends queries again: {other} has gone silent");
                (of("took-over", other), words)
            }
            ActiveQuerierEvent::Trouble(trouble) => {
                self.console.warn(format_args!("{}: {}", target.name, describe(&trouble, target)));
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.print(&event, SystemTime::now(), &words)
    }

    /// Prints an event: as JSON, or as `words` after the time and the interface.
    fn print(&mut self, event: &Event, time: SystemTime, words: &str) -> anyhow::Result<()> {
        if self.json {
            return self.print_json(event);
        }
        let palette = self.console.palette();
        let (dim, interface) = (palette.dim, palette.interface);
        let by = &event.interface;
        writeln!(self.out, "{dim}{}{dim:#} {interface}{by}{interface:#} {words}", clock_time(time))?;
        Ok(self.out.flush()?)
    }

    /// Prints an event if the output is JSON.
    fn print_json(&mut self, event: &Event) -> anyhow::Result<()> {
        if self.json {
            write_json(&mut self.out, event)?;
            self.out.flush()?;
        }
        Ok(())
    }
}

fn describe(trouble: &QuerierTrouble, target: &QuerierInterface) -> String {
    let protocol = target.protocol();
    let lacks = match trouble {
        QuerierTrouble::Down => "it is down or gone",
        QuerierTrouble::NoAddress if target.family == Family::V4 => "it has no IPv4 address",
        QuerierTrouble::NoAddress => "it has no usable link-local address yet",
        QuerierTrouble::OlderVersion { querier, version } => {
            return format!(
                "{querier} queries with {protocol}v{version}; all queriers of a network should use the same \
                 version (--older)"
            );
        }
        QuerierTrouble::Unsent(why) => return why.clone(),
        _ => "it does not work",
    };
    format!("{lacks}: no {protocol} queries until that has changed")
}

/// Returns the summary of a querier of this machine.
pub(super) fn summary(target: &QuerierInterface, state: Option<QuerierState>, queries: u64) -> String {
    let role = match state.map(|state| state.role) {
        Some(Role::Querier) => "was the querier".to_owned(),
        Some(Role::Listener { querier }) => format!("{querier} was the querier"),
        None => "could not send queries".to_owned(),
    };
    let unqueried = match state.map_or(0, |state| state.unqueried_groups) {
        0 => String::new(),
        many => format!("; {many} groups were left faster than queries could be sent"),
    };
    format!("{} {}: {role}, sent {queries} queries{unqueried}", target.name, target.protocol())
}

/// Prints the queriers of each interface. Returns whether one is known wherever one is needed.
pub(super) fn print_table(
    targets: &[QuerierInterface],
    observed: &[ObservedQuerier],
    bridges: &[Bridge],
    listened: Option<Duration>,
    printer: &mut EventPrinter<'_>,
) -> anyhow::Result<bool> {
    let palette = *printer.console.palette();
    let titles = ["interface", "protocol", "querier", "version", "interval", "expires in", "known from"];
    let mut table = Table::new(&titles, palette.heading);
    let mut is_known_everywhere = true;
    let mut silent = Vec::new();
    for target in targets {
        let known = target.queriers(observed);
        for known in &known {
            printer.print_json(&Event::known(target, known))?;
            table.row(row(target, known));
        }
        let by_bridge = target.bridge_with_querier(bridges);
        if let Some((bridge, querier)) = by_bridge {
            printer.print_json(&Event::of_bridge(target, querier))?;
            table.row(row_of_bridge(target, bridge, querier));
        }
        if known.is_empty() && by_bridge.is_none() {
            printer.print_json(&Event::new("silent", target))?;
            let none = if target.is_used { "none known" } else { "none known, none needed: no address" };
            table.row([
                Cell::new(&target.name).style(palette.interface),
                Cell::new(target.protocol()),
                Cell::new(none).style(if target.is_used { palette.warning } else { palette.dim }),
            ]);
            is_known_everywhere &= !target.is_used;
            silent.extend(target.is_used.then_some(target));
        }
    }
    if !printer.json {
        table.write(&mut printer.out)?;
        printer.out.flush()?;
    }
    if !silent.is_empty() {
        explain(&silent, listened, printer);
    }
    Ok(is_known_everywhere)
}

fn row(target: &QuerierInterface, known: &ObservedQuerier) -> [Cell; 7] {
    let every = match (known.mean_interval, known.query.interval) {
        (Some(observed), Some(announced)) => {
            format!("{} (announced: {})", seconds(observed), whole(announced))
        }
        (Some(observed), None) => seconds(observed),
        (None, Some(announced)) => format!("{} (announced)", whole(announced)),
        (None, None) => "?".into(),
    };
    let querier = match known.address.is_unspecified() {
        true => format!("{} (a snooping switch)", known.address),
        false => known.address.to_string(),
    };
    [
        Cell::new(&target.name),
        Cell::new(target.protocol()),
        Cell::new(querier),
        Cell::new(format!("{}v{}", target.protocol(), known.query.version)),
        Cell::new(every),
        Cell::new(if known.expires.is_zero() { "gone".into() } else { whole(known.expires) }),
        Cell::new("heard"),
    ]
}

fn row_of_bridge(target: &QuerierInterface, bridge: &Bridge, querier: &BridgeQuerier) -> [Cell; 7] {
    let is_itself = querier.expires.is_none();
    let version = match target.family {
        Family::V4 => bridge.igmp_version,
        Family::V6 => bridge.mld_version,
    };
    [
        Cell::new(&target.name),
        Cell::new(target.protocol()),
        Cell::new(match is_itself {
            true => format!("{} (the bridge itself)", querier.address),
            false => querier.address.to_string(),
        }),
        Cell::new(match version.filter(|_| is_itself) {
            Some(version) => format!("{}v{version}", target.protocol()),
            None => "?".into(),
        }),
        Cell::new(bridge.query_interval.filter(|_| is_itself).map_or_else(|| "?".into(), whole)),
        Cell::new(querier.expires.map_or_else(|| "never".into(), whole)),
        Cell::new(format!("bridge {}", bridge.name)),
    ]
}

/// Explains what the absence of queries means.
fn explain(silent: &[&QuerierInterface], listened: Option<Duration>, printer: &EventPrinter<'_>) {
    const BETWEEN_QUERIES: Duration = Duration::from_secs(125);
    const GONE: Duration = Duration::from_secs(255);
    let console = printer.console;
    let names: Vec<_> =
        silent.iter().map(|target| format!("{} on {}", target.protocol(), target.name)).collect();
    let names = names.join(", ");
    match listened {
        None => console.note(format_args!("{names}: only the kernel's bridges could be examined")),
        Some(time) if time < BETWEEN_QUERIES => console.note(format_args!(
            "{names}: no query in {}, which proves nothing: queries are normally 125 s apart. Listen longer \
             (-W 130s), or provoke a query (--provoke)",
            seconds(time)
        )),
        Some(time) if time < GONE => console.note(format_args!(
            "{names}: no query in {}: with default timers one would have arrived. A querier is considered \
             gone after 255 s without a query",
            seconds(time)
        )),
        Some(time) => console.note(format_args!("{names}: no querier; no query in {}", seconds(time))),
    }
    console.note(
        "without a querier, a snooping switch forgets members (after 260 s) and their streams stop: enable \
         the querier of the switch or router, or run: sudo mcast querier --become -i INTERFACE",
    );
}

fn whole(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// An event as JSON: `schemas/querier-event.json`. Fields that do not apply to an event are null.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) event: &'static str,
    pub(super) time: String,
    pub(super) interface: String,
    pub(super) protocol: String,
    pub(super) address: Option<IpAddr>,
    pub(super) version: Option<u8>,
    pub(super) group: Option<IpAddr>,
    pub(super) queries: Option<u64>,
    pub(super) interval_seconds: Option<f64>,
    pub(super) observed_interval_seconds: Option<f64>,
    pub(super) robustness: Option<u8>,
    pub(super) max_response_seconds: Option<f64>,
    pub(super) expires_seconds: Option<f64>,
}

impl Event {
    pub(super) fn new(event: &'static str, target: &QuerierInterface) -> Self {
        Self {
            event,
            time: rfc3339(SystemTime::now()),
            interface: target.name.clone(),
            protocol: target.protocol().to_ascii_lowercase(),
            ..Self::default()
        }
    }

    /// Creates the event of a received query.
    pub(super) fn query(captured: &CapturedQuery<'_>) -> Self {
        let CapturedQuery { target, query, time, .. } = captured;
        Self { time: rfc3339(*time), ..Self::new("query-received", target).with_query(query) }
    }

    /// Creates the event of a querier that a bridge knows.
    pub(super) fn of_bridge(target: &QuerierInterface, querier: &BridgeQuerier) -> Self {
        Self {
            address: Some(querier.address),
            expires_seconds: querier.expires.map(|expires| expires.as_secs_f64()),
            ..Self::new("bridge", target)
        }
    }

    /// Creates the event of a known querier.
    pub(super) fn known(target: &QuerierInterface, known: &ObservedQuerier) -> Self {
        Self {
            queries: Some(known.queries),
            observed_interval_seconds: known.mean_interval.map(|interval| interval.as_secs_f64()),
            expires_seconds: Some(known.expires.as_secs_f64()),
            ..Self::new("querier", target).with_query(&known.query)
        }
    }

    fn with_query(self, query: &ObservedQuery) -> Self {
        Self {
            address: Some(query.source),
            version: Some(query.version),
            group: query.group,
            interval_seconds: query.interval.map(|interval| interval.as_secs_f64()),
            robustness: query.robustness,
            max_response_seconds: Some(query.max_response_time.as_secs_f64()),
            ..self
        }
    }
}
