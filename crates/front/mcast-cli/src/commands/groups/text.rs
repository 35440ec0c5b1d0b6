//! Memberships as text: the table, and their holders, sources and sockets.

use mcast::SourceFilter;
use mcast::joined::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind};
use mcast_terminal::Console;

use crate::output::{Cell, InterfaceNames, Palette, SafeText, Table, count};

/// Longer names are cut without `-v`.
const NAME_WIDTH: usize = 24;

/// Returns the table of memberships.
pub(super) fn table(holdings: &[&Holding], console: &Console) -> Table {
    let palette = console.palette();
    let titles =
        ["group", "name", "interface", "version", "sources", "process", "port", "buffer", "drops", "note"];
    let mut table = Table::new(&titles, palette.heading);
    for holding in holdings {
        let (group, interface) = (holding.group.to_string(), &holding.interface_name);
        let head = [
            Cell::new(group).style(palette.group),
            Cell::new(shown_name(holding, console.is_verbose())).style(palette.dim),
            Cell::new(interface).style(palette.interface),
            Cell::new(holding.version.map_or_else(|| "?".into(), |version| version.to_string())),
        ];
        let rest = match &holding.holder {
            Holder::Socket(held) => socket(holding, held, console.is_verbose(), palette),
            holder => other(holder, palette),
        };
        table.row(head.into_iter().chain(rest));
    }
    table
}

fn socket(holding: &Holding, held: &SocketHolder, more: bool, palette: &Palette) -> Vec<Cell> {
    let socket = &held.socket;
    let drops = socket.drops.unwrap_or(0);
    let drops_style = if drops > 0 { palette.bad } else { palette.dim };
    vec![
        Cell::of_lines(sources(&held.filter)).style(palette.address),
        Cell::of_lines(processes(socket)),
        Cell::new(socket.port().map(|port| port.to_string()).unwrap_or_default()).right(),
        Cell::new(count(socket.receive_buffer as u64)).right(),
        Cell::new(socket.drops.map(|drops| count(drops.into())).unwrap_or_default())
            .right()
            .style(drops_style),
        Cell::of_lines(remarks(holding, held, more)).style(palette.warning),
    ]
}

fn other(holder: &Holder, palette: &Palette) -> Vec<Cell> {
    let style = if *holder == Holder::Kernel { palette.dim } else { palette.warning };
    vec![Cell::default(), Cell::new(other_holder(holder)).style(style)]
}

fn shown_name(holding: &Holding, whole: bool) -> String {
    let name = name(holding).unwrap_or_default();
    if whole || name.chars().count() <= NAME_WIDTH {
        return name.to_owned();
    }
    let cut: String = name.chars().take(NAME_WIDTH - 1).collect();
    format!("{}…", cut.trim_end())
}

/// Returns the name of the group's use at the port of the socket. Without a known port: the short name of the group
/// if it has one, otherwise the name in the registry.
pub(super) fn name(holding: &Holding) -> Option<&'static str> {
    let group = holding.group;
    if let Holder::Socket(held) = &holding.holder
        && let Some(port) = held.socket.port()
    {
        return group.name_at(port);
    }
    group.usual_name()
}

/// Returns the sources of a filter, one line each.
pub(super) fn sources(filter: &SourceFilter) -> Vec<String> {
    let listed = filter.sources().map(|source| source.to_string());
    match filter {
        SourceFilter::Exclude(sources) if sources.is_empty() => vec!["any".into()],
        SourceFilter::Exclude(_) => listed.map(|source| format!("not {source}")).collect(),
        SourceFilter::Include(_) => listed.collect(),
    }
}

/// Returns the processes that have a socket open, one line each. Their names are escaped, because processes choose
/// them.
pub(super) fn processes(socket: &JoinedSocket) -> Vec<String> {
    socket.processes.iter().map(process).collect()
}

fn process(process: &Process) -> String {
    format!("{} ({})", SafeText::new(process.name.as_bytes()), process.pid)
}

/// Returns the holder of a membership that is not a socket.
pub(super) fn other_holder(holder: &Holder) -> String {
    match holder {
        Holder::Unseen { sockets: Some(1) } => "not seen".into(),
        Holder::Unseen { sockets: Some(number) } => format!("{number} not seen"),
        Holder::Kernel => "kernel".into(),
        _ => "unknown".into(),
    }
}

/// Returns remarks about properties of a socket that may keep it from receiving what it has joined. With `more`, also
/// other properties.
pub(super) fn remarks(holding: &Holding, held: &SocketHolder, more: bool) -> Vec<String> {
    let socket = &held.socket;
    let mut remarks = Vec::new();
    remarks.extend(binding(holding, socket));
    remarks.extend(socket.peer.map(|peer| format!("connected: receives from {peer} only")));
    remarks.extend(bound_interface(holding, socket, more));
    let filtered = !held.filter.is_any();
    remarks.extend(
        holding
            .version
            .filter(|version| filtered && !version.has_sources())
            .map(|version| format!("{version} cannot report sources to the network")),
    );
    if more {
        remarks.push(options(held));
    } else if held.loopback == Some(false) {
        remarks.push("does not loop back what it sends".into());
    }
    remarks
}

/// Returns the options that decide which datagrams the socket receives, and which sockets receive its own.
fn options(held: &SocketHolder) -> String {
    let shown =
        |name, option: Option<bool>| option.map(|on| format!("{name} {}", if on { "on" } else { "off" }));
    let options = [shown("MULTICAST_LOOP", held.loopback), shown("MULTICAST_ALL", held.multicast_all)];
    options.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns a remark about the local address, which restricts what the socket can receive.
fn binding(holding: &Holding, socket: &JoinedSocket) -> Option<String> {
    match (socket.kind, socket.local) {
        (SocketKind::Raw { protocol }, _) => Some(format!("raw, IP protocol {protocol}")),
        (SocketKind::Udp, None) => Some("not bound: receives nothing, only keeps the membership".into()),
        (_, Some(local)) if local.ip().is_unspecified() || local.ip() == holding.group.addr() => None,
        (_, Some(local)) => Some(format!("bound to {}: cannot receive this group", local.ip())),
        (_, None) => None,
    }
}

fn bound_interface(holding: &Holding, socket: &JoinedSocket, more: bool) -> Option<String> {
    match socket.bound_interface? {
        own if own == holding.interface => more.then(|| "bound to this interface".into()),
        other => Some(format!("bound to {}: receives nothing here", InterfaceNames::new().of(other))),
    }
}
