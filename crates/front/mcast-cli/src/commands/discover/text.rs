//! Entries and their changes as text.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_terminal::Console;
use mcast_watch::discovery::{Discovered, DiscoveryEvent, UntrustedText};
use mcast_watch::live::DiscoveryCoverage;
use mcast_watch::{Discovery, Time};

use crate::output::{Cell, Palette, Table, clock_time, count, span};
use crate::screen::cut;

/// Longer names are cut without `-v`.
const NAME_WIDTH: usize = 40;

/// Returns the table of entries.
pub(super) fn table(entries: &[Discovered], discovery: &Discovery, console: &Console) -> Table {
    let palette = console.palette();
    let mut titles = vec!["name", "kind", "address", "interface", "first seen", "last seen", "by"];
    if console.is_verbose() {
        titles.push("announced");
    }
    let mut table = Table::new(&titles, palette.heading);
    for entry in entries {
        let whole = console.is_verbose();
        let name = name(entry);
        let addresses = if whole { addresses(entry, discovery) } else { vec![address(entry, discovery)] };
        let [first, last] = [entry.first_seen, entry.last_seen].map(|time| seen(time, discovery));
        let mut cells = vec![
            Cell::new(if whole { name } else { cut(name, NAME_WIDTH) }).style(palette.group),
            Cell::new(kind(entry)),
            Cell::of_lines(addresses).style(palette.address),
            Cell::new(place(entry, discovery)).style(palette.interface),
            Cell::new(first).style(palette.dim),
            Cell::new(last).style(palette.dim),
            Cell::new(entry.key.protocol.name()).style(palette.dim),
        ];
        if whole {
            let announced = details(entry).into_iter().map(|(name, value)| format!("{name} {value}"));
            cells.push(Cell::of_lines(announced));
        }
        table.row(cells);
    }
    table
}

/// Returns the name, or the identifier of what has none.
pub(super) fn name(entry: &Discovered) -> String {
    let text = if entry.name.is_empty() { &entry.key.id } else { &entry.name };
    text.to_string()
}

/// `service _ipp._tcp`
pub(super) fn kind(entry: &Discovered) -> String {
    if entry.service.is_empty() {
        return entry.kind.to_string();
    }
    format!("{} {}", entry.kind, entry.service)
}

/// `eth0`, or `eth0 VLAN 20`
pub(super) fn place(entry: &Discovered, discovery: &Discovery) -> String {
    let interface = discovery.interface(entry.key.place.interface);
    match entry.key.place.vlan {
        Some(vlan) => format!("{interface} VLAN {vlan}"),
        None => interface,
    }
}

/// Returns the addresses at which it can be reached, IPv4 first and link-local ones last.
pub(super) fn addresses(entry: &Discovered, discovery: &Discovery) -> Vec<String> {
    let rank = |address: &IpAddr| match address {
        IpAddr::V4(address) => {
            if address.is_link_local() {
                2
            } else {
                0
            }
        }
        IpAddr::V6(address) => {
            if address.is_unicast_link_local() {
                3
            } else {
                1
            }
        }
    };
    let mut addresses = entry.addresses.clone();
    addresses.sort_by_key(|address| (rank(address), *address));
    addresses.dedup();
    let interface = discovery.interface(entry.key.place.interface);
    addresses.into_iter().map(|address| endpoint(address, entry.port, &interface)).collect()
}

/// Returns the first address, and how many there are besides; the sender of what announces none.
pub(super) fn address(entry: &Discovered, discovery: &Discovery) -> String {
    let addresses = addresses(entry, discovery);
    match &addresses[..] {
        [] => entry.source.ip().map_or_else(|| entry.source.to_string(), |ip| ip.to_string()),
        [only] => only.clone(),
        [first, others @ ..] => format!("{first} +{}", others.len()),
    }
}

/// `10.0.0.7:631`, `[fe80::1%eth0]:631`
fn endpoint(address: IpAddr, port: Option<u16>, interface: &str) -> String {
    let is_scoped = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let scope = if is_scoped { format!("%{interface}") } else { String::new() };
    match (address, port) {
        (_, None) => format!("{address}{scope}"),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(_), Some(port)) => format!("[{address}{scope}]:{port}"),
    }
}

