//! Holders, sources and sockets as text.

use mcast::SourceFilter;
use mcast::joined::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind};

use crate::output::{InterfaceNames, SafeText};

/// Returns the name of the group's use at the port of the socket. Without a known port: the short name of the group
/// if it has one, otherwise the name in the registry.
pub(super) fn name(holding: &Holding) -> Option<&'static str> {
    let group = holding.group;
    if let Holder::Socket(held) = &holding.holder
        && let Some(port) = held.socket.port()
    {
        return group.name_at(port);
    }
    group.well_known().map(|known| known.name).next().or_else(|| group.name())
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
