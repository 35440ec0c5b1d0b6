//! Remedies that change the socket of a program that runs.

use std::net::IpAddr;

use mcast::{Family, Group, InterfaceIndex, SourceFilter};
use mcast_sys::{SendInterface, SocketChange, SocketMembership};

use crate::change::Change;
use crate::observation::ProgramSocket;
use crate::{Action, Instructions, Persistence, Remedy, RemedyScope, SocketAction, Tool};

pub(crate) type Reversible = (SocketChange, SocketChange);

/// Returns the remedy that makes changes to a socket in this order; `None` on systems without such changes, and if nothing
/// changes or the process is not known.
pub(crate) fn change(socket: &ProgramSocket, changes: &[Reversible]) -> Option<Remedy> {
    let pid = socket.processes.first()?.pid;
    of_process(pid, &socket.owner, socket.inode, changes)
}

/// Does the same for the socket of a process.
pub(crate) fn of_process(pid: u32, owner: &str, inode: u64, changes: &[Reversible]) -> Option<Remedy> {
    let is_here = cfg!(any(target_os = "linux", target_os = "android"));
    (is_here && !changes.is_empty()).then(|| changes_of(pid, owner, inode, changes))
}

/// Does the same on every system, for pages.
pub(crate) fn changes_of(pid: u32, owner: &str, inode: u64, changes: &[Reversible]) -> Remedy {
    let action = |change: &SocketChange| Action::Socket(SocketAction { pid, socket: inode, change: *change });
    let made = changes
        .iter()
        .map(|(change, _)| Change::Socket(SocketAction { pid, socket: inode, change: *change }));
    let undo = changes.iter().rev().map(|(_, reverse)| action(reverse)).collect();
    let scope = RemedyScope::new(format!("one socket of {owner}, which continues to run"))
        .warning("it lasts until the program closes the socket: after a restart, the program needs it again");
    let remedy = Remedy::of(Tool::Socket, Persistence::Now, made).with_scope(scope);
    let undo = Some(Instructions::Actions { actions: undo, needs_root: true });
    Remedy { undo, ..remedy }
}

/// Returns the changes that join a group on an interface, from any source or from these.
pub(crate) fn join(group: IpAddr, interface: InterfaceIndex, sources: &SourceFilter) -> Vec<Reversible> {
    let Ok(group) = Group::new(group) else { return Vec::new() };
    let membership = |source| SocketMembership { group, interface, source };
    let join = |one| (SocketChange::Join(one), SocketChange::Leave(one));
    match sources {
        SourceFilter::Include(sources) => {
            sources.iter().map(|source| join(membership(Some(*source)))).collect()
        }
        SourceFilter::Exclude(sources) => {
            let block = |source: &IpAddr| {
                let one = membership(Some(*source));
                (SocketChange::Block(one), SocketChange::Unblock(one))
            };
            std::iter::once(join(membership(None))).chain(sources.iter().map(block)).collect()
        }
    }
}

/// Returns the change that leaves a group on an interface, and the one that joins it again.
pub(crate) fn leave(group: IpAddr, interface: InterfaceIndex, sources: &SourceFilter) -> Vec<Reversible> {
    let swapped = |(join, leave): Reversible| (leave, join);
    join(group, interface, sources).into_iter().rev().map(swapped).collect()
}

/// Returns the change that admits a source.
pub(crate) fn admit(
    group: IpAddr,
    interface: InterfaceIndex,
    source: IpAddr,
    sources: &SourceFilter,
) -> Option<Reversible> {
    let one = SocketMembership { group: Group::new(group).ok()?, interface, source: Some(source) };
    Some(match sources {
        SourceFilter::Include(_) => (SocketChange::Join(one), SocketChange::Leave(one)),
        SourceFilter::Exclude(_) => (SocketChange::Unblock(one), SocketChange::Block(one)),
    })
}

/// Returns the change that sends by an interface, in place of the routing table or of another interface.
pub(crate) fn send_by(family: Family, interface: InterfaceIndex, former: SendInterface) -> Reversible {
    let by = SendInterface::Index(interface);
    let change = |by, instead_of| SocketChange::SendBy { family, by, instead_of };
    (change(by, former), change(former, by))
}

/// Returns the change of a hop limit.
pub(crate) const fn hop_limit(family: Family, former: u8, hops: u8) -> Reversible {
    (SocketChange::HopLimit { family, hops }, SocketChange::HopLimit { family, hops: former })
}

/// Returns the change that turns the loopback on.
pub(crate) const fn loop_back(family: Family) -> Reversible {
    (SocketChange::Loopback { family, on: true }, SocketChange::Loopback { family, on: false })
}

/// Returns the change that keeps groups out which only other sockets have joined.
pub(crate) const fn own_groups_only(family: Family) -> Reversible {
    (SocketChange::AllGroups { family, on: false }, SocketChange::AllGroups { family, on: true })
}

/// Returns the change of the size of the receive buffer.
pub(crate) const fn receive_buffer(former: usize, bytes: usize) -> Reversible {
    (SocketChange::ReceiveBuffer(bytes), SocketChange::ReceiveBuffer(former))
}