/// Returns when something was seen: how long ago, or in a file the time of day.
pub(super) fn seen(time: Time, discovery: &Discovery) -> String {
    if discovery.coverage().is_file {
        return clock_time(SystemTime::UNIX_EPOCH + Duration::from_nanos(time.as_nanos()));
    }
    span(Duration::from_secs(Time::from(SystemTime::now()).since(time).as_secs()))
}

/// Returns all that was announced and does not stand in the table, with names.
pub(super) fn details(entry: &Discovered) -> Vec<(String, String)> {
    let text = |name: &str, text: &UntrustedText| (!text.is_empty()).then(|| (name.into(), text.to_string()));
    let id = Some(&entry.key.id).filter(|id| **id != entry.name).and_then(|id| text("id", id));
    let head = [id, text("host", &entry.host), text("url", &entry.url)].into_iter().flatten();
    let fields = entry.fields.iter().map(|field| (field.name.to_string(), field.value.to_string()));
    let from = ("from".to_owned(), entry.source.to_string());
    head.chain(fields).chain([from]).collect()
}

/// Returns a change as a line: `12:00:00.000000 appeared Office printer, service _ipp._tcp at 10.0.0.7:631 on eth0 (mdns)`.
pub(super) fn change(
    time: SystemTime,
    event: &DiscoveryEvent,
    discovery: &Discovery,
    palette: &Palette,
) -> Option<String> {
    let Palette { dim, group, address: at, interface: on, .. } = palette;
    let (verb, entry, remark) = match event {
        DiscoveryEvent::Appeared(entry) => ("appeared", entry, String::new()),
        DiscoveryEvent::Changed { before, now } => {
            ("changed", now, format!(": {}", before.differences(now).join(", ")))
        }
        DiscoveryEvent::Departed { entry, reason } => {
            ("departed", entry, format!(": {}", reason.name().replace('-', " ")))
        }
        _ => return None,
    };
    Some(format!(
        "{dim}{}{dim:#} {verb} {group}{}{group:#}, {} at {at}{}{at:#} on {on}{}{on:#} ({}){remark}",
        clock_time(time),
        name(entry),
        kind(entry),
        address(entry, discovery),
        place(entry, discovery),
        entry.key.protocol,
    ))
}

/// Notes what was listened to, and what cannot be seen.
pub(super) fn describe_coverage(coverage: &DiscoveryCoverage, console: &Console) {
    let unseen = coverage.unseen();
    if !unseen.is_empty() {
        let names: Vec<_> = unseen.iter().map(|protocol| protocol.name()).collect();
        console.note(format_args!(
            "not visible without permission to capture (root or CAP_NET_RAW): {}, clocks on Ethernet, VLANs",
            names.join(", ")
        ));
    }
    if let Some(refusal) = &coverage.capture_refusal {
        console.detail(refusal);
    }
    for (protocol, group, why) in &coverage.refused {
        console.detail(format_args!("{protocol}: {group} is not joined: {why}"));
    }
}

/// Returns what was dropped, if anything was.
pub(super) fn drops(discovery: &Discovery) -> Option<String> {
    let counts = discovery.counts();
    let all = [
        ("unreadable datagrams", counts.malformed),
        ("announcements with a part left out", counts.truncated),
        ("evicted entries", counts.evicted),
        ("refused announcements", counts.refused),
        ("goodbyes of other hosts ignored", counts.foreign_goodbyes),
        ("answers by mDNS from another port than 5353 ignored", counts.wrong_ports),
        ("changes not reported", counts.events_omitted),
        ("frames too fast to capture", discovery.lost().unwrap_or(0)),
    ];
    let shown: Vec<_> = all.iter().filter(|(_, number)| *number > 0).collect();
    let shown: Vec<_> = shown.iter().map(|(what, number)| format!("{what}: {}", count(*number))).collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}
