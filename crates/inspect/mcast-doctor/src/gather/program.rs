//! The sockets of another program.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast::joined::{self, Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Visibility};
use mcast::{Family, GroupAddr, InterfaceSelector, Membership};

use super::{processes, protocols};
use crate::observation::{Program, ProgramSocket};
use crate::snapshot::{Snapshot, SocketOwners, UdpSocket};
use crate::{HostError, ProgramSelector, Result};

/// The port of the discard protocol (RFC 863).
const DISCARD: u16 = 9;

const UNKNOWN_OWNER: &str = "an unidentified program";

/// Returns the UDP sockets of a program as they are now.
pub(crate) fn find(target: ProgramSelector, machine: &Snapshot) -> Result<Program> {
    let survey = Survey::of(machine)?;
    // The target may be a wrapper whose child processes own the sockets.
    let family = match target {
        ProgramSelector::Process(pid) => processes::family(pid),
        ProgramSelector::Port(port) => survey.owners_of_port(port),
    };
    let mut sockets = survey.sockets(|inode, port| match target {
        ProgramSelector::Process(_) => is_owned_by(inode, &family, &survey.owners),
        ProgramSelector::Port(target_port) => port == Some(target_port),
    });
    if sockets.is_empty() {
        return Err(not_found(target).into());
    }
    if let ProgramSelector::Port(_) = target {
        // Sockets that only hold memberships for the ones on the port.
        sockets.extend(
            survey.sockets(|inode, port| port.is_none() && is_owned_by(inode, &family, &survey.owners)),
        );
    }
    let name = match target {
        ProgramSelector::Process(pid)
            if sockets.iter().any(|socket| is_owned_by(socket.inode, &[pid], &survey.owners)) =>
        {
            processes::name(pid)
        }
        _ => first_owner(&sockets),
    };
    let visible = sockets.iter().all(|socket| survey.owners.contains_key(&socket.inode));
    let is_one = matches!(target, ProgramSelector::Process(_));
    Ok(Program { name, sockets, visible, is_one, ..Program::default() })
}

/// Returns whether processes have a socket that has joined a group, a bound UDP socket, or a raw socket for groups.
///
/// # Errors
/// Like [`find`], if they have their sockets elsewhere, or are hidden.
pub(crate) fn has_sockets(pid: u32, family: &[u32]) -> Result<bool> {
    let owners = processes::owners();
    let is_own = |inode: &u64| is_owned_by(*inode, family, &owners);
    let is_bound = super::queues().keys().any(is_own);
    let is_member = |holding: &Holding| match &holding.holder {
        Holder::Socket(held) => is_own(&held.socket.inode),
        _ => false,
    };
    let is_raw = protocols::has_sockets(|inode| is_own(&inode));
    if is_bound || is_raw || joined::memberships()?.holdings.iter().any(is_member) {
        return Ok(true);
    }
    match processes::not_found_error(pid, family) {
        HostError::NoProgram(_) => Ok(false),
        error => Err(error.into()),
    }
}

/// Returns the programs of this machine that have joined groups, and whether all programs could be inspected.
pub(crate) fn all_joined(machine: &Snapshot) -> Result<(Vec<Program>, Visibility)> {
    let survey = Survey::of(machine)?;
    let mut programs: BTreeMap<String, Vec<ProgramSocket>> = BTreeMap::new();
    for socket in survey.sockets(|inode, _| survey.owners.contains_key(&inode)) {
        programs.entry(socket.owner.clone()).or_default().push(socket);
    }
    let program =
        |(name, sockets)| Program { name, sockets, visible: true, is_one: true, ..Program::default() };
    let programs = programs.into_iter().map(program).filter(Program::has_joined).collect();
    Ok((programs, survey.visibility))
}

/// Returns the UDP sockets of this machine whose programs are known.
pub(crate) fn all_owned(machine: &Snapshot) -> Result<Vec<ProgramSocket>> {
    let survey = Survey::of(machine)?;
    Ok(survey.sockets(|inode, _| survey.owners.contains_key(&inode)))
}

/// Adds the options of the UDP sockets of this machine.
pub(crate) fn add_socket_options(machine: &mut Snapshot) {
    machine.socket_options = processes::socket_options();
    let first = |(inode, owners): (u64, Vec<Process>)| {
        let owner = owners.first()?;
        Some((inode, (owner.pid, label(owner))))
    };
    machine.socket_processes = processes::owners().into_iter().filter_map(first).collect();
}

/// Sets the programs of each UDP socket of this machine.
pub(crate) fn add_socket_owners(machine: &mut Snapshot) {
    let owners = processes::owners();
    for socket in &mut machine.udp_sockets {
        socket.programs = owners.get(&socket.inode).into_iter().flatten().map(label).collect();
    }
}

