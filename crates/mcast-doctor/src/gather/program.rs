//! The sockets of another program.

use std::sync::Arc;

use mcast::joined::{self, Holder, Holding, JoinedSocket, SocketKind};

use super::processes;
use crate::examine::Target;
use crate::observation::{Membership, Program, ProgramSocket};
use crate::snapshot::{Snapshot, UdpSocket};
use crate::{Error, Result};

/// The program's UDP sockets, as they are now.
pub(crate) fn look(target: Target, machine: &Snapshot) -> Result<Program> {
    let survey = joined::memberships()?;
    let holders = processes::holders();
    let own = |inode: u64, port: Option<u16>| match target {
        Target::Process(pid) => holders.get(&inode).is_some_and(|all| all.contains(&processes::name(pid))),
        Target::Port(wanted) => port == Some(wanted),
    };
    let mut sockets: Vec<ProgramSocket> = Vec::new();
    for entry in machine.udp_sockets.iter().filter(|entry| own(entry.inode, Some(entry.local.port()))) {
        sockets.push(bound(entry));
    }
    for holding in &survey.holdings {
        let Holder::Socket(held) = &holding.holder else { continue };
        if held.socket.kind == SocketKind::Udp && own(held.socket.inode, held.socket.port()) {
            add_membership(&mut sockets, holding, &held.socket);
        }
    }
    if sockets.is_empty() {
        return Err(none(target));
    }
    let name = match target {
        Target::Process(pid) => processes::name(pid),
        Target::Port(_) => owner(&sockets, &holders),
    };
    let visible = sockets.iter().all(|socket| holders.contains_key(&socket.inode));
    Ok(Program { name, sockets, visible })
}

/// Sets what has become of the sockets since `before` was taken.
pub(crate) fn compare(mut before: Program, after: &Program) -> Program {
    for socket in &mut before.sockets {
        let now = after.sockets.iter().find(|now| now.inode == socket.inode);
        socket.memberships_after = now.map(|now| now.memberships.clone()).unwrap_or_default();
        socket.drops.1 = now.map_or(socket.drops.0, |now| now.drops.0);
    }
    before
}

fn bound(entry: &UdpSocket) -> ProgramSocket {
    ProgramSocket {
        inode: entry.inode,
        local: Some(entry.local),
        peer: entry.peer,
        bound_interface: None,
        receive_buffer: None,
        drops: (entry.drops, entry.drops),
        memberships: Vec::new(),
        memberships_after: Vec::new(),
    }
}

fn add_membership(sockets: &mut Vec<ProgramSocket>, holding: &Holding, holder: &Arc<JoinedSocket>) {
    let Holder::Socket(held) = &holding.holder else { return };
    let position = sockets.iter().position(|socket| socket.inode == holder.inode).unwrap_or_else(|| {
        sockets.push(unbound(holder));
        sockets.len() - 1
    });
    let socket = &mut sockets[position];
    socket.bound_interface = holder.bound_interface.map(mcast::InterfaceIndex::number);
    socket.receive_buffer = Some(holder.receive_buffer);
    let membership = Membership {
        group: holding.group,
        interface: holding.interface.number(),
        sources: held.filter.clone(),
        multicast_all: held.multicast_all.unwrap_or(true),
        loopback: held.loopback.unwrap_or(true),
    };
    socket.memberships.push(membership.clone());
    socket.memberships_after.push(membership);
}

fn unbound(holder: &JoinedSocket) -> ProgramSocket {
    let drops = holder.drops.unwrap_or_default().into();
    ProgramSocket {
        inode: holder.inode,
        local: holder.local,
        peer: holder.peer,
        bound_interface: None,
        receive_buffer: Some(holder.receive_buffer),
        drops: (drops, drops),
        memberships: Vec::new(),
        memberships_after: Vec::new(),
    }
}

fn owner(sockets: &[ProgramSocket], holders: &std::collections::BTreeMap<u64, Vec<String>>) -> String {
    let known = sockets.iter().find_map(|socket| holders.get(&socket.inode)?.first().cloned());
    known.unwrap_or_else(|| "a program that cannot be seen".to_owned())
}

fn none(target: Target) -> Error {
    match target {
        Target::Process(pid) => processes::why_none(pid),
        Target::Port(port) => Error::NoProgram(format!("no UDP socket is bound to port {port} here")),
    }
}
