//! Sockets that only hold memberships, so that the kernel's limits per socket
//! (`igmp_max_memberships`, `igmp_max_msf`) are no limits of a receiver's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};

use crate::error::{ErrorKind, Operation};
use crate::sys;
use crate::sys::socket::Socket;

/// Sockets that receive nothing and keep groups joined.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// `None` where one was closed, since it kept nothing any more.
    sockets: Vec<Option<Holder>>,
    /// Which holders keep which group: more than one where the sources exceed one's limit.
    held: BTreeMap<(Group, InterfaceIndex), Vec<usize>>,
}

#[derive(Debug)]
struct Holder {
    socket: Socket,
    family: Family,
    /// How many memberships it keeps.
    count: usize,
    /// It refused one more since the last was given up.
    full: bool,
}

impl Holders {
    /// Keeps a group joined for the sources of this filter, in place of what was held of it.
    pub(crate) fn hold(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
    ) -> io::Result<()> {
        // What is held already stays until the new is there, so that nothing is missed between.
        let before = self.held.remove(&(group, interface)).unwrap_or_default();
        let result = self.join(group, interface, filter, &before);
        match result {
            Ok(holders) => {
                self.held.insert((group, interface), holders);
                self.give_up(group, interface, &before);
                Ok(())
            }
            Err(error) => {
                if !before.is_empty() {
                    self.held.insert((group, interface), before);
                }
                Err(error)
            }
        }
    }

    /// Leaves a group; the system's error where it had forgotten it (a vanished interface).
    pub(crate) fn release(&mut self, group: Group, interface: InterfaceIndex) {
        let holders = self.held.remove(&(group, interface)).unwrap_or_default();
        self.give_up(group, interface, &holders);
    }

    /// How many sockets there are.
    pub(crate) fn len(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn join(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
        avoid: &[usize],
    ) -> io::Result<Vec<usize>> {
        match filter {
            SourceFilter::Exclude(_) => {
                let mut holders = Vec::new();
                let joined = self.join_once(group, interface, filter, avoid, &mut holders);
                if !joined.as_ref().is_err_and(is_limit) {
                    return joined.map(|()| holders);
                }
                // More are excluded than a socket can: have all, the table of memberships refuses.
                self.join_once(group, interface, &SourceFilter::ANY, avoid, &mut holders).map(|()| holders)
            }
            SourceFilter::Include(sources) => {
                let mut holders = Vec::new();
                let result = self.join_sources(group, interface, sources, avoid, &mut holders);
                if let Err(error) = result {
                    self.give_up(group, interface, &holders);
                    return Err(error);
                }
                Ok(holders)
            }
        }
    }

    /// Joins for all these sources, splitting the list where one socket takes no more.
    fn join_sources(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        sources: &BTreeSet<std::net::IpAddr>,
        avoid: &[usize],
        holders: &mut Vec<usize>,
    ) -> io::Result<()> {
        let avoided: Vec<usize> = avoid.iter().chain(holders.iter()).copied().collect();
        let result =
            self.join_once(group, interface, &SourceFilter::Include(sources.clone()), &avoided, holders);
        if sources.len() < 2 || !result.as_ref().is_err_and(is_limit) {
            return result;
        }
        let middle = sources.iter().nth(sources.len() / 2).copied();
        let (mut left, mut right) = (sources.clone(), BTreeSet::new());
        if let Some(middle) = middle {
            right = left.split_off(&middle);
        }
        self.join_sources(group, interface, &left, avoid, holders)?;
        self.join_sources(group, interface, &right, avoid, holders)
    }

    /// Joins on the first holder that has room, or on a fresh one.
    fn join_once(
        &mut self,
        group: Group,
        interface: InterfaceIndex,
        filter: &SourceFilter,
        avoid: &[usize],
        holders: &mut Vec<usize>,
    ) -> io::Result<()> {
        let family = group.family();
        let has_room = |holder: &Holder| holder.family == family && !holder.full;
        let candidate = self.sockets.iter_mut().enumerate().rev().find_map(|(index, holder)| {
            let holder = holder.as_mut().filter(|holder| has_room(holder) && !avoid.contains(&index))?;
            Some((index, holder))
        });
        if let Some((index, holder)) = candidate {
            match holder.socket.join(group, interface, filter) {
                Ok(()) => {
                    holder.count += 1;
                    holders.push(index);
                    return Ok(());
                }
                // With several sources it may be the limit of these that was met.
                Err(error) if is_limit(&error) => holder.full = filter.sources().nth(1).is_none(),
                Err(error) => return Err(error),
            }
        }
        let socket = open(family)?;
        socket.join(group, interface, filter)?;
        let holder = Some(Holder { socket, family, count: 1, full: false });
        let vacant = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        if vacant == self.sockets.len() {
            self.sockets.push(holder);
        } else {
            self.sockets[vacant] = holder;
        }
        holders.push(vacant);
        Ok(())
    }

    fn give_up(&mut self, group: Group, interface: InterfaceIndex, holders: &[usize]) {
        for index in holders {
            let Some(holder) = self.sockets[*index].as_mut() else { continue };
            // An interface that vanished took the membership along: then there is nothing to leave.
            let _ = holder.socket.leave(group, interface);
            holder.count = holder.count.saturating_sub(1);
            holder.full = false;
            if holder.count == 0 {
                self.sockets[*index] = None;
            }
        }
    }
}

fn open(family: Family) -> io::Result<Socket> {
    super::descriptors::with_more_descriptors(|| Socket::holder(family))
}

/// Whether a limit of the socket was met, so that another socket may do.
pub(crate) fn is_limit(error: &io::Error) -> bool {
    sys::error_kind(Operation::Join, error) == ErrorKind::LimitReached
}