/// Adds the later state of the sockets to `before`.
pub(crate) fn add_later_state(before: &mut [ProgramSocket], after: &[ProgramSocket]) {
    for socket in before {
        let Some(now) = after.iter().find(|now| now.inode == socket.inode) else {
            socket.memberships_after = Vec::new();
            socket.closed = true;
            continue;
        };
        socket.memberships_after = now.memberships.clone();
        socket.drops.1 = now.drops.0;
        socket.processes = now.processes.clone();
        socket.send_answer = socket.send_answer.filter(|answer| now.send_answer == Some(*answer));
    }
}

/// Asks the kernel whether the bound sockets that have joined nothing could send to a group. Nothing is sent.
pub(crate) fn add_send_answers(sockets: &mut [ProgramSocket]) {
    for socket in sockets.iter_mut().filter(|socket| socket.never_joined()) {
        let to = any_group(socket);
        let owner = socket.processes.first();
        let answer = to.zip(owner).and_then(|(to, owner)| {
            let answer = processes::answer_to_send(owner.pid, socket.inode, to)?;
            Some((to, answer))
        });
        socket.send_answer = answer;
    }
}

/// Returns the group that a bound socket is connected to, or one of its family that no protocol has, with the discard port.
fn any_group(socket: &ProgramSocket) -> Option<SocketAddr> {
    let peer = socket.peer.filter(|peer| peer.ip().is_multicast());
    let family = Family::of(socket.local?.ip());
    let group = match family {
        Family::V4 => SocketAddr::from(([239, 255, 255, 1], DISCARD)),
        Family::V6 => SocketAddr::from(([0xff15, 0, 0, 0, 0, 0, 0, 1], DISCARD)),
    };
    Some(peer.unwrap_or(group))
}

/// Samples the receive queues of sockets.
pub(crate) fn sample_queues(sockets: &mut [ProgramSocket]) {
    let queues = super::queues();
    for socket in sockets {
        socket.queued.extend(queues.get(&socket.inode));
    }
}

/// Reads the drops of sockets again, from which those while listening are counted. To be called after the counters of UDP were
/// read: every drop that a socket then counts, those count as well, if they are read last at the end.
pub(crate) fn refresh_drops(sockets: &mut [ProgramSocket]) {
    let drops = super::socket_drops();
    for socket in sockets {
        if let Some(now) = drops.get(&socket.inode) {
            socket.drops = (*now, *now);
        }
    }
}

/// The sockets of this machine, with their memberships and owners.
struct Survey<'a> {
    machine: &'a Snapshot,
    holdings: Vec<Holding>,
    visibility: Visibility,
    owners: SocketOwners,
}

impl<'a> Survey<'a> {
    fn of(machine: &'a Snapshot) -> Result<Self> {
        let joined::Memberships { holdings, visibility, .. } = joined::memberships()?;
        Ok(Self { machine, holdings, visibility, owners: processes::owners() })
    }

    /// Returns the sockets whose inode and port match.
    fn sockets(&self, is_chosen: impl Fn(u64, Option<u16>) -> bool) -> Vec<ProgramSocket> {
        let bound = self.machine.udp_sockets.iter();
        let bound = bound.filter(|entry| is_chosen(entry.inode, Some(entry.local.port())));
        let mut sockets: Vec<_> = bound.map(|entry| bound_socket(entry, &self.owners)).collect();
        for holding in &self.holdings {
            let Holder::Socket(held) = &holding.holder else { continue };
            if held.socket.kind == SocketKind::Udp && is_chosen(held.socket.inode, held.socket.port()) {
                add_membership(&mut sockets, holding, held, &self.owners);
            }
        }
        for socket in &mut sockets {
            self.describe(socket);
        }
        sockets
    }

    /// Adds the options of a socket, and the state of its processes.
    fn describe(&self, socket: &mut ProgramSocket) {
        let owners = self.owners.get(&socket.inode).into_iter().flatten();
        socket.processes = owners.filter_map(|owner| processes::state(owner.pid)).collect();
        let Some(options) = self.machine.socket_options.get(&socket.inode) else { return };
        socket.bound_interface = options.bound_interface;
        socket.receive_buffer = Some(options.receive_buffer);
        let closed = options.groups.iter().filter(|(_, groups)| !groups.all).map(|(family, _)| *family);
        socket.own_groups_only.extend(closed);
        socket.options = Some(options.clone());
    }

    /// Returns the processes that have the port open.
    fn owners_of_port(&self, port: u16) -> Vec<u32> {
        let sockets = self.machine.udp_sockets.iter().filter(|entry| entry.local.port() == port);
        let owners = sockets.filter_map(|entry| self.owners.get(&entry.inode)).flatten();
        owners.map(|owner| owner.pid).collect()
    }
}

fn bound_socket(entry: &UdpSocket, owners: &SocketOwners) -> ProgramSocket {
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

fn not_found(target: ProgramSelector) -> HostError {
    match target {
        ProgramSelector::Process(pid) => processes::not_found_error(pid, &processes::family(pid)),
        ProgramSelector::Port(port) => processes::elsewhere(port).unwrap_or_else(|| {
            HostError::NoProgram(format!("no UDP socket on this machine is bound to port {port} (the ports to which programs send do not count)"))
        }),
    }
}
