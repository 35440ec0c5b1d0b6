//! The sockets of another program.

use mcast::joined::{self, Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind};
use mcast::{GroupAddr, InterfaceSelector, Membership};

use super::processes;
use crate::examine::ProgramSelector;
use crate::observation::{Program, ProgramSocket};
use crate::snapshot::{Snapshot, SocketOwners, UdpSocket};
use crate::{Error, Result};

const UNKNOWN_OWNER: &str = "an unidentified program";

/// Returns the UDP sockets of a program as they are now.
pub(crate) fn find(target: ProgramSelector, machine: &Snapshot) -> Result<Program> {
    let survey = joined::memberships()?;
    let owners = processes::owners();
    // The target may be a wrapper whose child processes own the sockets.
    let family = match target {
        ProgramSelector::Process(pid) => processes::family(pid),
        ProgramSelector::Port(_) => Vec::new(),
    };
    let own = |inode: u64, port: Option<u16>| match target {
        ProgramSelector::Process(_) => is_owned_by(inode, &family, &owners),
        ProgramSelector::Port(target_port) => port == Some(target_port),
    };
    let mut sockets: Vec<ProgramSocket> = Vec::new();
    for entry in machine.udp_sockets.iter().filter(|entry| own(entry.inode, Some(entry.local.port()))) {
        sockets.push(bound(entry, &owners));
    }
    for holding in &survey.holdings {
        let Holder::Socket(held) = &holding.holder else { continue };
        if held.socket.kind == SocketKind::Udp && own(held.socket.inode, held.socket.port()) {
            add_membership(&mut sockets, holding, held, &owners);
        }
    }
    if sockets.is_empty() {
        return Err(not_found(target));
    }
    let name = match target {
        ProgramSelector::Process(pid)
            if sockets.iter().any(|socket| is_owned_by(socket.inode, &[pid], &owners)) =>
        {
            processes::name(pid)
        }
        _ => first_owner(&sockets),
    };
    let visible = sockets.iter().all(|socket| owners.contains_key(&socket.inode));
    Ok(Program { name, sockets, visible })
}

/// Sets the programs of each UDP socket of this machine.
pub(crate) fn add_socket_owners(machine: &mut Snapshot) {
    let owners = processes::owners();
    for socket in &mut machine.udp_sockets {
        socket.programs = owners.get(&socket.inode).into_iter().flatten().map(label).collect();
    }
}

/// Adds the later state of the sockets to `before`.
pub(crate) fn with_later_state(mut before: Program, after: &Program) -> Program {
    for socket in &mut before.sockets {
        let now = after.sockets.iter().find(|now| now.inode == socket.inode);
        socket.memberships_after = now.map(|now| now.memberships.clone()).unwrap_or_default();
        socket.drops.1 = now.map_or(socket.drops.0, |now| now.drops.0);
    }
    before
}

fn bound(entry: &UdpSocket, owners: &SocketOwners) -> ProgramSocket {
    ProgramSocket {
        local: Some(entry.local),
        peer: entry.peer,
        drops: (entry.drops, entry.drops),
        ..ProgramSocket::new(entry.inode, owner_of(entry.inode, owners))
    }
}

fn add_membership(
    sockets: &mut Vec<ProgramSocket>,
    holding: &Holding,
    held: &SocketHolder,
    owners: &SocketOwners,
) {
    let holder = &*held.socket;
    let position = sockets.iter().position(|socket| socket.inode == holder.inode).unwrap_or_else(|| {
        sockets.push(unbound(holder, owners));
        sockets.len() - 1
    });
    let socket = &mut sockets[position];
    socket.bound_interface = holder.bound_interface;
    socket.receive_buffer = Some(holder.receive_buffer);
    if held.multicast_all == Some(false) {
        socket.own_groups_only.insert(holding.group.family());
    }
    let port = socket.local.map_or(0, |local| local.port());
    let membership = Membership::new(GroupAddr::new(holding.group, port))
        .on(InterfaceSelector::Index(holding.interface))
        .from_sources(held.filter.clone());
    socket.memberships.push(membership.clone());
    socket.memberships_after.push(membership);
}

fn unbound(holder: &JoinedSocket, owners: &SocketOwners) -> ProgramSocket {
    let drops = holder.drops.unwrap_or_default().into();
    ProgramSocket {
        local: holder.local,
        peer: holder.peer,
        drops: (drops, drops),
        ..ProgramSocket::new(holder.inode, owner_of(holder.inode, owners))
    }
}

/// Returns the program that has a socket open, as `name (pid)`.
fn owner_of(inode: u64, owners: &SocketOwners) -> String {
    let owner = owners.get(&inode).and_then(|all| all.first());
    owner.map_or_else(|| UNKNOWN_OWNER.to_owned(), label)
}

/// Returns a process as `name (pid)`.
fn label(process: &Process) -> String {
    format!("{} ({})", process.name, process.pid)
}

fn is_owned_by(inode: u64, pids: &[u32], owners: &SocketOwners) -> bool {
    owners.get(&inode).is_some_and(|all| all.iter().any(|owner| pids.contains(&owner.pid)))
}

/// Returns the first owner of the sockets that can be determined.
fn first_owner(sockets: &[ProgramSocket]) -> String {
    let owner = sockets.iter().map(|socket| &socket.owner).find(|owner| *owner != UNKNOWN_OWNER);
    owner.cloned().unwrap_or_else(|| UNKNOWN_OWNER.to_owned())
}

fn not_found(target: ProgramSelector) -> Error {
    match target {
        ProgramSelector::Process(pid) => processes::not_found_error(pid),
        ProgramSelector::Port(port) => {
            Error::NoProgram(format!("no UDP socket on this machine is bound to port {port}"))
        }
    }
}
