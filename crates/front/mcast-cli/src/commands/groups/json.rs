//! Memberships as JSON: `schemas/membership.json`.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use mcast::SourceFilter;
use mcast::joined::{Holder, Holding, SocketHolder, SocketKind};
use mcast_doctor::{JournalEntry, SocketAction};
use mcast_packet::protocol;
use serde::Serialize;

use super::text::name;
use crate::output::{record, rfc3339};

record! {
    pub(super) fn new(holding: &'a Holding) {
        let (holder, sockets, holder_record) = match &holding.holder {
            Holder::Socket(holder_record) => ("socket", Some(1), SocketRecord::new(holder_record)),
            Holder::Kernel => ("kernel", Some(0), SocketRecord::default()),
            Holder::Unseen { sockets } => ("unknown", *sockets, SocketRecord::default()),
            _ => ("unknown", None, SocketRecord::default()),
        };
    }

    /// A membership and its holder.
    pub(super) struct MembershipRecord<'a> {
        group: IpAddr = holding.group.addr(),
        name: Option<&'static str> = name(holding),
        interface: &'a str = &holding.interface_name,
        index: u32 = holding.interface.number(),
        version: Option<String> = holding.version.map(|version| version.to_string()),
        /// `socket`, `kernel` or `unseen`.
        holder: &'static str = holder,
        /// The number of sockets that hold it; `null` if the system does not count them.
        sockets: Option<u32> = sockets,
        #[serde(flatten)]
        holder_record: SocketRecord<'a> = holder_record,
    }
}

/// The socket: all fields are `null` or empty if no socket was seen.
#[derive(Default, Serialize)]
struct SocketRecord<'a> {
    mode: Option<&'static str>,
    sources: Vec<IpAddr>,
    pid: Option<u32>,
    process: Option<&'a str>,
    port: Option<u16>,
    drops: Option<u32>,
    buffer_bytes: Option<usize>,
    socket_kind: Option<&'static str>,
    protocol: Option<String>,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    bound_index: Option<u32>,
    multicast_all: Option<bool>,
    loopback: Option<bool>,
    inode: Option<u64>,
    processes: Vec<ProcessRecord<'a>>,
}

/// A process that has the socket open.
#[derive(Serialize)]
struct ProcessRecord<'a> {
    pid: u32,
    process: &'a str,
    descriptor: i32,
}

impl<'a> SocketRecord<'a> {
    fn new(holder_record: &'a SocketHolder) -> Self {
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
        let processes = socket.processes.iter().map(|process| ProcessRecord {
            pid: process.pid,
            process: &process.name,
            descriptor: process.descriptor,
        });
        Self {
            mode: Some(match holder_record.filter {
                SourceFilter::Include(_) => "include",
                SourceFilter::Exclude(_) => "exclude",
            }),
            sources: holder_record.filter.sources().collect(),
            pid: first.map(|process| process.pid),
            process: first.map(|process| process.name.as_str()),
            port: socket.port(),
            drops: socket.drops,
            buffer_bytes: Some(socket.receive_buffer),
            socket_kind: Some(kind),
            protocol,
            local: socket.local,
            peer: socket.peer,
            bound_index: socket.bound_interface.map(mcast::InterfaceIndex::number),
            multicast_all: holder_record.multicast_all,
            loopback: holder_record.loopback,
            inode: Some(socket.inode),
            processes: processes.collect(),
        }
    }
}

record! {
    pub(super) fn new(action: &SocketAction, entry: &'a JournalEntry) {}

    /// A change of a socket that the doctor made: `schemas/socket-change.json`.
    pub(super) struct SocketChangeRecord<'a> {
        pid: u32 = action.pid,
        inode: u64 = action.socket,
        change: String = action.change.to_string(),
        by: &'a str = &entry.by,
        time: &'a str = &entry.time,
    }
}

record! {
    pub(super) fn new(time: SystemTime, event: &'static str, holding: &'a Holding) {}

    /// A change of a membership: `schemas/membership-event.json`.
    pub(super) struct MembershipEventRecord<'a> {
        time: String = rfc3339(time),
        /// `present`, `joined`, `left` or `changed`.
        event: &'static str = event,
        #[serde(flatten)]
        holding: MembershipRecord<'a> = MembershipRecord::new(holding),
    }
}
