//! Memberships as text (the table, and their holders, sources and sockets) and as JSON (`schemas/membership.json`).

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use mcast::SourceFilter;
use mcast::joined::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind};
use mcast_doctor::{JournalEntry, SocketAction};
use mcast_packet::protocol;
use mcast_terminal::Console;

use crate::output::{Cell, InterfaceNames, Palette, SafeText, Table, count, record, rfc3339};

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

record! {
    pub(super) fn new(holding: &'a Holding) {
        let (holder, sockets, holder_record) = match &holding.holder {
            Holder::Socket(holder_record) => ("socket", Some(1), SocketRecord::new(holder_record)),
            Holder::Kernel => ("kernel", Some(0), SocketRecord::default()),
            Holder::Unseen { sockets } => ("unknown", *sockets, SocketRecord::default()),
            _ => ("unknown", None, SocketRecord::default()),
        };
    }

    /// One object per group, interface and holder.
    pub(super) struct MembershipRecord<'a> {
        /// Group address
        group: IpAddr = holding.group.addr(),
        /// Name of the group; null if it has none
        name: Option<&'static str> = name(holding),
        /// Name of the interface on which the group is joined
        interface: &'a str = &holding.interface_name,
        /// Interface index
        index: u32 = holding.interface.number(),
        /// Version of IGMP or MLD in use on the interface; null if the system does not report it
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["IGMPv1", "IGMPv2", "IGMPv3", "MLDv1", "MLDv2"])))]
        version: Option<String> = holding.version.map(|version| version.to_string()),
        /// Holder of the membership: a known socket, the kernel, or sockets that could not be inspected (`unknown`)
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["socket", "kernel", "unknown"])))]
        holder: &'static str = holder,
        /// Number of sockets that hold the membership; null if the system does not count them
        sockets: Option<u32> = sockets,
        #[serde(flatten)]
        holder_record: SocketRecord<'a> = holder_record,
    }
}

record! {
    fn new(holder_record: &'a SocketHolder) {
        let socket = &holder_record.socket;
        let first = socket.processes.first();
        let (kind, protocol) = match socket.kind {
            SocketKind::Udp => ("udp", Some("udp".into())),
            SocketKind::Raw { protocol: number } => (
                "raw",
                Some(protocol::name(number).map_or_else(|| number.to_string(), str::to_ascii_lowercase)),
            ),
            _ => ("other", None),
        };
    }

    /// The socket: all fields are `null` or empty if no socket was seen.
    #[derive(Default)]
    struct SocketRecord<'a> {
        /// Mode of the source filter: `include` accepts only the sources, `exclude` accepts all others; null without a
        /// socket
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["include", "exclude"])))]
        mode: Option<&'static str> = Some(match holder_record.filter {
            SourceFilter::Include(_) => "include",
            SourceFilter::Exclude(_) => "exclude",
        }),
        /// Sources of the filter; with `exclude`, an empty list accepts any source
        sources: Vec<IpAddr> = holder_record.filter.sources().collect(),
        /// ID of the process that has the socket open, the lowest if there are several; null without a known process
        pid: Option<u32> = first.map(|process| process.pid),
        /// Name of that process, as set by the process; null without a known process
        process: Option<&'a str> = first.map(|process| process.name.as_str()),
        /// UDP port that the socket is bound to; null if there is none
        port: Option<u16> = socket.port(),
        /// Datagrams that the kernel dropped on the socket because the receive buffer was full; null if unknown
        drops: Option<u32> = socket.drops,
        /// Size of the receive buffer in bytes, as requested by programs; null without a socket
        buffer_bytes: Option<usize> = Some(socket.receive_buffer),
        /// Kind of socket; null without a socket
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["udp", "raw", "other"])))]
        socket_kind: Option<&'static str> = Some(kind),
        /// `udp`, or the protocol of a raw socket: its name, or its number if it has no name here; null if unknown
        protocol: Option<String> = protocol,
        /// Address and port that the socket is bound to; null if there are none
        local: Option<SocketAddr> = socket.local,
        /// Address and port that the socket is connected to: it receives from this peer only; null if it is not
        /// connected
        peer: Option<SocketAddr> = socket.peer,
        /// Index of the interface that the socket is bound to; null if it is not bound to one
        bound_index: Option<u32> = socket.bound_interface.map(mcast::InterfaceIndex::number),
        /// Whether the socket also receives groups that only other sockets have joined (IP_MULTICAST_ALL,
        /// IPV6_MULTICAST_ALL); null if unknown
        multicast_all: Option<bool> = holder_record.multicast_all,
        /// Whether datagrams that the socket sends are looped back to this host (IP_MULTICAST_LOOP,
        /// IPV6_MULTICAST_LOOP); null if unknown
        loopback: Option<bool> = holder_record.loopback,
        /// Inode number of the socket, the same in every process; null without a socket
        inode: Option<u64> = Some(socket.inode),
        /// All processes that have the socket open
        processes: Vec<ProcessRecord<'a>> = socket.processes.iter().map(ProcessRecord::new).collect(),
    }
}

record! {
    fn new(process: &'a Process) {}

    /// Process
    struct ProcessRecord<'a> {
        /// Process ID
        pid: u32 = process.pid,
        /// Name of the process
        process: &'a str = &process.name,
        /// Lowest file descriptor of the socket in the process
        descriptor: i32 = process.descriptor,
    }
}

record! {
    pub(super) fn new(action: &SocketAction, entry: &'a JournalEntry) {}

    /// One object per change of a socket that `mcast doctor` made and that still holds.
    pub(super) struct SocketChangeRecord<'a> {
        /// Id of the process that has the socket open
        pid: u32 = action.pid,
        /// Inode number of the socket
        inode: u64 = action.socket,
        /// What was changed, such as `join 239.255.1.3%2` or `hops ipv4 16`; interfaces are indices
        change: String = action.change.to_string(),
        /// The user and the process that changed it
        by: &'a str = &entry.by,
        /// When it was changed (RFC 3339, UTC)
        time: &'a str = &entry.time,
    }
}

record! {
    pub(super) fn new(time: SystemTime, event: &'static str, holding: &'a Holding) {}

    /// First one object for each present membership, then one object per change. Each describes the membership
    /// after the change; for a membership that ended, its last known state.
    pub(super) struct MembershipEventRecord<'a> {
        /// Time at which the change was noticed (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(time),
        /// Type of change
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["present", "joined", "left", "changed"])))]
        event: &'static str = event,
        #[serde(flatten)]
        holding: MembershipRecord<'a> = MembershipRecord::new(holding),
    }
}

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<MembershipRecord<'_>>("membership", "Membership (`mcast groups --json`)")
        .describe("sources[]", "Source address")
        .event("present"),
    RecordSchema::new::<MembershipEventRecord<'_>>(
        "membership-event",
        "Membership change (`mcast groups --watch --json`)",
    )
    .describe("sources[]", "Source address"),
    RecordSchema::new::<SocketChangeRecord<'_>>("socket-change", "Change of a socket (`mcast groups --json`)")
        .event("borrowed"),
}
