//! The final table of queriers.

use std::io::Write;
use std::time::Duration;

use mcast::{Bridge, BridgeQuerier};
use mcast_watch::ObservedQuerier;

use super::event::{Event, EventPrinter};
use super::interfaces::QuerierInterface;
use crate::output::{Cell, Table, seconds};

/// Prints the queriers of each interface. Returns whether one is known wherever one is needed.
pub(super) fn print(
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
            printer.print_json(&of_bridge(target, querier))?;
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
        table.write(printer.out())?;
        printer.out().flush()?;
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
        mcast::Family::V4 => bridge.igmp_version,
        mcast::Family::V6 => bridge.mld_version,
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

fn of_bridge(target: &QuerierInterface, querier: &BridgeQuerier) -> Event {
    Event {
        address: Some(querier.address),
        expires_seconds: querier.expires.map(|expires| expires.as_secs_f64()),
        ..Event::new("bridge", target)
    }
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
